"""`nanobatch providers`: who can be asked, with which key, at what price and within which limits."""

from __future__ import annotations

import enum
from typing import Annotated, Any

import typer

from nanobatch.cli import completion


class ReportFormat(enum.StrEnum):
    """What standard output carries."""

    TEXT = "text"
    JSON = "json"


def providers(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="Show everything of this one.", autocompletion=completion.providers),
    ] = None,
    config: Annotated[
        str | None, typer.Option("--config", "-c", metavar="FILE", help="Instead of nanobatch.yaml.")
    ] = None,
    output: Annotated[
        ReportFormat, typer.Option("--output", "-O", help="For people or for programs.")
    ] = ReportFormat.TEXT,
) -> None:
    """Show the providers: keys, models, prices, limits, and the order in which they are tried. Sends nothing.

    Example: nanobatch providers kie -O json
    """
    from nanobatch.cli.reporting import answer  # noqa: PLC0415 - `--help` must not wait for it
    from nanobatch.cli.running import complain, settings_or_none  # noqa: PLC0415
    from nanobatch.errors import NanobatchError  # noqa: PLC0415

    try:
        answer(_found(name, settings_or_none(config)), as_json=output is ReportFormat.JSON, render=render)
    except NanobatchError as error:
        complain(error)
        raise typer.Exit(error.exit_code) from error


def _found(name: str | None, settings: Any) -> dict[str, Any]:
    import os  # noqa: PLC0415

    from nanobatch.catalog import load_catalog  # noqa: PLC0415
    from nanobatch.providers_report import find, report  # noqa: PLC0415

    found = report(load_catalog(), settings, os.environ)
    return {"providers": found if name is None else [find(found, name)], "detailed": name is not None}


def render(found: dict[str, Any]) -> Any:
    """Draw a table of all providers, or one provider line by line."""
    from rich.table import Table  # noqa: PLC0415

    if found["detailed"]:
        return _details(found["providers"][0])
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("provider", "key", "models, USD per image", "limits"):
        table.add_column(title, overflow="fold")
    for number, provider in enumerate(found["providers"], 1):  # those in use come first, in their order
        place = f"{number}. " if provider["used"] else ""
        table.add_row(f"{place}{provider['name']}", _key(provider), _prices(provider), _limits(provider["limits"]))
    return table


def _key(provider: dict[str, Any]) -> str:
    if provider["key_found_in"]:
        return f"from {provider['key_found_in']}"
    return f"set {' or '.join(provider['key_variables'])}" if provider["key_variables"] else "needs none"


def _prices(provider: dict[str, Any]) -> str:
    lines = []
    for model in provider["models"]:
        prices = model["prices"]
        distinct = set(prices.values())
        shown = (
            f"{distinct.pop():g}"
            if len(distinct) == 1
            else ", ".join(f"{size} {usd:g}" for size, usd in prices.items())
        )
        lines.append(f"{model['name']} {shown}")
    return "\n".join(lines) or "set your own prices"


def _limits(limits: dict[str, Any]) -> str:
    window = limits["window_seconds"]
    rpm = f"{limits['rpm']} rpm, " if limits["rpm"] else ""
    if limits["rpm"] and window != 60:
        rpm = f"{limits['rpm'] * window // 60} in {window} s, "
    ipm = f"{limits['ipm']} ipm, " if limits["ipm"] else ""
    rpd = f"{limits['rpd']} rpd, " if limits["rpd"] else ""
    return f"{rpm}{ipm}{rpd}{limits['concurrency']} at once"


def _details(provider: dict[str, Any]) -> Any:
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    used = f"yes, with priority {provider['priority']}" if provider["used"] else "no"
    rows = {
        "name": provider["name"],
        "used": used,
        "key": _key(provider),
        "protocol": provider["protocol"],
        "base_url": provider["base_url"],
        "limits": _limits(provider["limits"]),
        "tiers": ", ".join(provider["tiers"]),
        "prices as of": provider["as_of"] or "your configuration",
        "price source": provider["price_source"] or "your configuration",
    }
    for title, text in rows.items():
        table.add_row(title, text)
    for model in provider["models"]:
        table.add_row("", "")
        seed = "takes a seed" if model["seed"] else "takes no seed"
        table.add_row(model["name"], f"{model['id']}; there: {model['wire_id']}")
        table.add_row("", " ".join(f"{size} ${usd:g}" for size, usd in model["prices"].items()))
        table.add_row("", f"ratios {' '.join(model['aspect_ratios']) or 'as the provider decides'}")
        table.add_row("", f"{model['references'] or 'no'} reference images, {seed}")
        if model["former_ids"]:
            table.add_row("", f"formerly {', '.join(model['former_ids'])}")
    return table
