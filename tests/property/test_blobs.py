"""Whatever the JSON and wherever its chunks end, the scanner agrees with the standard library."""

from __future__ import annotations

import base64
import itertools
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from nanobatch.blobs import LONG, BlobScanner
from nanobatch.model import Blob

images = st.builds(
    lambda seed, length: (seed * (length // len(seed) + 1))[:length],
    st.binary(min_size=1, max_size=40),
    st.integers(0, 4000),
)
texts = st.text(max_size=30) | st.builds(
    lambda text: text * 60, st.text(alphabet='a "\\\n/ü猫', min_size=5, max_size=40)
)
encoded = images.map(lambda data: base64.b64encode(data).decode())
scalars = st.none() | st.booleans() | st.integers() | texts | encoded
documents = st.dictionaries(
    st.text(max_size=10),
    st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_size=4,
)


def pieces(body: bytes, cuts: list[int]) -> Iterator[bytes]:
    places = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    return (body[start:end] for start, end in itertools.pairwise(places))


def scan(body: bytes, cuts: list[int]) -> Any:
    """Scan a body and put each blob's bytes, encoded again, in its place."""
    with tempfile.TemporaryDirectory() as folder:
        numbers = itertools.count()
        scanner = BlobScanner(lambda: Path(folder) / str(next(numbers)))
        for piece in pieces(body, cuts):
            scanner.feed(piece)
        return encoded_again(scanner.finish())


def encoded_again(found: Any) -> Any:
    match found:
        case Blob():
            assert found.flaw is None
            assert found.size > LONG * 3 // 4 - 3
            assert found.path.stat().st_size == found.size
            return base64.b64encode(found.path.read_bytes()).decode()
        case dict():
            return {key: encoded_again(value) for key, value in found.items()}
        case list():
            return [encoded_again(value) for value in found]
        case _:
            return found


@settings(max_examples=150, deadline=None)
@given(document=documents, cuts=st.lists(st.integers(0, 10**6), max_size=8), ascii_only=st.booleans())
def test_the_scanner_agrees_with_json(document: Any, cuts: list[int], ascii_only: bool) -> None:
    """For any JSON, in any chunks, the blobs put back give what json.loads gives."""
    body = json.dumps(document, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    assert scan(body, cuts) == json.loads(body)


def spelled(draw: Any, text: str) -> str:
    """Write base64 as some provider might: each special character in any of its spellings."""
    spellings = {"/": ["/", "\\/", "_", "\\u002f", "\\u002F"], "+": ["+", "-", "\\u002b"], "=": ["=", "\\u003d", ""]}
    choice: dict[str, str] = {char: draw(st.sampled_from(ways)) for char, ways in spellings.items()}
    blank: str = draw(st.sampled_from(["", "\\n", "\\r\\n", "\\t"]))
    width = draw(st.integers(20, 100))
    lines = (text[at : at + width] for at in range(0, len(text), width))
    return blank.join("".join(choice.get(char, char) for char in line) for line in lines)


@settings(max_examples=150, deadline=None)
@given(
    data=st.data(),
    image=images.filter(lambda image: len(image) > LONG),
    cuts=st.lists(st.integers(0, 10**6), max_size=8),
)
def test_every_spelling_decodes_to_the_same_bytes(data: st.DataObject, image: bytes, cuts: list[int]) -> None:
    """URL-safe, unpadded, escaped or broken into lines: the bytes are the same."""
    text = base64.b64encode(image).decode()
    body = ('{"data": "' + spelled(data.draw, text) + '"}').encode()
    assert scan(body, cuts) == {"data": text}


@settings(max_examples=100, deadline=None)
@given(
    before=st.integers(LONG + 1, 3000),
    bad=st.sampled_from(["!", ".", "\\u0007", "ü", "\\\\", "QQ==Q", "="]),
    after=st.integers(8, 500),
    cuts=st.lists(st.integers(0, 10**6), max_size=8),
)
def test_a_flaw_does_not_depend_on_the_chunks(before: int, bad: str, after: int, cuts: list[int]) -> None:
    """A broken string is found broken at the same character however it arrives, and the JSON goes on after it."""
    body = ('["' + "A" * before + bad + "A" * after + '", 17]').encode()

    def flaw(places: list[int]) -> str | None:
        with tempfile.TemporaryDirectory() as folder:
            scanner = BlobScanner(lambda: Path(folder) / "part")
            for piece in pieces(body, places):
                scanner.feed(piece)
            blob, rest = scanner.finish()
            assert rest == 17
            assert isinstance(blob, Blob)
            return blob.flaw

    assert flaw(cuts) == flaw([]) is not None
