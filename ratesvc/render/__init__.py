"""How rates look: pure functions from the domain to finished bytes. May import `bank`, `domain` and `errors`."""
