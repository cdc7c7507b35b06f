"""The page at / that chooses a widget and shows its code."""
