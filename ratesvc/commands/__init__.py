"""What the commands do: one module each, imported when it runs."""
