"""Rates, days and sheets: exact and pure. Imports only `errors`; no I/O, no clock but `workdays.utc_now`."""
