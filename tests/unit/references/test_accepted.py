"""When a source's own bytes can be sent as they are."""

from __future__ import annotations

import pytest

from nanobatch.references.accepted import Accepted, Header

PHOTO = Header("image/jpeg", 4000, has_more=False)
TAKES = Accepted(("image/png", "image/jpeg"), 1000)


def test_what_fits_is_taken() -> None:
    """The limit itself still fits."""
    assert TAKES.takes(PHOTO, 1000)
    assert Accepted(("image/jpeg",), 1000, 4000).takes(PHOTO, 1)


@pytest.mark.parametrize(
    ("header", "size", "accepted"),
    [
        (PHOTO, 1001, TAKES),
        (PHOTO, 10, Accepted(("image/png",), 1000)),
        (PHOTO, 10, Accepted(("image/jpeg",), 1000, 3999)),
        (Header("image/jpeg", 4000, has_more=True), 10, TAKES),
        (Header("image/gif", 10, has_more=True), 10, Accepted(("image/gif",), 1000)),
    ],
)
def test_what_does_not_fit_is_converted(header: Header, size: int, accepted: Accepted) -> None:
    """Another type, too many bytes or pixels, or a second picture ask for a new encoding."""
    assert not accepted.takes(header, size)


def test_whoever_takes_heic_takes_what_phones_add_to_it() -> None:
    """The further pictures in a HEIC file are part of the format."""
    assert Accepted(("image/heic",), 1000).takes(Header("image/heic", 10, has_more=True), 10)
