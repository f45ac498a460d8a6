"""What every test gets: a clean environment, a home of its own, and no way to the network beyond loopback."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.browser import CHROMIUM, Browser, chromium

# The same examples on every run, so that a red gate means a broken change. Search for new ones by hand, and keep what
# is found as an @example: pytest --hypothesis-profile=search tests/property
settings.register_profile("search", derandomize=False, max_examples=1_000)
settings.register_profile("gate", derandomize=True)
settings.load_profile("gate")

KEY_LIKE = re.compile(r"API_KEY|AUTH_TOKEN|^NANOBATCH|PROXY$", re.IGNORECASE)


@pytest.fixture
def anyio_backend() -> str:
    """Run async tests on asyncio, the loop that nanobatch uses."""
    return "asyncio"


@pytest.fixture(autouse=True, scope="session")
def nobodys_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep fixtures of whole modules, which come before those of a test, out of the developer's home as well."""
    home = tmp_path_factory.mktemp("session")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
            patch.setenv(name, str(home / name.lower()))
        yield


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Hide the developer's keys, config and state from every test."""
    for name in list(os.environ):
        if KEY_LIKE.search(name):
            monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    for name, folder in {
        "HOME": ".",
        "XDG_CONFIG_HOME": "config",
        "XDG_STATE_HOME": "state",
        "XDG_CACHE_HOME": "cache",
    }.items():
        monkeypatch.setenv(name, str(home / folder))
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test that tries to leave the machine."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not str(address[0]).startswith(("127.", "::1")):
            raise AssertionError(f"a test tried to reach {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture
def project_root() -> Path:
    """The root of the checkout."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium. Where there is none its tests are skipped, unless REQUIRE_BROWSER says that there must be."""
    if CHROMIUM is None:
        if os.environ.get("REQUIRE_BROWSER"):
            pytest.fail("REQUIRE_BROWSER is set, and there is no chromium on the PATH")
        pytest.skip("there is no chromium on the PATH; with it (apt-get install chromium) this would be tested")
    with chromium() as found:
        yield found
