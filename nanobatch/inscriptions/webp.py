"""WEBP: an XMP chunk behind the pixels, announced in the header chunk that it needs."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from nanobatch.inscriptions.base import Copy, Inscription, Original, Span, Unfit
from nanobatch.inscriptions.xmp import insertion, packet

_XMP_FLAG, _ALPHA_FLAG = 0x04, 0x10
_BEFORE_XMP = frozenset({b"VP8X", b"ICCP", b"ANIM", b"ANMF", b"ALPH", b"VP8 ", b"VP8L", b"EXIF"})
_LARGEST_XMP = 4 * 1024 * 1024  # bytes; a larger chunk is nothing to read into memory
_LARGEST_RIFF = 2**32 - 2


@dataclass(frozen=True, slots=True)
class _Chunk:
    kind: bytes
    at: int  # where its name stands
    length: int  # of its data, without the byte that makes it even

    @property
    def end(self) -> int:
        return self.at + 8 + self.length + self.length % 2


def plan(file: Original, words: Inscription) -> Copy:
    """Put the words behind the pixels, or into the XMP chunk that is there.

    Raises:
        Unfit: The chunks are not those of a WEBP, or its XMP cannot take more.
    """
    (length,) = struct.unpack("<I", file.read(4, 4))
    end = length + 8  # what stands behind it belongs to nobody, and stays
    chunks = _chunks(file, end)
    header, first = _header(file, chunks[0])
    known = next((chunk for chunk in chunks if chunk.kind == b"XMP "), None)
    if known is None:
        place = max(chunk.end for chunk in chunks if chunk.kind in _BEFORE_XMP)
        new, after = _chunk(b"XMP ", packet(words).data), place
    else:
        place, after = known.at, known.end
        new = _grown(file, known, words)
    grown = length + len(header) - (first - 12) + len(new) - (after - place)
    if grown > _LARGEST_RIFF:
        raise Unfit("it is too large to grow")
    rest: tuple[Span | bytes, ...] = ((first, place), new, (after, file.size))
    return Copy(((0, 4), struct.pack("<I", grown), (8, 12), header, *rest))


def _chunks(file: Original, end: int) -> list[_Chunk]:
    found: list[_Chunk] = []
    at = 12
    while at < end:
        kind, length = struct.unpack("<4sI", file.read(at, 8))
        found.append(_Chunk(kind, at, length))
        at = found[-1].end
    if not found or at != end or end > file.size:
        raise Unfit("it is damaged")
    return found


def _header(file: Original, first: _Chunk) -> tuple[bytes, int]:
    """Return the header chunk that announces XMP, and where the original goes on behind its own."""
    data = file.read(first.at + 8, min(first.length, 10))
    if len(data) < 10 and first.kind != b"VP8L":
        raise Unfit("it is damaged")
    match first.kind:
        case b"VP8X":
            rest = file.read(first.at + 9, first.length - 1 + first.length % 2)
            return struct.pack("<4sIB", b"VP8X", first.length, data[0] | _XMP_FLAG) + rest, first.end
        case b"VP8 ":
            width, height = (side & 0x3FFF for side in struct.unpack("<HH", data[6:10]))
            return _extended(width, height, _XMP_FLAG), first.at
        case b"VP8L" if len(data) >= 5:
            (bits,) = struct.unpack("<I", data[1:5])
            alpha = _ALPHA_FLAG if bits >> 28 & 1 else 0
            return _extended((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, _XMP_FLAG | alpha), first.at
        case _:
            raise Unfit("it is damaged")


def _extended(width: int, height: int, flags: int) -> bytes:
    if not width or not height:
        raise Unfit("it is damaged")
    return _chunk(
        b"VP8X", struct.pack("<I", flags) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    )


def _grown(file: Original, chunk: _Chunk, words: Inscription) -> bytes:
    """Return the provider's XMP chunk with the words in it."""
    if chunk.length > _LARGEST_XMP:
        raise Unfit("its XMP is too large")
    data = file.read(chunk.at + 8, chunk.length)
    place, more = insertion(words, data)
    return _chunk(b"XMP ", data[:place] + more.data + data[place:])


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack("<4sI", kind, len(data)) + data + b"\0" * (len(data) % 2)
