"""What a provider is, and how one is found by its name."""

from __future__ import annotations

import doctest
import inspect
import subprocess
import sys
import types

import pytest

from nanobatch import providers
from nanobatch.errors import ConfigError
from nanobatch.providers import base
from nanobatch.providers.base import estimated_tokens


def test_the_example_for_writers_of_providers_works() -> None:
    """The module's example, a format with tasks and a download, runs as it is printed."""
    result = doctest.testmod(base)
    assert result.attempted >= 8
    assert result.failed == 0


@pytest.mark.parametrize("protocol", providers.PROTOCOLS)
def test_each_protocol_is_a_module_with_two_functions(protocol: str) -> None:
    """Adding a provider means adding one module; nothing is registered and nothing inherited."""
    provider = providers.load(protocol)
    assert isinstance(provider, types.ModuleType)
    assert provider.__name__ == f"nanobatch.providers.{protocol}"
    assert inspect.isgeneratorfunction(provider.exchange)
    assert list(inspect.signature(provider.exchange).parameters) == ["order"]
    assert list(inspect.signature(provider.fault).parameters) == ["response"]


@pytest.mark.parametrize("protocol", ["", "base", "reading", "Gemini", "..errors", "vertex"])
def test_an_unknown_protocol_is_a_mistake_in_the_config(protocol: str) -> None:
    """A name that is no protocol is refused with the names that are, also where a module has that name."""
    with pytest.raises(ConfigError, match="gemini, openai"):
        providers.load(protocol)


def test_protocols_are_loaded_when_they_are_needed() -> None:
    """Importing the registry imports no wire format: `--help` does not pay for them."""
    code = (
        "import sys, nanobatch.providers as p\n"
        "assert not [m for m in sys.modules if m.startswith('nanobatch.providers.') and m[20:] in p.PROTOCOLS]\n"
        "p.load('gemini')\n"
        "assert 'nanobatch.providers.gemini' in sys.modules and 'nanobatch.providers.openai' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(("prompt", "tokens"), [("", 1), ("fox", 1), ("a" * 400, 100)])
def test_tokens_are_estimated_and_never_none(prompt: str, tokens: int) -> None:
    """Four characters are a token, and every prompt takes at least one from the quota."""
    assert estimated_tokens(prompt) == tokens
