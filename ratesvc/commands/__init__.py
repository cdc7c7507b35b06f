"""Commands, imported when one of them runs: `serve`, `show`, `data`, and in `running` what they share."""
