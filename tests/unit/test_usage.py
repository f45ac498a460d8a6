"""What a run shares with all others of the user."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from nanobatch.catalog import Terms
from nanobatch.clock import SystemClock
from nanobatch.errors import ConfigError, StoreError
from nanobatch.limits import Gate
from nanobatch.limits.quota import Quota
from nanobatch.model import Cost
from nanobatch.settings import (
    Defaults,
    Limits,
    OutputSettings,
    ProviderSettings,
    RunSettings,
    Secret,
    Settings,
    UsageSettings,
)
from nanobatch.usage import account_of, budget_of, check_usage, shared_quota, spent_today
from tests.fakes import ManualClock
from tests.redis_process import redis_process

pytestmark = pytest.mark.anyio
TERMS = Terms("x", None, {"1K": 0.1}, protocol="openai")
PROVIDER = ProviderSettings(
    "mine", "openai", "http://127.0.0.1:1/v1", Secret("very-secret"), "bearer", 1, Limits(rpm=10), TERMS
)


def settings(**more: object) -> Settings:
    plain = Settings(Defaults(), RunSettings(), OutputSettings(), (PROVIDER,))
    return replace(plain, **more)  # type: ignore[arg-type]


def test_an_account_is_where_it_is_and_its_key() -> None:
    """Not how a configuration calls it; and the name does not tell the key."""
    name = account_of(PROVIDER)
    assert account_of(replace(PROVIDER, name="other", base_url="http://127.0.0.1:1/v1/")) == name
    assert account_of(replace(PROVIDER, api_key=Secret("another"))) != name
    assert account_of(replace(PROVIDER, base_url="http://127.0.0.1:2/v1")) != name
    assert account_of(replace(PROVIDER, api_key=None)) != name
    assert "secret" not in name
    assert len(name) == 32


async def _quota(root: Path, run: str, wanted: int, **more: object) -> int:
    """Enter so often as the shared quota lets us, as a run of its own."""
    clock, warnings, granted = SystemClock(), list[str](), 0
    async with shared_quota(
        settings(**more), environ={"XDG_STATE_HOME": str(root)}, home=root, run=run, clock=clock, warn=warnings.append
    ) as share_of:
        share = share_of(PROVIDER)
        if share is None:
            return -1
        gate = Gate(clock, name="mine", concurrency=100, rpm=10, share=share)
        async with gate.at_work():
            tasks = [asyncio.ensure_future(gate.enter(Cost())) for _ in range(wanted)]
            await asyncio.wait(tasks, timeout=30)
            granted = sum(task.done() for task in tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    assert not warnings
    return granted


async def test_runs_of_one_user_share_the_quota(tmp_path: Path) -> None:
    """One after the other here; at the same time elsewhere."""
    assert await _quota(tmp_path, "a", 7) == 7
    assert (tmp_path / "nanobatch" / "usage.sqlite").exists()


async def test_the_sandbox_uses_up_nothing(tmp_path: Path) -> None:
    """And no file is made for it."""
    assert await _quota(tmp_path, "a", 7, sandbox=True) == -1
    assert not list(tmp_path.iterdir())
    with budget_of(
        settings(sandbox=True, usage=UsageSettings(0.5)), environ={}, home=tmp_path, run="a", clock=ManualClock()
    ) as budget:
        assert (await budget.reserve(3.0)).day is None
    assert not list(tmp_path.iterdir())


async def test_redis_takes_the_place_of_the_file(tmp_path: Path) -> None:
    """For quota and for money."""
    with redis_process() as server:
        usage = UsageSettings(1.0, Secret(server.url))
        assert await _quota(tmp_path, "a", 7, usage=usage) == 7
        for left in (True, False):
            with budget_of(settings(usage=usage), environ={}, home=tmp_path, run="a", clock=ManualClock()) as budget:
                found = await asyncio.gather(budget.reserve(0.6), return_exceptions=True)
                assert isinstance(found[0], Exception) is not left
    assert not list(tmp_path.iterdir())


def test_a_day_that_cannot_be_kept_ends_the_run(tmp_path: Path) -> None:
    """Before anything is sent."""
    (tmp_path / "nanobatch").write_text("")
    with (
        pytest.raises(StoreError, match="cannot be kept"),
        budget_of(
            settings(usage=UsageSettings(0.5)),
            environ={"XDG_STATE_HOME": str(tmp_path)},
            home=tmp_path,
            run="a",
            clock=ManualClock(),
        ),
    ):
        pass


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it; without an address nothing is needed."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "redis"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "nanobatch.limits.redis_ledger", raising=False)
    monkeypatch.setitem(sys.modules, "redis", None)
    check_usage(settings())
    with pytest.raises(ConfigError, match=r"nanobatch\[redis\]"):
        check_usage(settings(usage=UsageSettings(None, Secret("redis://127.0.0.1:1/0"))))


def test_a_quota_is_described_for_the_ledger() -> None:
    """Only what is limited, with the margin of the gate and of leases."""
    meters = Quota(rpm=10, tpm=500).meters()
    assert [(meter.kind, meter.capacity) for meter in meters] == [("requests", 10), ("tokens", 500)]
    assert all(meter.period_seconds == 61.25 for meter in meters)
    assert Quota().meters() == []


async def test_a_plan_knows_what_was_sent_today(tmp_path: Path) -> None:
    """By any run on the same account, on the provider's own day; nothing where no day has a limit."""
    environ, clock = {"XDG_STATE_HOME": str(tmp_path)}, ManualClock()
    daily = replace(PROVIDER, limits=Limits(rpd=100), day_zone="America/Los_Angeles")
    given = replace(settings(), providers=(daily,))

    def spent(wanted: Settings, later_seconds: float = 0.0) -> dict[str, int]:
        return spent_today(wanted, environ=environ, home=tmp_path, now=clock.wall() + later_seconds)

    assert spent(given) == {}
    async with shared_quota(given, environ=environ, home=tmp_path, run="a", clock=clock, warn=pytest.fail) as share_of:
        share = share_of(daily)
        assert share is not None
        gate = Gate(clock, name="mine", concurrency=100, rpd=100, zone=daily.day_zone, share=share)
        async with gate.at_work():
            for _ in range(7):
                await gate.enter(Cost())
    assert spent(given) == {"mine": 7}
    assert spent(given, 86_400.0) == {"mine": 0}
    assert spent(settings()) == {}
    assert spent(replace(given, sandbox=True)) == {}
    assert spent(replace(given, usage=UsageSettings(url=Secret("redis://127.0.0.1:1")))) == {}
    assert spent(replace(given, providers=(replace(daily, api_key=Secret("another")),))) == {}
