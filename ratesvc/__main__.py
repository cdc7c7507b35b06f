"""The program: `ratesvc`, and `python -m ratesvc`."""

import os
import signal

for _number in (signal.SIGINT, signal.SIGTERM):
    # Before a command runs there is nothing to clean up, and a traceback of imports helps nobody. The first process of
    # a container has no default action. A shell that starts us in the background may have SIGINT ignored.
    if signal.getsignal(_number) is not signal.SIG_IGN:
        signal.signal(_number, lambda number, _: os._exit(128 + number))

from ratesvc.cli import main  # noqa: E402 -- a signal may come during these 0.2 seconds


def run() -> None:
    """Run the command line."""
    main(prog_name="ratesvc")


if __name__ == "__main__":
    run()
