"""`ratesvc healthcheck`, which asks /livez of the service on this machine."""
