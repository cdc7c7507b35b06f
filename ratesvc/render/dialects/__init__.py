"""Other people's wire formats: one file each, pure functions from our domain to somebody else's bytes."""
