"""The Bank of Russia: requests to it, its XML, and the admission of its sheets.

May import `domain` and `errors`. Only `client` uses the network.
"""
