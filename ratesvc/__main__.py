"""The program: `ratesvc`, and `python -m ratesvc`."""

import os
import signal


def _end(number: int, _: object) -> None:
    """End at once. Before a command runs there is nothing to clean up, and a traceback of imports helps nobody."""
    if number == signal.SIGTERM:
        # The default action ends the process, which systemd takes for a clean end. The first process of a container has
        # none; there _exit does.
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
    os._exit(128 + number)


for _number in (signal.SIGINT, signal.SIGTERM):
    # A shell that starts us in the background may have SIGINT ignored.
    if signal.getsignal(_number) is not signal.SIG_IGN:
        signal.signal(_number, _end)

from ratesvc.cli import main  # noqa: E402 -- a signal may come during these 0.2 seconds


def run() -> None:
    """Run the command line."""
    main(prog_name="ratesvc")


if __name__ == "__main__":
    run()
