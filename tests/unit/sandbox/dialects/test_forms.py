"""Forms as clients send them: aiohttp's and httpx's own encoders, and what broken ones make of it."""

from __future__ import annotations

import httpx
import pytest

from nanobatch.sandbox.dialects.base import Asked, MalformedError
from nanobatch.sandbox.dialects.forms import Part, is_form, parts

BINARY = bytes(range(256)) * 40 + b"\r\n--\r\n\r\n--x\r\n"


def asked(body: bytes, boundary: str = "x", kind: str = "multipart/form-data") -> Asked:
    return Asked({"Content-Type": f"{kind}; boundary={boundary}"}, body=body)


def encoded(fields: dict[str, str], files: list[tuple[str, tuple[str, bytes, str]]]) -> Asked:
    request = httpx.Request("POST", "http://127.0.0.1/", data=fields, files=files)
    return Asked(request.headers, body=request.read())


def test_fields_and_files_come_as_they_were_sent() -> None:
    """In their order, several under one name, byte for byte, also where the bytes look like the form's own lines."""
    files = [("image[]", ("a.png", BINARY, "image/png")), ("image[]", ("b.jpg", b"", "image/jpeg"))]
    assert parts(encoded({"prompt": "a fox 🦊"}, files)) == [
        Part("prompt", "a fox 🦊".encode()),
        Part("image[]", BINARY, "image/png", "a.png"),
        Part("image[]", b"", "image/jpeg", "b.jpg"),
    ]


def test_a_field_has_a_text() -> None:
    """And wrong UTF-8 does not break the sandbox."""
    assert Part("prompt", "🦊".encode()).text == "🦊"
    assert Part("prompt", b"\xff").text == "\N{REPLACEMENT CHARACTER}"


def test_names_may_be_quoted_or_not() -> None:
    """Both are allowed; header names have any case; what stands before the first boundary is left out."""
    body = (
        b"--x\r\ncontent-disposition: form-data; name=a\r\n\r\n1\r\n"
        b'--x\r\nCONTENT-DISPOSITION: form-data; filename="c d.png"; name="b"\r\nContent-Type: image/PNG; q=1\r\n\r\n2\r\n'
        b"--x--\r\n"
    )
    assert parts(asked(body)) == [Part("a", b"1"), Part("b", b"2", "image/png", "c d.png")]


def test_a_quoted_boundary_is_read() -> None:
    """RFC 2046 wants the quotes where the boundary holds colons and the like."""
    body = b'--a:b\r\nContent-Disposition: form-data; name="n"\r\n\r\nv\r\n--a:b--'
    assert parts(asked(body, '"a:b"')) == [Part("n", b"v")]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'--x\r\nContent-Disposition: form-data; name="n"\r\n\r\nv',
        b'--x\r\nContent-Disposition: form-data; name="n"\r\n\r\nv\r\n',
        b'--x\r\nContent-Disposition: form-data; name="n"\r\n--x--\r\n',
        b'--x\r\nContent-Disposition: attachment; name="n"\r\n\r\nv\r\n--x--\r\n',
        b"--x\r\nContent-Disposition: form-data\r\n\r\nv\r\n--x--\r\n",
        b"--x\r\n\r\nv\r\n--x--\r\n",
        b'junk--x\r\nContent-Disposition: form-data; name="n"\r\n\r\nv\r\n--x--\r\n',
        b'--y\r\nContent-Disposition: form-data; name="n"\r\n\r\nv\r\n--y--\r\n',
    ],
)
def test_a_broken_form_is_malformed(body: bytes) -> None:
    """Cut bodies, parts without a name, another boundary: one error, never half a form."""
    with pytest.raises(MalformedError):
        parts(asked(body))


@pytest.mark.parametrize(
    ("kind", "form"),
    [("multipart/form-data", True), ("Multipart/Form-Data", True), ("application/json", False), ("", False)],
)
def test_a_form_is_told_by_its_type(kind: str, form: bool) -> None:
    """Whatever the body looks like."""
    assert is_form(asked(b"--x--", kind=kind)) is form


def test_without_type_or_boundary_it_is_no_form() -> None:
    """Nothing is guessed."""
    for headers in ({}, {"Content-Type": "multipart/form-data"}, {"Content-Type": "text/plain; boundary=x"}):
        with pytest.raises(MalformedError):
            parts(Asked(headers, body=b"--x--\r\n"))


def test_an_empty_form_has_no_parts() -> None:
    """A last boundary alone is a form."""
    assert parts(asked(b"--x--\r\n")) == []
