"""The list of commands, and the last border: what becomes of an error that nobody else has handled."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated

import typer

from nanobatch import __version__
from nanobatch.cli.run import run
from nanobatch.cli.sandbox import sandbox

BUG = 70  # EX_SOFTWARE of sysexits.h
INTERRUPTED = 130

app = typer.Typer(
    name="nanobatch",
    help="A file of prompts in, the images out: through whichever provider's quota allows it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(run)
app.command()(sandbox)


def _version(value: bool) -> None:  # noqa: FBT001 - typer calls it so
    if value:
        typer.echo(f"nanobatch {__version__}")
        raise typer.Exit


@app.callback()
def root(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Take the options that belong to no command."""


def start() -> int:
    """Run the command line and return the exit code."""
    try:
        app()
    except SystemExit as done:
        if isinstance(done.__context__, BrokenPipeError):  # typer calls it a failure
            # The reader has seen enough. Python would complain once more when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        return done.code if isinstance(done.code, int) else 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception:  # noqa: BLE001 - the last border: a bug is loud, and has an exit code of its own
        traceback.print_exc()
        sys.stderr.write(
            f"nanobatch {__version__}: this is a bug. Everything finished is on disk; run the same command again "
            "to go on. Please report the lines above; they contain no keys.\n"
        )
        return BUG
    return 0
