"""OpenAI's images/generations: what is sent, where the image stands, what it cost.

The wire examples in tests/wire/openai show each shape whole; here are the tables.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nanobatch.errors import (
    AccountStopped,
    DecodeError,
    ExchangeError,
    ModelGone,
    NoImage,
    QuotaSpent,
    RateLimited,
    Rejected,
)
from nanobatch.model import Answer, Blob, Order, Request, Response, Usage
from nanobatch.providers import openai

BLOB = Blob(Path("fox"), 2048, "0" * 64)
UNKNOWN = {"error": {"param": "response_format", "code": "unknown_parameter", "message": "Unknown parameter"}}


def sent(order: Order) -> dict[str, Any]:
    found = next(openai.exchange(order)).json
    assert isinstance(found, dict)
    return found


def ended(*responses: Response, options: dict[str, Any] | None = None) -> Answer | ExchangeError | Request:
    """Send the responses; return the answer, the error, or the request that still waits."""
    exchange = openai.exchange(Order("a red fox", "m", options=options or {}))
    request = next(exchange)
    try:
        for response in responses:
            request = exchange.send(response)
    except StopIteration as done:
        assert isinstance(done.value, Answer)
        return done.value
    except ExchangeError as error:
        return error
    return request


def ok(*entries: Any, **more: Any) -> Response:
    return Response(200, {}, json={"data": list(entries)} | more)


def test_what_is_not_asked_is_not_sent() -> None:
    """One image, and nothing that gpt-image models refuse: no size, no seed, no response_format of our own."""
    assert sent(Order("a red fox", "m")) == {"model": "m", "prompt": "a red fox", "n": 1}


def test_pixels_are_the_size() -> None:
    """Width before height."""
    assert sent(Order("x", "m", size="1K", aspect_ratio="16:9", pixels=(1280, 720)))["size"] == "1280x720"


def test_a_seed_of_zero_is_a_seed() -> None:
    """Zero is a number that somebody asked for."""
    assert sent(Order("x", "m", seed=0))["seed"] == 0


def test_options_win_and_are_left_alone() -> None:
    """What the user's config says replaces what we would send; the mapping itself is shared and never changed."""
    options = {"size": "auto", "quality": "low", "response_format": "url"}
    assert sent(Order("x", "m", pixels=(16, 16), options=options)) == {
        "model": "m", "prompt": "x", "n": 1, "size": "auto", "quality": "low", "response_format": "url",
    }  # fmt: skip
    ended(Response(400, {}, json=UNKNOWN), ok({"b64_json": BLOB}), options=options)
    assert options == {"size": "auto", "quality": "low", "response_format": "url"}


def test_the_request_takes_tokens_from_the_quota() -> None:
    """A prompt's tokens are estimated for providers that limit tokens per minute."""
    assert next(openai.exchange(Order("x" * 400, "m"))).cost.tokens == 100


def test_response_format_is_dropped_once() -> None:
    """The second request is the same without it, and takes quota like the first; there is no third."""
    again = ended(Response(400, {}, json=UNKNOWN), options={"response_format": "url", "quality": "low"})
    assert isinstance(again, Request)
    assert again.json == {"model": "m", "prompt": "a red fox", "n": 1, "quality": "low"}
    assert (again.cost.requests, again.cost.images) == (1, 1)
    assert not again.repeatable
    twice = ended(Response(400, {}, json=UNKNOWN), Response(400, {}, json=UNKNOWN), options={"response_format": "url"})
    assert isinstance(twice, Rejected)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, UNKNOWN),
        (400, {"error": {"param": "quality", "code": "unknown_parameter", "message": "no"}}),
        (400, {"error": {"param": "response_format", "code": "invalid_value", "message": "no"}}),
        (400, {"error": {"code": "moderation_blocked", "message": "response_format"}}),
        (400, {}),
    ],
)
def test_other_troubles_do_not_drop_it(status: int, body: Any) -> None:
    """Only a 400 that says it does not know this field is answered by a second order."""
    assert isinstance(ended(Response(status, {}, json=body), options={"response_format": "url"}), ExchangeError)


@pytest.mark.parametrize(
    ("entry", "data"),
    [
        ({"b64_json": BLOB}, BLOB),
        ({"b64_json": "aGk="}, "aGk="),
        ({"b64_json": "data:image/png;base64,aGk="}, "data:image/png;base64,aGk="),
        ({"url": "data:image/png;base64,aGk="}, "data:image/png;base64,aGk="),
        ({"url": "DATA:image/png;base64,aGk="}, "DATA:image/png;base64,aGk="),
        ({"url": BLOB}, BLOB),
        ({"b64_json": "", "url": BLOB}, BLOB),
        ({"b64Json": 7, "b64_json": BLOB}, BLOB),
    ],
)
def test_where_the_image_stands(entry: dict[str, Any], data: Blob | str) -> None:
    """In b64_json, or in url as a data: URI."""
    answer = ended(ok(entry))
    assert isinstance(answer, Answer)
    assert answer.picture.data == data


@pytest.mark.parametrize("entry", [{"url": "https://cdn.example/1.png"}, {"b64_json": "https://cdn.example/1.png"}])
def test_a_link_is_followed_at_once(entry: dict[str, Any]) -> None:
    """The download comes next, without a key and without cost."""
    request = ended(ok(entry))
    assert isinstance(request, Request)
    assert (request.path, request.download, request.repeatable) == ("https://cdn.example/1.png", True, True)
    answer = ended(ok(entry), Response(200, {}, blob=BLOB))
    assert isinstance(answer, Answer)
    assert answer.picture.data is BLOB


def test_bytes_are_taken_before_links() -> None:
    """Where one entry has the bytes and another a link, nothing is downloaded."""
    answer = ended(ok({"url": "https://cdn.example/1.png"}, {"b64_json": BLOB}))
    assert isinstance(answer, Answer)
    assert answer.picture.data is BLOB


@pytest.mark.parametrize("link", ["file:///etc/passwd", "/1.png", "gs://b/1.png", "https://", "x"])
def test_a_link_that_cannot_be_followed_was_paid(link: str) -> None:
    """The image exists, so this is a broken answer and not an empty one; the link is not repeated in the sentence."""
    error = ended(ok({"url": link}))
    assert isinstance(error, DecodeError)
    assert error.billed is True


@pytest.mark.parametrize("entries", [[], [None], [7], ["x"], [[]], [{}], [{"b64_json": None}], [{"url": ""}]])
def test_no_image(entries: list[Any]) -> None:
    """Entries without an image are a failure that may pass; only an empty list surely cost nothing."""
    error = ended(ok(*entries))
    assert isinstance(error, NoImage)
    assert error.billed is (None if entries else False)


@pytest.mark.parametrize(
    ("usage", "found"),
    [
        (None, None), ({}, None), ([], None), (7, None),
        ({"input_tokens": 5, "output_tokens": 272}, Usage(5, None, 272)),
        ({"output_tokens": 300, "output_tokens_details": {"image_tokens": 272}}, Usage(None, 28, 272)),
        ({"output_tokens": 300, "output_tokens_details": {"image_tokens": 272, "text_tokens": 5}}, Usage(None, 5, 272)),
        ({"output_tokens": 1, "output_tokens_details": {"image_tokens": 272}}, Usage(None, 0, 272)),
        ({"prompt_tokens": 5, "completion_tokens": 1130, "completion_tokens_details": {"image_tokens": 1120}}, Usage(5, 10, 1120)),
        ({"cost": 0.04}, Usage(None, None, None, 0.04)),
        ({"cost": -1, "input_tokens": "x"}, Usage(None, None, None, None)),
        ({"cost": float("inf"), "cost_in_usd_ticks": 5}, Usage(None, None, None, None)),
        ({"output_tokens_details": [1]}, Usage(None, None, None)),
        ({"input_tokens": 9, "input_tokens_details": {"image_tokens": 7}}, Usage(9, None, None, None, 7)),
    ],
)  # fmt: skip
def test_tokens(usage: Any, found: Usage | None) -> None:
    """OpenAI's names or those of chat completions; a price where one is named; what is not said is None."""
    answer = ended(ok({"b64_json": BLOB}, usage=usage))
    assert isinstance(answer, Answer)
    assert answer.usage == found


@pytest.mark.parametrize(
    ("message", "verdict"),
    [
        ("Rate limit reached on images per min: Limit 5. Please try again in 12s.", RateLimited),
        ("Rate limit reached on requests per day (RPD): Limit 200", QuotaSpent),
        ("Limit: 0/1min. Current: 1/1min.", AccountStopped),
    ],
)
@pytest.mark.parametrize("status", [200, 400, 429])
def test_a_rate_limit_by_its_code(message: str, verdict: type[ExchangeError], status: int) -> None:
    """`rate_limit_exceeded` is one whatever the status, and its sentence tells which."""
    error = {"code": "rate_limit_exceeded", "message": message}
    assert type(openai.fault(Response(status, {}, json={"error": error}))) is verdict


def test_a_wrong_model_is_not_a_wrong_prompt() -> None:
    """A 400 about `model` closes the model; a 400 about anything else is that row's own."""
    about = {
        param: {"error": {"code": "invalid_value", "param": param, "message": "no"}} for param in ("model", "size")
    }
    assert type(openai.fault(Response(400, {}, json=about["model"]))) is ModelGone
    assert type(openai.fault(Response(400, {}, json=about["size"]))) is Rejected
