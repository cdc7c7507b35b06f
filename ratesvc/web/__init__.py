"""HTTP and nothing else: queries in, finished bodies out."""
