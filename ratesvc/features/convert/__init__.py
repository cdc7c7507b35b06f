"""/v1/convert: an amount in another currency."""
