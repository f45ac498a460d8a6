"""Writes reference images into JSON as `data:` URIs, for formats that take links and have no upload of their own."""

from __future__ import annotations

import base64

from nanobatch.model import Reference


def data_uri(reference: Reference) -> str:
    """Return the image as one string."""
    return f"data:{reference.mime};base64,{base64.b64encode(reference.data).decode()}"
