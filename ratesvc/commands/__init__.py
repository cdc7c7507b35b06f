"""Commands, imported when one of them runs: `serve`, `rates`, `data`, `checks`, and in `running` what they share."""
