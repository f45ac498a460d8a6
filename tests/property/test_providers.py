"""Whatever a vendor answers, a provider ends in an answer or in one of the leaves of the error tree."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanobatch.errors import ExchangeError
from nanobatch.model import Answer, Blob, Order, Response
from nanobatch.providers import PROTOCOLS, load

SECRET = "sk-0123456789abcdef"
KEYS = st.sampled_from(
    [
        "candidates",
        "content",
        "parts",
        "inlineData",
        "inline_data",
        "data",
        "mimeType",
        "thought",
        "text",
        "finishReason",
        "finishMessage",
        "promptFeedback",
        "blockReason",
        "usageMetadata",
        "candidatesTokensDetails",
        "modality",
        "tokenCount",
        "error",
        "code",
        "message",
        "status",
        "details",
        "@type",
        "violations",
        "quotaId",
        "retryDelay",
        "b64_json",
        "url",
        "usage",
        "cost",
        "output_tokens",
        "output_tokens_details",
        "fileData",
        "fileUri",
        "type",
    ]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=True)
    | st.text(max_size=20)
    | st.sampled_from(
        ["IMAGE", "STOP", "IMAGE_SAFETY", "PerDay", "limit: 0", "34.4s", "https://x.example/a", "sk-0123456789abcdef"]
    )
    | st.just(Blob(Path("/b"), 3, "00"))
)
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=25
)


def is_one_line(message: str) -> bool:
    """Whether a terminal shows the message and obeys nothing in it."""
    return bool(message) and not any(unicodedata.category(sign) in ("Cc", "Zl", "Zp") for sign in message)


@pytest.mark.parametrize("vendor", PROTOCOLS)
@given(status=st.sampled_from([200, 201, 204, 301, 400, 401, 402, 404, 408, 418, 429, 500, 503, 524, 529]), body=JSON)
def test_any_json_ends_in_an_answer_or_a_leaf(vendor: str, status: int, body: Any) -> None:
    """No shape of JSON crashes a provider, and what it says is one printable line without a key."""
    exchange = load(vendor).exchange(Order("a fox", "m"))
    next(exchange)
    response = Response(status, {"retry-after": "soon"}, json=body)
    for _ in range(20):
        try:
            exchange.send(response)
        except StopIteration as done:
            assert isinstance(done.value, Answer)
            return
        except ExchangeError as error:
            assert is_one_line(error.message)
            assert SECRET not in error.message
            return
        response = Response(200, {}, blob=Blob(Path("/d"), 3, "00"))


@pytest.mark.parametrize("vendor", PROTOCOLS)
@given(status=st.integers(200, 599), text=st.text(max_size=200))
def test_any_text_is_an_error(vendor: str, status: int, text: str) -> None:
    """A body that is not JSON never is an image."""
    exchange = load(vendor).exchange(Order("a fox", "m"))
    next(exchange)
    with pytest.raises(ExchangeError) as caught:
        exchange.send(Response(status, {}, text=text))
    assert is_one_line(caught.value.message)
