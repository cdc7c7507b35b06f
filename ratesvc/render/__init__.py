"""How rates look: pure functions from the domain to finished bytes. May import `domain` and `errors`."""
