"""Writes multipart/form-data, as browsers do."""

from __future__ import annotations

import secrets

from nanobatch.model import Form


def encoded_form(form: Form) -> tuple[bytes, str]:
    """Write a form as multipart/form-data; return it with its content type. Bytes are copied once."""
    boundary = secrets.token_hex(16)  # 128 random bits stand in no file
    pieces: list[bytes] = []
    for name, value in form.fields:
        pieces.append(_part_head(boundary, f'name="{_quotable(name)}"'))
        pieces += [value.encode("utf-8", "replace"), b"\r\n"]
    for file in form.files:
        named = f'name="{_quotable(file.name)}"; filename="{_quotable(file.file_name)}"'
        pieces.append(_part_head(boundary, named, f"Content-Type: {file.mime}\r\n"))
        pieces += [file.data, b"\r\n"]
    pieces.append(f"--{boundary}--\r\n".encode())
    return b"".join(pieces), f"multipart/form-data; boundary={boundary}"


def _part_head(boundary: str, named: str, more: str = "") -> bytes:
    return f"--{boundary}\r\nContent-Disposition: form-data; {named}\r\n{more}\r\n".encode("utf-8", "replace")


def _quotable(name: str) -> str:
    """Write a name as browsers do, so that it cannot leave its quotes."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
