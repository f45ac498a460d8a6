"""Every provider against every wire example: the examples in tests/wire are the referee."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nanobatch import errors
from nanobatch.errors import ExchangeError
from nanobatch.model import Answer, Blob, Order, Request, Response
from nanobatch.providers import PROTOCOLS, load

WIRE = Path(__file__).resolve().parent.parent / "wire"
EXAMPLES = sorted(WIRE.rglob("*.json"))


def test_there_are_examples_for_every_provider() -> None:
    """The suite has something to judge: dozens of examples, some for each protocol."""
    assert len(EXAMPLES) > 80
    assert {path.parent.name for path in EXAMPLES} == set(PROTOCOLS)


def blobs(value: Any) -> Any:
    """Put blobs where the example says so."""
    if isinstance(value, dict):
        if set(value) == {"$blob"}:
            return Blob(Path(f"/blob/{value['$blob']}"), value["$blob"], "0" * 64)
        return {key: blobs(inner) for key, inner in value.items()}
    return [blobs(inner) for inner in value] if isinstance(value, list) else value


def response(example: dict[str, Any]) -> Response:
    blob = blobs({"$blob": example["blob"]}) if "blob" in example else None
    return Response(
        example["status"],
        example.get("headers", {}),
        json=blobs(example.get("json")),
        text=example.get("text"),
        blob=blob,
    )


def order(example: dict[str, Any]) -> Order:
    given = dict(example.get("order", {"prompt": "a red fox", "model": "some-model"}))
    if "pixels" in given:
        given["pixels"] = tuple(given["pixels"])
    return Order(**given)


def hold(vendor: str, example: dict[str, Any]) -> tuple[list[Request], Answer | ExchangeError]:
    """Drive the provider through the example's responses."""
    exchange = load(vendor).exchange(order(example))
    requests = [next(exchange)]
    for one in example["responses"]:
        try:
            requests.append(exchange.send(response(one)))
        except StopIteration as done:
            answer: Answer = done.value
            return requests, answer
        except ExchangeError as error:
            return requests, error
    raise AssertionError("the provider asks for more than the example has")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_provider_reads_the_wire_right(path: Path) -> None:
    """Request, picture, drafts, usage, or the class of the error: as the example says."""
    example = json.loads(path.read_text())
    expect = example["expect"]
    requests, outcome = hold(path.parent.name, example)
    if "request" in example:
        assert {"method": requests[0].method, "path": requests[0].path, "json": requests[0].json} == example["request"]
    if "requests" in expect:
        assert len(requests) == expect["requests"]
    for follow_up in requests[1:]:
        if follow_up.download:
            assert follow_up.repeatable
            assert follow_up.cost.requests == 0
    if "error" in expect:
        assert type(outcome) is getattr(errors, expect["error"]), outcome
        judge_error(outcome, expect)
    else:
        assert isinstance(outcome, Answer), outcome
        judge_answer(outcome, expect)


def judge_error(error: ExchangeError, expect: dict[str, Any]) -> None:
    assert expect.get("says", "") in error.message
    assert error.message.isprintable()
    if "never" in expect:
        assert expect["never"] not in error.message
    if "billed" in expect:
        assert error.billed is expect["billed"]
    if "retry_after" in expect:
        assert error.retry_after_seconds == pytest.approx(expect["retry_after"])


def judge_answer(answer: Answer, expect: dict[str, Any]) -> None:
    assert answer.picture.data == blobs(expect["picture"])
    if "mime" in expect:
        assert answer.picture.mime == expect["mime"]
    if "drafts" in expect:
        assert len(answer.drafts) == expect["drafts"]
    if "model" in expect:
        assert answer.model == expect["model"]
    if "cost_usd" in expect:
        assert answer.usage is not None
        assert answer.usage.cost_usd == expect["cost_usd"]
    if "usage" in expect:
        found = answer.usage
        wanted = expect["usage"]
        assert (found is None) is (wanted is None)
        if found is not None:
            assert {key: getattr(found, key) for key in wanted} == wanted
