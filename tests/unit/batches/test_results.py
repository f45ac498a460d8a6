"""Files of results: fetched whole through every break, read row by row whatever their lines hold."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanobatch.batches.results import TRIES, ReadLine, fetch, read_results
from nanobatch.batches.wire_gemini import GeminiBatches
from nanobatch.errors import AccountStopped, Ambiguous, ExchangeError, ServerFault, StoreError
from nanobatch.model import Blob, Request
from nanobatch.roads import Begin
from tests.harness import png
from tests.unit.batches.test_talk import Instant

WIRE = GeminiBatches("http://127.0.0.1:1/v1beta")
DATA = bytes(range(256)) * 40


class Store:
    """A server of one file, which breaks off as it is told."""

    def __init__(self, data: bytes = DATA, *, cuts: list[int | None] | None = None) -> None:
        self.data = data
        self.cuts = cuts or []  # after how many bytes; None answers 503
        self.etag = '"one"'
        self.takes_ranges = True
        self.tells_length = True
        self.status = 200
        self.asked: list[dict[str, str]] = []

    async def stream(self, request: Request, begin: Begin, *, stall_seconds: float) -> None:
        assert stall_seconds > 0
        self.asked.append(dict(request.headers))
        cut = self.cuts.pop(0) if self.cuts else len(self.data)
        if cut is None or self.status != 200:
            status = 503 if cut is None else self.status
            consume = begin(status, {})
            assert consume is not None
            body = json.dumps({"error": {"code": status, "message": "no", "status": "X"}}).encode()
            consume(body, 0, len(body))
            return
        start = 0
        headers = {"etag": self.etag}
        if "if-match" in request.headers and request.headers["if-match"] != self.etag:
            begin(412, {})
            return
        if self.takes_ranges and (asked := request.headers.get("range")):
            start = int(asked[6:-1])
            if start >= len(self.data):
                begin(416, {"content-range": f"bytes */{len(self.data)}"})
                return
            headers["content-range"] = f"bytes {start}-{len(self.data) - 1}/{len(self.data)}"
        if self.tells_length:
            headers["content-length"] = str(len(self.data) - start)
        consume = begin(206 if start else 200, headers)
        assert consume is not None
        rest = self.data[start:]
        consume(rest, 0, min(cut, len(rest)))
        if cut < len(rest):
            raise Ambiguous("cut")


async def fetched(store: Store, target: Path) -> bytes:
    await fetch(
        WIRE.downloads("files/r")[0], target, streamer=store, wire=WIRE, clock=Instant(), rng=random.Random(1)
    )  # fmt: skip
    assert not list(target.parent.glob("*.part*"))
    return target.read_bytes()


@pytest.mark.anyio
class TestFetching:
    """One file, over a road with holes."""

    async def test_cuts_are_gone_on_from(self, tmp_path: Path) -> None:
        """Only what is missing is asked for, of the same file."""
        store = Store(cuts=[100, None, 3000, 0])
        assert await fetched(store, tmp_path / "r") == DATA
        assert store.asked[0] == {}
        assert store.asked[1] == {"range": "bytes=100-", "if-match": '"one"'}
        assert store.asked[3]["range"] == "bytes=3100-"

    async def test_a_later_process_goes_on(self, tmp_path: Path) -> None:
        """What has come stays on the disk."""
        store = Store(cuts=[5000, *[0] * TRIES])
        with pytest.raises(Ambiguous):
            await fetched(store, tmp_path / "r")
        again = Store()
        assert await fetched(again, tmp_path / "r") == DATA
        assert again.asked == [{"range": "bytes=5000-", "if-match": '"one"'}]

    async def test_a_file_that_is_here_is_not_fetched(self, tmp_path: Path) -> None:
        """A kill between fetching and reading costs no second download."""
        (tmp_path / "r").write_bytes(b"here")
        store = Store()
        assert await fetched(store, tmp_path / "r") == b"here"
        assert store.asked == []

    async def test_another_file_under_the_name_begins_anew(self, tmp_path: Path) -> None:
        """Two halves of different files are never joined."""
        with pytest.raises(Ambiguous):
            await fetched(Store(b"old" * 3000, cuts=[900, *[0] * TRIES]), tmp_path / "r")
        store = Store()
        store.etag = '"two"'
        assert await fetched(store, tmp_path / "r") == DATA
        assert store.asked[-1] == {}

    async def test_a_shorter_file_begins_anew(self, tmp_path: Path) -> None:
        """What we have is longer than what there is."""
        store = Store(cuts=[5000, *[0] * TRIES])
        store.etag = ""
        with pytest.raises(Ambiguous):
            await fetched(store, tmp_path / "r")
        shorter = Store(DATA[:100])
        shorter.etag = ""
        assert await fetched(shorter, tmp_path / "r") == DATA[:100]

    async def test_a_whole_part_needs_its_name_alone(self, tmp_path: Path) -> None:
        """The kill came between the last byte and the rename: a 416 with our length says that nothing is missing."""
        (tmp_path / "r.part").write_bytes(DATA)
        (tmp_path / "r.part.mark").write_text(json.dumps({"etag": '"one"', "total": len(DATA)}))
        assert await fetched(Store(), tmp_path / "r") == DATA

    async def test_servers_without_ranges_send_everything_again(self, tmp_path: Path) -> None:
        """A 200 where a 206 was asked for begins at the beginning."""
        store = Store(cuts=[6000])
        store.takes_ranges = False
        assert await fetched(store, tmp_path / "r") == DATA

    async def test_the_end_of_a_body_of_unknown_length_is_its_end(self, tmp_path: Path) -> None:
        """The connection has seen to it that it came whole."""
        store = Store()
        store.tells_length = False
        assert await fetched(store, tmp_path / "r") == DATA

    async def test_a_no_is_no(self, tmp_path: Path) -> None:
        """A file that is gone is not asked for again."""
        store = Store()
        store.status = 404
        with pytest.raises(AccountStopped) as caught:
            await fetched(store, tmp_path / "r")
        assert caught.value.http_status == 404
        assert len(store.asked) == 1

    async def test_patience_ends(self, tmp_path: Path) -> None:
        """Without a byte of progress."""
        store = Store(cuts=[None] * 99)
        with pytest.raises(ExchangeError):
            await fetched(store, tmp_path / "r")
        assert len(store.asked) == TRIES

    async def test_a_body_that_is_too_short_is_not_the_file(self, tmp_path: Path) -> None:
        """A server that ends early without a word is asked again."""

        class Short(Store):
            async def stream(self, request: Request, begin: Begin, *, stall_seconds: float) -> None:
                del request, stall_seconds
                consume = begin(200, {"content-length": "10"})
                assert consume is not None
                consume(b"123", 0, 3)

        with pytest.raises(ServerFault, match="did not come whole"):
            await fetched(Short(), tmp_path / "r")


def lines(path: Path, *, keep: bool = True) -> list[ReadLine]:
    numbers = count()
    return list(read_results(path, lambda: path.parent / f"{next(numbers)}.image")) if keep else []


def line(number: int, data: bytes) -> bytes:
    return json.dumps({"key": f"k{number}", "data": base64.b64encode(data).decode()}).encode()


def test_images_leave_their_lines(tmp_path: Path) -> None:
    """Each line is a JSON of its own, with its image on the disk."""
    images = [png(9, number + 9) + bytes(2000 * number) for number in range(1, 60)]
    (tmp_path / "r").write_bytes(b"\n".join(line(number, image) for number, image in enumerate(images)))
    found = lines(tmp_path / "r")
    assert [one.content["key"] for one in found] == [f"k{number}" for number in range(59)]
    for one, image in zip(found, images, strict=True):
        assert isinstance(one.content["data"], Blob)
        assert one.content["data"].path.read_bytes() == image


def test_bad_lines_stand_alone(tmp_path: Path) -> None:
    """Text, half a JSON, blank lines: their neighbours are whole, and they are numbered as an editor does."""
    good = line(1, bytes(5000))
    (tmp_path / "r").write_bytes(b"\n".join([good, b"", b"   ", b"<html>", b'{"a":', good, good + b"\r"]) + b"\n")
    found = lines(tmp_path / "r")
    assert [one.number for one in found] == [1, 4, 5, 6, 7]
    assert [one.flaw is None for one in found] == [True, False, False, True, True]
    assert len(list(tmp_path.glob("*.image"))) == 3


def test_an_empty_file_has_no_lines(tmp_path: Path) -> None:
    """Nor has one of line breaks."""
    (tmp_path / "r").write_bytes(b"\n\n")
    assert lines(tmp_path / "r") == []


def test_a_line_that_is_too_large_is_skipped_to_its_end(tmp_path: Path) -> None:
    """Five megabytes of words are no answer; the next line is read."""
    words = json.dumps({"key": "k", "text": "word " * 2**20}).encode()
    (tmp_path / "r").write_bytes(words + b"\n" + line(2, b"x" * 2000) + b"\n")
    [first, second] = lines(tmp_path / "r")
    assert "too large" in (first.flaw or "")
    assert second.content["key"] == "k2"


def test_whoever_stops_reading_leaves_nothing_open(tmp_path: Path) -> None:
    """A reader that is closed half way in a line deletes what it had begun."""
    (tmp_path / "r").write_bytes(line(1, bytes(100)) + b"\n" + line(2, bytes(600_000)))
    numbers = count()
    reading: Iterator[Any] = read_results(tmp_path / "r", lambda: tmp_path / f"{next(numbers)}.image")
    next(reading)
    reading.close()  # type: ignore[attr-defined]
    assert list(tmp_path.glob("*.image")) == []


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    """Not a traceback."""
    with pytest.raises(StoreError):
        lines(tmp_path / "none")


@given(
    st.lists(st.integers(0, 400_000), min_size=1, max_size=4),
    st.booleans(),
)
def test_any_sizes_of_lines(sizes: list[int], ends: bool) -> None:
    """However lines lie in the pieces that are read, each image comes out as it went in."""
    import tempfile  # noqa: PLC0415 - a folder for each example

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "r"
        images = [bytes([number % 251]) * (size + 1100) for number, size in enumerate(sizes)]
        data = b"\n".join(line(number, image) for number, image in enumerate(images))
        path.write_bytes(data + (b"\n" if ends else b""))
        found = lines(path)
        assert [one.content["data"].path.read_bytes() for one in found] == images


def test_what_a_line_repeats_of_its_request_goes_nowhere(tmp_path: Path) -> None:
    """Only the answer's image is written; the label and the rest of the skeleton stay."""
    reference, image = b"R" * 3_000_000, b"I" * 3_000_000
    part = {"inlineData": {"data": base64.b64encode(reference).decode()}}
    row = {
        "request": {"contents": [{"parts": [{"text": "x" * 5000}, part, part]}], "labels": {"nanobatch_job": "k"}},
        "response": {"request": {"data": base64.b64encode(image).decode()}},
    }
    file = tmp_path / "r.jsonl"
    file.write_text(json.dumps(row) + "\n")
    parts = (tmp_path / f"{number}.part" for number in range(9))
    [line] = read_results(file, lambda: next(parts), echo="request")
    assert line.content["request"]["labels"] == {"nanobatch_job": "k"}
    assert line.content["request"]["contents"][0]["parts"][1] == {"inlineData": {"data": ""}}
    assert line.content["response"]["request"]["data"].path.read_bytes() == image
    assert len(list(tmp_path.glob("*.part"))) == 1
