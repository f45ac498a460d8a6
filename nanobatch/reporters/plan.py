"""`--dry-run` for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nanobatch.reporters.wording import count, duration, images, money, safe

MOST_NEAREST = 50  # are listed


def render_plan_text(plan: Mapping[str, Any]) -> str:
    """Return the plan in a few lines."""
    done, to_send = count(plan["already_done"]), count(plan["to_send"])
    cached = f"{count(plan['cached'])} in the cache, " if plan["cached"] else ""
    copies = f"{count(plan['duplicates'])} copies of others, " if plan["duplicates"] else ""
    lines = [f"{images(plan['jobs'])} wanted, {done} already on disk, {cached}{copies}{to_send} to generate"]
    if plan["skipped_rows"]:
        lines.append(f"{count(plan['skipped_rows'])} bad rows left out")
    lines.append(f"into {safe(plan['output'], 300)}" + (", from the sandbox" if plan["sandbox"] else ""))
    for provider in plan["providers"]:
        prices = ", ".join(f"{size} {money(price)}" for size, price in provider["price_usd"].items())
        limits = _limits(provider["limits"])
        name, model = safe(provider["name"], 30), safe(provider["wire_model"], 60)
        name += f" ({provider['lane']})" if provider.get("lane", "sync") != "sync" else ""
        lines.append(f"  {name}: {images(provider['images'])} of {model} at {prices}; {limits}")
    cost = plan["cost_usd"]
    spread = "" if cost["low"] == cost["high"] else f" ({money(cost['low'])} to {money(cost['high'])})"
    lines.append(f"expected cost {money(cost['expected'])}{spread}")
    if plan["bound_by"] == "batches":
        lines.append(f"expected time up to {duration(plan['duration_seconds'])}, in batches; most are back sooner")
    elif plan["bound_by"] != "nothing":
        lines.append(f"expected time {duration(plan['duration_seconds'])}, bounded by {plan['bound_by']}")
    lines += _nearest(plan["semantic"])
    if (deadline := plan.get("plan", {}).get("deadline_seconds")) is not None:
        how = "in time" if plan["plan"]["in_time"] else "too late"
        lines.append(f"{how} for the deadline in {duration(deadline)}")
    lines += [f"warning: {safe(warning, 300)}" for warning in plan["warnings"]]
    return "\n".join(lines)


def _limits(limits: Mapping[str, int | None]) -> str:
    """Name the limits there are; a window of a minute is what everybody reckons with."""
    said = {name: value for name, value in limits.items() if value is not None}
    if said.get("window_seconds") == 60:
        del said["window_seconds"]
    return ", ".join(f"{name} {count(value)}" for name, value in said.items())


def _nearest(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """List what says the same in other words, the farthest first: there the threshold is chosen."""
    if not rows:
        return []
    taken = sum(row["taken"] for row in rows)
    lines = [f"{images(taken)} of earlier prompts that say the same (cache.semantic):"]
    for row in sorted(rows, key=lambda row: float(row["score"]))[:MOST_NEAREST]:
        verdict = "taken" if row["taken"] else "below the threshold"
        lines.append(f"  {row['score']:.2f} {verdict}: {safe(row['prompt'], 120)} = {safe(row['other_prompt'], 120)}")
    if len(rows) > MOST_NEAREST:
        lines.append(f"  and {count(len(rows) - MOST_NEAREST)} nearer ones; -O json lists them")
    return lines
