"""Pictures with what providers put into them, and a second pair of eyes for what is in a file."""

from __future__ import annotations

import hashlib
import io
import random
import struct
import zlib
from pathlib import Path
from xml.etree import ElementTree as ET

from PIL import Image

from nanobatch.model import Blob

C2PA = b"jumb" + bytes(range(256)) * 3  # stands for the provider's signed history
JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
PNG_XMP = b"XML:com.adobe.xmp\0"
GOOGLES_XMP = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="uuid:1" '
    b'xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"><photoshop:Credit>Made with Google AI</photoshop:Credit>'
    b'</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)
NAMES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "iptc": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "own": "nanobatch:ns:1.0/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
}


def drawn(kind: str, size: tuple[int, int] = (40, 30), *, mode: str = "RGB", **options: object) -> bytes:
    """Draw a picture whose pixels do not compress to nothing; the same one every time."""
    buffer = io.BytesIO()
    noise = random.Random(7).randbytes(size[0] * size[1])
    Image.frombytes("L", size, noise).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def riff_chunk(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def signed(data: bytes) -> bytes:
    """Put a C2PA block where providers put it."""
    if data.startswith(b"\x89PNG"):
        return data[:33] + png_chunk(b"caBX", C2PA) + data[33:]
    if data.startswith(b"\xff\xd8"):
        halves = (C2PA[:300], C2PA[300:])  # segments of one block stand side by side
        return data[:2] + b"".join(struct.pack(">HH", 0xFFEB, len(half) + 2) + half for half in halves) + data[2:]
    grown = data + riff_chunk(b"C2PA", C2PA)
    return grown[:4] + struct.pack("<I", len(grown) - 8) + grown[8:]


def parts(data: bytes) -> list[tuple[str, bytes]]:
    """Take a file apart: the name of each chunk or segment, and its bytes; what follows them is called `rest`."""
    if data.startswith(b"\x89PNG"):
        return _png(data)
    return _jpeg(data) if data.startswith(b"\xff\xd8") else _webp(data)


def _png(data: bytes) -> list[tuple[str, bytes]]:
    found, at, kind = [], 8, b""
    while kind != b"IEND":
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        content, check = data[at + 8 : at + 8 + length], data[at + 8 + length : at + 12 + length]
        assert struct.pack(">I", zlib.crc32(kind + content)) == check
        found.append((kind.decode(), content))
        at += 12 + length
    return [*found, ("rest", data[at:])]


def _jpeg(data: bytes) -> list[tuple[str, bytes]]:
    found, at, marker = [], 2, 0
    while marker != 0xDA:
        fill, marker, length = struct.unpack(">BBH", data[at : at + 4])
        assert fill == 0xFF
        found.append((f"{marker:02X}", data[at + 4 : at + 2 + length]))
        at += 2 + length
    return [*found, ("rest", data[at:])]


def _webp(data: bytes) -> list[tuple[str, bytes]]:
    found, at, end = [], 12, 8 + struct.unpack("<I", data[4:8])[0]
    while at < end:
        kind, length = struct.unpack("<4sI", data[at : at + 8])
        found.append((kind.decode(), data[at + 8 : at + 8 + length]))
        at += 8 + length + length % 2
    assert at == end
    return [*found, ("rest", data[end:])]


def xmp_of(data: bytes) -> bytes | None:
    """Return the XMP of a file."""
    for name, content in parts(data):
        if name == "XMP ":
            return content
        for start, kind in ((JPEG_XMP, "E1"), (PNG_XMP, "iTXt")):
            if name == kind and content.startswith(start):
                return content[len(start) :].lstrip(b"\0") if kind == "iTXt" else content[len(start) :]
    return None


def said(xmp: bytes | None) -> dict[str, str | None]:
    """Read what an XMP packet says, as any XML parser does."""
    assert xmp is not None
    tree = ET.fromstring(xmp)
    return {
        "description": tree.findtext(".//dc:description/rdf:Alt/rdf:li", namespaces=NAMES),
        "prompt": tree.findtext(".//iptc:AIPromptInformation", namespaces=NAMES),
        "system": tree.findtext(".//iptc:AISystemUsed", namespaces=NAMES),
        "params": tree.findtext(".//own:params", namespaces=NAMES),
        "credit": tree.findtext(".//photoshop:Credit", namespaces=NAMES),
    }


def pixels(data: bytes) -> bytes:
    """Decode a picture."""
    with Image.open(io.BytesIO(data)) as image:
        return image.convert("RGBA").tobytes()


def as_blob(path: Path, data: bytes) -> Blob:
    """Write a file as a download would have left it."""
    path.write_bytes(data)
    return Blob(path, len(data), hashlib.sha256(data).hexdigest())
