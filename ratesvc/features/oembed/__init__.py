"""/oembed: the code of a frame for an address of this service."""
