"""What this run shares with all others of the user: each account's quota, and the money of the day.

An account is known by a digest of where it is and of its key, so that two configurations which name it differently
still share it, and nobody can read the key from it. What the sandbox draws uses up nothing that others could want.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from nanobatch.budget import Budget, micro
from nanobatch.clock import Clock
from nanobatch.limits.daily_quota import DailyQuota
from nanobatch.limits.embedded_ledger import EmbeddedLedger, peek
from nanobatch.limits.embedded_ledger import default_path as ledger_path
from nanobatch.limits.holders import holder_name
from nanobatch.limits.quota import Quota
from nanobatch.limits.share import Ledger, Share
from nanobatch.optional_redis import import_redis, where
from nanobatch.settings import ProviderSettings, Settings
from nanobatch.spending import DaySpending
from nanobatch.spending import default_path as spending_path

if TYPE_CHECKING:
    from nanobatch.spending_redis import RedisDaySpending

ShareOf = Callable[[ProviderSettings], Callable[[Quota], Share] | None]


class ClosableLedger(Ledger, Protocol):
    """A ledger with a connection that must be closed."""

    async def close(self) -> None:
        """Close the connection."""
        ...


def account_of(provider: ProviderSettings) -> str:
    """Name an account without telling its key."""
    key = provider.api_key.reveal() if provider.api_key is not None else ""
    return hashlib.blake2b(f"{provider.base_url.rstrip('/')}\0{key}".encode(), digest_size=16).hexdigest()


@contextlib.asynccontextmanager
async def shared_quota(
    settings: Settings, *, environ: Mapping[str, str], home: Path, run: str, clock: Clock, warn: Callable[[str], None]
) -> AsyncIterator[ShareOf]:
    """Open the ledger of quota; yields what makes a provider's share of it.

    Args:
        settings: Say where the ledger is.
        environ: Names the user's state folder.
        home: The user's home.
        run: A name for this run, different from all others.
        clock: All processes of a machine see the same wall clock.
        warn: Told once when the ledger fails.
    """
    if settings.sandbox:
        yield _no_share
        return
    ledger = _ledger(settings, environ=environ, home=home, clock=clock)
    try:
        yield partial(_share, ledger=ledger, run=run, clock=clock, warn=warn)
    finally:
        await ledger.close()


def spent_today(settings: Settings, *, environ: Mapping[str, str], home: Path, now: float) -> dict[str, int]:
    """Return how many requests all runs of this user have sent today, by provider, where days have a limit.

    A plan asks no network, so it does not know what a Redis knows.

    Args:
        settings: Name the providers.
        environ: Names the user's state folder.
        home: The user's home.
        now: In seconds since 1970.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    counting = [provider for provider in settings.providers if provider.limits.rpd is not None]
    if settings.sandbox or settings.usage.url is not None or not counting:
        return {}
    accounts = peek(ledger_path(environ, home), map(account_of, counting))
    return {
        provider.name: max(account.days.get(day.isoformat(), 0) for day in DailyQuota(1, provider.day_zone).days(now))
        for provider in counting
        if (account := accounts.get(account_of(provider))) is not None
    }


@contextlib.contextmanager
def budget_of(
    settings: Settings, *, environ: Mapping[str, str], home: Path, run: str, clock: Clock
) -> Iterator[Budget]:
    """Open the limits on money, of this run and of the day.

    Raises:
        StoreError: The day's spending cannot be kept.
    """
    limit, a_day = settings.run.budget_usd, settings.usage.budget_usd_per_day
    if a_day is None or settings.sandbox:
        yield Budget(limit)
        return
    url = settings.usage.url
    day: DaySpending | RedisDaySpending
    if url is None:
        day = DaySpending(spending_path(environ, home), micro(a_day), run=run, clock=clock)
    else:
        day = import_redis("spending_redis", key="usage.url").RedisDaySpending(
            url.reveal(), micro(a_day), where=where(url), clock=clock
        )
    with contextlib.closing(day):
        yield Budget(limit, day)


def check_usage(settings: Settings) -> None:
    """Find out before anything is sent whether the shared ledger can be opened at all.

    Raises:
        ConfigError: The package for it is not installed.
    """
    if settings.usage.url is not None:
        import_redis("limits.redis_ledger", key="usage.url")


def _ledger(settings: Settings, *, environ: Mapping[str, str], home: Path, clock: Clock) -> ClosableLedger:
    url = settings.usage.url
    if url is None:
        return EmbeddedLedger(ledger_path(environ, home), clock)
    ledger: ClosableLedger = import_redis("limits.redis_ledger", key="usage.url").RedisLedger(
        url.reveal(), where=where(url), clock=clock
    )
    return ledger


def _no_share(_provider: ProviderSettings) -> None:
    return None


def _share(
    provider: ProviderSettings, *, ledger: Ledger, run: str, clock: Clock, warn: Callable[[str], None]
) -> Callable[[Quota], Share]:
    limits = provider.limits

    def share(quota: Quota) -> Share:
        return Share(
            ledger,
            account_of(provider),
            holder=holder_name(run),
            meters=quota.meters(),
            per_day=limits.rpd,
            concurrency=limits.concurrency,
            day=quota.day,
            clock=clock,
            warn=warn,
        )

    return share
