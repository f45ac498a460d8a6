"""Whatever image a user has: a provider gets a type it takes, within its limits, or the user gets a reason."""

from __future__ import annotations

import hashlib
import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from nanobatch.errors import InputError
from nanobatch.references import Accepted, References
from nanobatch.references.addresses import is_url, show
from nanobatch.references.signatures import recognise

# The modes that Pillow's writers take; the images themselves are noise, which is the hardest to make small.
MODES = {
    "PNG": ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"],
    "JPEG": ["L", "RGB", "CMYK"],
    "MPO": ["L", "RGB"],
    "WEBP": ["RGB", "RGBA"],
    "GIF": ["1", "L", "P", "RGB", "RGBA"],
    "BMP": ["1", "L", "P", "RGB", "RGBA"],
    "TIFF": ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I", "F", "I;16"],
    "AVIF": ["RGB", "RGBA"],
}
KINDS = st.sampled_from([(kind, mode) for kind, modes in MODES.items() for mode in modes])
SIDES = st.integers(1, 150)
TYPES = st.sets(st.sampled_from(["image/png", "image/jpeg", "image/webp"]), min_size=1).map(tuple)
ACCEPTED = st.builds(Accepted, TYPES, st.integers(2_000, 60_000), st.none() | st.integers(1, 200))
quiet = pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's; outside of tests they are silent


def noise(mode: str, width: int, height: int) -> Image.Image:
    grey = Image.effect_noise((width, height), 120)
    if mode == "I;16":
        return grey.convert("I").convert("I;16")
    colours = Image.merge("RGB", (grey, grey.rotate(180), grey.transpose(Image.Transpose.FLIP_LEFT_RIGHT)))
    if mode in ("LA", "RGBA"):
        colours.putalpha(grey)
    return grey.convert(mode) if mode in ("1", "L", "I", "F") else colours.convert(mode)


def encoded(kind: str, mode: str, width: int, height: int, *, frames: int = 1, orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"exif": exif.tobytes()} if kind in ("PNG", "JPEG", "WEBP") else {}
    more = [noise(mode, width, height) for _ in range(frames - 1)]
    if more and kind not in ("JPEG", "BMP"):
        options |= {"save_all": True, "append_images": more}  # type: ignore[dict-item]
    written = io.BytesIO()
    noise(mode, width, height).save(written, kind, **options)
    return written.getvalue()


@quiet
@settings(max_examples=150, deadline=None)
@given(
    kind=KINDS, width=SIDES, height=SIDES, frames=st.integers(1, 3), orientation=st.integers(1, 8), accepted=ACCEPTED
)
def test_a_provider_gets_what_it_takes(
    kind: tuple[str, str], width: int, height: int, frames: int, orientation: int, accepted: Accepted
) -> None:
    """For every kind, mode and size, what is loaded has a type that is taken and keeps within bytes and pixels."""
    data = encoded(*kind, width, height, frames=frames, orientation=orientation)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "image").write_bytes(data)
        references = References(Path(folder) / "kept")
        digest = references.digest("image", Path(folder))
        reference = references.load(digest, accepted)
        again = References(Path(folder) / "kept")
        assert again.digest(f"{folder}/image", Path("elsewhere")) == digest
        assert again.load(digest, accepted) == reference
    assert digest == reference.sha256 == hashlib.sha256(data).hexdigest()
    assert reference.mime in accepted.types
    assert recognise(reference.data) == reference.mime
    assert len(reference.data) <= accepted.max_bytes
    with Image.open(io.BytesIO(reference.data)) as image:
        image.load()
        assert max(image.size) <= (accepted.max_pixels_side or max(width, height))
        assert reference.data == data or image.format in ("PNG", "JPEG", "WEBP")


@quiet
@settings(max_examples=250, deadline=None)
@given(
    kind=KINDS,
    changes=st.lists(st.tuples(st.integers(0, 5_000), st.binary(min_size=1, max_size=6)), max_size=4),
    keep=st.floats(0, 1),
    accepted=ACCEPTED,
)
def test_damaged_images_are_references_or_reasons(
    kind: tuple[str, str], changes: list[tuple[int, bytes]], keep: float, accepted: Accepted
) -> None:
    """Whatever happened to a file, it gives a reference within the limits or an InputError, and nothing else."""
    data = bytearray(encoded(*kind, 30, 20, frames=2))
    for at, instead in changes:
        start = at % len(data)
        data[start : start + len(instead)] = instead
    data = data[: int(len(data) * max(keep, 0.2))]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "image").write_bytes(data)
        references = References(Path(folder) / "kept")
        try:
            reference = references.load(references.digest("image", Path(folder)), accepted)
        except InputError as error:
            assert error.message.startswith("reference image image: ")
            assert "\n" not in error.message
        else:
            assert reference.mime in accepted.types
            assert len(reference.data) <= accepted.max_bytes


@settings(max_examples=200, deadline=None)
@given(
    head=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"BM", b"II*\x00"]),
    rest=st.binary(max_size=200),
)
def test_any_bytes_have_a_type_or_a_reason(head: bytes, rest: bytes) -> None:
    """Recognising never fails in any other way than in words."""
    try:
        assert recognise(head + rest).startswith("image/")
    except InputError as error:
        assert error.message


@settings(max_examples=200, deadline=None)
@given(source=st.text(max_size=60), query=st.text(st.characters(categories=["L", "N"]), min_size=8, max_size=20))
def test_any_text_is_a_source_or_a_reason(source: str, query: str) -> None:
    """What stands in a cell never crashes the run, and the query of a URL is never shown."""
    assume(not is_url(source) or not source.lower().startswith("http"))
    assume(not (Path("/nonexistent") / source).exists())
    with pytest.raises(InputError):
        References(Path("/nonexistent/kept")).digest(source, Path("/nonexistent"))
    if query not in source:
        assert query not in show(f"https://example.com/{source.replace('#', '')}?{query}")
