"""Redis where somebody asks for it, and a sentence where its package is missing."""

from __future__ import annotations

import sys

import pytest

from nanobatch.errors import ConfigError
from nanobatch.optional_redis import import_redis, where
from nanobatch.settings import Secret


def test_a_server_is_called_without_its_password() -> None:
    """Messages say where it is, and nothing that opens it."""
    assert where(Secret("redis://user:secret@cache.example:7000/1")) == "the Redis at cache.example:7000"
    assert where(Secret("redis://cache.example")) == "the Redis at cache.example:6379"


def test_the_module_comes_when_the_package_is_there() -> None:
    """What is named is what is imported."""
    assert import_redis("spending_redis", key="usage.url").__name__ == "nanobatch.spending_redis"


def test_a_missing_package_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the setting that asks for it, and what to install."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "redis"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "nanobatch.spending_redis", raising=False)
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigError, match=r"cache\.url needs another package: pip install 'nanobatch\[redis\]'"):
        import_redis("spending_redis", key="cache.url")


def test_other_missing_modules_are_bugs() -> None:
    """A module of ours that is not there is no matter of installing something."""
    with pytest.raises(ModuleNotFoundError):
        import_redis("no_such_module", key="cache.url")
