"""An upload in pieces goes on after every kind of break, and ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from nanobatch.batches.uploads import MOST_BREAKS, PIECE_BYTES, at_home, upload_in_pieces
from nanobatch.batches.wire import Talk
from nanobatch.errors import Ambiguous, Rejected, ServerFault, Unsent
from nanobatch.model import Request, Response
from tests.unit.batches.test_wire_gemini import play

DATA = bytes(range(256)) * 4096 * 20  # 20 MB


def read(at: int, length: int) -> bytes:
    return DATA[at : at + length]


@dataclass
class Plain:
    """A protocol whose words are its answers' own."""

    begun: int = 0

    def begin(self) -> Talk[str]:
        self.begun += 1
        yield Request("POST", "/begin")
        return f"/{self.begun}"

    def piece(self, address: str, data: bytes, *, at: int) -> Request:
        return Request("PUT", f"{address}?at={at}", content=data)

    def received(self, response: Response, *, sent: int) -> str | int:  # noqa: ARG002
        if response.status == 400:
            raise Rejected("no")
        found: str | int = response.json
        return found

    def look(self, address: str, *, delay_seconds: float) -> Talk[str | int | None]:
        response = yield Request("GET", address, delay_seconds=delay_seconds)
        found: str | int | None = response.json
        return found


def test_pieces_follow_one_another() -> None:
    """Each begins where the one before ended, and together they are the file."""
    name, requests = play(
        upload_in_pieces(Plain(), read), {}, said(PIECE_BYTES), said(2 * PIECE_BYTES), said("the name")
    )
    assert name == "the name"
    assert b"".join(request.content or b"" for request in requests) == DATA


def said(what: Any) -> Response:
    return Response(200, {}, json=what)


@pytest.mark.parametrize("trouble", [Ambiguous("cut"), Unsent("nobody there"), Response(503, {}), said(0)])
def test_after_a_break_the_server_says_where_it_goes_on(trouble: Any) -> None:
    """Also where it takes a piece and keeps nothing of it."""
    _, requests = play(upload_in_pieces(Plain(), read), {}, trouble, said(70), said("n"))
    assert requests[3].path == "/1?at=70"
    assert (requests[3].content or b"")[:100] == DATA[70:170]


def test_a_break_behind_the_last_byte() -> None:
    """The file is there, so nothing is sent again."""
    name, requests = play(upload_in_pieces(Plain(), read), {}, Ambiguous("cut"), said("the name"))
    assert (name, len(requests)) == ("the name", 3)


def test_an_upload_that_is_forgotten_begins_anew() -> None:
    """With another address, from the first byte."""
    _, requests = play(upload_in_pieces(Plain(), read), {}, Ambiguous("cut"), said(None), {}, said("n"))
    assert [request.path for request in requests] == ["/begin", "/1?at=0", "/1", "/begin", "/2?at=0"]


def test_it_is_given_up_where_nothing_moves() -> None:
    """Later and later, then no more; a clear no is one at once."""
    steps: list[Any] = [{}, *[Ambiguous("cut"), said(0)] * MOST_BREAKS]
    _, requests = play(upload_in_pieces(Plain(), read), *steps)
    assert [request.delay_seconds for request in requests if request.delay_seconds] == [1, 2, 4, 8, 16, 30, 30, 30]
    with pytest.raises(ServerFault, match="could not be uploaded: cut"):
        play(upload_in_pieces(Plain(), read), *steps, Ambiguous("cut"))
    with pytest.raises(Rejected):
        play(upload_in_pieces(Plain(), read), {}, Response(400, {}))


def test_the_key_stays_at_home() -> None:
    """Whatever host the server names, the next piece goes where the upload was begun."""
    found = at_home("https://evil.example/upload/x?upload_id=7&a=b", "http://127.0.0.1:1/upload/storage/v1")
    assert found == "http://127.0.0.1:1/upload/x?upload_id=7&a=b"
