"""What a provider is, and how one is found by its name."""

from __future__ import annotations

import doctest

import pytest

from nanobatch.providers import base
from nanobatch.providers.base import estimated_tokens


def test_the_example_for_writers_of_providers_works() -> None:
    """The module's example, a format with tasks and a download, runs as it is printed."""
    result = doctest.testmod(base)
    assert result.attempted >= 8
    assert result.failed == 0


@pytest.mark.parametrize(("prompt", "tokens"), [("", 1), ("fox", 1), ("a" * 400, 100)])
def test_tokens_are_estimated_and_never_none(prompt: str, tokens: int) -> None:
    """Four characters are a token, and every prompt takes at least one from the quota."""
    assert estimated_tokens(prompt) == tokens
