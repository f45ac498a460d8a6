"""Reads multipart/form-data, the format of uploads: fields and files, by RFC 7578."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.message import Message

from nanobatch.sandbox.dialects.base import Asked, MalformedError


@dataclass(frozen=True, slots=True)
class Part:
    """One field of a form; a file where it has a file name.

    Args:
        name: Of the field; several parts may share it.
        data: Its bytes.
        mime: The media type, `text/plain` where none was sent.
        file_name: As the client called the file, or None.
    """

    name: str
    data: bytes
    mime: str = "text/plain"
    file_name: str | None = None

    @property
    def text(self) -> str:
        """The value of a plain field."""
        return self.data.decode(errors="replace")


def is_form(asked: Asked) -> bool:
    """Tell a form from a body of another kind."""
    return _header("Content-Type", asked.headers.get("Content-Type", "")).get_content_type() == "multipart/form-data"


def parts(asked: Asked) -> list[Part]:
    """Return the parts of a form in their order.

    Raises:
        MalformedError: The body is no form, or ends before its last boundary.
    """
    boundary = _header("Content-Type", asked.headers.get("Content-Type", "")).get_param("boundary")
    if not is_form(asked) or not isinstance(boundary, str) or not boundary:
        raise MalformedError("a multipart/form-data body with a boundary is expected")
    first, *pieces = (b"\r\n" + asked.body).split(b"\r\n--" + boundary.encode())
    if not pieces or first.strip() or not re.match(rb"--[ \t]*(\r\n|$)", pieces[-1]):
        raise MalformedError("the form does not begin and end with its boundary")
    return [_part(piece) for piece in pieces[:-1]]


def _part(piece: bytes) -> Part:
    head, blank, data = piece.partition(b"\r\n\r\n")
    if not blank:
        raise MalformedError("a part of the form has no head")
    headers = {}
    for line in head.strip().split(b"\r\n"):
        name, _, value = line.decode(errors="replace").partition(":")
        headers[name.strip().lower()] = value.strip()
    disposition = _header("Content-Disposition", headers.get("content-disposition", ""))
    field = disposition.get_param("name", header="content-disposition")
    if disposition.get_content_disposition() != "form-data" or not isinstance(field, str):
        raise MalformedError("a part of the form has no name")
    mime = headers.get("content-type", "text/plain").partition(";")[0].strip().lower()
    return Part(field, data, mime, disposition.get_filename())


def _header(name: str, value: str) -> Message:
    """Let the standard library take a header apart."""
    message = Message()
    message[name] = value.replace("\r", " ").replace("\n", " ")
    return message
