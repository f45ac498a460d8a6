"""Takes long base64 strings out of a JSON body while it streams, decoding them straight to a file.

A 4K image is 21 MB of base64 in one JSON string. Here it is never held: each piece that arrives is decoded, hashed
and written, and what stays in memory is the *skeleton*, the same JSON with a short token where the image stood. The
token cannot be guessed, so no text of a provider's can pass for an image.

    outside   between strings                           copied to the skeleton
    inside    in a string of at most 1 kB so far        copied to the skeleton
    keep      in a long string that is not base64       copied to the skeleton, up to its cap
    blob      in a long base64 string                   decoded to a file
    run       in the base64 of a data URI               decoded to a file, up to the first other character
    skip      in a thought signature, a broken blob,    dropped
              or what nobody wants
    text      the body is not JSON                      its beginning is kept

What stands in the JSON that `finish` returns, where the body had a string:

    of base64, or one data URI and nothing else         a `Blob`
    of text around data URIs, as chat relays send       a list: text and blobs in their order. The text is as it was,
                                                        `data:image/png;base64,` at its end included
    of any other kind, or with less than 1 kB of base64 the string
"""

from __future__ import annotations

import enum
import itertools
import json
import re
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nanobatch.errors import DecodeError
from nanobatch.model import Blob
from nanobatch.parts import HALF_ESCAPE, MAX_BLOB_BYTES, WHITESPACE, Base64Decoder, PartFile, discard

LONG = 1024  # characters; a shorter string stays in the JSON, whatever it holds
MAX_SKELETON_BYTES = 4 * 1024 * 1024
MAX_TEXT_BYTES = 64 * 1024

_DATA_PREFIX = re.compile(rb"data:[^,\"]{0,200};base64,")
_DATA_MARK = b";base64,"
_DATA_BEFORE_MARK = re.compile(rb"data:[^,\"\s]{0,200}$")
_SHORT_STRINGS = re.compile(rb'(?:[^"]*+"[^"\\]{0,1024}+")++')  # at most LONG characters each, none escaped
_RUN = re.compile(rb"(?:[A-Za-z0-9+/=_-]++|\\/|\\u00(?:2[bBdDfF]|3[dD]|5[fF]))*+")
_RUN_ENDS = (b'"', b")", b"\\")  # what most often ends a data URI in a text
_KEEP_STEP = 4096
_SIGNATURE_KEY = re.compile(rb'"thought_?[sS]ignature"\s*:\s*"$')
_BASE64_HEAD = re.compile(
    rb"(?:[A-Za-z0-9+/=_-]|\\[/nrt]|\\u00(?:0[9aAdD]|2[bBdDfF]|3[dD]|5[fF]))+(?:\\(?:u[0-9a-fA-F]{0,3})?)?"
)
_OUTLINE = re.compile(rb'"(?:[^"\\]|\\.)*+"|[{}\[\]]', re.DOTALL)
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=-_"
_SECRET = secrets.token_hex(16)  # no provider ever sees it
_TOKEN = re.compile(f"({_SECRET}[0-9]+-)")
_numbers = itertools.count()
_BACKSLASH = ord("\\")
_BOM = b"\xef\xbb\xbf"


class _State(enum.Enum):
    OUTSIDE = enum.auto()
    INSIDE = enum.auto()
    KEEP = enum.auto()
    BLOB = enum.auto()
    RUN = enum.auto()
    SKIP = enum.auto()
    TEXT = enum.auto()
    START = enum.auto()


class BlobScanner:
    """Reads one body piece by piece: `feed` each chunk, then `finish` for the JSON with its blobs.

    >>> scanner = BlobScanner(lambda: Path("unused.part"))
    >>> scanner.feed(b'{"created": 17, "da')
    >>> scanner.feed(b'ta": []}')
    >>> scanner.finish()
    {'created': 17, 'data': []}

    Args:
        new_part: Names a fresh file for each image found.
        max_blob_bytes: No image is larger; beyond it the answer is given up.
        max_skeleton_bytes: No JSON without its images is larger; beyond it the answer is given up.
        unwanted: A key of the outermost object; long strings below it, of whatever kind, are dropped.
    """

    def __init__(
        self,
        new_part: Callable[[], Path],
        *,
        max_blob_bytes: int = MAX_BLOB_BYTES,
        max_skeleton_bytes: int = MAX_SKELETON_BYTES,
        unwanted: str | None = None,
    ) -> None:
        self._new_part = new_part
        self._max_blob_bytes = max_blob_bytes
        self._max_skeleton_bytes = max_skeleton_bytes
        self._unwanted = None if unwanted is None else f'"{unwanted}"'.encode()
        self._outline = _Outline()
        self._skeleton = bytearray()
        self._state = _State.START
        self._string_at = 0  # where the current string's content begins in the skeleton
        self._escaped = False  # the next character of a long string belongs to a backslash before it
        self._watched = 0  # up to where a long text in the skeleton was searched for data URIs
        self._held = b""  # half an escape at the end of a chunk, inside a run
        self._blobs: dict[str, Blob] = {}
        self._part: PartFile | None = None
        self._decoder: Base64Decoder | None = None

    @property
    def text(self) -> str | None:
        """The beginning of a body that is not JSON, else None."""
        if self._state in (_State.TEXT, _State.START):
            return bytes(self._skeleton).decode("utf-8", "replace")
        return None

    def feed(self, chunk: bytes | bytearray, start: int = 0, end: int | None = None) -> None:
        """Take the next bytes of the body: chunk[start:end], which may be overwritten afterwards.

        Raises:
            DecodeError: The body is larger than an answer can be.
            StoreError: An image could not be written.
        """
        at, end = start, len(chunk) if end is None else end
        view = memoryview(chunk)
        if self._state is _State.START:
            at = self._begin(chunk, at, end)
        while at < end:
            if self._held:
                chunk = self._held + chunk[at:end]
                at, end, view, self._held = 0, len(chunk), memoryview(chunk), b""
            match self._state:
                case _State.OUTSIDE:
                    at = self._outside(chunk, at, end)
                case _State.INSIDE:
                    at = self._inside(chunk, at, end)
                case _State.RUN:
                    at = self._run(chunk, view, at, end)
                case _State.TEXT | _State.START:
                    self._skeleton += chunk[at : min(end, at + MAX_TEXT_BYTES - len(self._skeleton))]
                    return
                case _:
                    at = self._long(chunk, view, at, end)

    def _begin(self, chunk: bytes | bytearray, at: int, end: int) -> int:
        """Look for the first character that tells what the body is; return where it stands in the chunk."""
        before = len(self._skeleton)
        self._skeleton += chunk[at : min(end, at + MAX_TEXT_BYTES - before)]
        start = self._skeleton.removeprefix(_BOM).lstrip(WHITESPACE)
        if not start or (len(start) < len(_BOM) and _BOM.startswith(start)):
            if len(self._skeleton) == MAX_TEXT_BYTES:
                self._state = _State.TEXT
            return end
        if not start.startswith((b"{", b"[")):
            self._state = _State.TEXT
            return end
        self._state = _State.OUTSIDE
        first = len(self._skeleton) - len(start)
        self._skeleton.clear()
        return at + first - before

    def _outside(self, chunk: bytes | bytearray, at: int, end: int) -> int:
        """Copy up to the beginning of a string, and on the way all strings that are short and whole."""
        plain = _SHORT_STRINGS.match(chunk, at, end)
        quote = chunk.find(b'"', plain.end() if plain else at, end)
        stop = end if quote < 0 else quote + 1
        self._keep(chunk[at:stop])
        if quote >= 0:
            self._state = _State.INSIDE
            self._string_at = len(self._skeleton)
        return stop

    def _inside(self, chunk: bytes | bytearray, at: int, end: int) -> int:
        room = LONG + 1 - (len(self._skeleton) - self._string_at)
        stop = min(end, at + room)
        quote = chunk.find(b'"', at, stop)
        if quote >= 0:
            stop = quote + 1
        self._keep(chunk[at:stop])
        if quote >= 0 and not self._ends_in_backslash(before=1):
            self._state = _State.OUTSIDE
        elif len(self._skeleton) - self._string_at > LONG:
            return stop - self._classify(here=stop - at)
        return stop

    def _ends_in_backslash(self, *, before: int = 0) -> bool:
        """Tell whether the character after the current string's content so far (less `before`) is escaped."""
        content = self._skeleton[max(self._string_at, len(self._skeleton) - LONG - 2) : len(self._skeleton) - before]
        return (len(content) - len(content.rstrip(b"\\"))) % 2 == 1

    def _classify(self, *, here: int) -> int:
        """Decide what a string is that has just become long, from its first characters and its key.

        Returns how many of the `here` characters that stand in this chunk are to be read again.
        """
        head = bytes(self._skeleton[self._string_at :])
        self._escaped = self._ends_in_backslash()
        if self._is_unwanted():
            del self._skeleton[self._string_at :]
            self._state = _State.SKIP
            return 0
        prefix = _DATA_PREFIX.match(head)
        content = head[prefix.end() if prefix else 0 :]
        if content.translate(None, _ALPHABET) and not _BASE64_HEAD.fullmatch(content):
            self._state = _State.KEEP
            self._watched = self._string_at
            self._watch()
        elif prefix and _open_end(content, _run_length(content)):
            self._start_run(self._string_at + prefix.end(), content, _run_length(content))
        else:  # also a data URI that is broken into lines
            del self._skeleton[self._string_at :]
            self._state = _State.BLOB
            self._open_part()
            if len(content) <= here:  # decoded together with what follows
                self._escaped = False
                return len(content)
            self._decode(memoryview(content))
        return 0

    def _is_unwanted(self) -> bool:
        """Tell whether the string that has just become long is to be dropped."""
        if _SIGNATURE_KEY.search(self._skeleton, max(0, self._string_at - 100), self._string_at):
            return True
        before = self._string_at - 1
        return self._unwanted is not None and self._outline.key_at(self._skeleton, before) == self._unwanted

    def _open_part(self) -> None:
        self._part = PartFile(self._new_part(), max_bytes=self._max_blob_bytes)
        self._decoder = Base64Decoder(self._part)

    def _long(self, chunk: bytes | bytearray, view: memoryview, at: int, end: int) -> int:
        """Take a long string up to its closing quote or the end of the chunk, a text in small steps."""
        if self._state is _State.KEEP:
            end = min(end, at + _KEEP_STEP)
        quote = self._closing_quote(chunk, at, end)
        if quote >= 0:
            end = quote
        if end > at:
            self._take(view[at:end])
        if quote < 0 or self._state is _State.RUN:
            return end
        if self._state is _State.BLOB:
            self._end_blob()
        self._keep(b'"')
        self._state = _State.OUTSIDE
        return quote + 1

    def _closing_quote(self, chunk: bytes | bytearray, at: int, stop: int) -> int:
        """Find the quote that ends a long string, or -1; remember whether what was searched ends in half an escape."""
        start = at + self._escaped
        quote = chunk.find(b'"', start, stop)
        while quote >= 0 and _backslashes_before(chunk, quote, start) % 2:
            quote = chunk.find(b'"', quote + 1, stop)
        self._escaped = quote < 0 and start <= stop and _backslashes_before(chunk, stop, start) % 2 == 1
        return quote

    def _take(self, piece: memoryview) -> None:
        if self._state is _State.BLOB:
            self._decode(piece)
        elif self._state is _State.KEEP:
            self._keep(piece)
            self._watch()

    def _decode(self, piece: memoryview) -> None:
        assert self._decoder is not None
        self._decoder.feed(piece)
        if self._decoder.flaw:
            self._end_blob()
            self._state = _State.SKIP

    def _watch(self) -> None:
        """Look for data URIs in the text that was just copied, and take their base64 out of it."""
        while (mark := self._skeleton.find(_DATA_MARK, self._watched)) >= 0:
            start = mark + len(_DATA_MARK)
            content = bytes(self._skeleton[start:])
            length = _run_length(content)
            if not _DATA_BEFORE_MARK.search(bytes(self._skeleton[max(self._string_at, mark - 210) : mark])):
                self._watched = start
            elif length > LONG:
                self._start_run(start, content, length)
                if self._state is _State.RUN:
                    return
            elif _open_end(content, length):
                return  # more of it may follow
            else:
                self._watched = start
        self._watched = max(self._watched, len(self._skeleton) - len(_DATA_MARK) + 1)

    def _start_run(self, start: int, content: bytes, length: int) -> None:
        """Take the base64 that begins at `start` out of the skeleton, and stay inside it where its end did not come."""
        self._open_part()
        del self._skeleton[start:]
        self._decode_run(memoryview(content)[:length])
        if _open_end(content, length):
            self._state = _State.RUN
            self._held = content[length:]
        else:
            self._end_run()
            self._keep(content[length:])

    def _run(self, chunk: bytes | bytearray, view: memoryview, at: int, end: int) -> int:
        """Decode a data URI up to its last character: the first that is not base64, escaped or not."""
        assert self._decoder is not None
        likely = min((place for mark in _RUN_ENDS if (place := chunk.find(mark, at, end)) >= 0), default=end)
        clean_end = not chunk[max(at, likely - 3) : likely].translate(None, _ALPHABET)  # what the decoder may hold back
        if clean_end and not self._decoder.flaw and self._decoder.feed_as_is(view[at:likely]):
            at = likely
        stop = at + _run_length(chunk, at, end)
        self._decode_run(view[at:stop])
        rest = bytes(chunk[stop : min(end, stop + 6)])
        if not _open_end(rest, 0):
            self._end_run()
            self._escaped = False
            return stop
        self._held = rest
        return end

    def _decode_run(self, piece: memoryview) -> None:
        assert self._decoder is not None
        if piece and not self._decoder.flaw:
            self._decoder.feed(piece)

    def _end_run(self) -> None:
        self._end_blob()
        self._state = _State.KEEP
        self._watched = len(self._skeleton)

    def _end_blob(self) -> None:
        assert self._part is not None
        assert self._decoder is not None
        self._decoder.finish()
        token = f"{_SECRET}{next(_numbers)}-"
        self._blobs[token] = self._part.close(self._decoder.flaw)
        self._part = self._decoder = None
        self._keep(token.encode())

    def _keep(self, piece: bytes | bytearray | memoryview) -> None:
        self._skeleton += piece
        if len(self._skeleton) > self._max_skeleton_bytes:
            raise DecodeError(f"answer too large without an image (over {self._max_skeleton_bytes // 2**20} MB)")

    def finish(self) -> Any:
        """Return the parsed JSON with a `Blob` where each long base64 string stood; None where `text` tells.

        Raises:
            DecodeError: The body began as JSON and is not JSON. Its parts are deleted.
        """
        if self.text is not None:
            return None
        try:
            found = json.loads(self._skeleton)
        except (ValueError, RecursionError) as error:
            self.abort()
            raise DecodeError(f"the answer is not valid JSON ({_reason(error)})") from error
        waiting = dict(self._blobs)
        _put_back(found, waiting)
        for blob in waiting.values():  # under a repeated key, of which JSON keeps the last
            discard(blob.path)
        return found

    def abort(self) -> None:
        """Close and delete every part."""
        if self._part is not None:
            self._part.discard()
            self._part = None
        for blob in self._blobs.values():
            discard(blob.path)


class _Outline:
    """Tells below which key of the outermost object a place of a skeleton stands. Each byte is looked at once."""

    def __init__(self) -> None:
        self._read = 0
        self._depth = 0
        self._key = b""  # the last string directly in the outermost object; before anything deeper, that is its key

    def key_at(self, skeleton: bytearray, end: int) -> bytes:
        """Return the key, in its quotes. `end` never decreases, and what stands before it stays as it is."""
        for token in _OUTLINE.findall(skeleton, self._read, end):
            if token in b"{[":
                self._depth += 1
            elif token in b"}]":
                self._depth -= 1
            elif self._depth == 1:
                self._key = token
        self._read = end
        return self._key


def _run_length(content: bytes | bytearray, at: int = 0, end: int = sys.maxsize) -> int:
    """Count the characters of base64, escaped or not, that follow a place."""
    run = _RUN.match(content, at, end)
    assert run is not None
    return run.end() - at


def _open_end(content: bytes, end: int) -> bool:
    """Tell whether base64 that ends here may go on in the next chunk: nothing follows, or half an escape."""
    return end == len(content) or (len(content) - end < 6 and HALF_ESCAPE.fullmatch(content, end) is not None)


def _backslashes_before(chunk: bytes | bytearray, end: int, start: int) -> int:
    """Count the backslashes that stand directly before `end`, looking no further back than `start`."""
    at = end
    while at > start and chunk[at - 1] == _BACKSLASH:
        at -= 1
    return end - at


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.pos} of what stands around the images"
    return "nested too deeply" if isinstance(error, RecursionError) else "not UTF-8 text"


def _put_back(found: Any, waiting: dict[str, Blob]) -> None:
    """Replace each token by its blob, without recursion, taking it from `waiting`."""
    todo: list[Any] = [found]
    while todo and waiting:
        node = todo.pop()
        places = node.items() if isinstance(node, dict) else enumerate(node)
        for place, value in list(places):
            if isinstance(value, str):
                if value in waiting:
                    node[place] = waiting.pop(value)
                elif _SECRET in value and waiting.keys() >= set((pieces := _TOKEN.split(value))[1::2]):
                    node[place] = _with_blobs(pieces, waiting)
            elif isinstance(value, dict | list):
                todo.append(value)


def _with_blobs(pieces: list[str], waiting: dict[str, Blob]) -> Blob | list[str | Blob]:
    """Join text and blobs that stood in one string; a blob alone where the text was only its data URI's beginning."""
    before, token, after = pieces[0].strip(), pieces[1], pieces[-1].strip()
    if len(pieces) == 3 and not after and (not before or _DATA_PREFIX.fullmatch(before.encode("utf-8", "replace"))):
        return waiting.pop(token)
    return [waiting.pop(piece) if number % 2 else piece for number, piece in enumerate(pieces) if piece]
