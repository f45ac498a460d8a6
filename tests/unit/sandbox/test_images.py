"""The drawn images: real files, exact pixels, telling."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nanobatch.images import inspect
from nanobatch.sandbox.images import LONGEST_SHOWN, MARK, Drawing, Kind, colours, contrast, draw, pad, shown

KINDS: tuple[Kind, ...] = ("jpeg", "png", "webp")


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(1024, 1024), (1408, 768), (352, 2928), (47, 48), (1, 1), (3, 700)])
def test_kind_and_pixels_are_as_asked(kind: Kind, size: tuple[int, int]) -> None:
    """Any size, down to a single pixel, in each format."""
    image = opened(draw(Drawing("a cat", *size, kind, "caption")))
    assert (image.size, image.format) == (size, kind.upper())


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_carries_the_prompt_s_hash(kind: Kind) -> None:
    """A test can prove which prompt an image belongs to."""
    image = opened(draw(Drawing("a cät", 200, 100, kind)))
    info = image.info
    mark = {"jpeg": "comment", "png": "Comment", "webp": "xmp"}[kind]
    text = info[mark] if isinstance(info[mark], str) else info[mark].decode()
    assert text == MARK + hashlib.sha256("a cät".encode()).hexdigest()


def test_equal_drawings_give_equal_bytes() -> None:
    """An image need not be kept to be served again."""
    drawing = Drawing("a cat", 300, 200, "jpeg", "m")
    assert draw(drawing) == draw(replace(drawing))


def test_prompts_and_variants_differ() -> None:
    """Everything that an image stands for changes its bytes."""
    base = Drawing("a cat", 300, 200, "png", "m")
    others = [replace(base, prompt="a cab"), replace(base, variant=1), replace(base, caption="n")]
    assert len({draw(drawing) for drawing in [base, *others]}) == 4


def test_the_words_are_really_drawn() -> None:
    """Letters cover a good part of the image, and more words change it."""
    image = opened(draw(Drawing("MOON", 400, 400, "png"))).convert("RGB")
    background, ink = colours(Drawing("MOON", 1, 1).digest, 0)
    counts: dict[object, int] = {pixel: count for count, pixel in image.getcolors(maxcolors=1 << 24) or []}
    assert 0.5 < counts[background] / (400 * 400) < 0.99
    assert 0.01 < counts[ink] / (400 * 400) < 0.5


@given(st.binary(min_size=4, max_size=32), st.integers(0, 20))
def test_words_can_be_read(digest: bytes, variant: int) -> None:
    """Ink and background differ by what WCAG asks of normal text, whatever the hash."""
    assert contrast(*colours(digest, variant)) >= 4.5


@pytest.mark.parametrize(
    "prompt",
    [
        "", " ", "\x00\x07\x1b[31m", "🦊🏳️‍🌈👨‍👩‍👧", "一只红色的狐狸", "مرحبا بالعالم", "e\u0301" * 500, "\ufffe\uffff",
        "W" * 30_000, "word " * 6_000, "\n\n\n", "\u202eevil", "a\u0300" + "\u0300" * 5000, "\U0010ffff",
    ],
)  # fmt: skip
def test_no_prompt_stops_the_pen(prompt: str) -> None:
    """Emoji, control characters, right-to-left text and 30 kB all become an image."""
    assert opened(draw(Drawing(prompt, 256, 128))).size == (256, 128)


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=300), st.integers(1, 300), st.integers(1, 300))
def test_any_text_fits_any_size(prompt: str, width: int, height: int) -> None:
    """Whatever the text and the size, an image of that size comes out."""
    assert opened(draw(Drawing(prompt, width, height, "png", prompt))).size == (width, height)


@pytest.mark.parametrize(
    ("text", "seen"),
    [("a\tb\n c", "a b c"), ("Zoë's café", "Zoe's cafe"), ("", ""), ("\x1b[0m", "[0m"), ("ab", "ab")],
)
def test_what_is_shown_is_one_clean_line(text: str, seen: str) -> None:
    """Spaces are joined, control characters vanish, accents go where the font has none."""
    assert shown(text) == seen


def test_a_long_text_is_cut_with_a_sign() -> None:
    """The reader sees that there was more."""
    assert shown("x" * 10_000) == "x" * (LONGEST_SHOWN - 1) + "…"
    assert shown("x" * LONGEST_SHOWN) == "x" * LONGEST_SHOWN


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("more", [1, 3, 4, 11, 12, 13, 65_537, 65_538, 65_540, 1_000_001])
def test_padding_reaches_the_size_and_stays_an_image(kind: Kind, more: int, tmp_path: Path) -> None:
    """A padded file has the asked size, at most 12 bytes more, and every reader still takes it for whole."""
    plain = draw(Drawing("a cat", 64, 64, kind))
    padded = pad(plain, kind, len(plain) + more)
    assert len(plain) + more <= len(padded) <= len(plain) + more + 12
    assert list(opened(padded).convert("RGB").tobytes()) == list(opened(plain).convert("RGB").tobytes())
    path = tmp_path / "image"
    path.write_bytes(padded)
    facts = inspect(path)
    assert (facts.width, facts.height, facts.mime) == (64, 64, f"image/{kind}")


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_large_enough_stays_as_it_is(kind: Kind) -> None:
    """Padding never changes what needs none."""
    plain = draw(Drawing("a cat", 64, 64, kind))
    assert pad(plain, kind, 0) is plain
    assert pad(plain, kind, len(plain)) is plain
    assert len(draw(Drawing("a cat", 64, 64, kind, least_bytes=50_000))) >= 50_000


def test_a_better_quality_is_a_larger_file() -> None:
    """OpenAI's output_compression has its effect."""
    low, high = (draw(Drawing("a cat on a mat", 512, 512, "jpeg", quality=quality)) for quality in (10, 95))
    assert len(low) < len(high)
