"""The dialect of images/edits: forms and their JSON twin."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest

from nanobatch.sandbox.dialects import openai_edits
from nanobatch.sandbox.dialects.base import Answer, Asked, Order

KEY = {"Authorization": "Bearer k"}
PNG = b"\x89PNG\r\n\x1a\n\r\n--x a cat\r\n"
JPEG = b"\xff\xd8\xff a dog"


def form(*parts: tuple[str, bytes, str | None]) -> Asked:
    body = b""
    for name, data, mime in parts:
        more = f'; filename="f"\r\nContent-Type: {mime}' if mime else ""
        body += f'--frontier\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + data + b"\r\n"
    headers = KEY | {"Content-Type": "multipart/form-data; boundary=frontier"}
    return Asked(headers, body=body + b"--frontier--\r\n")


WORDS = [("model", b"gpt-image-2", None), ("prompt", b"bluer", None), ("n", b"2", None), ("size", b"1024x1024", None)]


def test_a_form_is_read_part_by_part() -> None:
    """Fields as in JSON, images in their order and byte for byte; a mask is no reference."""
    asked = form(*WORDS, ("image[]", PNG, "image/png"), ("image[]", JPEG, "image/jpeg"), ("mask", PNG, "image/png"))
    found = openai_edits.read(asked)
    assert isinstance(found, Order), found
    assert found.references == (hashlib.sha256(PNG).hexdigest(), hashlib.sha256(JPEG).hexdigest())
    assert (found.model, found.drawing.prompt, found.images) == ("gpt-image-2", "bluer", 2)


@pytest.mark.parametrize("prompt", ["true", "false", "2", ""])
def test_words_stay_words(prompt: str) -> None:
    """A prompt that looks like a flag or a number is a prompt; none is missing."""
    found = openai_edits.read(
        form(("model", b"gpt-image-2", None), ("prompt", prompt.encode(), None), ("image", PNG, "image/png"))
    )
    if prompt:
        assert isinstance(found, Order), found
        assert found.drawing.prompt == prompt
    else:
        assert isinstance(found, Answer)
        assert found.body["error"]["code"] == "missing_required_parameter"


@pytest.mark.parametrize("number", ["\u00b2", "\u0663", "2.0", " 2", "two", "9" * 5000])
def test_a_number_is_written_in_digits(number: str) -> None:
    """And nothing else that Unicode calls one."""
    found = openai_edits.read(form(*WORDS[:2], ("n", number.encode(), None), ("image", PNG, "image/png")))
    assert isinstance(found, Answer)
    assert (found.status, found.body["error"]["code"]) == (400, "invalid_type")


def test_files_and_links_have_a_largest_size() -> None:
    """50 MB for an image, 4 MB for a mask, 20 MB of text for a data URI; a mask is a PNG."""
    large = PNG.ljust(50 * 1024 * 1024 + 1, b"x")
    image = ("image", PNG, "image/png")
    uri = "data:image/png;base64," + "A" * 20_971_520
    body = {"model": "gpt-image-2", "prompt": "x", "images": [{"image_url": uri}]}
    for asked, code in (
        (form(*WORDS, ("image", large, "image/png")), "file_too_large"),
        (form(*WORDS, image, ("mask", PNG.ljust(4 * 1024 * 1024 + 1, b"x"), "image/png")), "file_too_large"),
        (form(*WORDS, image, ("mask", JPEG, "image/png")), "invalid_image_file"),
        (Asked(KEY, body=json.dumps(body).encode()), "string_above_max_length"),
    ):
        found = openai_edits.read(asked)
        assert isinstance(found, Answer)
        assert (found.status, found.body["error"]["code"]) == (400, code)


def test_the_json_form_is_read_too() -> None:
    """With data URIs."""
    uri = "data:image/png;base64," + base64.b64encode(PNG).decode()
    body = {"model": "gpt-image-2", "prompt": "bluer", "images": [{"image_url": uri}]}
    found = openai_edits.read(Asked(KEY, body=json.dumps(body).encode()))
    assert isinstance(found, Order), found
    assert found.references == (hashlib.sha256(PNG).hexdigest(),)


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (form(*WORDS), "invalid_value"),
        (form(*WORDS, *[("image[]", PNG, "image/png")] * 17), "invalid_value"),
        (form(*WORDS, ("image", PNG, "image/gif")), "unsupported_file_mimetype"),
        (form(*WORDS, ("image", JPEG, "image/png")), "invalid_image_file"),
        (form(("image", PNG, "image/png")), "missing_required_parameter"),
        (Asked(KEY, body=b"{}"), "missing_required_parameter"),
        (Asked(KEY, body=b'{"images": [5]}'), "invalid_image_file"),
        (Asked(KEY, body=b"{"), None),
    ],
)
def test_what_is_wrong_is_named(asked: Asked, code: Any) -> None:
    """In the vendor's words, with a 400."""
    found = openai_edits.read(asked)
    assert isinstance(found, Answer)
    assert (found.status, found.body["error"]["code"]) == (400, code)


def test_without_a_key_nobody_passes() -> None:
    """The door is OpenAI's."""
    found = openai_edits.read(Asked({}, body=b"{}"))
    assert isinstance(found, Answer)
    assert found.status == 401
