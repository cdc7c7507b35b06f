"""Pages for people: which rate applies, charts, the reference of the API."""
