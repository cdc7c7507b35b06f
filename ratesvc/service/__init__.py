"""The running program without HTTP: refreshes, history, Redis in step with memory, finished answers, logs and metrics.

May import everything but `web`, `commands`, `demo` and `cli`.
"""
