"""Rates over a range of days, which several features show. It has no address of its own, so it is always there."""
