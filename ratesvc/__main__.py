"""`python -m ratesvc` is `ratesvc`."""

from ratesvc.cli import main

if __name__ == "__main__":
    main(prog_name="ratesvc")
