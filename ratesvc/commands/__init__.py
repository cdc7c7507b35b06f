"""Commands, imported when one of them runs. `options` and `running` have what they share."""
