"""The scanner of answers: what leaves the JSON, what stays, and what a broken answer becomes."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nanobatch.blobs import LONG, BlobScanner
from nanobatch.errors import DecodeError, StoreError
from nanobatch.model import Blob

IMAGE = bytes(range(256)) * 20
ENCODED = base64.b64encode(IMAGE).decode()


@pytest.fixture
def new_part(tmp_path: Path) -> Callable[[], Path]:
    numbers = itertools.count()
    return lambda: tmp_path / f"{next(numbers)}.part"


def scan(new_part: Callable[[], Path], body: bytes, step: int = 100) -> Any:
    scanner = BlobScanner(new_part)
    for at in range(0, len(body), step):
        scanner.feed(body[at : at + step])
    return scanner.finish()


@pytest.mark.parametrize("step", [1, 7, 1025, 10**9])
def test_unwanted_strings_go_nowhere(new_part: Callable[[], Path], tmp_path: Path, step: int) -> None:
    """Long strings below one key of the outermost object are dropped, of any kind and at any depth; no others are."""
    text, uri = "words, " * 400, f"data:image/png;base64,{ENCODED}"
    body = {
        "first": ENCODED,
        "asked": {"s": "short", "deep": [{'a"b': ENCODED, "{": [uri, text]}]},
        "after": {"asked": ENCODED, "text": text},
    }
    scanner = BlobScanner(new_part, unwanted="asked")
    whole = json.dumps(body).encode()
    for at in range(0, len(whole), step):
        scanner.feed(whole[at : at + step])
    found = scanner.finish()
    assert found["asked"] == {"s": "short", "deep": [{'a"b': "", "{": ["", ""]}]}
    assert found["first"].path.read_bytes() == found["after"]["asked"].path.read_bytes() == IMAGE
    assert found["after"]["text"] == text
    assert len(list(tmp_path.glob("*.part"))) == 2


def only_blob(new_part: Callable[[], Path], text: str, step: int = 100) -> Blob:
    """Scan a body whose one string is written exactly as given, escapes and all."""
    found = scan(new_part, b'{"data": "' + text.encode() + b'"}', step)["data"]
    assert isinstance(found, Blob)
    return found


def test_a_long_base64_string_becomes_a_file_with_its_digest(new_part: Callable[[], Path]) -> None:
    """A long base64 string is replaced by a blob that names its decoded bytes, their number and their digest."""
    blob = only_blob(new_part, ENCODED)
    assert blob.path.read_bytes() == IMAGE
    assert (blob.size, blob.flaw) == (len(IMAGE), None)
    assert blob.sha256 == hashlib.sha256(IMAGE).hexdigest()


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1023, 1024, 1025, 1026, 10**9])
def test_chunks_may_end_anywhere(new_part: Callable[[], Path], step: int) -> None:
    """The size of the chunks in which a body arrives changes nothing."""
    body = json.dumps({"a": 'quo"te\\', "data": ENCODED, "b": ["\\\\", "ü"], "c": ENCODED[::-1]}).encode()
    found = scan(new_part, body, step)
    assert found["data"].path.read_bytes() == IMAGE
    assert (found["a"], found["b"]) == ('quo"te\\', ["\\\\", "ü"])


@pytest.mark.parametrize("nested", ['[[["%s"]]]', '{"a":{"b":[{"c":"%s"}]}}', '[1,"%s"]'])
def test_blobs_are_found_anywhere(new_part: Callable[[], Path], nested: str) -> None:
    """A blob is found at every depth, in lists and objects."""
    found = scan(new_part, (nested % ENCODED).encode())
    while not isinstance(found, Blob):
        found = list(found.values() if isinstance(found, dict) else found)[-1]
    assert found.path.read_bytes() == IMAGE


def test_a_short_string_stays(new_part: Callable[[], Path], tmp_path: Path) -> None:
    """A string of 1024 characters stays in the JSON, one of 1028 leaves it."""
    assert scan(new_part, json.dumps({"data": "A" * LONG}).encode())["data"] == "A" * LONG
    assert not list(tmp_path.iterdir())
    assert only_blob(new_part, "A" * (LONG + 4)).size == (LONG + 4) // 4 * 3


def test_long_text_stays(new_part: Callable[[], Path], tmp_path: Path) -> None:
    """A long string that is not base64 stays in the JSON, with quotes, backslashes and any alphabet."""
    text = 'He said "no\\" twice. Über 猫. \\\\' * 300
    assert scan(new_part, json.dumps({"text": text}).encode(), 97)["text"] == text
    assert scan(new_part, json.dumps({"text": text}, ensure_ascii=False).encode(), 97)["text"] == text
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("key", ["thoughtSignature", "thought_signature"])
@pytest.mark.parametrize("signature", [ENCODED, "not base64, but long; " * 100])
def test_long_signatures_are_dropped(new_part: Callable[[], Path], tmp_path: Path, key: str, signature: str) -> None:
    """A long thought signature becomes an empty string; it is never written and never kept."""
    body = json.dumps({"part": {key: signature, "after": 1}}, indent=2).encode()
    assert scan(new_part, body) == {"part": {key: "", "after": 1}}
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("prefix", ["data:image/png;base64,", "data:image\\/jpeg;base64,"])
def test_a_data_url_loses_its_prefix(new_part: Callable[[], Path], prefix: str) -> None:
    """The bytes of a data URL are those after its prefix, also where its slash is escaped."""
    assert only_blob(new_part, prefix + ENCODED).path.read_bytes() == IMAGE


URI = "data:image/png;base64,"
ODD = base64.b64encode(IMAGE[:-1]).decode()  # ends in two characters of padding
STEPS = [1, 3, 7, 100, 1023, 4096, 10**9]
CHATS: dict[str, list[str]] = {  # text and base64 in turn
    "markdown": ["Here it is: ![image](" + URI, ENCODED, ")"],
    "two images": [f"One ![x]({URI}", ODD, f')\n\n"two" ![y]({URI}', ENCODED, ") \\ end"],
    "HTML": [f'<img src="{URI}', ENCODED, '"/>'],
    "a bare URI, then words": [URI, ODD, "\n\nI hope you like it"],
    "a long story before": ["It was late. " * 900 + "(" + URI, ODD, ") " + "The end. " * 900],
    "no mime type": ["See data:;base64,", ENCODED, "!"],
    "an image that is no image before": [f"![a]({URI}QQ==) ![b]({URI}", ENCODED, ")"],
}
SPELLINGS: list[Callable[[str], str]] = [
    lambda body: body,
    lambda body: body.replace("/", "\\/"),
    lambda body: body.replace("/", "\\u002f").replace("+", "\\u002B").replace("=", "\\u003d"),
]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("spelling", range(len(SPELLINGS)))
@pytest.mark.parametrize("name", CHATS)
def test_images_inside_a_text_leave_it(new_part: Callable[[], Path], name: str, spelling: int, step: int) -> None:
    """A text around data URIs becomes a list: the text as it was, with a blob wherever base64 stood."""
    wanted = CHATS[name]
    body = SPELLINGS[spelling](json.dumps({"content": "".join(wanted), "after": "all"}))
    found = scan(new_part, body.encode(), step)
    assert found["after"] == "all"
    pieces = found["content"]
    assert [piece for piece in pieces if isinstance(piece, str)] == wanted[::2]
    blobs = [piece for piece in pieces if isinstance(piece, Blob)]
    assert [blob.path.read_bytes() for blob in blobs] == [base64.b64decode(text) for text in wanted[1::2]]
    assert [isinstance(piece, Blob) for piece in pieces] == [number % 2 == 1 for number in range(len(wanted))]
    assert all(blob.flaw is None for blob in blobs)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("text", [URI + ODD, f"  {URI}{ENCODED}\n", URI + "\n".join([ODD[:76], ODD[76:]])])
def test_one_data_uri_and_nothing_else_is_a_blob(new_part: Callable[[], Path], text: str, step: int) -> None:
    """A string that holds one data URI is the blob itself, blanks around it and lines in it or not."""
    found = scan(new_part, json.dumps([text]).encode(), step)[0]
    assert isinstance(found, Blob)
    assert (found.flaw, found.path.read_bytes()) == (None, base64.b64decode(text.strip().removeprefix(URI)))


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    "text",
    [
        "words " * 300 + f"({URI}{'A' * LONG}) more",
        ";base64," + ENCODED + " was cut off somewhere",
        "a metadata: b ;base64," + ENCODED + " c",
        URI * 200,
        "words " * 300 + URI,
    ],
)
def test_texts_without_a_long_data_uri_stay(new_part: Callable[[], Path], tmp_path: Path, text: str, step: int) -> None:
    """What only looks like a data URI, or is a short one, stays in its string."""
    assert scan(new_part, json.dumps({"content": text}).encode(), step) == {"content": text}
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("step", STEPS)
def test_a_broken_image_inside_a_text_is_flawed(new_part: Callable[[], Path], step: int) -> None:
    """Base64 that goes on after its padding is flawed; the text around it and the next image are whole."""
    text = f"a ({URI}{ODD}QQQQ) b ({URI}{ENCODED}) c"
    before, broken, between, good, after = scan(new_part, json.dumps([text]).encode(), step)[0]
    assert broken.flaw == f"not base64 at character {len(ODD)}"
    assert good.path.read_bytes() == IMAGE
    assert (before, between, after) == (f"a ({URI}", f") b ({URI}", ") c")


def test_memory_does_not_grow_with_an_image_inside_a_text(new_part: Callable[[], Path]) -> None:
    """An image of 24 MB inside a markdown link takes less than 1 MB of memory while it streams."""
    chunk = base64.b64encode(os.urandom(48 * 1024))
    scanner = BlobScanner(new_part)
    scanner.feed(f'{{"content": "![x]({URI}'.encode())
    tracemalloc.start()
    for _ in range(500):
        scanner.feed(chunk)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    scanner.feed(b')"}')
    assert scanner.finish()["content"][1].size == 500 * 48 * 1024
    assert peak < 2**20


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5])
def test_padding_may_be_split(new_part: Callable[[], Path], step: int) -> None:
    """Two characters of padding that come in two chunks are still padding."""
    assert only_blob(new_part, ODD, step).flaw is None


VARIANTS = {
    "url-safe": ENCODED.replace("+", "-").replace("/", "_"),
    "escaped slashes": ENCODED.replace("/", "\\/"),
    "unicode escapes": ENCODED.replace("/", "\\u002f").replace("+", "\\u002B").replace("=", "\\u003d"),
    "no padding": ENCODED.rstrip("="),
    "lines": "\\n".join(ENCODED[at : at + 76] for at in range(0, len(ENCODED), 76)),
    "lines of a mail": "\\r\\n".join(ENCODED[at : at + 64] for at in range(0, len(ENCODED), 64)) + "\\r\\n",
    "blanks late": ENCODED[:3000] + " \\t" + ENCODED[3000:],
}


@pytest.mark.parametrize("step", [1, 5, 64, 4096])
@pytest.mark.parametrize("name", VARIANTS)
def test_spellings_of_base64(new_part: Callable[[], Path], name: str, step: int) -> None:
    """Every spelling that providers and relays use decodes to the same bytes."""
    blob = only_blob(new_part, VARIANTS[name], step)
    assert (blob.flaw, blob.path.read_bytes()) == (None, IMAGE)


@pytest.mark.parametrize("step", [1, 50, 10**9])
@pytest.mark.parametrize(
    ("broken", "place"),
    [
        (ENCODED[:2000] + "!" + ENCODED[2000:], 2000),
        (ENCODED[:2001] + "\\u0000" + ENCODED[2001:], 2001),
        (ENCODED[:2002] + '\\"' + ENCODED[2002:], 2002),
        (ENCODED[:2003] + "ü" + ENCODED[2003:], 2003),
        (ENCODED[:2000] + "QQ==" + ENCODED[2000:], 2004),
        (ENCODED[:2000] + "Q===" + ENCODED[2000:], 2001),
        ("A" * 2001, 2001),
        ("A" * 2000 + "=", 2000),
        ("A" * 2000 + "\\\\", 2000),
    ],
)
def test_a_broken_string_is_flawed_and_the_rest_is_read(
    new_part: Callable[[], Path], broken: str, place: int, step: int
) -> None:
    """A string that stops being base64 names the character, and the JSON after it is still there."""
    body = '{"data": "' + broken + '", "usage": {"total": 17}}'
    found = scan(new_part, body.encode(), step)
    assert found["usage"] == {"total": 17}
    assert found["data"].flaw == f"not base64 at character {place}"


def test_a_text_cannot_pass_for_an_image(new_part: Callable[[], Path]) -> None:
    """The token that stands for a blob differs from answer to answer, so no text of a provider's can forge it."""
    first, second = BlobScanner(new_part), BlobScanner(new_part)
    for scanner in (first, second):
        scanner.feed(f'{{"data": "{ENCODED}"'.encode())
    tokens = [bytes(scanner._skeleton).split(b'"')[3] for scanner in (first, second)]
    assert tokens[0] != tokens[1]
    assert len(tokens[0]) > 32
    second.feed(b', "text": "' + tokens[0] + b'"}')
    assert second.finish()["text"] == tokens[0].decode()


def test_a_repeated_key_leaves_no_file_behind(new_part: Callable[[], Path], tmp_path: Path) -> None:
    """Of two images under one key JSON keeps the last; the file of the first is deleted."""
    other = base64.b64encode(IMAGE[::-1]).decode()
    found = scan(new_part, f'{{"data": "{ENCODED}", "data": "{other}"}}'.encode())
    assert list(tmp_path.iterdir()) == [found["data"].path]
    assert found["data"].path.read_bytes() == IMAGE[::-1]


@pytest.mark.parametrize("body", [b"<html>no</html>", b"", b"  \n", b"upstream error", b'"text"', b"data: {}\n\n"])
@pytest.mark.parametrize("step", [1, 1000])
def test_a_body_that_is_not_json_is_text(new_part: Callable[[], Path], body: bytes, step: int) -> None:
    """A body that does not begin as JSON is kept as text."""
    scanner = BlobScanner(new_part)
    for at in range(0, len(body), step):
        scanner.feed(body[at : at + step])
    assert scanner.finish() is None
    assert scanner.text == body.decode()


def test_only_the_beginning_of_a_text_is_kept(new_part: Callable[[], Path]) -> None:
    """Of a text body 64 kB are kept, however long it is and however it comes."""
    for step in (1000, 10**9):
        scanner = BlobScanner(new_part)
        body = b"<" + b"x" * 200_000
        for at in range(0, len(body), step):
            scanner.feed(body[at : at + step])
        assert scanner.text == body[: 64 * 1024].decode()


@pytest.mark.parametrize("step", [1, 2, 1000])
def test_a_byte_order_mark_and_blanks_may_come_first(new_part: Callable[[], Path], step: int) -> None:
    """JSON may follow a byte order mark and blanks."""
    assert scan(new_part, b'\xef\xbb\xbf \r\n {"a": "b"}', step) == {"a": "b"}


@pytest.mark.parametrize(
    "body",
    [b'{"a": ', b'{"a": "b', b"{]", b"[" * 100_000, b'{"a": "\xff"}', b'{"data": "' + ENCODED.encode(), b"{} x"],
)
def test_invalid_json_is_an_error_without_leftovers(new_part: Callable[[], Path], tmp_path: Path, body: bytes) -> None:
    """A body that began as JSON and is none is a DecodeError, and none of its files is left."""
    with pytest.raises(DecodeError, match="not valid JSON"):
        scan(new_part, body, 10_000)
    assert not list(tmp_path.iterdir())


def test_too_much_json_is_given_up(new_part: Callable[[], Path]) -> None:
    """JSON beyond the cap is an error as soon as it is seen."""
    scanner = BlobScanner(new_part, max_skeleton_bytes=2**20)
    chunk = b'["a b", ' + b" " * 100_000
    for _ in range(10):
        scanner.feed(chunk)
    with pytest.raises(DecodeError, match="too large without an image"):
        scanner.feed(chunk)


def test_too_large_an_image_is_given_up(new_part: Callable[[], Path], tmp_path: Path) -> None:
    """An image beyond the cap is an error as soon as it is seen, and `abort` leaves nothing."""
    scanner = BlobScanner(new_part, max_blob_bytes=2**20)
    scanner.feed(b'{"data": "' + b"A" * (2**20 * 4 // 3))
    with pytest.raises(DecodeError, match="more than 1 MB"):
        scanner.feed(b"A" * 8)
    scanner.abort()
    assert not list(tmp_path.iterdir())


def test_abort_deletes_finished_and_unfinished_parts(new_part: Callable[[], Path], tmp_path: Path) -> None:
    """After `abort` no part is left, and calling it again does no harm."""
    scanner = BlobScanner(new_part)
    scanner.feed(f'["{ENCODED}", "{ENCODED}'.encode())
    assert len(list(tmp_path.iterdir())) == 2
    scanner.abort()
    scanner.abort()
    assert not list(tmp_path.iterdir())


def test_a_part_that_exists_is_never_overwritten(tmp_path: Path) -> None:
    """A part must be a new file: an existing one is a StoreError that names it, and keeps its bytes."""
    path = tmp_path / "there"
    path.write_bytes(b"precious")
    with pytest.raises(StoreError, match=str(path)):
        only_blob(lambda: path, ENCODED)
    assert path.read_bytes() == b"precious"


def test_parts_follow_the_users_umask(new_part: Callable[[], Path]) -> None:
    """An image is as readable as any other file of the user's, not private to one account."""
    before = os.umask(0o022)
    try:
        blob = only_blob(new_part, ENCODED)
    finally:
        os.umask(before)
    assert blob.path.stat().st_mode & 0o777 == 0o644


def test_memory_does_not_grow_with_the_image(new_part: Callable[[], Path]) -> None:
    """An image of 24 MB takes less than 1 MB of memory while it streams in chunks of 64 kB."""
    chunk = base64.b64encode(os.urandom(48 * 1024))
    scanner = BlobScanner(new_part)
    scanner.feed(b'{"data": "')
    tracemalloc.start()
    for _ in range(500):
        scanner.feed(chunk)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    scanner.feed(b'"}')
    assert scanner.finish()["data"].size == 500 * 48 * 1024
    assert peak < 2**20
