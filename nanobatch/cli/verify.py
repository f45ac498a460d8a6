"""`nanobatch verify`: is every image that was paid for still there, byte for byte?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nanobatch.cli.providers import ReportFormat


def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The output folder of a run.")],
    *,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Set wrong files aside, so that the next run sends exactly what is lost."),
    ] = False,
    output: Annotated[
        ReportFormat, typer.Option("--output", "-O", help="For people or for programs.")
    ] = ReportFormat.TEXT,
) -> None:
    """Read every image again and compare it with its record: missing, changed, truncated, damaged, foreign files.

    Exit code 0 when all is right, 1 when anything is wrong, 2 when DIR is no run. --repair deletes nothing and spends
    nothing; it prints the command that generates the lost images again.

    Example: nanobatch verify prompts-images --repair
    """
    from nanobatch.cli.reporting import answer_with_command  # noqa: PLC0415 - `--help` must not wait for it
    from nanobatch.cli.running import complain  # noqa: PLC0415
    from nanobatch.clock import SystemClock  # noqa: PLC0415
    from nanobatch.errors import NanobatchError  # noqa: PLC0415
    from nanobatch.reporters.folder_tables import render_verification  # noqa: PLC0415
    from nanobatch.verification import verify as examine  # noqa: PLC0415

    try:
        found = examine(folder, SystemClock(), repair=repair)
    except NanobatchError as error:
        complain(error)
        raise typer.Exit(error.exit_code) from error
    answer_with_command(found, as_json=output is ReportFormat.JSON, render=render_verification)
    raise typer.Exit(found["exit_code"])
