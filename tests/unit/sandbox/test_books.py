"""The books: totals, bills on disk, and what a new sandbox learns from them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nanobatch.sandbox.books import LOG_LENGTH, Books, BooksError, Entry, Served


def entry(request: int = 1, prompt: str = "a cat", **other: object) -> Entry:
    values: dict[str, object] = {
        "time": 1.5, "request": request, "dialect": "gemini", "model": "m", "prompt": prompt, "sha256": "00",
        "connection_open": True,
    }  # fmt: skip
    return Entry(**values | other)  # type: ignore[arg-type]


def served(request: int = 1) -> Served:
    return Served(time=1.0, request=request, dialect="openai", outcome="ok", status=200, images=1)


def test_new_books_are_empty() -> None:
    """Every total is there from the start."""
    assert Books().totals() == {
        "requests": 0, "images": 0, "creations": 0, "prompts": 0, "twice": 0, "undelivered": 0, "violations": {},
        "refusals": {}, "faults": {}, "keys_in_query": 0, "polls": 0, "uploads": 0, "downloads": 0,
        "half_price": 0, "batches": 0, "batches_twice": 0, "most_enqueued": 0,
    }  # fmt: skip


def test_images_and_creations_are_counted_apart() -> None:
    """Three images of one request are three images and one creation; asked once, they are nothing twice."""
    books = Books()
    books.bill([entry(1), entry(1), entry(1)])
    totals = books.totals()
    assert (totals["images"], totals["creations"], totals["prompts"], totals["twice"]) == (3, 1, 1, 0)


def test_a_prompt_billed_by_two_requests_is_twice() -> None:
    """What a client must not let happen is one number."""
    books = Books()
    for request, prompt in enumerate(["a", "b", "a", "a", "c", "b"], 1):
        books.bill([entry(request, prompt)])
    assert books.totals()["twice"] == 2
    assert books.full()["by_prompt"] == {"a": 3, "b": 2, "c": 1}


def test_nothing_billed_is_nothing_counted() -> None:
    """A request for words only leaves no bill."""
    books = Books()
    books.bill([])
    assert books.totals()["creations"] == 0


def test_numbers_go_up_and_count_requests() -> None:
    """Every request has its own number."""
    books = Books()
    assert [books.number() for _ in range(3)] == [1, 2, 3]
    assert books.totals()["requests"] == 3


def test_the_log_forgets_the_oldest() -> None:
    """A long run does not fill the memory with its log."""
    books = Books()
    for number in range(LOG_LENGTH + 5):
        books.note(served(number))
    log = books.full()["log"]
    assert len(log) == LOG_LENGTH
    assert log[0] == {
        "time": 1.0, "request": 5, "dialect": "openai", "outcome": "ok", "status": 200, "images": 1,
    }  # fmt: skip
    assert "log" not in books.totals()


def test_every_bill_is_on_disk_at_once(tmp_path: Path) -> None:
    """Without closing anything, another reader sees the line: a kill loses no bill."""
    path = tmp_path / "books.jsonl"
    books = Books(path)
    books.bill([entry(4, "line\nbreak \u2028 🦊", fault="truncate", connection_open=False)])
    (line,) = path.read_bytes().splitlines()
    assert json.loads(line) == {
        "time": 1.5, "request": 4, "dialect": "gemini", "model": "m", "prompt": "line\nbreak \u2028 🦊",
        "sha256": "00", "connection_open": False, "fault": "truncate", "references": [], "task": None,
        "factor": 1.0,
    }  # fmt: skip
    books.close()
    books.close()


def test_totals_go_on_in_the_next_process(tmp_path: Path) -> None:
    """Images, creations, prompts and numbers continue; a prompt billed before and after is twice."""
    path = tmp_path / "books.jsonl"
    first = Books(path)
    first.bill([entry(3, "a"), entry(3, "a")])
    first.bill([entry(9, "b", connection_open=False)])
    first.close()
    second = Books(path)
    assert second.totals() | {"requests": 9, "images": 3, "creations": 2, "undelivered": 1, "twice": 0} == (
        second.totals()
    )
    assert second.number() == 10
    second.bill([entry(10, "a")])
    assert second.totals()["twice"] == 1
    second.close()
    assert len(path.read_bytes().splitlines()) == 4


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_a_line_cut_by_a_crash_is_left_out(tmp_path: Path, cut: int) -> None:
    """A torn last line harms neither the bills before it nor those after, in this process and the next."""
    path = tmp_path / "books.jsonl"
    first = Books(path)
    first.bill([entry(1, "a")])
    first.bill([entry(2, "b")])
    first.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    second = Books(path)
    expected = 2 if cut == 1 else 1  # without its line end alone, the line is still whole
    assert second.totals()["images"] == expected
    second.bill([entry(3, "c")])
    second.close()
    third = Books(path)
    assert third.totals()["images"] == expected + 1
    third.close()


def test_an_empty_file_is_fine(tmp_path: Path) -> None:
    """A file that was made before the sandbox started holds no bills."""
    path = tmp_path / "books.jsonl"
    path.touch()
    books = Books(path)
    assert books.totals()["images"] == 0
    books.close()
    assert path.read_bytes() == b""


def test_a_file_of_another_kind_is_not_touched(tmp_path: Path) -> None:
    """Books are not written behind somebody's list of prompts."""
    path = tmp_path / "prompts.csv"
    path.write_text("id,prompt\n1,a cat\n")
    with pytest.raises(BooksError, match="line 1: not a line of a sandbox's books"):
        Books(path)
    assert path.read_text() == "id,prompt\n1,a cat\n"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """The sentence says which file and why."""
    with pytest.raises(BooksError, match=r"cannot keep books in .*nowhere.*: No such file or directory"):
        Books(tmp_path / "nowhere" / "books.jsonl")
    with pytest.raises(BooksError, match="Is a directory"):
        Books(tmp_path)
