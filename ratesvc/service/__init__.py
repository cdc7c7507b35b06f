"""The running program without HTTP: refreshes, history, Redis and memory in sync, finished answers, logs and metrics.

May import everything but `web`, `commands`, `demo` and `cli`.
"""
