"""Forms on the wire: what a standard parser reads is what was put in."""

from __future__ import annotations

from email.parser import BytesParser
from typing import Any

from nanobatch.forms import encoded_form
from nanobatch.model import Form, FormFile


def test_a_parser_reads_what_was_written() -> None:
    """Fields first, then files, bytes as they are, and names that cannot leave their quotes."""
    file = FormFile('na"me', "a\r\nb.png", "image/png", b"\x00\r\n--\xff")
    content, kind = encoded_form(Form((("prompt", "ein Füchslein"),), (file,)))
    message = BytesParser().parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + content)
    parts: Any = message.get_payload()
    assert parts[0].get_payload(decode=True).decode() == "ein Füchslein"
    assert parts[1].get_payload(decode=True) == file.data
    assert parts[1].get_content_type() == "image/png"
    assert 'name="na%22me"; filename="a%0D%0Ab.png"' in parts[1]["content-disposition"]


def test_no_two_forms_share_a_boundary() -> None:
    """So no file can hold it."""
    kinds = {encoded_form(Form())[1] for _ in range(20)}
    assert len(kinds) == 20
