"""What a cache knows of a job, made of the job's record."""

from __future__ import annotations

from pathlib import Path

from nanobatch.caches.base import MOST_PLACES, Entry, Match, entry_of, with_place
from nanobatch.model import Status
from tests.moments import bad, ok


def test_an_image_becomes_an_entry() -> None:
    """Where it is, what it is, what it cost, and what was wrong with it."""
    record = ok(1, sha256="ab" * 32, bytes=7, mime="image/png", width=4, height=3, warnings=("flat",))
    entry = entry_of(record, Path("/out"), made_at=5.0, is_local=True, host="here", asked=["first"])
    assert entry == Entry(
        "job-1", 5.0, "ok", ("/out/images/row-1.png",), "ab" * 32, 7, "image/png", ".png", 4, 3, 0.134, "first",
        None, ("flat",), True, "here",
    )  # fmt: skip
    assert entry.has_image


def test_a_refusal_becomes_an_entry() -> None:
    """Who was asked, and what the provider said."""
    entry = entry_of(
        bad(2, Status.REFUSED, "not this"), Path("/out"), made_at=5.0, is_local=False, host="here", asked=["a", "b"]
    )
    assert not entry.has_image
    assert (entry.places, entry.asked, entry.code, entry.message, entry.http_status) == (
        (), ("a", "b"), "refused", "not this", 200,
    )  # fmt: skip


def test_places_are_the_newest_ones() -> None:
    """A place that comes again moves to the front; the oldest is given up."""
    entry = Entry("j", 0.0, places=("a", "b"))
    assert with_place(entry, "b").places == ("b", "a")
    assert with_place(with_place(entry, "c"), "d").places == ("d", "c", "a")
    assert MOST_PLACES == 3


def test_a_match_says_why() -> None:
    """Another job's entry comes with a sentence for the record."""
    entry = Entry("other", 0.0)
    assert Match(entry, "semantic:0.97 of other").entry is entry
