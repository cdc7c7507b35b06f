"""For readers that keep a copy: all of history, and which sheets are new."""
