"""Answers in OpenAI's shape; tests/wire holds them in every form."""

from __future__ import annotations

from pathlib import Path

import pytest

from nanobatch.errors import ExchangeError, NoImage
from nanobatch.model import Answer, Blob, Response, Usage
from nanobatch.providers.openai_answers import answered, usage_of

FOX = Blob(Path("fox"), 10, "0" * 64)


def ended(response: Response) -> Answer:
    talk = answered(response)
    try:
        next(talk)
    except StopIteration as done:
        assert isinstance(done.value, Answer)
        return done.value
    raise AssertionError("it wants to follow a link")


def test_an_image_beside_an_error_is_kept() -> None:
    """It was paid."""
    assert (
        ended(Response(200, {}, json={"data": [{"b64_json": FOX}], "error": {"message": "late"}})).picture.data is FOX
    )


def test_the_first_is_the_picture_and_the_rest_are_drafts() -> None:
    """Several images of one request are rare, and none is lost."""
    other = Blob(Path("owl"), 10, "1" * 64)
    found = ended(Response(200, {}, json={"data": [{"b64_json": FOX}, {"b64_json": other}]}))
    assert found.picture.data is FOX
    assert [draft.data for draft in found.drafts] == [other]


@pytest.mark.parametrize("body", [{"data": []}, {"data": None}, {"data": [{}]}, {}])
def test_nothing_is_no_image(body: object) -> None:
    """Every way to send nothing ends the same."""
    with pytest.raises((NoImage, ExchangeError)):
        ended(Response(200, {}, json=body))


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, None),
        ({}, None),
        ({"input_tokens": 5, "output_tokens": 100}, Usage(5, None, 100)),
        ({"prompt_tokens": 5, "completion_tokens": 100, "cost": 0.04}, Usage(5, None, 100, 0.04)),
        ({"output_tokens": 100, "output_tokens_details": {"image_tokens": 90}}, Usage(None, 10, 90)),
    ],
)
def test_tokens_are_read_under_either_name(usage: object, expected: Usage | None) -> None:
    """OpenAI's names, those of chats, and the price itself."""
    assert usage_of({"usage": usage}) == expected
