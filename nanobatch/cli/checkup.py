"""What `nanobatch doctor` does once its options are read: the checks, the pings, the table."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from rich.table import Table

from nanobatch.catalog import load_catalog
from nanobatch.cli.reporting import answer
from nanobatch.cli.running import load_from_surroundings
from nanobatch.clock import SystemClock
from nanobatch.connections import Connections
from nanobatch.doctor import Finding, catalog_age, exit_code, keys, machine, ping
from nanobatch.errors import NanobatchError
from nanobatch.lanes import AUTHS, check_credentials
from nanobatch.settings import Settings
from nanobatch.transport import HttpTransport

_MARKS = {"ok": "✓", "warning": "!", "problem": "✗"}
_PING_SECONDS = 10.0


def examine(config: str | None, *, ping: bool, as_json: bool) -> int:
    """Run the checks, show what they found, and return the exit code."""
    findings = _findings(config, pings=ping)
    code = exit_code(findings)
    checks = [{"name": each.name, "status": each.status, "message": each.message} for each in findings]
    answer({"checks": checks, "exit_code": code}, as_json=as_json, render=render)
    return code


def _findings(config: str | None, *, pings: bool) -> list[Finding]:
    catalog, clock = load_catalog(), SystemClock()
    found = machine(os.environ, Path())
    found.append(catalog_age(catalog, clock))
    try:
        settings = load_from_surroundings({}, config, None)
    except NanobatchError as error:
        found.append(Finding("configuration", "problem", error.message, error.exit_code))
        return found
    found.append(Finding("configuration", "ok", "the configuration can be used"))
    found += keys(settings, os.environ, catalog)
    if pings:
        found += asyncio.run(_pings(settings))
    return found


async def _pings(settings: Settings) -> list[Finding]:
    """Ask all providers at once."""
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


def render(found: dict[str, Any]) -> Table:
    """Draw one line for each check."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for check in found["checks"]:
        table.add_row(_MARKS[check["status"]], check["name"], check["message"])
    return table
