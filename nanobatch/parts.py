"""Writes the bytes of one image to a file while they arrive, and decodes the base64 that carried them.

A *part* is a file that nobody else knows yet: it has its size and its digest when it ends, and it is deleted when what
should have filled it did not come whole.
"""

from __future__ import annotations

import binascii
import contextlib
import hashlib
import os
import re
from pathlib import Path

import pybase64

from nanobatch.errors import DecodeError, StoreError
from nanobatch.model import Blob

MAX_BLOB_BYTES = 256 * 1024 * 1024
HALF_ESCAPE = re.compile(rb"\\(?:u[0-9a-fA-F]{0,3})?$")
_UNICODE_ESCAPE = re.compile(rb"\\u00([0-7][0-9a-fA-F])")
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/=]")
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
WHITESPACE = b" \t\r\n"
_PADDING = ord("=")


def open_part(path: Path) -> int:
    """Open a file that does not exist yet for writing.

    Raises:
        StoreError: The file cannot be made.
    """
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise _store_error(path, error) from error


def _store_error(path: Path, error: OSError) -> StoreError:
    return StoreError(f"cannot write {path}: {error.strerror or error}")


class PartFile:
    """A file that grows while a body arrives, and knows its size and digest when it ends."""

    def __init__(self, path: Path, *, max_bytes: int = MAX_BLOB_BYTES) -> None:
        self.path = path
        self.size = 0
        self._max_bytes = max_bytes
        self._digest = hashlib.sha256()
        self._fd = open_part(path)

    def write(self, *buffers: bytes | memoryview) -> None:
        """Append decoded bytes.

        Raises:
            StoreError: The disk is full or failed; the caller discards the part.
            DecodeError: The image is larger than any image can be.
        """
        length = sum(map(len, buffers))
        self.size += length
        if self.size > self._max_bytes:
            raise DecodeError(f"the answer holds an image of more than {self._max_bytes // 2**20} MB")
        try:
            self._write_all(buffers, length)
        except OSError as error:
            raise _store_error(self.path, error) from error
        for buffer in buffers:
            self._digest.update(buffer)

    def take(self, data: bytes | bytearray, start: int, end: int) -> None:
        """Append data[start:end] as it is; see `write`."""
        self.write(memoryview(data)[start:end])

    def _write_all(self, buffers: tuple[bytes | memoryview, ...], length: int) -> None:
        written = os.writev(self._fd, buffers)
        while written < length:  # the disk took a part; the next call takes the rest or says why not
            written += os.write(self._fd, memoryview(b"".join(buffers))[written:])

    def close(self, flaw: str | None = None) -> Blob:
        """End the part and return what it holds."""
        fd, self._fd = self._fd, -1
        try:
            os.close(fd)
        except OSError as error:  # a network file system may report a full disk only here
            raise _store_error(self.path, error) from error
        return Blob(path=self.path, size=self.size, sha256=self._digest.hexdigest(), flaw=flaw)

    def discard(self) -> None:
        """Close and delete the part; safe to call at any time."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            with contextlib.suppress(OSError):
                os.close(fd)
        discard(self.path)


def discard(path: Path) -> None:
    """Delete a part, wherever it stands in its life."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


class Base64Decoder:
    """Decodes one base64 string that arrives in pieces, as a JSON string holds it, into a part.

    The fast way decodes a piece as it is, on a multiple of four characters. Only a piece that fails goes the slow
    way: escapes undone, whitespace dropped, the URL-safe alphabet translated.
    """

    def __init__(self, part: PartFile) -> None:
        self._part = part
        self._carry = b""  # characters as they came that wait for the next piece
        self._decoded = 0  # base64 characters before the carry
        self._padded = False  # "=" was seen: nothing may follow
        self.flaw: str | None = None

    def feed(self, piece: memoryview) -> None:
        """Decode what can be decoded; after a flaw nothing more is written."""
        if not self.feed_as_is(piece):
            self._feed_repaired(self._carry + piece.tobytes())

    def feed_as_is(self, piece: memoryview) -> bool:
        """Decode a piece without escapes and blanks; False, with nothing done, where it needs the slow way."""
        carry = self._carry
        need = -len(carry) % 4
        if self._padded or len(carry) > 3 or len(piece) <= need:
            return False
        end = len(piece) - (len(piece) - need) % 4
        if not end:
            return False  # too short for one group of four
        try:
            head = pybase64.b64decode(carry + piece[:need], validate=True)
            body = pybase64.b64decode(piece[need:end], validate=True)
        except binascii.Error:
            return False
        if len(head) * 4 != (len(carry) + need) * 3 and end > need:
            return False  # padding in the middle
        if head:
            self._part.write(head, body)
        else:
            self._part.write(body)
        self._decoded += len(carry) + end
        self._carry = piece[end:].tobytes()
        self._padded = piece[end - 1] == _PADDING
        return True

    def _feed_repaired(self, raw: bytes) -> None:
        half = HALF_ESCAPE.search(raw)
        held = half.group() if half else b""
        clean = _unescape(raw[: len(raw) - len(held)]).translate(_URL_SAFE, WHITESPACE)
        end = len(clean) - len(clean) % 4
        self._write_groups(clean[:end])
        self._carry = clean[end:] + held

    def _write_groups(self, clean: bytes) -> None:
        if not clean:
            return
        try:
            if self._padded:
                raise binascii.Error  # noqa: TRY301 - text after the padding is the same failure
            decoded = pybase64.b64decode(clean, validate=True)
        except binascii.Error:
            place = self._decoded + (0 if self._padded else _first_flaw(clean))
            self.flaw = f"not base64 at character {place}"
            return
        self._part.write(decoded)
        self._decoded += len(clean)
        self._padded = clean.endswith(b"=")

    def finish(self) -> None:
        """Decode the last characters; missing padding is forgiven."""
        rest = _unescape(self._carry).translate(_URL_SAFE, WHITESPACE)
        if not rest or self.flaw:
            return
        bare = rest.rstrip(b"=")
        if len(bare) % 4 == 1 or not bare:
            self.flaw = f"not base64 at character {self._decoded + _first_flaw(rest)}"
            return
        self._write_groups(bare + b"=" * (-len(bare) % 4))


def _unescape(raw: bytes) -> bytes:
    """Undo the JSON escapes that can stand in base64; any other backslash stays and is found as a flaw."""
    if b"\\" not in raw:
        return raw
    plain = raw.replace(b"\\/", b"/").replace(b"\\n", b"").replace(b"\\r", b"").replace(b"\\t", b"")
    return _UNICODE_ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), plain)


def _first_flaw(clean: bytes) -> int:
    """Find the first character that cannot stand where it stands."""
    bad = _NOT_BASE64.search(clean)
    end = bad.start() if bad else len(clean)
    padding = clean.find(b"=", 0, end)
    if padding < 0:
        return end
    if padding % 4 < 2:
        return padding
    after = padding + 1 + (clean[padding + 1 : padding + 2] == b"=" and padding % 4 == 2)
    return min(after, end)
