"""Charts of rates: the page /chart, its frame, and pictures."""
