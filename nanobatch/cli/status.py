"""`nanobatch status`: how the run in a folder stands, also while it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nanobatch.cli.providers import ReportFormat


def status(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The output folder of a run.")],
    *,
    output: Annotated[
        ReportFormat, typer.Option("--output", "-O", help="For people or for programs.")
    ] = ReportFormat.TEXT,
) -> None:
    """Show how the run in a folder stands: images, cost, rate, time left, errors, and what to do next.

    It may be asked at any time, from any process, also of a run that was killed; it changes nothing.

    Example: nanobatch status prompts-images
    """
    from nanobatch.cli.reporting import answer_with_command  # noqa: PLC0415 - `--help` must not wait for it
    from nanobatch.cli.running import complain  # noqa: PLC0415
    from nanobatch.clock import SystemClock  # noqa: PLC0415
    from nanobatch.errors import NanobatchError  # noqa: PLC0415
    from nanobatch.reporters.folder_tables import render_status  # noqa: PLC0415
    from nanobatch.run_status import status_of  # noqa: PLC0415

    try:
        found = status_of(folder, SystemClock())
    except NanobatchError as error:
        complain(error)
        raise typer.Exit(error.exit_code) from error
    answer_with_command(found, as_json=output is ReportFormat.JSON, render=render_status)
