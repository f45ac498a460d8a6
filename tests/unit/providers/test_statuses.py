"""What statuses and codes mean at any provider."""

from __future__ import annotations

from typing import Any

import pytest

from nanobatch.errors import (
    AccountStopped,
    Ambiguous,
    ExchangeError,
    ModelGone,
    Overloaded,
    RateLimited,
    Refused,
    Rejected,
    Repeat,
    ServerFault,
)
from nanobatch.model import Response
from nanobatch.providers.statuses import by_code, plain_fault, sentence_of

PAGE = "<html><head><title>oops</title></head></html>"


def vendors(status: int, message: str = "no", **more: Any) -> Response:
    return Response(status, {}, json={"error": {"message": message} | more})


@pytest.mark.parametrize(
    ("status", "verdict", "behind_a_page"),
    [
        (301, AccountStopped, AccountStopped), (307, AccountStopped, AccountStopped), (400, Rejected, Rejected),
        (401, AccountStopped, AccountStopped), (402, AccountStopped, AccountStopped), (403, AccountStopped, ServerFault),
        (404, ModelGone, ModelGone), (405, Rejected, Rejected), (408, ServerFault, Ambiguous),
        (409, ServerFault, ServerFault), (410, ModelGone, ModelGone), (413, Rejected, Rejected),
        (422, Rejected, Rejected), (425, ServerFault, ServerFault), (429, RateLimited, RateLimited),
        (499, Ambiguous, Ambiguous), (500, ServerFault, ServerFault), (502, ServerFault, ServerFault),
        (503, Overloaded, Overloaded), (504, ServerFault, Ambiguous), (520, ServerFault, ServerFault),
        (522, ServerFault, ServerFault), (524, Ambiguous, Ambiguous), (529, Overloaded, Overloaded),
    ],
)  # fmt: skip
def test_a_status(status: int, verdict: type[ExchangeError], behind_a_page: type[ExchangeError]) -> None:
    """The vendor's own error is believed; a page of a proxy's tells less."""
    own, proxys = plain_fault(vendors(status)), plain_fault(Response(status, {}, text=PAGE))
    assert own is not None
    assert proxys is not None
    assert type(own) is verdict
    assert type(proxys) is behind_a_page
    assert own.http_status == status
    assert "no" in own.message
    assert "oops" in proxys.message


@pytest.mark.parametrize("status", [408, 504, 524])
@pytest.mark.parametrize("body", [PAGE, "error code: 524", ""])
def test_a_gateway_that_gave_up_may_have_cost_money(status: int, body: str) -> None:
    """Whatever its page looks like: the request reached the machine behind it, so it is repeated once at most."""
    error = plain_fault(Response(status, {}, text=body))
    assert type(error) is Ambiguous
    assert error.repeat is Repeat.ONCE
    assert error.billed is None


@pytest.mark.parametrize("status", [400, 429, 500, 503])
@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        ("moderation_blocked", Refused), ("content_policy_violation", Refused), ("sensitive_words_detected", Refused),
        ("insufficient_quota", AccountStopped), ("insufficient_user_quota", AccountStopped),
        ("billing_hard_limit_reached", AccountStopped), ("invalid_api_key", AccountStopped),
        ("model_not_found", ModelGone),
    ],
)  # fmt: skip
def test_a_code_decides_before_the_status(status: int, code: str, verdict: type[ExchangeError]) -> None:
    """Relays send the same trouble with different statuses; its name stays."""
    assert type(plain_fault(vendors(status, code=code))) is verdict
    assert type(plain_fault(vendors(status, type=code, code=None))) is verdict


@pytest.mark.parametrize("code", [None, "", 7, 503, "unheard_of", ["model_not_found"], {"a": 1}, True])
def test_other_codes_say_nothing(code: Any) -> None:
    """A code of any type that is not known leaves the verdict to the status."""
    assert by_code({"code": code, "type": code}, status=500, sentence="no") is None


def test_a_model_without_a_channel_is_gone() -> None:
    """A relay's 503 for a model that nobody serves is no overload: waiting does not help."""
    assert type(plain_fault(vendors(503, "No available channel for model X"))) is ModelGone
    assert type(plain_fault(vendors(503, "模型 X 无可用渠道"))) is ModelGone
    assert type(plain_fault(vendors(503, "Channel is busy"))) is Overloaded


@pytest.mark.parametrize(
    "message",
    [
        "Your request was rejected as a result of our safety system.",
        "Your chosen model requires moderation and your input was flagged",
        "This prompt violates our content policy",
        "Rejected by content moderation",
    ],
)
def test_a_refusal_without_a_code(message: str) -> None:
    """A refused prompt is that prompt's trouble also where it comes as a 403: the account goes on."""
    for status in (400, 403, 422):
        assert type(plain_fault(vendors(status, message))) is Refused
    assert type(plain_fault(vendors(500, message))) is ServerFault


def test_a_ban_is_no_refusal() -> None:
    """An account that is closed for what it asked stops the lane."""
    banned = vendors(403, "Your account was suspended for violating our content policy.")
    assert type(plain_fault(banned)) is AccountStopped


@pytest.mark.parametrize("status", [429, 500, 503])
def test_the_servers_wish_is_passed_on(status: int) -> None:
    """A wait that the server asks for is a floor for ours, whatever the trouble."""
    error = plain_fault(Response(status, {"retry-after": "9"}, json={"error": {"message": "later"}}))
    assert error is not None
    assert error.retry_after_seconds == 9.0


@pytest.mark.parametrize("body", [{}, {"data": []}, {"error": None}, [{"data": []}]])
def test_a_success_is_no_fault(body: Any) -> None:
    """An object goes on to the provider's own reading, also in a list of one."""
    assert plain_fault(Response(200, {}, json=body)) is None


@pytest.mark.parametrize("body", [None, 7, "ok", True, [], [1], [{}, {}]])
def test_a_success_that_is_no_object_is_one(body: Any) -> None:
    """A 200 whose JSON is no object came from something else than the API."""
    assert type(plain_fault(Response(200, {}, json=body))) is ServerFault
    assert type(plain_fault(Response(200, {}, text="ok"))) is ServerFault


@pytest.mark.parametrize(
    ("response", "sentence"),
    [
        (vendors(500, " it\nbroke "), "it broke"),
        (Response(500, {}, json={"error": {"message": None}}), ""),
        (Response(500, {}, text="it broke"), "text instead of JSON (it broke)"),
        (Response(500, {}, json={"a": 1}), ""),
    ],
)
def test_the_vendors_sentence(response: Response, sentence: str) -> None:
    """Clean, and nothing where nothing was said."""
    assert sentence_of(response) == sentence
