"""Writes the words as XMP, the metadata format that all three kinds of image carry: a packet, or a part of one.

The prompt is the `dc:description` that every viewer shows and the `AIPromptInformation` of the IPTC Photo Metadata
Standard 2025.1, the model is its `AISystemUsed`, and the parameters are one line of JSON in a namespace of our own.
A packet that the provider wrote keeps every byte; ours is inserted before its end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from xml.sax.saxutils import escape

from nanobatch.inscriptions.base import Inscription, Unfit

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_SPACES = {
    "rdf": _RDF,
    "dc": "http://purl.org/dc/elements/1.1/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "nanobatch": "nanobatch:ns:1.0/",
}
_BEGIN = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}">'
).encode()
_END = b'</rdf:RDF></x:xmpmeta><?xpacket end="r"?>'  # read-only: a checksum may stand behind it
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_CLOSING = re.compile(rb"</(?:[\w.-]+:)?RDF\s*>")
_ABOUT = re.compile(rb"rdf:about\s*=\s*(\"[^\"<]*\"|'[^'<]*')")
_CUT = "…"


@dataclass(frozen=True, slots=True)
class Packet:
    """XMP that carries the words: all of a packet, or what is inserted into the provider's own."""

    data: bytes
    cut: bool  # the prompt did not fit and ends early


def packet(words: Inscription, *, room: int | None = None) -> Packet:
    """Write a packet.

    Args:
        words: What it says.
        room: The most bytes that it may have; None: any number.

    Raises:
        Unfit: Not even the parameters fit.
    """
    left = None if room is None else room - len(_BEGIN) - len(_END)
    inner = _fitting(words, about='""', known=b"", room=left)
    return replace(inner, data=_BEGIN + inner.data + _END)


def insertion(words: Inscription, existing: bytes, *, room: int | None = None) -> tuple[int, Packet]:
    """Return where in a provider's packet the words go, and what is inserted there.

    A property that the packet has already is the provider's, and not written again.

    Raises:
        Unfit: The packet is none that anything can be added to, or has no room.
    """
    ends = list(_CLOSING.finditer(existing))
    if len(ends) != 1:
        raise Unfit("its XMP is of an unknown form")
    about = _ABOUT.search(existing)
    shared = about[1].decode("utf-8", "replace") if about is not None else '""'
    return ends[0].start(), _fitting(words, about=shared, known=existing, room=room)


def _fitting(words: Inscription, *, about: str, known: bytes, room: int | None) -> Packet:
    """Write the words once more and shorter, until they fit: the prompt twice, once, cut."""
    whole = _description(words, about=about, known=known)
    if room is None or len(whole) <= room:
        return Packet(whole, cut=False)
    once = known + b"AIPromptInformation" if b"dc:description" not in known else known
    found = _description(words, about=about, known=once)
    if len(found) <= room:
        return Packet(found, cut=False)
    prompt = words.prompt or ""
    low, high = 0, len(prompt)
    while low < high:  # the longest beginning that fits
        middle = (low + high + 1) // 2
        shorter = replace(words, prompt=prompt[:middle] + _CUT)
        low, high = (middle, high) if len(_description(shorter, about=about, known=once)) <= room else (low, middle - 1)
    if not low:
        raise Unfit("its XMP has no room for more")
    return Packet(_description(replace(words, prompt=prompt[:low] + _CUT), about=about, known=once), cut=True)


def _description(words: Inscription, *, about: str, known: bytes) -> bytes:
    lines = []
    if words.prompt is not None and b"dc:description" not in known:
        alternatives = f'<rdf:Alt><rdf:li xml:lang="x-default">{_text(words.prompt)}</rdf:li></rdf:Alt>'
        lines.append(f"<dc:description>{alternatives}</dc:description>")
    for name, value in (
        ("Iptc4xmpExt:AIPromptInformation", words.prompt),
        ("Iptc4xmpExt:AISystemUsed", words.system),
        ("nanobatch:params", words.params_json),
    ):
        if value is not None and name.partition(":")[2].encode() not in known:
            lines.append(f"<{name}>{_text(value)}</{name}>")
    spaces = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in _SPACES.items())
    return f"<rdf:Description {spaces} rdf:about={about}>{''.join(lines)}</rdf:Description>".encode()


def _text(value: str) -> str:
    """Write a text so that it reads back as it was; what XML cannot hold becomes a replacement character."""
    return escape(_NOT_XML.sub("\ufffd", value), {"\r": "&#13;"})
