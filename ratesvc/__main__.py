"""The program: `ratesvc`, and `python -m ratesvc`.

Until a command has anything to tidy up, a signal ends the program at once, without Python's traceback of its imports.
"""

import os
import signal


def _end(number: int, _: object) -> None:
    if number == signal.SIGTERM:
        # As it usually does; but the first process of a container lives on.
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
    os._exit(128 + number)


for _number in (signal.SIGINT, signal.SIGTERM):
    # Who started us in the background may have Ctrl-C ignored.
    if signal.getsignal(_number) is not signal.SIG_IGN:
        signal.signal(_number, _end)

from ratesvc.cli import main  # noqa: E402 -- a fifth of a second in which a signal may come


def run() -> None:
    """Run the command line."""
    main(prog_name="ratesvc")


if __name__ == "__main__":
    run()
