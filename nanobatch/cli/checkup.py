"""What `nanobatch doctor` does once its options are read: the checks, the pings, the table."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from rich.table import Table

from nanobatch.catalog import load_catalog
from nanobatch.cli.reporting import answer
from nanobatch.clock import SystemClock
from nanobatch.connections import Connections
from nanobatch.doctor import Finding, catalog_age, disk, exit_code, keys, machine, ping
from nanobatch.errors import ConfigError, NanobatchError
from nanobatch.lanes import AUTHS, check_credentials
from nanobatch.settings import ProviderSettings, Settings
from nanobatch.starting import load_from_surroundings
from nanobatch.transport import HttpTransport

_MARKS = {"ok": ("✓", "ok"), "warning": ("!", "!"), "problem": ("✗", "x")}  # the second where only ASCII is written
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
    found = machine(os.environ)
    found.append(catalog_age(catalog, clock))
    try:
        settings = load_from_surroundings({}, config, None)
    except NanobatchError as error:
        found.append(Finding("configuration", "problem", error.message, error.exit_code))
        return found
    found.append(Finding("configuration", "ok", "the configuration can be used"))
    found.append(disk(Path(settings.output.dir or ".")))
    found += keys(settings, os.environ, catalog)
    if pings:
        found += asyncio.run(_pings(settings))
    return found


async def _pings(settings: Settings) -> list[Finding]:
    """Ask all providers at once."""
    try:
        async with Connections(limit=len(settings.providers)) as connections, asyncio.TaskGroup() as group:
            tasks = [group.create_task(_ping(provider, connections)) for provider in settings.providers]
    except ConfigError as error:  # a proxy or a certificate that cannot be used
        return [Finding("ping", "problem", error.message, error.exit_code)]
    return [task.result() for task in tasks]


async def _ping(provider: ProviderSettings, connections: Connections) -> Finding:
    """Ask one provider; credentials that cannot be had are this provider's trouble alone."""
    try:
        credential = await check_credentials([provider])
    except NanobatchError as error:
        return Finding(f"ping {provider.name}", "problem", error.message, error.exit_code)
    transport = HttpTransport(
        connections,
        base_url=provider.base_url,
        auth=AUTHS[provider.auth],
        api_key=provider.api_key,
        credential=credential,
        new_part=_nowhere,
        timeout_seconds=_PING_SECONDS,
    )
    return await ping(provider, transport, SystemClock())


def _nowhere() -> Path:
    raise AssertionError("a free call returns no image")


def render(found: dict[str, Any]) -> Table:
    """Draw one line for each check."""
    ascii_only = not (sys.stdout.encoding or "").lower().startswith("utf")
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for check in found["checks"]:
        table.add_row(_MARKS[check["status"]][ascii_only], check["name"], check["message"])
    return table
