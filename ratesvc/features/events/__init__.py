"""/v1/events: what is new, at once; and `ratesvc watch`, which reads it."""
