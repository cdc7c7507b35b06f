"""/v1/key-rate: the Bank's key rate."""
