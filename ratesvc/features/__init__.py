"""Everything that is not the service itself: a folder each, with its routes, looks, texts and part of the contract.

`features` in config.yaml lists them. `routes.py` of a feature holds its FEATURE, and only that file knows HTTP.
"""
