"""Every provider against every wire example: what is sent, what comes back, and what that means.

An example is a JSON file in tests/wire/<protocol>/, named after what it shows: the order, the request that must be
sent, the vendor's response, further pairs under `then`, and what to expect. `{"$blob": "fox"}` stands where a long
base64 string stood.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from nanobatch import providers
from nanobatch.errors import ExchangeError
from nanobatch.model import FREE, Answer, Blob, Order, Request, Response

WIRE = Path(__file__).resolve().parents[1] / "wire"
EXAMPLES = sorted(WIRE.glob("*/*.json"))
EVERY_VERDICT = {
    "account_stopped", "ambiguous", "model_gone", "no_image", "overloaded", "quota_spent", "rate_limited", "refused",
    "rejected", "server_fault",
}  # fmt: skip


def called(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def blob(name: str) -> Blob:
    return Blob(path=Path(name), size=2048, sha256="0" * 64)


def with_blobs(value: Any) -> Any:
    if isinstance(value, dict):
        return blob(value["$blob"]) if set(value) == {"$blob"} else {key: with_blobs(v) for key, v in value.items()}
    return [with_blobs(found) for found in value] if isinstance(value, list) else value


def response_of(found: dict[str, Any]) -> Response:
    download = blob(found["blob"]) if "blob" in found else None
    return Response(
        found["status"], found["headers"], json=with_blobs(found.get("json")), text=found.get("text"), blob=download
    )


def order_of(found: dict[str, Any]) -> Order:
    pixels = found.get("pixels")
    return Order(**found | ({"pixels": tuple(pixels)} if pixels else {}))


def conversation(example: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield {"request": example["request"], "response": example["response"]}
    yield from example.get("then", [])


def plain(request: Request) -> dict[str, Any]:
    """Return what an example says about a request; what it does not say has its usual value."""
    assert request.headers == {}
    assert request.delay_seconds == 0.0
    if request.download:
        assert request.json is None
        assert request.repeatable
        assert request.cost == FREE
        return {"method": request.method, "path": request.path, "download": True}
    assert not request.repeatable
    assert (request.cost.requests, request.cost.images) == (1, 1)
    assert request.cost.tokens > 0
    return {"method": request.method, "path": request.path, "json": request.json}


def held(protocol: str, example: dict[str, Any]) -> Answer | ExchangeError:
    """Hold the example's conversation, checking each request on the way; return how it ended."""
    exchange = providers.load(protocol).exchange(order_of(example["order"]))
    steps = list(conversation(example))
    request = next(exchange)
    for number, step in enumerate(steps, 1):
        assert plain(request) == step["request"]
        try:
            request = exchange.send(response_of(step["response"]))
        except StopIteration as done:
            assert number == len(steps), "it ended before the example did"
            assert isinstance(done.value, Answer)
            return done.value
        except ExchangeError as error:
            assert number == len(steps), "it ended before the example did"
            return error
    pytest.fail(f"it wants more than the example holds: {request}")


def shown(data: Blob | str) -> str:
    return str(data.path) if isinstance(data, Blob) else data


def test_there_are_examples_of_everything() -> None:
    """Each provider has its examples, and together they show every verdict that a provider can give."""
    found = Counter(path.parent.name for path in EXAMPLES)
    assert set(found) == set(providers.PROTOCOLS)
    assert found["gemini"] >= 100
    assert found["openai"] >= 55
    for protocol in providers.PROTOCOLS:
        verdicts = {json.loads(path.read_text())["expect"].get("error") for path in WIRE.glob(f"{protocol}/*.json")}
        assert verdicts - {None, "decode_error"} == EVERY_VERDICT


@pytest.mark.parametrize("path", EXAMPLES, ids=called)
def test_a_wire_example(path: Path) -> None:
    """The requests are exactly these, and the answer means exactly this."""
    example = json.loads(path.read_text())
    expected, ended = example["expect"], held(path.parent.name, example)
    if isinstance(ended, Answer):
        assert {
            "picture": shown(ended.picture.data),
            "mime": ended.picture.mime,
            "drafts": [shown(draft.data) for draft in ended.drafts],
            "usage": asdict(ended.usage) if ended.usage else None,
            "model": ended.model,
        } == expected
        return
    assert "error" in expected, ended
    assert (ended.code, ended.http_status, ended.billed, ended.retry_after_seconds) == (
        expected["error"],
        expected["http_status"],
        expected["billed"],
        expected["retry_after_seconds"],
    ), ended
    for piece in expected["says"]:
        assert piece in ended.message
    for secret in expected.get("never_says", []):
        assert secret not in ended.message


@pytest.mark.parametrize("path", EXAMPLES, ids=called)
def test_a_sentence_fits_on_a_line(path: Path) -> None:
    """Every error is one line of printable text that a person reads to its end."""
    ended = held(path.parent.name, json.loads(path.read_text()))
    if isinstance(ended, ExchangeError):
        assert ended.message
        assert ended.message.isprintable()
        assert len(ended.message) <= 420
        assert not ended.message.endswith((" ", ":", ": "))


@pytest.mark.parametrize("path", EXAMPLES, ids=called)
def test_an_order_holds_no_memory(path: Path) -> None:
    """Asking twice gives the same twice, and leaves the order's own options as they were."""
    example = json.loads(path.read_text())
    before = json.dumps(example["order"])
    first, second = held(path.parent.name, example), held(path.parent.name, example)
    assert json.dumps(example["order"]) == before
    assert type(first) is type(second)
    assert str(first) == str(second)


@pytest.mark.parametrize("protocol", providers.PROTOCOLS)
def test_a_fault_is_none_for_a_success(protocol: str) -> None:
    """`fault` reads the same answers as the exchange: an error is one, an image is none."""
    provider = providers.load(protocol)
    seen = Counter[bool]()
    for path in WIRE.glob(f"{protocol}/*.json"):
        example = json.loads(path.read_text())
        response = response_of(example["response"])
        if response.status != 200 and "then" not in example:
            error = provider.fault(response)
            assert error is not None
            assert error.code == example["expect"]["error"], path
        elif "picture" in example["expect"] and "then" not in example and "beside_an_error" not in path.stem:
            error = provider.fault(response)
            assert error is None, path
        else:
            continue
        seen[error is None] += 1
    assert seen[True] > 5
    assert seen[False] > 20
