"""`ratesvc export`: the service's answers as static files. It has no address, so it has no line in config.yaml."""
