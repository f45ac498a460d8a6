"""The end of a run in a few lines: what is on disk, what is missing and why, what it cost, what to do next."""

from __future__ import annotations

import datetime as dt
import json
import shlex
from collections.abc import Mapping
from typing import Any

from nanobatch.reporters.wording import count, duration, images, money, rate, safe

REASONS_SHOWN = 5
_NEXT = {
    1: "the rows without an image are in {output}/failed.jsonl; --retry-failed sends them again",
    3: "no provider accepts the account: check the key and the credit, then run the same command again",
    4: "a limit of yours ended the run: raise it and run the same command again",
    130: "run the same command again to go on",
    143: "run the same command again to go on",
}


def render_json(summary: Mapping[str, Any]) -> str:
    """Return the summary as one JSON object."""
    return json.dumps(summary, ensure_ascii=False, indent=2)


def render_text(summary: Mapping[str, Any]) -> str:
    """Return the summary for a person."""
    lines = [_headline(summary), _money_line(summary)]
    lines += _providers(summary)
    lines += _missing(summary)
    if summary["gallery"]:
        lines.append(f"gallery: {safe(summary['gallery'], 300)}")
    if following := _next(summary):
        lines.append(f"next: {following}")
    return "\n".join(line for line in lines if line)


def _headline(summary: Mapping[str, Any]) -> str:
    have = summary["ok"] + summary["cached"]
    origins = {"from earlier runs": summary["resumed"], "from the cache": summary["cached"]}
    told = ", ".join(f"{count(number)} {origin}" for origin, number in origins.items() if number)
    not_new = f" ({told})" if told else ""
    return (
        f"{count(have)} of {images(summary['jobs'])}{not_new} in {safe(summary['output'], 300)}, "
        f"after {duration(summary['duration_seconds'])}"
    )


def _money_line(summary: Mapping[str, Any]) -> str:
    each = summary["cost_per_image_usd"]
    pretended = " (pretended: sandbox)" if summary["sandbox"] else ""
    parts = [f"{money(summary['cost_usd'])} spent{pretended}"]
    if each is not None:
        parts.append(f"{money(each)} an image")
    if summary["maybe_cost_usd"]:
        parts.append(f"{money(summary['maybe_cost_usd'])} possibly billed besides")
    if summary["saved_by_resume_usd"]:
        parts.append(f"{money(summary['saved_by_resume_usd'])} not spent again")
    if summary["saved_by_cache_usd"]:
        parts.append(f"{money(summary['saved_by_cache_usd'])} saved by the cache")
    if summary["images_per_minute"]:
        parts.append(f"{rate(summary['images_per_minute'])} images per minute")
    return ", ".join(parts)


def _providers(summary: Mapping[str, Any]) -> list[str]:
    asked = {name: found for name, found in summary["providers"].items() if found["attempts"] or found["images"]}
    if len(asked) < 2:
        return []
    return [
        f"  {safe(name, 30)}: {images(found['images'])}, {money(found['cost_usd'])}" for name, found in asked.items()
    ]


def _missing(summary: Mapping[str, Any]) -> list[str]:
    counts = {word: summary[word] for word in ("refused", "failed", "unfinished") if summary[word]}
    if not counts:
        return []
    lines = ["without an image: " + ", ".join(f"{count(number)} {word}" for word, number in counts.items())]
    shown = summary["failures"][:REASONS_SHOWN]
    lines += [f"  {count(failure['count'])}× {safe(failure['message'], 160)}" for failure in shown]
    if len(summary["failures"]) > REASONS_SHOWN:
        lines.append("  ... and other reasons, in manifest.jsonl")
    return lines


def _when(summary: Mapping[str, Any]) -> str:
    """Say from which minute on running again helps; nothing when it helps at once."""
    after = summary["resume_after"]
    if not after or after <= summary["finished_at"]:
        return ""
    moment = dt.datetime.fromisoformat(after)
    if moment.second or moment.microsecond:  # a minute too late costs nothing, a second too early costs a run
        moment = moment.replace(second=0, microsecond=0) + dt.timedelta(minutes=1)
    return f" after {moment:%Y-%m-%d %H:%M} UTC"


def _next(summary: Mapping[str, Any]) -> str:
    code = summary["exit_code"]
    if code == 5:
        return f"run the same command again{_when(summary)}"
    if code == 0 and summary["unfinished"]:  # only an order ends well without its images
        return f"nanobatch batch collect {safe(shlex.quote(summary['output']), 300)}"
    return _NEXT.get(code, "").format(output=safe(summary["output"], 300))
