"""Uploads a file in pieces, going on where a break left off: what Google's two protocols for it have in common."""

from __future__ import annotations

from typing import Protocol
from urllib.parse import urlsplit

from nanobatch.batches.wire import MEGABYTE, Read, Talk
from nanobatch.errors import Ambiguous, ServerFault, Unsent
from nanobatch.model import Request, Response

PIECE_BYTES = 8 * MEGABYTE  # Google asks for multiples of 256 kB
MOST_BREAKS = 8  # of one upload, without a byte of progress in between
PASSING = frozenset({408, 429, 500, 502, 503, 504})


class Ways(Protocol):
    """One protocol's words. A received file is known by its name, a part of it by its length."""

    def begin(self) -> Talk[str]:
        """Begin an upload and return its address."""
        ...

    def piece(self, address: str, data: bytes, *, at: int) -> Request:
        """Send a piece."""
        ...

    def received(self, response: Response, *, sent: int) -> str | int:
        """Read the answer to a piece that ends at `sent`: the file's name, or how many bytes are there.

        Raises:
            ExchangeError: The file is not taken.
        """
        ...

    def look(self, address: str, *, delay_seconds: float) -> Talk[str | int | None]:
        """Ask how much has arrived; None where the upload is not known any more."""
        ...


def upload_in_pieces(ways: Ways, read: Read) -> Talk[str]:
    """Upload; return what the vendor calls the file.

    Raises:
        ExchangeError: The file was not taken.
    """
    address = yield from ways.begin()
    at = breaks = 0
    while True:
        data = read(at, PIECE_BYTES)
        try:
            response = yield ways.piece(address, data, at=at)
        except (Unsent, Ambiguous) as error:
            trouble = error.message
        else:
            trouble = f"HTTP {response.status}"
            if response.status not in PASSING:
                found: str | int | None = ways.received(response, sent=at + len(data))
                if isinstance(found, str):
                    return found
                if found is not None and found > at:
                    at, breaks = found, 0
                    continue
        breaks += 1
        if breaks > MOST_BREAKS:
            raise ServerFault(f"the file of rows could not be uploaded: {trouble}")
        found = yield from ways.look(address, delay_seconds=min(30.0, 2.0 ** (breaks - 1)))
        if isinstance(found, str):
            return found
        if found is None:
            address = yield from ways.begin()
            found = 0
        at, breaks = found, 0 if found > at else breaks


def at_home(address: str, home: str) -> str:
    """Keep the address of an upload at the host that it was asked of: the key goes nowhere else.

    >>> at_home("https://elsewhere.example/upload?upload_id=7", "http://127.0.0.1:8787/upload/v1beta")
    'http://127.0.0.1:8787/upload?upload_id=7'
    """
    here, there = urlsplit(home), urlsplit(address)
    return there._replace(scheme=here.scheme, netloc=here.netloc).geturl()
