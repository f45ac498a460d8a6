"""The ledger of many machines, on a real Redis."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest
from redis import Redis

from nanobatch.clock import SystemClock
from nanobatch.errors import LedgerError
from nanobatch.limits.account import Ask, Meter, Returned
from nanobatch.limits.redis_ledger import RedisLedger
from nanobatch.model import Cost
from tests.redis_process import RedisProcess, redis_process

pytestmark = pytest.mark.anyio
METERS = [Meter("requests", 100, 61.25)]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisProcess]:
    with redis_process() as process:
        yield process


def ask(holder: str, wanted: int) -> Ask:
    return Ask(holder, METERS, concurrency=1000, costs=[Cost()] * wanted, entering=wanted, wants_slots=wanted)


def ledger(url: str) -> RedisLedger:
    return RedisLedger(url, where="the Redis", clock=SystemClock())


async def test_machines_share_an_account(server: RedisProcess) -> None:
    """What one took the other cannot have; each account is its own."""
    one, two = ledger(server.url), ledger(server.url)
    assert (await one.exchange("shared", ask("a", 70))).granted == 70
    assert (await two.exchange("shared", ask("b", 70))).granted == 30
    assert (await two.exchange("own", ask("b", 70))).granted == 70
    await one.close()
    await two.close()


async def test_many_at_once_never_take_more_than_there_is(server: RedisProcess) -> None:
    """Whoever was slower does it again with what the faster one has left."""
    ledgers = [ledger(server.url) for _ in range(8)]

    async def grab(number: int) -> int:
        return sum([(await ledgers[number].exchange("race", ask(f"h{number}", 1))).granted for _ in range(20)])

    assert sum(await asyncio.gather(*map(grab, range(8)))) == 100
    for each in ledgers:
        await each.close()


async def test_what_is_given_back_is_given_back_once(server: RedisProcess) -> None:
    """Also where the reply is lost and the client asks again: twice would let too much through."""
    one = ledger(server.url)
    first = await one.exchange("lost", ask("a", 70))
    give_back = replace(ask("a", 0), returned=[Returned(first.at, Cost(30, 30), frozenset())])
    lost = asyncio.Event()
    async with _losing_a_reply(server.port, lost) as port:
        other = ledger(f"redis://127.0.0.1:{port}/0")
        await other.exchange("lost", give_back)
        await other.close()
    assert lost.is_set()
    assert (await one.exchange("lost", ask("b", 100))).granted == 60
    await one.close()


@contextlib.asynccontextmanager
async def _losing_a_reply(port: int, lost: asyncio.Event) -> AsyncIterator[int]:
    """Stand before a server, and end the connection in place of its first reply to a script."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, here = await asyncio.open_connection("127.0.0.1", port)
        writers.extend((writer, here))
        while data := await reader.read(65536):
            here.write(data)
            answer = await there.read(65536)
            if b"EVALSHA" in data and not answer.startswith(b"-NOSCRIPT") and not lost.is_set():
                lost.set()
                break
            writer.write(answer)
        writer.close()
        here.close()

    proxy = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with proxy:
        yield int(proxy.sockets[0].getsockname()[1])
    for each in writers:
        each.close()


async def test_the_time_is_the_servers(server: RedisProcess) -> None:
    """Machines whose clocks differ agree."""
    one = ledger(server.url)
    answer = await one.exchange("time", ask("a", 1))
    redis = Redis.from_url(server.url)
    seconds, _ = redis.time()
    assert abs(answer.at - seconds) < 5
    redis.close()
    await one.close()


async def test_old_accounts_go_by_themselves(server: RedisProcess) -> None:
    """After some days that nobody touched them."""
    one = ledger(server.url)
    await one.exchange("old", ask("a", 1))
    redis = Redis.from_url(server.url)
    assert 86_400 < redis.ttl("nanobatch:usage:old") <= 3 * 86_400
    redis.close()
    await one.close()


async def test_a_server_that_is_gone_is_an_error() -> None:
    """The run goes on alone; see Share. No password stands in the message."""
    with redis_process(password="hush-hush") as process:
        url = f"redis://:hush-hush@127.0.0.1:{process.port}/0"
        one = ledger(url)
        assert (await one.exchange("x", ask("a", 1))).granted == 1
        process.kill()
        with pytest.raises(LedgerError, match="cannot be kept in the Redis") as caught:
            await one.exchange("x", ask("a", 1))
        assert "hush" not in str(caught.value)
        await one.close()


async def test_a_wrong_password_is_an_error() -> None:
    """Named as such."""
    with redis_process(password="hush-hush") as process:
        one = ledger(f"redis://:wrong-one@127.0.0.1:{process.port}/0")
        with pytest.raises(LedgerError, match="password") as caught:
            await one.exchange("x", ask("a", 1))
        assert "wrong-one" not in str(caught.value)
        await one.close()


async def test_a_server_that_hangs_is_an_error_after_seconds() -> None:
    """It holds the connection and answers nothing."""
    with redis_process() as process:
        one = ledger(process.url)
        await one.exchange("x", ask("a", 1))
        process.freeze()
        with pytest.raises(LedgerError, match="cannot be kept"):
            await asyncio.wait_for(one.exchange("x", ask("a", 1)), 20)
        process.thaw()
        assert (await one.exchange("x", ask("a", 1))).granted == 1
        await one.close()


async def test_what_is_no_account_is_an_error(server: RedisProcess) -> None:
    """Somebody else's key, or a later version's state, is not overwritten."""
    redis = Redis.from_url(server.url)
    redis.set("nanobatch:usage:text", "hello")
    redis.hset("nanobatch:usage:bad", mapping={"version": 1, "state": b"\x93"})
    one = ledger(server.url)
    for account in ("text", "bad"):
        with pytest.raises(LedgerError):
            await one.exchange(account, ask("a", 1))
    assert redis.get("nanobatch:usage:text") == b"hello"
    redis.close()
    await one.close()
