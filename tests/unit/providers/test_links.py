"""Links in place of images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nanobatch.errors import ServerFault
from nanobatch.model import FREE, Blob, Response
from nanobatch.providers.links import download, link_of

BLOB = Blob(path=Path("fox"), size=2048, sha256="0" * 64)


@pytest.mark.parametrize(
    "link",
    ["https://cdn.example/1.png", "http://127.0.0.1:8080/a?b=c#d", "HTTPS://CDN.example", "https://例.example/狐.png"],
)
def test_an_absolute_web_address_is_a_link(link: str) -> None:
    """Upper case, ports, queries and other scripts are fine."""
    assert link_of(link) == link


@pytest.mark.parametrize(
    "value",
    [
        None, 7, "", "https://", "https:///path", "/files/1.png", "//cdn.example/1.png", "file:///etc/passwd",
        "gs://bucket/1.png", "ftp://cdn.example/1.png", "javascript:alert(1)", "data:image/png;base64,aGk=",
        "see https://cdn.example/1.png", "https://cdn.example/a b", "https://cdn.example/a\nb", "https://cdn\\.example",
        "https://cdn.example/\ud800", BLOB, ["https://cdn.example/1.png"],
    ],
)  # fmt: skip
def test_anything_else_is_none(value: Any) -> None:
    """What is not fetched over the web, or would not survive being sent, is no link."""
    assert link_of(value) is None


def test_a_download_is_free_and_repeatable() -> None:
    """Fetching what is paid takes nothing from the quota, and may be repeated."""
    request = next(download("https://cdn.example/1.png"))
    assert (request.method, request.path) == ("GET", "https://cdn.example/1.png")
    assert (request.cost, request.repeatable, request.download) == (FREE, True, True)


def test_a_download_returns_the_blob() -> None:
    """The body itself is the image."""
    following = download("https://cdn.example/1.png")
    next(following)
    with pytest.raises(StopIteration) as done:
        following.send(Response(200, {}, blob=BLOB))
    assert done.value.value is BLOB


@pytest.mark.parametrize("status", [200, 403, 404, 500])
def test_a_link_that_leads_nowhere_was_paid(status: int) -> None:
    """The error says that the image was made, and does not repeat the link."""
    following = download("https://cdn.example/1.png?sig=secret")
    next(following)
    with pytest.raises(ServerFault, match=f"link answers HTTP {status}") as caught:
        following.send(Response(status, {}, text="<Error/>"))
    assert caught.value.billed is True
    assert "secret" not in caught.value.message
