"""Whatever bytes come: an image's facts are Pillow's, and nothing else crashes the reader."""

from __future__ import annotations

import contextlib
import io
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nanobatch.errors import DecodeError
from nanobatch.images import inspect, mismatch
from nanobatch.model import ImageFacts

KINDS = st.sampled_from(["PNG", "JPEG", "WEBP", "GIF"])
SIDES = st.integers(1, 60)
HEADS = st.sampled_from(
    [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\x20\x00\x00\x00WEBP", b"GIF89a", b"\x00\x00\x00\x10ftypavif"]
)


def drawn(kind: str, width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((width, height), 80).save(buffer, kind)
    return buffer.getvalue()


def facts_of(data: bytes) -> ImageFacts:
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        return inspect(Path(file.name))


@settings(max_examples=80, deadline=None)
@given(kind=KINDS, width=SIDES, height=SIDES)
def test_the_facts_are_pillows(kind: str, width: int, height: int) -> None:
    """Kind and pixels agree with Pillow's for every kind and size."""
    facts = facts_of(drawn(kind, width, height))
    assert (facts.mime, facts.width, facts.height) == (f"image/{kind.lower()}", width, height)


@settings(max_examples=80, deadline=None)
@given(kind=KINDS, width=SIDES, height=SIDES, part=st.floats(0, 0.9))
def test_no_cut_image_passes(kind: str, width: int, height: int, part: float) -> None:
    """An image that lost at least a tenth of its bytes is a DecodeError."""
    data = drawn(kind, width, height)
    with contextlib.suppress(DecodeError):
        facts_of(data[: int(len(data) * part)])
        raise AssertionError("a cut image passed")


@settings(max_examples=200, deadline=None)
@given(head=HEADS, rest=st.binary(max_size=300))
def test_any_bytes_give_facts_or_a_decode_error(head: bytes, rest: bytes) -> None:
    """Bytes of any kind, also behind a true signature, are facts or a DecodeError and nothing else."""
    with contextlib.suppress(DecodeError):
        facts = facts_of(head + rest)
        assert facts.width > 0
        assert facts.height > 0


@given(width=st.integers(1, 65_535), height=st.integers(1, 65_535))
def test_an_image_matches_itself(width: int, height: int) -> None:
    """An image that has exactly the pixels asked for is never warned about, and one turned by 90° is if not square."""
    facts = ImageFacts("image/png", ".png", width, height)
    assert mismatch(facts, pixels=(width, height), size=None, aspect_ratio=None) == ()
    turned = mismatch(facts, pixels=(height, width), size=None, aspect_ratio=None)
    assert bool(turned) == (max(width / height, height / width) ** 2 > 1.1)
