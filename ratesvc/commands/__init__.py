"""What a person types: one module for each command, imported when the command runs. May import everything but `cli`."""
