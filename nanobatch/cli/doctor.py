"""`nanobatch doctor`: is everything there that a run needs? With `--ping` it asks the providers, at no cost."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nanobatch.cli.providers import ReportFormat

if TYPE_CHECKING:
    from nanobatch.doctor import Finding
    from nanobatch.settings import Settings

_MARKS = {"ok": "✓", "warning": "!", "problem": "✗"}
_PING_SECONDS = 10.0


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
    from nanobatch.cli.reporting import answer  # noqa: PLC0415 - `--help` must not wait for it
    from nanobatch.doctor import exit_code  # noqa: PLC0415

    findings = _findings(config, ping=ping)
    code = exit_code(findings)
    checks = [{"name": each.name, "status": each.status, "message": each.message} for each in findings]
    answer({"checks": checks, "exit_code": code}, as_json=output is ReportFormat.JSON, render=render)
    raise typer.Exit(code)


def _findings(config: str | None, *, ping: bool) -> list[Finding]:
    from nanobatch import doctor as checks  # noqa: PLC0415
    from nanobatch.catalog import load_catalog  # noqa: PLC0415
    from nanobatch.cli.running import load_from_surroundings  # noqa: PLC0415
    from nanobatch.clock import SystemClock  # noqa: PLC0415
    from nanobatch.errors import NanobatchError  # noqa: PLC0415

    catalog, clock = load_catalog(), SystemClock()
    found = checks.machine(os.environ, Path())
    found.append(checks.catalog_age(catalog, clock))
    try:
        settings = load_from_surroundings({}, config, None)
    except NanobatchError as error:
        found.append(checks.Finding("configuration", "problem", error.message, error.exit_code))
        return found
    found.append(checks.Finding("configuration", "ok", "the configuration can be used"))
    found += checks.keys(settings, os.environ, catalog)
    if ping:
        found += asyncio.run(_pings(settings))
    return found


async def _pings(settings: Settings) -> list[Finding]:
    """Ask all providers at once."""
    from nanobatch.clock import SystemClock  # noqa: PLC0415
    from nanobatch.connections import Connections  # noqa: PLC0415
    from nanobatch.doctor import Finding, ping  # noqa: PLC0415
    from nanobatch.errors import NanobatchError  # noqa: PLC0415
    from nanobatch.lanes import AUTHS, check_credentials  # noqa: PLC0415
    from nanobatch.transport import HttpTransport  # noqa: PLC0415

    try:
        credential = await check_credentials(settings.providers)
    except NanobatchError as error:
        return [Finding("credentials", "problem", error.message, error.exit_code)]
    async with Connections(limit=len(settings.providers)) as connections, asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(
                ping(
                    provider,
                    HttpTransport(
                        connections,
                        base_url=provider.base_url,
                        auth=AUTHS[provider.auth],
                        api_key=provider.api_key,
                        credential=credential if provider.auth == "google" else None,
                        new_part=_nowhere,
                        timeout_seconds=_PING_SECONDS,
                    ),
                    SystemClock(),
                )
            )
            for provider in settings.providers
        ]
    return [task.result() for task in tasks]


def _nowhere() -> Path:
    raise AssertionError("a free call returns no image")


def render(found: dict[str, Any]) -> Any:
    """Draw one line for each check."""
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for check in found["checks"]:
        table.add_row(_MARKS[check["status"]], check["name"], check["message"])
    return table
