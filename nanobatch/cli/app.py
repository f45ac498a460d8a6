"""The list of commands, and the last border: what becomes of an error that nobody else has handled."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from nanobatch import __version__
from nanobatch.cli.batch import batch
from nanobatch.cli.cache import cache
from nanobatch.cli.doctor import doctor
from nanobatch.cli.estimate_cost import estimate_cost
from nanobatch.cli.gallery import gallery
from nanobatch.cli.init import init
from nanobatch.cli.mistakes import CommandLineError, is_only_help, sentence
from nanobatch.cli.providers import providers
from nanobatch.cli.run import run
from nanobatch.cli.sandbox import sandbox
from nanobatch.cli.status import status
from nanobatch.cli.verify import verify
from nanobatch.errors import ConfigError, StoreError

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
app.command()(init)
app.command()(run)
# The list of commands shows one line of each; what is longer would end in the middle of a sentence.
app.command(name="estimate-cost", short_help="Tell price and time at every provider.")(estimate_cost)
app.command(name="providers", short_help="Show providers: keys, models, prices, limits.")(providers)
app.add_typer(batch, name="batch", short_help="Order images at half the price, within a day.")
app.add_typer(cache, name="cache", short_help="Look after the images kept for later runs.")
app.command(short_help="Check keys, configuration, disk and prices.")(doctor)
app.command(short_help="Show how the run in a folder stands.")(status)
app.command(short_help="Read every image again and compare it.")(verify)
app.command(short_help="Put all images of a run on one page.")(gallery)
app.command(short_help="Speak the providers' formats on 127.0.0.1.")(sandbox)


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
    _replace_closed_streams()
    code = _outcome()
    for stream in filter(None, (sys.__stdout__, sys.__stderr__)):
        try:
            stream.flush()
        except OSError as error:
            # The reader has seen enough, or a disk is full. Python would complain once more when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            if code == 0 and stream is sys.__stdout__ and not isinstance(error, BrokenPipeError):
                sys.stderr.write(f"nanobatch: standard output cannot be written: {error.strerror}\n")
                code = StoreError.exit_code  # the data that was asked for is lost
    return code


def _replace_closed_streams() -> None:
    """Open what the parent closed, before a file of ours takes its number and receives what is meant for people."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - for as long as the process lives


def _outcome() -> int:
    try:
        code = app(prog_name="nanobatch", standalone_mode=False)
    except CommandLineError as error:
        if is_only_help(error):
            sys.stderr.write(f"{error}\n")
        else:
            from nanobatch.reporters.wording import safe  # noqa: PLC0415 - `--help` must not wait for it

            sys.stderr.write(f"nanobatch: {safe(sentence(error), 1000)}\n")
        return ConfigError.exit_code
    except typer.Abort:
        return INTERRUPTED
    except SystemExit as done:
        if isinstance(done.__context__, BrokenPipeError):
            return 0  # typer calls it a failure
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
    return code if isinstance(code, int) else 0  # commands return nothing; typer.Exit becomes its code
