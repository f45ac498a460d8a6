"""Keeps what all runs of many machines spend in a day, in a Redis (or Valkey) that all of them reach.

Looking and setting aside are one script on the server, so runs anywhere never exceed the limit together. A server that
does not answer stops the run: a limit on money that nobody can check is none.
"""

from __future__ import annotations

import datetime as dt
import logging
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from nanobatch.clock import Clock
from nanobatch.errors import StoreError
from nanobatch.spending import DayTotals

_LOG = logging.getLogger(__name__)
_TIMEOUT_SECONDS = 2.0
_KEPT_SECONDS = 3 * 86_400
_FIELDS = ("spent", "possible", "reserved")
_TAKE = """
local sum = 0
for _, value in ipairs(redis.call('HMGET', KEYS[1], 'spent', 'possible', 'reserved')) do
    sum = sum + (tonumber(value or '0') or 0)
end
if sum + tonumber(ARGV[1]) > tonumber(ARGV[2]) then return 0 end
redis.call('HINCRBY', KEYS[1], 'reserved', ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
"""


class RedisDaySpending:
    """One run's door to the day's money of many machines.

    Args:
        url: redis://, rediss:// or unix://, with the password where there is one.
        limit_micro_usd: What all runs may spend on one day, in millionths of a dollar.
        where: How messages call the server; tells no password.
        clock: Says which day it is.

    Raises:
        ValueError: The address is none.
    """

    def __init__(self, url: str, limit_micro_usd: int, *, where: str, clock: Clock) -> None:
        self.limit = limit_micro_usd
        self.run = ""  # runs have no sums of their own
        self._where, self._clock = where, clock
        self._redis = Redis.from_url(
            url,
            socket_timeout=_TIMEOUT_SECONDS,
            socket_connect_timeout=_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),  # nobody knows whether it was done: again could set it aside twice
        )
        self._take = self._redis.register_script(_TAKE)

    def today(self) -> str:
        """Return the day of now as 2026-11-24, in UTC: the machines may be anywhere."""
        return dt.datetime.fromtimestamp(self._clock.wall(), dt.UTC).date().isoformat()

    def take(self, amount: int) -> str | None:
        """Set an amount aside; return the day on which it counts, or None where the day has no room for it.

        Raises:
            StoreError: The server does not answer as it should.
        """
        day = self.today()
        try:
            fits = self._take(keys=[_key(day)], args=[amount, self.limit, _KEPT_SECONDS])
        except (RedisError, OSError) as error:
            raise self._unusable(error) from error
        return day if fits else None

    def adopt(self, day: str, run: str, amount: int) -> bool:  # noqa: ARG002 - all runs share one sum
        """Go on with what another run has set aside on a day; False where that is not there any more.

        Raises:
            StoreError: The server does not answer.
        """
        return self.totals(day).reserved >= amount

    def settle(
        self,
        day: str,
        amount: int,
        *,
        spent: int = 0,
        possible: int = 0,
        run: str | None = None,  # noqa: ARG002 - all runs share one sum
    ) -> None:
        """Replace what was set aside by what became of it. A server that fails leaves it set aside: never over."""
        try:
            with self._redis.pipeline(transaction=True) as pipeline:
                for name, change in zip(_FIELDS, (spent, possible, -amount), strict=True):
                    if change:
                        pipeline.hincrby(_key(day), name, change)
                pipeline.expire(_key(day), _KEPT_SECONDS)
                pipeline.execute()
        except (RedisError, OSError) as error:
            _LOG.warning("day_spending_not_settled", extra={"error": str(error)})

    def totals(self, day: str | None = None) -> DayTotals:
        """Add up what all runs have done on a day; today where none is named.

        Raises:
            StoreError: The server does not answer as it should.
        """
        try:
            found: Any = self._redis.hmget(_key(day or self.today()), *_FIELDS)
        except (RedisError, OSError) as error:
            raise self._unusable(error) from error
        return DayTotals(*(int(value or 0) for value in found))

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()

    def _unusable(self, error: Exception) -> StoreError:
        return StoreError(f"the day's spending cannot be kept in {self._where}: {error}")


def _key(day: str) -> str:
    return f"nanobatch:spending:{day}"
