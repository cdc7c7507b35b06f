"""Redis: the connection, what is stored, and the server that comes with the package. May import `domain`, `errors`."""
