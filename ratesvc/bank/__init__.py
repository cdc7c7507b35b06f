"""The Bank of Russia: how it is asked, what its documents say, and which sheets are admitted.

May import `domain` and `errors`. Only `client` and `answers` use the network.
"""
