"""What Google's models accept: the table, and what follows from it."""

from __future__ import annotations

import pytest

from nanobatch.sandbox.dialects.gemini_models import (
    ALL_RATIOS,
    COMMON_RATIOS,
    PIXELS,
    PIXELS_OF_2_5,
    RETIRED,
    SCALES,
    SOLD,
    traits,
)


@pytest.mark.parametrize(
    ("model", "sizes", "ratios", "kind"),
    [
        ("gemini-3-pro-image", {"1K", "2K", "4K"}, 10, "jpeg"),
        ("gemini-3-pro-image-preview", {"1K", "2K", "4K"}, 10, "jpeg"),
        ("google/nano-banana-pro", {"1K", "2K", "4K"}, 10, "jpeg"),
        ("gemini-nano-banana-2.1", {"1K", "2K", "4K"}, 14, "jpeg"),
        ("gemini-3.1-flash-image", {"512", "1K", "2K", "4K"}, 14, "jpeg"),
        ("gemini-3.1-flash-lite-image", {"1K"}, 14, "jpeg"),
        ("gemini-2.5-flash-image", {"1K"}, 10, "png"),
        ("somebody-s-model", {"512", "1K", "2K", "4K"}, 14, "jpeg"),
    ],
)
def test_each_model_has_its_own_traits(model: str, sizes: set[str], ratios: int, kind: str) -> None:
    """Sizes, ratios and file format follow from the name; unknown names may do everything."""
    found = traits(model)
    assert (set(found.sizes), len(found.ratios), found.kind) == (sizes, ratios, kind)


@pytest.mark.parametrize(
    ("model", "ratio", "size", "pixels"),
    [
        ("gemini-3-pro-image", None, "1K", (1408, 768)),
        ("gemini-3-pro-image", None, "4K", (5632, 3072)),
        ("gemini-3-pro-image", "16:9", "1K", (1376, 768)),
        ("gemini-3-pro-image", "16:9", "2K", (2752, 1536)),
        ("gemini-3.1-flash-image", "16:9", "512", (688, 384)),
        ("gemini-3.1-flash-image", "1:8", "1K", (384, 3072)),
        ("gemini-2.5-flash-image", None, "1K", (1024, 1024)),
        ("gemini-2.5-flash-image", "16:9", "1K", (1344, 768)),
    ],
)
def test_pixels_follow_from_ratio_and_size(model: str, ratio: str | None, size: str, pixels: tuple[int, int]) -> None:
    """2K is twice the 1K pixels, 4K four times, 512 half."""
    assert traits(model).size(ratio, size) == pixels


def test_every_ratio_has_pixels_near_it() -> None:
    """The table has no misprint: each entry is its ratio within 6 %, and about a megapixel."""
    for table in (PIXELS, PIXELS_OF_2_5):
        for ratio, (width, height) in table.items():
            across, down = (int(part) for part in ratio.split(":"))
            assert width / height == pytest.approx(across / down, rel=0.06)
            assert 0.8e6 < width * height < 1.3e6
    assert set(COMMON_RATIOS) < set(ALL_RATIOS) == set(PIXELS)
    assert all(scale > 0 for scale in SCALES.values())


def test_nothing_is_sold_and_retired() -> None:
    """The list of models shows living ones only."""
    assert not RETIRED & set(SOLD)
    assert len(SOLD) > 2


def test_what_a_reference_counts() -> None:
    """As it was recorded: more with the lite model."""
    assert traits("google/gemini-3.1-flash-lite-image").reference_tokens == 1120
    assert {traits(model).reference_tokens for model in ("gemini-3-pro-image", "gemini-2.5-flash-image", "x")} == {258}
