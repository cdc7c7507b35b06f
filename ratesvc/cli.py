"""The entry point: the whole command line. A command's code is imported when it runs, so that --help stays quick."""

from __future__ import annotations

import errno
import io
import os
import sys
import traceback
from contextlib import suppress
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from ratesvc import __version__
from ratesvc.commands import options
from ratesvc.errors import ConfigError, EngineError, EngineNotReady, FetchFailed, GaveUp, NotYetSet, RatesvcError
from ratesvc.installed import COMMANDS

PASSING = (
    *(errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.ENOSPC, errno.EDQUOT),
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM),
)
"""Errors of the machine that pass without another setting, so a supervisor tries again."""
FAILED, INTERNAL, AGAIN, CONFIG, INTERRUPTED = 1, 70, 75, 78, 130  # 70, 75 and 78 as in sysexits.h

_EPILOG = """\b
Exit codes:
    0  done
    1  there is no answer, or verify found a difference: the text says why
    2  the command line is wrong
   70  an internal error
   75  try again: a port is in use, an address is not up yet, a disk is full,
       or the engine does not answer yet
   78  a setting is wrong, or the system forbids its folder or port
  130  interrupted
\b
Completion, for the line in your shell's start file:
  bash  eval "$(_RATESVC_COMPLETE=bash_source ratesvc)"
  zsh   eval "$(_RATESVC_COMPLETE=zsh_source ratesvc)"
  fish  _RATESVC_COMPLETE=fish_source ratesvc | source"""

_QUARANTINE = """Decide about documents of the Bank that were not published.

NAME may be its beginning.

\b
list     print their names, times and reasons; the newest first
show     print the reasons and the figures of one
release  show one and, if you say yes, publish it with the flag released; a
         running service serves it at once, and ratesvc withdraw takes it back
drop     forget one; if the Bank still sends it, the next poll brings it back"""


class _Main(click.Group):
    """Turns every error into one line and an exit code."""

    def main(self, *arguments: Any, **switches: Any) -> Any:
        """Run the command line. Click itself explains a wrong one, and ends quietly if the reader of a pipe leaves."""
        try:
            return super().main(*arguments, **switches)
        except Exception as error:  # noqa: BLE001 -- an unknown error is reported, too
            text, code = _explained(error)
            if isinstance(error, OSError):
                # Otherwise Python would try at exit to write the rest of the output, and complain.
                with suppress(OSError), Path(os.devnull).open("wb") as nowhere:
                    os.dup2(nowhere.fileno(), sys.stdout.fileno())
            click.echo(f"ratesvc: {text}", err=True)
            sys.exit(code)

    def invoke(self, ctx: click.Context) -> Any:
        """Run one command. Ctrl-C ends it without a word."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)


def _explained(error: Exception) -> tuple[str, int]:
    """One line, and the exit code."""
    if isinstance(error, NotYetSet):
        are = "were" if error.overdue else "are"
        return f"{error} They {are} due by {error.due_at:%H:%M on %Y-%m-%d}, Moscow time.", FAILED
    if isinstance(error, FetchFailed):
        return f"the Bank gave no rates: {error}{'; ' if error.hint else ''}{error.hint}", FAILED
    if isinstance(error, EngineNotReady | GaveUp):
        return str(error), AGAIN
    if isinstance(error, RatesvcError):
        return str(error), CONFIG if isinstance(error, ConfigError | EngineError) else FAILED
    if isinstance(error, OSError):
        named = f"{error.filename}: " if error.filename else ""
        return f"{named}{error.strerror or error}", AGAIN if error.errno in PASSING else CONFIG
    place = traceback.extract_tb(error.__traceback__)[-1]
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return f"internal error, please report it: {text} ({place.filename}, line {place.lineno})", INTERNAL


# Commands


@click.group(cls=_Main, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ratesvc")
@click.option("--config", "file", type=click.Path(path_type=Path), help="Settings; by default ./config.yaml.")
@click.pass_context
def main(context: click.Context, file: Path | None) -> None:
    """The Bank of Russia's official exchange rates as a JSON API and an HTML widget."""
    context.obj = file
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            # The caller has closed it. A socket would get its number, and uvloop cannot work with that.
            setattr(sys, name, Path(os.devnull).open("r+"))  # noqa: SIM115 -- open as long as the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that knows neither arrows nor Cyrillic shows their numbers.
            stream.reconfigure(errors="backslashreplace")


@main.command()
@click.option("--port", metavar="PORT", help="Instead of RATESVC_PORT, which is 8080 by default.")
@click.option("--host", metavar="ADDRESS", help="Instead of RATESVC_HOST; 0.0.0.0 is every address of this machine.")
@click.option("--check-config", is_flag=True, help="Read the settings, say whether they are right, and stop.")
@options.demo_option
@click.pass_obj
def serve(file: Path | None, *, port: str | None, host: str | None, check_config: bool, demo: bool) -> None:
    """Serve the API and the widget until told to stop."""
    given = {"RATESVC_PORT": port, "RATESVC_HOST": host}
    os.environ |= {name: text for name, text in given.items() if text is not None}
    if check_config:
        from ratesvc.web import features

        features.load(options.settings_of(file).features)
        click.echo("The settings are right.")
        return
    options.run("ratesvc.commands.serve.serve", file, is_logged=True, demo=demo)


@main.command()
@click.argument("codes", nargs=-1, type=str.upper)
@options.day_option("date", "A day instead of today.")
@options.json_option("The API's JSON: that of /v1/rates.")
@options.lang_option
@options.demo_option
@click.pass_obj
def show(file: Path | None, /, codes: tuple[str, ...], date: date | None, **output: Any) -> None:
    """Print the rates in force, for all currencies or for CODES."""
    options.run("ratesvc.commands.show.show", file, codes, date, **output)


@main.command()
@options.day_option("since", "The first day; by default 1992-07-01.")
@options.day_option("until", "The last day; by default tomorrow.")
@options.json_option("Every step, and the result last, as a line of JSON.")
@options.demo_option
@click.pass_obj
def backfill(file: Path | None, /, since: date | None, until: date | None, **output: bool) -> None:
    """Fetch all of history; later only what is missing."""
    if since and until and since > until:
        raise click.BadParameter("It must not be later than the last day.", param_hint="--since")
    options.run("ratesvc.commands.backfill.backfill", file, since, until, **output)


@main.command(help=_QUARANTINE)
@click.argument("action", type=click.Choice(["list", "show", "release", "drop"]))
@click.argument("name", required=False)
@click.option("--raw", is_flag=True, help="With show: the Bank's own bytes and nothing else.")
@options.yes_option
@options.json_option("The same as JSON.")
@click.pass_obj
def quarantine(file: Path | None, /, action: str, name: str | None, *, raw: bool, yes: bool, as_json: bool) -> None:
    """List documents that were not published, or show, release or drop one."""
    if (action == "list") != (not name):
        raise click.UsageError("list takes no NAME; show, release and drop take one.")
    if raw and (action != "show" or as_json):
        raise click.UsageError("--raw goes with show, and not with --json.")
    options.run("ratesvc.commands.quarantine.decide", file, "raw" if raw else action, name, yes=yes, as_json=as_json)


@main.command()
@click.argument("day", metavar="YYYY-MM-DD", type=options.to_day)
@options.yes_option
@options.json_option("The same as JSON.")
@click.pass_obj
def withdraw(file: Path | None, /, day: date, *, yes: bool, as_json: bool) -> None:
    """Take a published sheet back.

    The revision before it is in force again. If there is none, the day has no sheet. Every replica learns of it. The
    same figures are not published again unless you release them from quarantine.
    """
    options.run("ratesvc.commands.quarantine.withdraw", file, day, yes=yes, as_json=as_json)


for _folder in COMMANDS:
    main.add_command(import_module(f"ratesvc.features.{_folder}.cli").command)
