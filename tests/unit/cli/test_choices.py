"""The words that options accept, held against the settings they end up in."""

from __future__ import annotations

import enum
from typing import get_args, get_type_hints

import pytest

from nanobatch.cli.choices import DataFormat, OnQuota, OnUnknown, Progress, Strategy
from nanobatch.schema import SECTIONS
from nanobatch.settings import RunSettings


def words(kind: type[enum.StrEnum]) -> set[str]:
    return {str(word) for word in kind}


@pytest.mark.parametrize(("kind", "setting"), [(OnQuota, "on_quota"), (OnUnknown, "on_unknown")])
def test_flags_accept_what_settings_know(kind: type[enum.StrEnum], setting: str) -> None:
    """A word on the command line is a word of the setting, and every word of the setting has its flag."""
    allowed = set(get_args(get_type_hints(RunSettings)[setting]))
    assert words(kind) == allowed


@pytest.mark.parametrize("word", list(Strategy))
def test_a_strategy_that_is_offered_works(word: Strategy) -> None:
    """The command line offers no strategy that the config refuses, and leaves none out."""
    assert SECTIONS["run"]["strategy"](word) == word
    assert words(Strategy) == {"priority", "cheapest", "fastest"}


def test_formats_and_displays_are_a_promise() -> None:
    """Scripts use these words."""
    assert words(DataFormat) == {"text", "json", "jsonl", "paths"}
    assert words(Progress) == {"auto", "bar", "plain", "none"}
