"""PNG: text chunks before the pixels, with the registered keywords, and the XMP chunk."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from nanobatch.inscriptions.base import Copy, Inscription, Original, Span, Unfit
from nanobatch.inscriptions.xmp import insertion, packet

_XMP = b"XML:com.adobe.xmp"
_LARGEST_XMP = 4 * 1024 * 1024  # bytes; a larger chunk is nothing to read into memory


@dataclass(frozen=True, slots=True)
class _Chunk:
    kind: bytes
    at: int  # where its length stands
    length: int  # of its data

    @property
    def end(self) -> int:
        return self.at + self.length + 12


def plan(file: Original, words: Inscription) -> Copy:
    """Put the words before the pixels; an XMP chunk that is there already gets its share.

    Raises:
        Unfit: The chunks are not those of a PNG.
    """
    pixels, known = _look(file)
    new = b"".join(
        _text_chunk(keyword, text)
        for keyword, text in ((b"Description", words.prompt), (b"Comment", words.params_json))
        if text is not None
    )
    if known is None:
        new += _text_chunk(_XMP, packet(words).data)
        return Copy(((0, pixels), new, (pixels, file.size)))
    try:
        grown = _grown(file, known, words)
    except Unfit:  # the text chunks say it all
        return Copy(((0, pixels), new, (pixels, file.size)))
    pieces: tuple[tuple[int, Span | bytes], ...] = ((pixels, new), (known.at, grown))
    first, second = sorted(pieces, key=lambda piece: piece[0])
    skip = {pixels: pixels, known.at: known.end}
    return Copy(
        (
            (0, first[0]), first[1], (skip[first[0]], second[0]), second[1], (skip[second[0]], file.size),
        )
    )  # fmt: skip


def _look(file: Original) -> tuple[int, _Chunk | None]:
    """Return where the pixels begin, and the XMP chunk."""
    pixels: int | None = None
    known: _Chunk | None = None
    at = 8
    while True:
        length, kind = struct.unpack(">I4s", file.read(at, 8))
        chunk = _Chunk(kind, at, length)
        if kind == b"IDAT" and pixels is None:
            pixels = at
        if kind == b"iTXt" and file.read(at + 8, min(length, len(_XMP) + 1)) == _XMP + b"\0":
            known = chunk
        if kind == b"IEND":
            break
        at = chunk.end
    if pixels is None:
        raise Unfit("it has no pixels")
    return pixels, known


def _grown(file: Original, chunk: _Chunk, words: Inscription) -> bytes:
    """Return the provider's XMP chunk with the words in it."""
    if chunk.length > _LARGEST_XMP:
        raise Unfit("its XMP is too large")
    data = file.read(chunk.at + 8, chunk.length)
    head = len(_XMP) + 1
    if data[head : head + 1] != b"\0":
        raise Unfit("its XMP is compressed")
    place, more = insertion(words, data)
    return _chunk(b"iTXt", data[:place] + more.data + data[place:])


def _text_chunk(keyword: bytes, text: str | bytes) -> bytes:
    r"""Write an iTXt chunk: uncompressed UTF-8, of no language. A zero byte would end the text for many readers."""
    raw = text if isinstance(text, bytes) else text.replace("\0", "\ufffd").encode("utf-8", "replace")
    return _chunk(b"iTXt", keyword + b"\0\0\0\0\0" + raw)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
