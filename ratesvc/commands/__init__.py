"""Commands, imported when one of them runs: `serve`, `rates`, `data`, and in `running` what they share."""
