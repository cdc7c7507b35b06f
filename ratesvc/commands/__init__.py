"""Commands, imported when one of them runs: `serve`, `show`, `data`, `watch`, and in `running` what they share."""
