"""/v1/series: the rates of a range of days."""
