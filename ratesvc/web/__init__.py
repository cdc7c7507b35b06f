"""HTTP and nothing else: requests in, finished bodies out. May import `service` and everything below it."""
