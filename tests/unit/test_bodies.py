"""The bodies of answers: where each ends, who gets it, and what a broken one becomes."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Callable

import pytest

from nanobatch.bodies import (
    LARGEST_PIECE_BYTES,
    LARGEST_READ_BYTES,
    READERS_PER_TURN,
    READS_TOGETHER_BYTES,
    SMALLEST_READ_BYTES,
    Announced,
    Arrivals,
    Body,
    BrokenBody,
    Chunked,
    Framing,
    UntilClose,
    framing_of,
    inflater_of,
)
from nanobatch.errors import DecodeError

pytestmark = pytest.mark.anyio

STEPS = [1, 2, 3, 5, 16, 10**9]
BODY = b"0123456789" * 10


class Taker:
    """Collects what a body holds, until it has enough."""

    def __init__(self, most: int = 10**9) -> None:
        self.taken = bytearray()
        self._most = most

    def __call__(self, data: bytes | bytearray, start: int, end: int) -> bool:
        self.taken += data[start:end]
        return len(self.taken) >= self._most


def frame(framing: Framing, wire: bytes, step: int) -> tuple[bytes, bytes | None]:
    """Feed bytes in steps; return the body and what came behind it, None where it goes on."""
    taker = Taker()
    for at in range(0, len(wire), step):
        piece = wire[at : at + step]
        ended = framing(piece, len(piece), taker)
        if ended is not None:
            return bytes(taker.taken), wire[at + ended :]
    return bytes(taker.taken), None


CHUNKS = {
    "one chunk": b"64\r\n" + BODY + b"\r\n0\r\n\r\n",
    "two chunks": b"3C\r\n" + BODY[:60] + b"\r\n28\r\n" + BODY[60:] + b"\r\n0\r\n\r\n",
    "extensions and zeros": b"0064 ;a=b;c\r\n" + BODY + b"\r\n000;last\r\n\r\n",
    "trailers": b"64\r\n" + BODY + b"\r\n0\r\nX-Checksum: 0\r\nX-Other: 1\r\n\r\n",
    "bare line feeds": b"64\n" + BODY + b"\n0\n\n",
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("name", CHUNKS)
def test_chunks_are_joined(name: str, step: int) -> None:
    """A body in chunks is their content, wherever the pieces that arrive end; what follows it is not its own."""
    assert frame(Chunked(), CHUNKS[name] + b"HTTP/1.1 200", step) == (BODY, b"HTTP/1.1 200")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    "wire",
    [
        b"zz\r\n",
        b"\r\n",
        b"-5\r\nabcde\r\n",
        b"5 5\r\nabcde\r\n",
        b"5\r\nabcdefg\r\n0\r\n\r\n",
        b"5\r\nabcde5\r\nabcde\r\n",
        b"1000000000000000\r\n",
        b"5;" + b"x" * 5000,
        b"0\r\n" + b"x" * 5000,
    ],
)
def test_nonsense_is_no_chunk(wire: bytes, step: int) -> None:
    """A size that is none, a chunk longer than its size and an endless line are refused."""
    with pytest.raises(BrokenBody, match="not valid HTTP"):
        frame(Chunked(), wire, step)


@pytest.mark.parametrize("step", STEPS)
def test_an_announced_body_ends_where_it_said(step: int) -> None:
    """Exactly so many bytes are the body."""
    assert frame(Announced(len(BODY)), BODY + b"more", step) == (BODY, b"more")
    assert frame(Announced(len(BODY) + 1), BODY, step) == (BODY, None)


def test_what_the_end_of_the_connection_means() -> None:
    """It ends a body of unknown length, and cuts every other that is not complete."""
    framings: list[tuple[Framing, bool]] = [(UntilClose(), True), (Chunked(), False), (Announced(3), False)]
    for framing, is_whole in framings:
        assert frame(framing, b"2\r", 1)[1] is None
        assert framing.at_close() is is_whole


def test_the_headers_choose_the_framing() -> None:
    """Chunks win over a length; without either the connection's end decides."""
    assert isinstance(framing_of({"content-length": "5"}, chunked=True), Chunked)
    assert isinstance(framing_of({"content-length": "5"}, chunked=False), Announced)
    assert isinstance(framing_of({}, chunked=False), UntilClose)


def test_bodies_share_what_is_read_in_one_turn() -> None:
    """One body reads in large pieces; thousands that arrive together read in small ones, and hold little memory."""
    arrivals = Arrivals()
    shares, pieces = [], []
    for arrivals.bodies in (0, 1, 32, 64, 1024, 10_000):
        shares.append(arrivals.share())
        pieces.append(arrivals.piece())
    assert shares == [LARGEST_READ_BYTES] * 3 + [READS_TOGETHER_BYTES // 64, 32 * 1024, SMALLEST_READ_BYTES]
    assert pieces == [LARGEST_PIECE_BYTES] * 4 + [32 * 1024, SMALLEST_READ_BYTES]


class Line(asyncio.Transport):
    """A connection that notes whether it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.is_read = True

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True


def long_bodies(arrivals: Arrivals, lines: list[Line]) -> list[Body]:
    """Let a long body begin on each of the connections."""
    arrivals.bodies = len(lines)
    length = 10 * LARGEST_READ_BYTES
    return [Body(Owner(), Announced(length), Taker(), arrivals=arrivals, transport=line) for line in lines]


async def test_who_has_read_much_rests_until_its_turn() -> None:
    """Of many bodies with more waiting a few read on in each turn of the loop, in their order; none is forgotten."""
    arrivals, lines = Arrivals(), [Line() for _ in range(3 * READERS_PER_TURN)]
    for body in long_bodies(arrivals, lines):
        body.get_buffer(-1)
        body.buffer_updated(LARGEST_READ_BYTES // 2)
    for turns in range(4):
        reading = min(turns * READERS_PER_TURN, len(lines))
        assert [line.is_read for line in lines] == [True] * reading + [False] * (len(lines) - reading)
        await asyncio.sleep(0)


async def test_those_who_rest_leave_their_share_to_the_others() -> None:
    """In a burst few read at a time, so each may read much: a read has its price, whatever it brings."""
    arrivals, lines = Arrivals(), [Line() for _ in range(500)]
    bodies = long_bodies(arrivals, lines)
    for body in bodies:
        body.buffer_updated(len(body.get_buffer(-1)))
    together = sum(len(bytes(body.get_buffer(-1))) for body in bodies)
    assert together <= READS_TOGETHER_BYTES  # nobody's share grows within the turn
    await asyncio.sleep(0)
    assert arrivals.share() == LARGEST_READ_BYTES


@pytest.mark.parametrize(("others", "count"), [(READERS_PER_TURN - 1, 2**18), (READERS_PER_TURN, 1000)])
async def test_who_disturbs_nobody_reads_on(others: int, count: int) -> None:
    """Where few bodies arrive, or one has read little and so has nothing waiting, its connection stays read."""
    arrivals, lines = Arrivals(), [Line() for _ in range(others + 1)]
    body = long_bodies(arrivals, lines)[0]
    body.get_buffer(-1)
    body.buffer_updated(count)
    assert lines[0].is_read


class Owner(asyncio.Protocol):
    """A connection's own protocol, which notes what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append(("lost", exc))

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")


def arrive(body: Body, arrivals: Arrivals, data: bytes) -> None:
    """Let bytes arrive as a socket does."""
    body.get_buffer(-1)[: len(data)] = data
    assert body.get_buffer(-1).obj is arrivals.buffer
    body.buffer_updated(len(data))


async def test_a_body_is_consumed_as_it_arrives() -> None:
    """Every piece is taken at once, from one buffer, and the end is known without another read."""
    arrivals, taker = Arrivals(), Taker()
    body = Body(Owner(), Announced(6), taker, arrivals=arrivals, transport=None)
    arrive(body, arrivals, b"abc")
    assert (bytes(taker.taken), body.is_done) == (b"abc", False)
    arrive(body, arrivals, b"def")
    assert bytes(taker.taken) == b"abcdef"
    assert await body is True
    assert body.is_clean


@pytest.mark.parametrize("late", [False, True])
async def test_bytes_behind_a_body_make_the_connection_useless(late: bool) -> None:
    """A connection whose server says more than it announced may not serve another request."""
    arrivals, taker = Arrivals(), Taker()
    body = Body(Owner(), Announced(3), taker, arrivals=arrivals, transport=None)
    if late:
        arrive(body, arrivals, b"abc")
        arrive(body, arrivals, b"d")
    else:
        arrive(body, arrivals, b"abcd")
    assert await body is True
    assert not body.is_clean
    assert bytes(taker.taken) == b"abc"


async def test_a_consumer_may_have_enough() -> None:
    """When the consumer wants no more, the body ends, and the connection is not clean."""
    arrivals, taker = Arrivals(), Taker(most=4)
    body = Body(Owner(), Announced(100), taker, arrivals=arrivals, transport=None)
    arrive(body, arrivals, b"abcdef")
    assert await body is False
    assert not body.is_clean


async def test_a_consumer_that_fails_ends_the_body() -> None:
    """What the consumer raises is what waiting for the body raises; nothing is consumed afterwards."""

    def fail(_data: bytes | bytearray, _start: int, _end: int) -> bool:
        raise DecodeError("too large")

    arrivals = Arrivals()
    body = Body(Owner(), Announced(100), fail, arrivals=arrivals, transport=None)
    arrive(body, arrivals, b"a")
    arrive(body, arrivals, b"b")
    with pytest.raises(DecodeError, match="too large"):
        await body


LOSSES: list[tuple[Callable[[], Framing], Exception | None, type[Exception] | None]] = [
    (UntilClose, None, None),
    (UntilClose, ConnectionResetError("reset"), ConnectionResetError),
    (lambda: Announced(4), None, BrokenBody),
    (Chunked, None, BrokenBody),
]


@pytest.mark.parametrize(("framing", "loss", "raised"), LOSSES)
async def test_a_lost_connection(
    framing: Callable[[], Framing], loss: Exception | None, raised: type[Exception] | None
) -> None:
    """The end of the connection ends a body of unknown length and breaks every other; its owner learns of it."""
    arrivals, owner = Arrivals(), Owner()
    body = Body(owner, framing(), Taker(), arrivals=arrivals, transport=None)
    arrive(body, arrivals, b"2\r\n")
    body.pause_writing()
    body.resume_writing()
    assert not body.eof_received()
    body.connection_lost(loss)
    assert owner.told == ["pause", "resume", ("lost", loss)]
    if raised is None:
        assert await body is True
    else:
        with pytest.raises(raised):
            await body
    assert not body.is_clean


@pytest.mark.parametrize("step", [1, 100, 10**9])
@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), (" X-Gzip ", gzip.compress), ("deflate", zlib.compress)]
)
def test_compressed_bodies(encoding: str, pack: Callable[[bytes], bytes], step: int) -> None:
    """A compressed body is consumed as what it was, in pieces of bounded size, however well it was compressed."""
    plain = b"\0" * 3 * LARGEST_READ_BYTES + bytes(range(256))
    inflater = inflater_of(encoding)
    assert inflater is not None
    sizes: list[int] = []
    taker = Taker()

    def take(data: bytes | bytearray, start: int, end: int) -> bool:
        sizes.append(end - start)
        return taker(data, start, end)

    packed = pack(plain)
    consume = inflater.before(take)
    for at in range(0, len(packed), step):
        piece = bytearray(packed[at : at + step])
        assert not consume(piece, 0, len(piece))
    inflater.check_end()
    assert bytes(taker.taken) == plain
    assert max(sizes) <= LARGEST_READ_BYTES


def test_broken_compression() -> None:
    """Bytes that are not compressed, and a compressed body without its end, are broken."""
    inflater = inflater_of("gzip")
    assert inflater is not None
    with pytest.raises(BrokenBody, match="broken compression"):
        inflater.before(Taker())(b"not gzip at all", 0, 15)
    cut = gzip.compress(BODY)[:-9]
    inflater = inflater_of("gzip")
    assert inflater is not None
    inflater.before(Taker())(cut, 0, len(cut))
    with pytest.raises(BrokenBody, match="cut"):
        inflater.check_end()


def test_a_consumer_of_a_compressed_body_may_have_enough() -> None:
    """Enough is enough behind a compression too: the rest is not even inflated."""
    inflater = inflater_of("deflate")
    assert inflater is not None
    packed = zlib.compress(b"\0" * 20 * LARGEST_READ_BYTES)
    taker = Taker(most=10)
    assert inflater.before(taker)(packed, 0, len(packed)) is True
    assert len(taker.taken) == LARGEST_READ_BYTES


@pytest.mark.parametrize("encoding", ["", "identity", "br"])
def test_other_encodings_are_left_alone(encoding: str) -> None:
    """What was not compressed, or in a way that nobody here can undo, is passed on as it is."""
    assert inflater_of(encoding) is None
