"""JPEG: an XMP segment behind the segments that must come first. It holds 65,533 bytes, so a long prompt is cut."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from nanobatch.inscriptions.base import Copy, Inscription, Original, Unfit
from nanobatch.inscriptions.xmp import Packet, insertion, packet

_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_MOST = 65_533  # bytes of a segment behind its length
_APP0, _APP1, _SCAN, _END = 0xE0, 0xE1, 0xDA, 0xD9
_BARE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length
CUT = "the prompt is too long for a JPEG's metadata and was cut there; the manifest has all of it"


@dataclass(frozen=True, slots=True)
class _Segment:
    at: int  # where its marker stands
    length: int  # of its data, without the length itself

    @property
    def data(self) -> int:
        return self.at + 4

    @property
    def end(self) -> int:
        return self.data + self.length


def plan(file: Original, words: Inscription) -> Copy:
    """Put the words behind JFIF and Exif, or into the XMP that is there.

    Raises:
        Unfit: The segments are not those of a JPEG, or its XMP cannot take more.
    """
    place, known = _look(file)
    if known is None:
        new = packet(words, room=_MOST - len(_XMP))
        return _copy(((0, place), _segment(_XMP + new.data), (place, file.size)), new)
    data = file.read(known.data, known.length)
    inside, more = insertion(words, data, room=_MOST - known.length)
    grown = _segment(data[:inside] + more.data + data[inside:])
    return _copy(((0, known.at), grown, (known.end, file.size)), more)


def _copy(pieces: tuple[tuple[int, int] | bytes, ...], new: Packet) -> Copy:
    return Copy(pieces, (CUT,) if new.cut else ())


def _look(file: Original) -> tuple[int, _Segment | None]:
    """Return where a segment can be put, and the XMP segment."""
    place: int | None = None
    at = 2
    while True:
        fill, marker = file.read(at, 2)
        if fill != 0xFF or marker == _END:
            raise Unfit("it has no pixels")
        if marker == 0xFF:  # a byte that fills
            at += 1
            continue
        if place is None and marker not in (_APP0, _APP1):
            place = at
        if marker in _BARE:
            at += 2
            continue
        segment = _Segment(at, struct.unpack(">H", file.read(at + 2, 2))[0] - 2)
        if segment.length < 0:
            raise Unfit("it is damaged")
        if marker == _APP1 and file.read(segment.data, min(segment.length, len(_XMP))) == _XMP:
            return segment.at, segment
        if marker == _SCAN:
            assert place is not None
            return place, None
        at = segment.end


def _segment(data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, _APP1, len(data) + 2) + data
