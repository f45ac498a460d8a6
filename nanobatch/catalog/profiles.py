"""Profiles: typical situations, and the providers that suit each, chosen from the rows of a price table."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from nanobatch.errors import ConfigError
from nanobatch.yaml_files import parse

_FILE = "profiles.yaml"
_KINDS = {
    "vendor": "the vendor itself, with its contract and its quotas",
    "relay": "a relay",
    "user-pays": "your users pay, and you do not",
}


@dataclass(frozen=True, slots=True)
class Traits:
    """What no price table tells about a provider."""

    kind: str  # vendor | relay | user-pays
    source: str
    mainland_china: bool = False  # can be reached from there without a tunnel


@dataclass(frozen=True, slots=True)
class Profile:
    """A situation and its needs."""

    name: str
    situation: str
    images: int
    size: str
    per: str  # how often they are generated: day | week | month | year
    kinds: Sequence[str]  # of providers that come into question
    best: int  # how many of them are recommended, in order of priority
    within_hours: float | None = None
    mainland_china: bool = False


def profile_names() -> list[str]:
    """Return the names of all profiles."""
    return list(_document()["profiles"])


def find_profile(name: str) -> Profile:
    """Return a profile by its name.

    Raises:
        ConfigError: There is none.
    """
    known = profile_names()
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"--profile: there is no {name!r}, only {', '.join(known)}{meant}")
    return Profile(name, **_document()["profiles"][name])


def provider_traits() -> Mapping[str, Traits]:
    """Return what is known of the providers beside their prices."""
    return {name: Traits(**entry) for name, entry in _document()["traits"].items()}


def recommend(
    profile: Profile, rows: Sequence[Mapping[str, Any]], traits: Mapping[str, Traits]
) -> list[dict[str, Any]]:
    """Return the providers that suit a profile, the cheapest first, and why, as rows of JSON.

    Args:
        profile: The situation.
        rows: What each provider would ask (`costs.compare`).
        traits: By the provider's name; who has none is not recommended.
    """
    suited = [row for row in rows if _suits(profile, row, traits.get(row["provider"]))]
    suited.sort(key=lambda row: (row["cost_usd"], row["duration_seconds"]))
    return [
        {
            "provider": row["provider"],
            "cost_usd": row["cost_usd"],
            "batch_cost_usd": row["batch_cost_usd"],
            "duration_seconds": row["duration_seconds"],
            "why": _why(place, profile, row, traits[row["provider"]]),
        }
        for place, row in enumerate(suited[: profile.best])
    ]


def _suits(profile: Profile, row: Mapping[str, Any], traits: Traits | None) -> bool:
    if traits is None or traits.kind not in profile.kinds or row["cost_usd"] is None:
        return False
    if profile.mainland_china and not traits.mainland_china:
        return False
    return profile.within_hours is None or row["duration_seconds"] <= profile.within_hours * 3600


def _why(place: int, profile: Profile, row: Mapping[str, Any], traits: Traits) -> str:
    reasons = ["the cheapest that fits" if place == 0 else "takes over when the one before it is down or has no quota"]
    reasons.append(_KINDS[traits.kind])
    if profile.mainland_china:
        reasons.append("reachable without a tunnel")
    if row["batch_cost_usd"] is not None:
        reasons.append(f"{row['batch_cost_usd']:,.2f} USD as a batch, for images that may take a day")
    return "; ".join(reasons)


@functools.cache
def _document() -> Mapping[str, Any]:
    text = resources.files(__package__).joinpath(_FILE).read_text(encoding="utf-8")
    return parse(text, _FILE).values
