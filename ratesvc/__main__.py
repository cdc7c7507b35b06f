"""The program: `ratesvc`, and `python -m ratesvc`."""

from ratesvc.cli import main


def run() -> None:
    """Run the command line."""
    main(prog_name="ratesvc")


if __name__ == "__main__":
    run()
