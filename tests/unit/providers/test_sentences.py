"""A vendor's words, fit to be shown and kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nanobatch.model import Blob, Response
from nanobatch.providers.sentences import LONGEST_MESSAGE, body_in_words, clean, is_page, said, short_name

FAKE = "a1B2c3D4" * 4


@pytest.mark.parametrize(
    "text",
    [
        f"Incorrect API key provided: sk-proj-{FAKE}.",
        f"Incorrect API key provided: sk-{FAKE[:4]}****{FAKE}",
        "Incorrect API key provided: nodigitsinthiskey. You can find it at https://x.example",
        f"GET /v1beta/models?key=AIza{FAKE} failed",
        f"key AIza{FAKE} was reported",
        f"Key AQ.{FAKE} is not valid",
        f"token ya29.{FAKE}",
        f"Authorization: Bearer {FAKE}",
        f"authorization: basic {FAKE}==",
        f"Invalid token: {FAKE}",
        f"Invalid token '{FAKE}'",
        f'{{"api_key": "{FAKE}"}}',
        f'{{"apiKey":"{FAKE}"}}',
        f"access_token={FAKE}&x=1",
        f"https://cdn.example/1.png?X-Amz-Signature={FAKE}&x=1",
        f"https://user:{FAKE}@cdn.example/1.png",
        f"see 'https://cdn.example/1.png?sig={FAKE}', please",
        f"xai-{FAKE}",
        f"AIza\u200b{FAKE}",
        f"s\u200dk-{FAKE}",
        f"Bear\x00er {FAKE}",
    ],
)
def test_what_looks_like_a_key_is_taken_out(text: str) -> None:
    """Keys, tokens, credentials in URLs and signed queries go, also when invisible characters are woven in."""
    assert "***" in clean(text)
    assert FAKE not in clean(text)
    assert "nodigits" not in clean(text)


@pytest.mark.parametrize(
    "text",
    [
        "Support code: 11030041",
        "include the request ID b68e1d8f-31a3-4a04-aa41-bf442d857ccd",
        "API key not valid. Please pass a valid API key.",
        "Quota exceeded for metric: generativelanguage.googleapis.com/generate_content_paid_tier_2_requests, limit: 20",
        "total tokens: 1120, model: gemini-3.1-flash-lite-image",
        "head to: https://ai.google.dev/gemini-api/docs/rate-limits.",
        "分组 default 下模型 X 无可用渠道",
        "Bearer authentication is required",
    ],
)
def test_what_helps_stays(text: str) -> None:
    """Support codes, request ids, model names, plain links and every script stay as they are."""
    assert clean(text) == text


def test_control_characters_go() -> None:
    """A sentence cannot colour a terminal, turn its direction, hide, or begin a line of its own."""
    assert clean(" \ta\r\n\nb\x1b[31mc\u202ed\u2028e\x00f\ud800 ") == "a b[31mcd ef"


def test_a_long_sentence_is_cut() -> None:
    """Three hundred characters are enough, and the cut is visible."""
    found = clean("fox " * 1000)
    assert len(found) == LONGEST_MESSAGE
    assert found.endswith("…")
    assert clean("x" * LONGEST_MESSAGE) == "x" * LONGEST_MESSAGE


def test_a_key_at_the_cut_is_not_half_shown() -> None:
    """Secrets are taken out before a sentence is cut, not after."""
    assert "a1B2" not in clean("x" * (LONGEST_MESSAGE - 10) + f" sk-{FAKE}")


@pytest.mark.parametrize(
    ("value", "name"),
    [("STOP", "STOP"), (" a\nb ", "a b"), (None, ""), (7, ""), (["STOP"], ""), ("x" * 500, "x" * 100)],
)
def test_a_name_is_short(value: Any, name: str) -> None:
    """A reason or a model's name is text of one line, or nothing."""
    assert short_name(value) == name


def test_nothing_said_leaves_no_colon() -> None:
    """A sentence without the vendor's words ends cleanly."""
    assert said("") == ""
    assert said("slow down") == ": slow down"


@pytest.mark.parametrize(
    ("text", "page"),
    [
        ("<html>", True),
        ("\ufeff \r\n<!DOCTYPE html>", True),
        ("<Error/>", True),
        ("error code: 524", False),
        ("", False),
    ],
)
def test_a_page_is_told_from_text(text: str, page: bool) -> None:
    """A proxy's page begins with a tag."""
    assert is_page(Response(502, {}, text=text)) is page


def test_json_is_no_page() -> None:
    """An answer with JSON has no text at all."""
    assert not is_page(Response(502, {}, json="<html>"))


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (Response(200, {}, text="<html><head><TITLE lang='en'>\n502 Bad\nGateway</TITLE>"), "an HTML page (502 Bad Gateway)"),
        (Response(200, {}, text="<html><title></title>"), "an HTML page"),
        (Response(200, {}, text="<html><title> \n </title>"), "an HTML page"),
        (Response(200, {}, text="<Error><Code>NoSuchKey</Code></Error>"), "an HTML page"),
        (Response(200, {}, text="  out of\ncoffee "), "text instead of JSON (out of coffee)"),
        (Response(200, {}, text=" \n"), "an empty body"),
        (Response(200, {}, json=[1]), "JSON of another shape"),
        (Response(200, {}, blob=Blob(Path("x"), 1, "0")), "a file"),
    ],
)  # fmt: skip
def test_an_odd_body_in_words(response: Response, words: str) -> None:
    """A person learns what came instead of an answer."""
    assert body_in_words(response) == words
