"""The Bank of Russia's official exchange rates as a JSON API and an HTML widget."""

__version__ = "1.0.0"
