"""`nanobatch doctor`: is everything there that a run needs? With `--ping` it asks the providers, at no cost."""

from __future__ import annotations

from typing import Annotated

import typer

from nanobatch.cli.providers import ReportFormat


def doctor(
    *,
    ping: Annotated[
        bool, typer.Option("--ping", help="Ask each provider something that costs nothing, such as its models.")
    ] = False,
    config: Annotated[
        str | None, typer.Option("--config", "-c", metavar="FILE", help="Instead of nanobatch.yaml.")
    ] = None,
    output: Annotated[
        ReportFormat, typer.Option("--output", "-O", help="For people or for programs.")
    ] = ReportFormat.TEXT,
) -> None:
    """Check keys, configuration, disk and prices, and with --ping the providers themselves. Nothing costs anything.

    Example: nanobatch doctor --ping
    """
    from nanobatch.cli.checkup import examine  # noqa: PLC0415 - `--help` must not wait for it

    raise typer.Exit(examine(config, ping=ping, as_json=output is ReportFormat.JSON))
