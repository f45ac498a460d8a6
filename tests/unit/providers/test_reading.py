"""Reading answers that nobody promised."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nanobatch.model import Blob, Response
from nanobatch.providers.reading import (
    body_of,
    count,
    error_object,
    error_status,
    image_data,
    items,
    money,
    node,
    retry_after,
    seconds,
    spoken_seconds,
    words,
)

DATE = "Mon, 02 Nov 2026 10:00:00 GMT"
INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (("a", 0, "bC"), 7), (("a", -1, "bC"), 7), (("a", 1), None), (("a", -2), None), (("x",), None),
        (("a", "bC"), None), ((0,), None), (("n", "deeper"), None), (("longName",), 8), ((), "whole"),
    ],
)  # fmt: skip
def test_a_path_is_followed_as_far_as_it_leads(path: tuple[str | int, ...], found: Any) -> None:
    """Missing keys, wrong types and indexes beyond the end give None; camelCase finds snake_case."""
    value = {"a": [{"b_c": 7}], "n": None, "long_name": 8}
    assert node(value, *path) == (value if found == "whole" else found)


def test_the_vendors_own_spelling_wins() -> None:
    """Where both spellings are there, camelCase is read; a null gives way to the other."""
    assert node({"bC": 1, "b_c": 2}, "bC") == 1
    assert node({"bC": None, "b_c": 2}, "bC") == 2
    assert node({"bC": 0, "b_c": 2}, "bC") == 0


@pytest.mark.parametrize(("value", "found"), [([1], [1]), (None, []), ("ab", []), ({"a": 1}, []), ((1,), [])])
def test_only_a_list_has_items(value: Any, found: list[Any]) -> None:
    """A string is not a list of characters."""
    assert items(value) == found


@pytest.mark.parametrize(("value", "found"), [("a", "a"), (429, "429"), (1.5, "1.5"), (True, ""), (None, ""), ([], "")])
def test_words(value: Any, found: str) -> None:
    """Numbers are words as well, truth and structures are not."""
    assert words(value) == found


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (1120, 1120), (0, 0), ("1120", 1120), (-1, None), ("-1", None), (1.0, None), (True, None), (None, None), ("", None),
        ("１２", None), ("1_000", None), ("9" * 5000, None), (10**400, None), ([], None), (INF, None), (10**12, None),
    ],
)  # fmt: skip
def test_counts(value: Any, found: int | None) -> None:
    """A count is whole, not negative, and small enough to be multiplied by a price."""
    assert count(value) == found


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (0.03, 0.03),
        (1, 1.0),
        (0, 0.0),
        (-0.1, None),
        (INF, None),
        (NAN, None),
        (True, None),
        ("0.03", None),
        (10**400, None),
    ],
)
def test_money(value: Any, found: float | None) -> None:
    """An amount is a finite number that is not negative."""
    assert money(value) == found


def test_image_data() -> None:
    """A blob or a short string may be an image; an empty string is none."""
    blob = Blob(Path("x"), 1, "0")
    assert image_data(blob) is blob
    assert image_data("aGk=") == "aGk="
    assert [image_data(value) for value in ("", " \n", None, 7, ["aGk="])] == [None] * 5


@pytest.mark.parametrize(("body", "found"), [([{"a": 1}], {"a": 1}), ({"a": 1}, {"a": 1}), ([1, 2], [1, 2]), ([], [])])
def test_a_list_of_one_is_unwrapped(body: Any, found: Any) -> None:
    """Some gateways put every answer into a list."""
    assert body_of(Response(200, {}, json=body)) == found


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (400, {"error": {"message": "a", "code": 1}}, "a"),
        (400, [{"error": {"message": "a"}}], "a"),
        (200, {"error": {"message": "a"}}, "a"),
        (500, {"error": "a"}, "a"),
        (200, {"error": "a", "code": 429}, "a"),
        (422, {"detail": "a"}, "a"),
        (500, {"msg": "a", "message": None}, "a"),
        (200, {"code": 500, "msg": "a"}, "a"),
        (200, {"code": "401", "message": "a"}, "a"),
        (200, {"code": 200, "msg": "success"}, None),
        (200, {"code": 0, "message": "ok", "data": []}, None),
        (200, {"message": "hello"}, None),
        (200, {"error": None}, None),
        (200, {"error": {}}, None),
        (200, {"error": " "}, None),
        (200, {"error": False}, None),
        (500, {"oops": 1}, None),
        (500, {"message": {"a": 1}}, None),
        (500, [], None),
        (500, None, None),
        (500, "error", None),
    ],
)
def test_an_error_is_found_in_its_wrappings(status: int, body: Any, message: str | None) -> None:
    """Envelopes, lists of one, bare sentences and bare objects; a success beside a `code` is no error."""
    found = error_object(Response(status, {}, json=body))
    assert (found["message"] if found is not None else None) == message


@pytest.mark.parametrize(
    ("status", "error", "meant"),
    [
        (503, {"code": 429}, 503),
        (200, {"code": 429}, 429),
        (200, {"code": "503"}, 503),
        (200, {"code": 8, "status": "RESOURCE_EXHAUSTED"}, 429),
        (200, {"status": "UNAVAILABLE"}, 503),
        (200, {"code": "rate_limit_exceeded"}, 500),
        (200, {"code": 200}, 500),
        (200, {"code": 99999}, 500),
        (200, {"code": None}, 500),
        (200, {"status": ["UNAVAILABLE"]}, 500),
    ],
)
def test_an_error_inside_a_success_tells_its_own_status(status: int, error: dict[str, Any], meant: int) -> None:
    """The HTTP status counts where it is an error; inside a 200 the error's code does, else it is a 500."""
    assert error_status(Response(status, {}), error) == meant


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (48, 48.0), ("48", 48.0), ("34.4s", 34.4), ("48.939935699s", 48.939935699), ("0s", 0.0), (" 7 s ", 7.0), (1.5, 1.5),
        ("-1s", None), ("", None), ("s", None), ("1m", None), (None, None), (True, None), (INF, None), (NAN, None), ([], None),
        ("999999999s", None), (1_790_000_000, None), ("9" * 400, None), ("١s", None),
    ],
)  # fmt: skip
def test_seconds(value: Any, found: float | None) -> None:
    """Protobuf's durations and plain numbers; a moment in place of a duration is not believed."""
    assert seconds(value) == found


@pytest.mark.parametrize(
    ("sentence", "found"),
    [
        ("Please retry in 48.939935699s.", 48.939935699),
        ("* Quota exceeded, limit: 20\nPlease retry in 4.697527827s.", 4.697527827),
        ("Too many requests from this IP, please try again after 15 minutes.", 900.0),
        ("Please try again in 12s. Visit https://x.example", 12.0),
        ("Please try again in 7m12s.", 432.0),
        ("please try again in 1h2m3.5s", 3723.5),
        ("Try again in 20ms.", 0.02),
        ("try again in 500 milliseconds", 0.5),
        ("try again in 1 hour 30 minutes", 5400.0),
        ("Retry after 30 seconds", 30.0),
        ("retrying in 2 secs", 2.0),
        ("Please try again later.", None),
        ("It failed in 12s", None),
        ("try again in 5 steps", None),
        ("try again in 999999999 hours", None),
        ("", None),
    ],
)
def test_a_wait_in_a_sentence(sentence: str, found: float | None) -> None:
    """Google writes seconds, OpenAI 7m12s, relays minutes in words."""
    assert spoken_seconds(sentence) == (pytest.approx(found) if found is not None else None)


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({}, None),
        ({"retry-after": "12"}, 12.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "2", "retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "2", "retry-after-ms": "soon"}, 2.0),
        ({"retry-after": "Mon, 02 Nov 2026 10:01:30 GMT", "date": DATE}, 90.0),
        ({"retry-after": "Mon, 02 Nov 2026 11:01:30 +0100", "date": DATE}, 90.0),
        ({"retry-after": "Mon, 02 Nov 2026 09:00:00 GMT", "date": DATE}, 0.0),
        ({"retry-after": "Mon, 02 Nov 2026 10:01:30 GMT"}, None),
        ({"retry-after": "Mon, 02 Nov 2026 10:01:30 GMT", "date": "yesterday"}, None),
        ({"retry-after": "Mon, 02 Nov 2026 10:01:30 -0000", "date": DATE}, None),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT", "date": DATE}, None),
        ({"retry-after": "Mon, 32 Nov 2026 10:01:30 GMT", "date": DATE}, None),
        ({"retry-after": "soon", "date": DATE}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "1790000000"}, None),
    ],
)
def test_the_wish_in_the_headers(headers: dict[str, str], found: float | None) -> None:
    """Milliseconds before seconds before a date, which counts from the answer's own date."""
    assert retry_after(Response(429, headers)) == found
