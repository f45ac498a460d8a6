"""Every provider against every wire example: what is sent, what comes back, and what that means.

An example is a JSON file in tests/wire/<protocol>/, named after what it shows: the order, the request that must be
sent, the vendor's response, further pairs under `then`, and what to expect. `{"$blob": "fox"}` stands where a long
base64 string stood, `{"$bytes": "cat"}` where the bytes of a reference go. An `upload` comes before the order, a `poll`
and a `download` after it; `resume` begins with a task that was ordered before. At the end: what no vendor promised, any
JSON and any text.
"""

from __future__ import annotations

import copy
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanobatch import providers
from nanobatch.errors import ExchangeError
from nanobatch.model import FREE, Answer, Blob, Order, Reference, Request, Response, Usage
from nanobatch.providers.base import TaskProvider

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
    known: dict[str, Any] = dict(found)
    if "pixels" in known:
        known["pixels"] = tuple(known["pixels"])
    known["references"] = tuple(
        Reference(image["data"].encode(), image["mime"], image["sha256"]) for image in known.get("references", ())
    )
    return Order(**known)


def conversation(example: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield {"request": example["request"], "response": example["response"]}
    yield from example.get("then", [])


def plain(request: Request) -> dict[str, Any]:
    """Return what an example says about a request; what it does not say has its usual value."""
    said: dict[str, Any] = {"method": request.method, "path": request.path}
    if request.headers:
        said["headers"] = dict(request.headers)
    if request.form is not None:
        files = [[file.name, file.file_name, file.mime, file.data.decode()] for file in request.form.files]
        said["form"] = {"fields": [list(field) for field in request.form.fields], "files": files}
    if request.json is not None:
        said["json"] = with_bytes(request.json)
    if request.task is not None:
        said["task"] = request.task
    if not request.repeatable:
        assert request.delay_seconds == 0.0
        assert (request.cost.requests, request.cost.images) == (1, 1)
        assert request.cost.tokens > 0
        return said
    assert request.cost == FREE
    assert request.delay_seconds >= 0.0
    kind = kind_of(request)
    assert kind != "download" or set(said) <= {"method", "path", "task"}
    return said | {kind: True}


def kind_of(request: Request) -> str:
    if not request.repeatable:
        return "order"
    return "download" if request.download else "upload" if request.task is None else "poll"


def in_their_order(kinds: list[str], *, resumed: bool) -> bool:
    """Uploads come before what is paid; an order that has a task is sent once, and not again when it is resumed."""
    allowed = "(poll |download )*" if resumed else "(upload )*((order )*(download )*|order (poll |download )*)"
    return re.fullmatch(allowed, "".join(f"{kind} " for kind in kinds)) is not None


def with_bytes(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: with_bytes(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [with_bytes(inner) for inner in value]
    return {"$bytes": value.decode()} if isinstance(value, bytes) else value


def held(protocol: str, example: dict[str, Any]) -> Answer | ExchangeError:
    """Hold the example's conversation, checking each request on the way; return how it ended."""
    provider, order = providers.load(protocol), order_of(example["order"])
    if "resume" in example:
        assert isinstance(provider, TaskProvider)
        exchange = provider.resume(order, example["resume"])
    else:
        exchange = provider.exchange(order)
    steps = list(conversation(example))
    request, kinds = next(exchange), list[str]()
    for number, step in enumerate(steps, 1):
        assert plain(request) == step["request"]
        kinds.append(kind_of(request))
        assert in_their_order(kinds, resumed="resume" in example), kinds
        try:
            request = exchange.send(response_of(step["response"]))
        except StopIteration as done:
            assert number == len(steps), "it ended before the example did"
            assert isinstance(done.value, Answer)
            return done.value
        except ExchangeError as error:
            assert number == len(steps), "it ended before the example did"
            return error
    pytest.fail(f"it wants more than the example holds: {plain(request)}")


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
        if protocol in ("gemini", "openai"):
            assert verdicts - {None, "decode_error"} == EVERY_VERDICT
            continue
        assert found[protocol] >= (15 if isinstance(providers.load(protocol), TaskProvider) else 12)
        assert verdicts >= {None, "refused", "account_stopped", "server_fault"}, protocol
        assert verdicts & {"overloaded", "rate_limited"}, protocol


def told(usage: Usage) -> dict[str, Any]:
    """Return the tokens; reference images are named where the answer tells them apart."""
    return {name: value for name, value in asdict(usage).items() if value is not None or name != "input_image_tokens"}


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
            "usage": told(ended.usage) if ended.usage else None,
            "model": ended.model,
        } == {key: value for key, value in expected.items() if key not in ("warnings", "full_price")}
        assert list(ended.warnings) == expected.get("warnings", [])
        assert ended.full_price == expected.get("full_price", False)
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
    whole = protocol in ("gemini", "openai", "vertex")
    for path in WIRE.glob(f"{protocol}/*.json"):
        example = json.loads(path.read_text())
        response = response_of(example["response"])
        if response.status >= 300 and "then" not in example and "resume" not in example:
            error = provider.fault(response)
            assert error is not None
            assert error.code == example["expect"]["error"], path
        elif "picture" in example["expect"] and "then" not in example and "beside_an_error" not in path.stem:
            error = provider.fault(response)
            assert error is None, path
        else:
            continue
        seen[error is None] += 1
    assert seen[True] > (5 if whole else -1)
    assert seen[False] > (20 if whole else 1)


STEPS = [  # every answer with JSON, and what was answered before it
    (path, number)
    for path in EXAMPLES
    for number, step in enumerate(conversation(json.loads(path.read_text())))
    if "json" in step["response"]
]
BLOB = blob("fox")
ORDER = Order("a red fox", "some-model", size="1K", pixels=(1024, 1024), options={"response_format": "b64_json"})
KEY_LIKE = re.compile(r"AIza\w{8}|sk-\w{8}|(?i:bearer) \S*\d\S{7}|key=(?!\*)")
MOST_REQUESTS = 4
MOST_POLLS = 40  # a format with tasks may still be asking then

WORDS = st.sampled_from([
    "candidates", "content", "parts", "inlineData", "inline_data", "data", "mimeType", "thought", "fileData", "fileUri",
    "finishReason", "finishMessage", "promptFeedback", "blockReason", "usageMetadata", "candidatesTokensDetails",
    "modality", "IMAGE", "tokenCount", "text", "error", "message", "code", "status", "details", "@type", "violations",
    "quotaId", "retryDelay", "type", "param", "b64_json", "url", "usage", "output_tokens_details", "cost", "msg",
    "taskId", "state", "success", "fail", "resultJson", "request_id", "id", "output", "succeeded", "COMPLETED", "images",
    "choices", "content", "image_url", "result", "metadata", "reasons", "detail", "failMsg", "processing",
])  # fmt: skip
TEXTS = st.one_of(
    WORDS,
    st.text(alphabet=st.characters(), max_size=30),
    st.sampled_from([
        "", "STOP", "SAFETY", "https://cdn.example/1.png?sig=a", "http://", "data:image/png;base64,aGk=", "9" * 5000,
        "\ud800", "type.googleapis.com/google.rpc.QuotaFailure", "type.googleapis.com/google.rpc.RetryInfo", "limit: 0",
        "key=AIzaSyNotAKeyAtAll0000", "Bearer abc123abc123", "sk-notakey00000000", "999999999s", "-1s", "nan",
        "x" * 3000, "Please retry in 99999999999999s", "1e400", "RESOURCE_EXHAUSTED", "UNAVAILABLE",
    ]),
)  # fmt: skip
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**400, -(10**400), 400, 401, 429, 500, 503]),
    st.floats(),
    TEXTS,
    st.just(BLOB),
)
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=12
)
STATUSES = st.sampled_from([200, 201, 204, 301, 400, 401, 402, 403, 404, 408, 418, 429, 499, 500, 503, 504, 524, 529])
HEADERS = st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms", "date"]), TEXTS, max_size=3)
RESPONSES = st.one_of(
    st.builds(Response, STATUSES, HEADERS, json=JSON),
    st.builds(Response, STATUSES, HEADERS, text=TEXTS | st.just("<html><title>" * 500)),
    st.builds(Response, STATUSES, HEADERS, blob=st.just(BLOB)),
)


def ends_well(protocol: str, responses: list[Response], *, task: str | None = None, order: Order = ORDER) -> None:
    """Hold a conversation with whatever comes, again and again, and check that it ends as the contract says."""
    provider = providers.load(protocol)
    if task is None:
        exchange = provider.exchange(order)
    else:
        assert isinstance(provider, TaskProvider)
        exchange = provider.resume(order, task)
    request, answers = next(exchange), itertools.cycle(responses)
    try:
        for _ in range(MOST_POLLS if isinstance(provider, TaskProvider) else MOST_REQUESTS + len(order.references)):
            assert request.path.isascii() or request.download
            assert request.task is None or request.task.isascii()
            assert request.path.startswith(("/", "http://", "https://", "HTTP"))
            request = exchange.send(next(answers))
    except StopIteration as done:
        answer = done.value
        assert isinstance(answer, Answer)
        assert isinstance(answer.picture.data, Blob) or answer.picture.data.strip()
        json.dumps([answer.model, answer.picture.mime], ensure_ascii=False).encode()
        if answer.usage is not None:
            for figure in (
                answer.usage.input_tokens,
                answer.usage.text_tokens,
                answer.usage.image_tokens,
                answer.usage.cost_usd,
                answer.usage.input_image_tokens,
            ):
                assert figure is None or 0 <= figure < 10**16
    except ExchangeError as error:
        error.message.encode()  # can be written to a file
        assert error.message.isprintable()
        assert len(error.message) <= 520
        assert not KEY_LIKE.search(error.message)
        assert error.retry_after_seconds is None or 0 <= error.retry_after_seconds <= 7 * 86_400
    else:
        if kind_of(request) != "poll":
            pytest.fail(f"it goes on and on: {plain(request)}")


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from places(child, (*path, key))


def replaced(value: Any, path: tuple[str | int, ...], new: Any) -> Any:
    if not path:
        return new
    whole = copy.deepcopy(value)
    inner = whole
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = new
    return whole


TASK_FORMATS = [name for name in providers.PROTOCOLS if isinstance(providers.load(name), TaskProvider)]


@pytest.mark.parametrize("protocol", providers.PROTOCOLS)
@settings(max_examples=150, deadline=None)
@given(responses=st.lists(RESPONSES, min_size=MOST_REQUESTS, max_size=MOST_REQUESTS))
def test_any_answer_at_all(protocol: str, responses: list[Response]) -> None:
    """Whatever comes back, the generator ends in an answer or in an ExchangeError."""
    ends_well(protocol, responses)


@pytest.mark.parametrize("protocol", TASK_FORMATS)
@settings(max_examples=150, deadline=None)
@given(responses=st.lists(RESPONSES, min_size=MOST_REQUESTS, max_size=MOST_REQUESTS), task=TEXTS)
def test_any_answer_to_a_poll(protocol: str, responses: list[Response], task: str) -> None:
    """A task of an earlier run is asked for until it is decided, whatever a ledger holds and whatever comes back."""
    ends_well(protocol, responses, task=task.encode("ascii", "ignore").decode())


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_an_example_in_which_something_was_replaced(data: st.DataObject) -> None:
    """A known conversation with any value at any place of one answer is still read to a clean end."""
    assert len(STEPS) > 300
    path, number = data.draw(st.sampled_from(STEPS))
    example = json.loads(path.read_text())
    responses = [response_of(step["response"]) for step in conversation(example)]
    whole = responses[number]
    changed = replaced(whole.json, data.draw(st.sampled_from(list(places(whole.json)))), data.draw(JSON))
    responses[number] = Response(whole.status, {**whole.headers, **data.draw(HEADERS)}, json=changed)
    responses += [Response(200, {}, blob=BLOB)] * MOST_REQUESTS
    ends_well(path.parent.name, responses, task=example.get("resume"), order=order_of(example["order"]))


@pytest.mark.parametrize("protocol", providers.PROTOCOLS)
@pytest.mark.parametrize("status", [200, 400, 500])
def test_json_of_any_depth(protocol: str, status: int) -> None:
    """A body nested deeper than Python's stack does not end in a RecursionError."""
    deep: Any = "bottom"
    for number in range(50_000):
        deep = {"error": deep} if number % 2 else [deep]
    ends_well(protocol, [Response(status, {}, json=deep)] * MOST_REQUESTS)
    deep_error: Any = {"error": {"message": deep, "details": deep}}
    ends_well(protocol, [Response(status, {}, json=deep_error)] * MOST_REQUESTS)


@pytest.mark.parametrize("protocol", providers.PROTOCOLS)
@pytest.mark.parametrize(
    "piece", ["<title", "<title>x", "try again in 1 ", "retry in 1s", "https://a", "key ", "token: ", "per"]
)
def test_long_bodies_are_read_quickly(protocol: str, piece: str) -> None:
    """A text of many thousand repetitions does not keep a pattern busy: seconds of work would stall every job."""
    text = "<html>" + piece * 8000
    ends_well(protocol, [Response(429, {}, text=text)] * MOST_REQUESTS)
    ends_well(protocol, [Response(429, {}, text=piece * 8000)] * MOST_REQUESTS)
    ends_well(protocol, [Response(429, {}, json={"error": {"message": piece * 8000}})] * MOST_REQUESTS)
