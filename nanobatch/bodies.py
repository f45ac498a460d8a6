"""Reads the body of an answer straight from its connection into whoever consumes it, without holding any of it.

An HTTP library reads a body into new pieces of memory and lets somebody fetch them later. A body of 21 MB is then
copied twice, and wakes a task for every piece. Here one buffer, shared by all connections of a run, takes what the
socket has; it is consumed at once, in the same turn of the event loop, and the buffer is free for the next socket.
So a slow consumer needs no signal to the other side: while it works, nobody reads.

A read has a fixed price, so it should bring much; but fifty large reads in one turn of the loop are a stall. So whoever
has read much, and has more waiting, rests, and each turn lets a few of those who rest read on, in their order.

What a body is, RFC 9112 says in section 6: so many bytes as announced, chunks of which each tells its size, or all that
comes until the connection is closed.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, Literal, Protocol, TypeAlias

from nanobatch.errors import NanobatchError

LARGEST_READ_BYTES = 2**20
LARGEST_PIECE_BYTES = 256 * 1024  # where each connection has memory of its own: over TLS, and through a proxy
SMALLEST_READ_BYTES = 16 * 1024
READS_TOGETHER_BYTES = 32 * 2**20  # the most that all bodies may bring in one turn of the loop
READERS_PER_TURN = 16  # of those with more waiting
_MUCH_BYTES = 128 * 1024
_CHUNK_LINE_BYTES = 4096  # longer extensions or trailers are nonsense
_INVALID = "the body is not valid HTTP"
_CHUNK_SIZE = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;[^\r\n]*)?\r?\n")

Consumer: TypeAlias = Callable[[bytes | bytearray, int, int], bool | None]
"""Takes data[start:end], which is gone when it returns; True says that it wants no more."""


class BrokenBody(Exception):
    """The body does not have the form that its headers promised, or ended before its end."""


class Arrivals:
    """Knows all bodies that are arriving, and shares out how much each of them reads in one turn of the loop."""

    def __init__(self) -> None:
        self.bodies = 0
        self.buffer = bytearray(LARGEST_READ_BYTES)
        self.view = memoryview(self.buffer)
        self._resting: deque[asyncio.ReadTransport] = deque()
        self._resting_now = 0  # those who rest until the end of this turn at least

    def share(self) -> int:
        """Return how many bytes one body may take at once."""
        readers = max(1, self.bodies - self._resting_now)
        return max(SMALLEST_READ_BYTES, min(READS_TOGETHER_BYTES // readers, LARGEST_READ_BYTES))

    def piece(self) -> int:
        """Return how many bytes a connection may hold that has memory of its own."""
        together = READS_TOGETHER_BYTES // max(1, self.bodies)
        return max(SMALLEST_READ_BYTES, min(together, LARGEST_PIECE_BYTES))

    def rest(self, transport: asyncio.ReadTransport) -> None:
        """Leave a connection that has more to read alone until its turn comes; what waits, waits in the kernel."""
        if self.bodies <= READERS_PER_TURN:
            return
        transport.pause_reading()
        if not self._resting:
            asyncio.get_running_loop().call_soon(self._next_turn)
        self._resting.append(transport)

    def _next_turn(self) -> None:
        for _ in range(min(READERS_PER_TURN, len(self._resting))):
            self._resting.popleft().resume_reading()  # does nothing where it was closed meanwhile
        self._resting_now = len(self._resting)
        if self._resting:
            asyncio.get_running_loop().call_soon(self._next_turn)


def limit_read(transport: Any, piece_bytes: int) -> None:
    """Let a connection hold so much memory for one piece of a body.

    asyncio has no official way to say so. Where these attributes are missing, as in other event loops, a connection
    takes what the loop thinks best, and a burst of answers costs more memory.
    """
    if hasattr(transport, "max_size"):
        transport.max_size = piece_bytes
        return
    tls: Any = getattr(transport, "_ssl_protocol", None)
    if not hasattr(tls, "max_size") or not hasattr(tls, "_ssl_buffer"):
        return
    transport.set_read_buffer_limits(piece_bytes)
    tls.max_size = piece_bytes
    if len(tls._ssl_buffer) > piece_bytes:  # noqa: SLF001 - it grows by itself, and never shrinks
        tls._ssl_buffer = bytearray(piece_bytes)  # noqa: SLF001
        tls._ssl_buffer_view = memoryview(tls._ssl_buffer)  # noqa: SLF001


class Framing(Protocol):
    """Finds the end of a body."""

    def __call__(self, data: bytes | bytearray, end: int, consume: Consumer) -> int | None:
        """Consume data[:end]; return where the body ended in it, or None while it goes on.

        Raises:
            BrokenBody: It is not what the framing allows.
        """
        ...

    def at_close(self) -> bool:
        """Tell whether a body that is cut off by the end of the connection is whole."""
        ...


class Enough(Exception):
    """The consumer wants no more."""


class Announced:
    """A body of so many bytes."""

    def __init__(self, length: int) -> None:
        self._left = length

    def __call__(self, data: bytes | bytearray, end: int, consume: Consumer) -> int | None:
        """Count what comes."""
        last = min(end, self._left)
        self._left -= last
        _give(consume, data, 0, last)
        return None if self._left else last

    def at_close(self) -> bool:
        """Be whole where everything came."""
        return not self._left


class UntilClose:
    """A body that ends with its connection."""

    def __call__(self, data: bytes | bytearray, end: int, consume: Consumer) -> int | None:
        """Take everything."""
        _give(consume, data, 0, end)
        return None

    def at_close(self) -> bool:
        """Be whole in any case: nothing tells otherwise."""
        return True


class Chunked:
    """A body in chunks: a line with the size, the bytes, a line break; after the chunk of size 0, trailers."""

    def __init__(self) -> None:
        self._left = 0  # of the current chunk
        self._line = b""  # what came of the line between two chunks
        self._expected: Literal["size", "break", "trailer"] = "size"

    def __call__(self, data: bytes | bytearray, end: int, consume: Consumer) -> int | None:
        """Take what stands in chunks."""
        at = 0
        while at < end:
            if self._left:
                stop = min(end, at + self._left)
                self._left -= stop - at
                _give(consume, data, at, stop)
                at = stop
                continue
            newline = data.find(b"\n", at, end)
            stop = end if newline < 0 else newline + 1
            self._line += data[at:stop]
            at = stop
            if len(self._line) > _CHUNK_LINE_BYTES:
                raise BrokenBody(_INVALID)
            if newline >= 0 and self._line_ends_body():
                return at
        return None

    def _line_ends_body(self) -> bool:
        """Read one whole line; True for the empty one behind the trailers."""
        line, self._line = self._line, b""
        is_blank = line in (b"\r\n", b"\n")
        if self._expected == "trailer":
            return is_blank
        if self._expected == "break" and is_blank:
            self._expected = "size"
            return False
        size = _CHUNK_SIZE.fullmatch(line)
        if size is None or self._expected != "size":
            raise BrokenBody(_INVALID)
        self._left = int(size[1], 16)
        self._expected = "break" if self._left else "trailer"
        return False

    def at_close(self) -> bool:
        """Be cut: the last chunk did not come."""
        return False


def _give(consume: Consumer, data: bytes | bytearray, start: int, end: int) -> None:
    if end > start and consume(data, start, end):
        raise Enough


def framing_of(headers: Mapping[str, str], *, chunked: bool) -> Framing:
    """Choose how a body's end is found."""
    if chunked:
        return Chunked()
    length = headers.get("content-length", "")
    return Announced(int(length)) if length else UntilClose()


class Body(asyncio.BufferedProtocol):
    """Stands in for a connection's own protocol while one body arrives.

    Args:
        owner: The connection's own protocol, which learns of everything that is not the body.
        framing: Where the body ends.
        consume: Takes the bytes.
        arrivals: Who else is arriving.
        transport: The connection, or None where it is closed already.
    """

    def __init__(
        self,
        owner: asyncio.Protocol,
        framing: Framing,
        consume: Consumer,
        *,
        arrivals: Arrivals,
        transport: asyncio.Transport | None,
    ) -> None:
        self._owner = owner
        self._framing = framing
        self._consume = consume
        self._arrivals = arrivals
        self._transport = transport
        self._much_bytes = 0
        self._done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.is_clean = False  # the body was read to its end and nothing came behind it

    @property
    def is_done(self) -> bool:
        """Whether nothing more is consumed."""
        return self._done.done()

    def __await__(self) -> Generator[Any, None, bool]:
        """Wait until the body is consumed; False where the consumer wanted no more of it.

        Raises:
            BrokenBody: It is cut or not valid.
            OSError: The connection broke.
            NanobatchError: What the consumer raised.
        """
        return self._done.__await__()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's, which is -1 or a guess
        """Lend the buffer of the run for one read."""
        share = self._arrivals.share()
        self._much_bytes = min(share // 2, _MUCH_BYTES)
        return self._arrivals.view[:share]

    def buffer_updated(self, nbytes: int) -> None:
        """Consume what was read."""
        self.take(self._arrivals.buffer, nbytes)
        if nbytes >= self._much_bytes and self._transport is not None and not self.is_done:
            self._arrivals.rest(self._transport)

    def take(self, data: bytes | bytearray, end: int) -> None:
        """Consume data[:end]."""
        if self._done.done():
            self.is_clean = False
            return
        try:
            ended = self._framing(data, end, self._consume)
        except Enough:
            self._done.set_result(False)
        except (BrokenBody, NanobatchError) as error:
            self._done.set_exception(error)
        else:
            if ended is not None:
                self.is_clean = ended == end
                self._done.set_result(True)

    def eof_received(self) -> bool | None:
        """Let the connection close itself."""
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        """End the body where the connection ended."""
        self.cut(exc)
        self._owner.connection_lost(exc)

    def cut(self, exc: Exception | None) -> None:
        """End the body here: whole, where nothing was announced, else broken."""
        self.is_clean = False
        if self._done.done():
            return
        if exc is None and self._framing.at_close():
            self._done.set_result(True)
        else:
            self._done.set_exception(exc or BrokenBody("the connection was closed before the end of the body"))

    def pause_writing(self) -> None:
        """Pass on that the other side does not read."""
        self._owner.pause_writing()

    def resume_writing(self) -> None:
        """Pass on that the other side reads again."""
        self._owner.resume_writing()


class Inflater:
    """Undoes gzip or deflate in steps of bounded size, so that a small body cannot become a huge one at once."""

    def __init__(self, window_bits: int) -> None:
        self._stream = zlib.decompressobj(window_bits)

    def pieces(self, piece: bytes | memoryview) -> Iterator[bytes]:
        """Yield what compressed bytes hold.

        Raises:
            BrokenBody: They are not compressed so.
        """
        more = True
        while more:
            try:
                plain = self._stream.decompress(piece, LARGEST_READ_BYTES)
            except zlib.error as error:
                raise BrokenBody(f"broken compression: {error}") from error
            if plain:
                yield plain
            piece = self._stream.unconsumed_tail
            more = bool(piece) or len(plain) == LARGEST_READ_BYTES  # it may hold more of what it has taken in

    def before(self, consume: Consumer) -> Consumer:
        """Return a consumer of compressed bytes that passes the others on."""

        def inflate(data: bytes | bytearray, start: int, end: int) -> bool:
            return any(consume(plain, 0, len(plain)) for plain in self.pieces(memoryview(data)[start:end]))

        return inflate

    def check_end(self) -> None:
        """Tell whether everything came.

        Raises:
            BrokenBody: The end is missing.
        """
        if not self._stream.eof:
            raise BrokenBody("the compressed body is cut")


def inflater_of(encoding: str) -> Inflater | None:
    """Return what undoes a content encoding, or None where nothing is to be undone."""
    match encoding.strip().lower():
        case "gzip" | "x-gzip":
            return Inflater(16 + zlib.MAX_WBITS)
        case "deflate":
            return Inflater(zlib.MAX_WBITS)
        case _:
            return None
