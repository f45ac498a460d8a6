"""The ledger of many machines: accounts in a Redis (or Valkey) that all of them reach.

The arithmetic is done here and the result is written if nobody was faster, else done again: one copy of the rules for
both ledgers. Time is the server's, so the machines' own clocks may differ.
"""

from __future__ import annotations

import random

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from nanobatch.clock import Clock
from nanobatch.errors import LedgerError
from nanobatch.limits.account import Account, Answer, Ask, exchange
from nanobatch.limits.holders import is_gone

_TIMEOUT_SECONDS = 2.0  # a server that is slower is of no use to a queue of requests
_TRIES = 50
_NAP_SECONDS = 0.02  # at most, before the next try
_KEPT_SECONDS = 3 * 86_400  # an account that nobody has touched for longer than any window and day
_REPLACE = """
if redis.call('HGET', KEYS[1], 'writer') == ARGV[4] then return 1 end
if (redis.call('HGET', KEYS[1], 'version') or '0') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[1] + 1, 'state', ARGV[2], 'writer', ARGV[4])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
"""


class RedisLedger:
    """Accounts in a Redis.

    Args:
        url: redis://, rediss:// or unix://, with the password where there is one.
        where: How messages call the server; tells no password.
        clock: For the naps between tries.

    Raises:
        ValueError: The address is none.
    """

    def __init__(self, url: str, *, where: str, clock: Clock) -> None:
        self._where, self._clock = where, clock
        self._redis = Redis.from_url(
            url,
            socket_timeout=_TIMEOUT_SECONDS,
            socket_connect_timeout=_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 1),  # a connection that was idle too long is opened again
        )
        self._replace = self._redis.register_script(_REPLACE)
        self._rng = random.Random()  # noqa: S311 - naps, not a secret

    async def exchange(self, account: str, ask: Ask) -> Answer:
        """Do one exchange with an account, alone.

        Raises:
            LedgerError: The server does not answer as it should.
        """
        try:
            for _ in range(_TRIES):
                answer = await self._try(f"nanobatch:usage:{account}", ask)
                if answer is not None:
                    return answer
                await self._clock.sleep(self._rng.uniform(0, _NAP_SECONDS))
        except (RedisError, OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise LedgerError(f"the usage of all runs cannot be kept in {self._where}: {error}") from error
        raise LedgerError(f"the usage of all runs cannot be kept in {self._where}: too many write to it at once")

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def _try(self, key: str, ask: Ask) -> Answer | None:
        """Do it, unless somebody else was faster."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.hmget(key, "version", "state")
            pipeline.time()
            (version, state), (seconds, micros) = await pipeline.execute()
        account = msgspec.msgpack.decode(state, type=Account) if state is not None else Account()
        answer = exchange(account, ask, seconds + micros / 1e6, is_gone=is_gone)
        writer = self._rng.randbytes(8)  # what is sent again because its reply was lost is not done again
        state = msgspec.msgpack.encode(account)
        written = await self._replace(keys=[key], args=[version or b"0", state, _KEPT_SECONDS, writer])
        return answer if written else None
