"""`nanobatch gallery`: all images of a run on one page, which opens from disk."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from nanobatch.cli.providers import ReportFormat


def gallery(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The output folder of a run.")],
    *,
    output: Annotated[
        ReportFormat, typer.Option("--output", "-O", help="For people or for programs.")
    ] = ReportFormat.TEXT,
) -> None:
    """Write DIR/gallery.html: all images with their prompts, prices and errors, to search, filter, sort and look at.

    A run writes it at its end; this writes it at any time, also while a run goes on, and makes the small pictures of
    large images, which let it scroll smoothly. The page needs no network, and the folder may be moved or passed on.

    Example: nanobatch gallery prompts-images
    """
    from nanobatch.cli.reporting import answer_with_command  # noqa: PLC0415 - `--help` must not wait for it
    from nanobatch.cli.running import complain  # noqa: PLC0415
    from nanobatch.clock import SystemClock  # noqa: PLC0415
    from nanobatch.errors import NanobatchError  # noqa: PLC0415
    from nanobatch.reporters.folder_tables import render_gallery  # noqa: PLC0415
    from nanobatch.reporters.gallery.making import gallery_of  # noqa: PLC0415

    try:
        found = gallery_of(folder, SystemClock(), told=_show_progress)
    except NanobatchError as error:
        complain(error)
        raise typer.Exit(error.exit_code) from error
    found["next"] = {"why": "open it in a browser", "command": found["url"]}
    answer_with_command(found, as_json=output is ReportFormat.JSON, render=render_gallery)


def _show_progress(done: int, of: int) -> None:
    """Count on one line of a terminal; a pipe hears nothing."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\rsmall pictures: {done:,} of {of:,}" + ("\n" if done == of else ""))
        sys.stderr.flush()
