"""What is kept in Redis, and the Redis that comes with the package. May import `domain`, `errors` and `tasks`."""
