"""Commands: one module for each, imported when the command runs, and in `running` what they share."""
