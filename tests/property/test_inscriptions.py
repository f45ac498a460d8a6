"""Whatever the words and whatever the file: they read back, and nothing of the provider's is lost or changed."""

from __future__ import annotations

import hashlib
import itertools
import json
import tempfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from nanobatch.inscriptions import Inscription, inscribe
from tests.pictures import GOOGLES_XMP, as_blob, drawn, parts, pixels, said, signed, xmp_of

NEW = {"PNG": ("iTXt",), "JPEG": ("E1",), "WEBP": ("XMP ", "VP8X")}
FILES = {
    f"{kind} {'signed' if signs else 'plain'} {'with xmp' if xmp else ''} {options}": (kind, signed(data) if signs else data)
    for kind, modes in {
        "PNG": ({}, {"mode": "RGBA"}, {"mode": "L"}),
        "JPEG": ({}, {"progressive": True}, {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"}),
        "WEBP": ({}, {"lossless": True}, {"lossless": True, "mode": "RGBA"}, {"exif": b"II*\0\x08\0\0\0\0\0\0\0\0\0"}),
    }.items()
    for options in modes
    for signs, xmp in itertools.product((False, True), (False, True))
    for data in [drawn(kind, **options, **({"xmp": GOOGLES_XMP} if xmp and kind != "PNG" else {}))]  # type: ignore[arg-type]
}  # fmt: skip
TEXTS = st.text(max_size=200) | st.sampled_from(["</rdf:RDF>", "]]>&amp;", "\0\x01\r\n\t", "日本語 🎉", "\ufffe"])


def copied(data: bytes, mime: str, words: Inscription) -> tuple[bytes | None, tuple[str, ...]]:
    with tempfile.TemporaryDirectory() as folder:
        numbers = itertools.count()
        blob = as_blob(Path(folder) / "original", data)
        copy, warnings = inscribe(blob, mime, words, lambda: Path(folder) / f"{next(numbers)}.part")
        assert blob.path.read_bytes() == data
        if copy is None:
            assert [path.name for path in Path(folder).iterdir()] == ["original"]
            return None, warnings
        found = copy.path.read_bytes()
        assert (copy.size, copy.sha256) == (len(found), hashlib.sha256(found).hexdigest())
        return found, warnings


def as_xml_holds_it(text: str) -> str:
    return "".join(
        char if char in "\t\n\r" or "\x20" <= char < "\ud800" or "\ue000" <= char <= "\ufffd" or char > "\uffff" else "\ufffd"
        for char in text
    )  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(sorted(FILES)), prompt=st.none() | TEXTS, params=st.none() | st.dictionaries(TEXTS, TEXTS))
@example(name=min(FILES), prompt="\0", params={"provider_model": "\0"})
def test_words_read_back_and_everything_else_stays(
    name: str, prompt: str | None, params: dict[str, str] | None
) -> None:
    """Pixels are identical, and so is every chunk but the new one, in its order; the words are those that were given."""
    kind, data = FILES[name]
    found, warnings = copied(data, f"image/{kind.lower()}", Inscription(prompt, params))
    assert found is not None
    assert warnings == ()
    assert pixels(found) == pixels(data)
    before = [part for part in parts(data) if part[0] not in NEW[kind] or b"Exif" in part[1]]
    after = [part for part in parts(found) if part[0] not in NEW[kind] or b"Exif" in part[1]]
    assert after == before
    words = said(xmp_of(found))
    expected = None if prompt is None else as_xml_holds_it(prompt)
    assert (words["description"] or "", words["prompt"] or "") == (expected or "", expected or "")
    if params is not None:
        assert json.loads(words["params"] or "") == {
            as_xml_holds_it(k): as_xml_holds_it(v) for k, v in params.items()
        } or (words["params"] == as_xml_holds_it(json.dumps(params, ensure_ascii=False)))
    if "with xmp" in name and kind != "PNG":
        assert words["credit"] == "Made with Google AI"


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(sorted(FILES)), cut=st.floats(0, 1), junk=st.binary(max_size=20), at=st.floats(0, 1))
def test_a_damaged_file_is_copied_whole_or_not_at_all(name: str, cut: float, junk: bytes, at: float) -> None:
    """Bytes of any kind behind a true signature end in a copy or in a warning, never in a crash or a half-written file."""
    kind, data = FILES[name]
    place = 12 + int(at * len(data))
    damaged = (data[:place] + junk + data[place + len(junk) :])[: max(12, int(cut * len(data)))]
    found, warnings = copied(damaged, f"image/{kind.lower()}", Inscription("a fox", {"size": "1K"}))
    assert found is None or len(found) > len(damaged)
    assert found is not None or warnings[0].startswith("nothing could be embedded, the image is as it came: ")


@settings(max_examples=20, deadline=None)
@given(length=st.integers(10_000, 90_000), letter=st.sampled_from(["a", "&", "狐", "🦊"]), has_xmp=st.booleans())
def test_a_long_prompt_fits_into_a_jpeg_or_is_cut(length: int, letter: str, has_xmp: bool) -> None:
    """A segment ends at 65,533 bytes: the prompt is whole, or a beginning of it with a warning. PNG and WEBP hold all."""
    prompt = letter * length
    for kind in ("PNG", "JPEG", "WEBP"):
        data = drawn(kind, **({"xmp": GOOGLES_XMP} if has_xmp and kind != "PNG" else {}))  # type: ignore[arg-type]
        found, warnings = copied(data, f"image/{kind.lower()}", Inscription(prompt))
        assert found is not None
        text = said(xmp_of(found))["description"] or ""
        assert pixels(found) == pixels(data)
        if kind == "JPEG" and warnings:
            assert "the prompt is too long for a JPEG's metadata" in warnings[0]
            assert text.endswith("…")
            assert prompt.startswith(text[:-1])
            assert len(xmp_of(found) or b"") > 65_000 - 500
        else:
            assert (text, warnings) == (prompt, ())
