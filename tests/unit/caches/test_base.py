"""What a cache knows of a job, made of the job's record."""

from __future__ import annotations

from pathlib import Path

from nanobatch.caches.base import MOST_PLACES, Entry, Match, decoded, encoded, entry_of, with_place
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


def test_an_entry_that_cannot_be_read_is_none() -> None:
    """Whether its form is broken or its words are."""
    whole = encoded(Entry("j", 1.0, message="word"))
    assert decoded(whole) == Entry("j", 1.0, message="word")
    assert decoded(whole[:-1]) is None
    assert decoded(whole.replace(b"word", b"w\xffrd")) is None


def test_names_that_are_no_utf8_are_written_all_the_same() -> None:
    """With question marks, so that the place leads nowhere, and no run ends for it."""
    entry = decoded(encoded(Entry("j", 1.0, places=("/caf\udce9/1.png", "/b.png"), bytes=3, message="sad \ud83d face")))
    assert entry == Entry("j", 1.0, places=("/caf?/1.png", "/b.png"), bytes=3, message="sad ? face")
