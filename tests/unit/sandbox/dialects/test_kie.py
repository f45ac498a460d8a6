"""Kie's dialect: the door, the fields of each model, a task's answers, uploads."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from nanobatch.sandbox.dialects import kie
from nanobatch.sandbox.dialects.base import Answer, Asked, Order, Task, Upload
from nanobatch.sandbox.faults import ENDS, FAULTS, KIE, Stage
from nanobatch.sandbox.limits import Excess

KEY = {"Authorization": "Bearer k"}
UPLOADS = {f"http://127.0.0.1/{number}.png": f"hash {number}" for number in range(20)}
LINKS = list(UPLOADS)
SERVER_S_OWN = {"reset", "hang", "html200", "html502"}
PRO = {"aspect_ratio": "16:9", "resolution": "2K", "output_format": "jpg"}


def read(model: Any = "nano-banana-pro", body: Any = None, **inputs: Any) -> Order | Answer:
    body = {"model": model, "input": {"prompt": "a cat", **inputs}} if body is None else body
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return kie.read(Asked(KEY, body=data, uploads=UPLOADS))


def order(model: str = "nano-banana-pro", **inputs: Any) -> Order:
    found = read(model, **inputs)
    assert isinstance(found, Order), found
    return found


def code(answer: Order | Answer) -> int:
    assert isinstance(answer, Answer)
    assert answer.status == 200
    assert set(answer.body) >= {"code", "msg", "data"}
    return int(answer.body["code"])


def polled(task: Task | None, now: float, headers: dict[str, str] = KEY) -> dict[str, Any]:
    answer = kie.polled(task, Asked(headers, {"taskId": "t"}, time=now))
    assert code(answer) == 200
    found: dict[str, Any] = answer.body["data"]
    return found


def task(fault: str | None = None, links: tuple[str, ...] = ("http://127.0.0.1/1.png",), **inputs: Any) -> Task:
    return Task("t", order(**inputs), created=100.0, ready=130.0, links=() if fault else links, fault=fault)


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer invalid"}, {"Authorization": "Key k"}])
def test_without_a_good_key_nobody_passes(headers: dict[str, str]) -> None:
    """The 401 stands inside a 200, at every door."""
    asked = Asked(headers, {"taskId": "t"}, body=b"{}")
    assert code(kie.read(asked)) == 401
    assert code(kie.models(asked)) == 401
    assert code(kie.polled(task(), asked)) == 401
    upload = kie.upload(asked)
    assert isinstance(upload, Answer)
    assert code(upload) == 401


def test_an_order_becomes_a_drawing() -> None:
    """Pixels, kind and prompt are those that were asked."""
    drawing = order(**PRO).drawing
    assert (drawing.prompt, drawing.width, drawing.height, drawing.kind) == ("a cat", 2752, 1536, "jpeg")
    assert order().drawing.kind == "png"


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        ("nano-banana-pro", PRO | {"image_input": LINKS[:8]}),
        ("nano-banana-pro", {"aspect_ratio": "auto", "image_input": []}),
        ("nano-banana-pro", {"prompt": "x" * 10_000}),
        ("nano-banana-2", {"aspect_ratio": "1:8", "resolution": "4K", "image_input": LINKS[:14]}),
        ("nano-banana-2", {"prompt": "x" * 20_000}),
        ("nano-banana-2-lite", {"aspect_ratio": "8:1", "resolution": "1K", "image_urls": LINKS[:10]}),
        ("google/nano-banana", {"image_size": "21:9", "output_format": "jpeg"}),
        ("google/nano-banana-edit", {"image_size": "1:1", "image_urls": LINKS[:10]}),
    ],
)
def test_each_model_has_fields_of_its_own(model: str, inputs: dict[str, Any]) -> None:
    """What its page documents is accepted, up to the last reference and letter."""
    found = order(model, **inputs)
    links = inputs.get("image_input", inputs.get("image_urls", []))
    assert found.references == tuple(UPLOADS[link] for link in links)


@pytest.mark.parametrize(
    ("model", "inputs", "word"),
    [
        ("nano-banana-3", {}, "nano-banana-3"),
        (None, {}, "not supported"),
        ("nano-banana-pro", {"prompt": ""}, "prompt"),
        ("nano-banana-pro", {"prompt": 5}, "prompt"),
        ("nano-banana-pro", {"prompt": "x" * 10_001}, "10000"),
        ("nano-banana-2", {"prompt": "x" * 20_001}, "20000"),
        ("google/nano-banana", {"prompt": "x" * 5_001}, "5000"),
        ("nano-banana-pro", {"aspect_ratio": "16x9"}, "aspect_ratio"),
        ("nano-banana-pro", {"aspect_ratio": "1:8"}, "aspect_ratio"),
        ("nano-banana-pro", {"aspect_ratio": None}, "aspect_ratio"),
        ("nano-banana-pro", {"aspect_ratio": ["1:1"]}, "aspect_ratio"),
        ("nano-banana-pro", {"resolution": "1k"}, "resolution"),
        ("nano-banana-2-lite", {"resolution": "2K"}, "resolution"),
        ("nano-banana-pro", {"output_format": "webp"}, "output_format"),
        ("nano-banana-pro", {"image_size": "1:1"}, "image_size"),
        ("nano-banana-pro", {"image_urls": LINKS[:1]}, "image_urls"),
        ("nano-banana-2-lite", {"image_input": LINKS[:1]}, "image_input"),
        ("google/nano-banana", {"aspect_ratio": "1:1"}, "aspect_ratio"),
        ("google/nano-banana", {"resolution": "1K"}, "resolution"),
        ("google/nano-banana", {"image_urls": LINKS[:1]}, "image_urls"),
        ("google/nano-banana-edit", {}, "image_urls"),
        ("google/nano-banana-edit", {"image_urls": LINKS[:11]}, "image_urls"),
        ("nano-banana-pro", {"image_input": LINKS[:9]}, "0 to 8"),
        ("nano-banana-pro", {"image_input": LINKS[0]}, "0 to 8"),
        ("nano-banana-pro", {"image_input": ["https://example.com/a.png"]}, "could not be fetched"),
        ("nano-banana-pro", {"image_input": [LINKS[0], 5]}, "could not be fetched"),
        ("nano-banana-pro", {"seed": 5}, "seed"),
    ],
)
def test_anything_else_is_a_422_that_says_what(model: Any, inputs: dict[str, Any], word: str) -> None:
    """Another model's field, a value beyond its range, a link that was never uploaded."""
    answer = read(model, **inputs)
    assert code(answer) == 422
    assert isinstance(answer, Answer)
    assert word in answer.body["msg"]


@pytest.mark.parametrize("body", [b"{", b"[]", b"{}", b'{"model": "nano-banana-pro", "input": "a cat"}', b"5"])
def test_a_body_without_input_is_a_422(body: bytes) -> None:
    """Whatever it is instead."""
    assert code(read(body=body)) == 422


def test_a_task_is_named() -> None:
    """And nothing else is told."""
    assert kie.created(task()).body == {"code": 200, "msg": "success", "data": {"taskId": "t"}}
    assert kie.task_id(Asked(KEY, {"taskId": "t"})) == "t"
    assert kie.task_id(Asked(KEY)) == ""


@pytest.mark.parametrize(
    ("now", "state"), [(100.0, "waiting"), (109.9, "waiting"), (110.1, "queuing"), (120.1, "generating"),
                       (129.9, "generating"), (130.0, "success"), (500.0, "success"), (50.0, "waiting")]
)  # fmt: skip
def test_states_follow_the_time(now: float, state: str) -> None:
    """A third of the time each; a clock that was set back changes nothing."""
    found = polled(task(), now)
    assert found["state"] == state
    assert (found["resultJson"] == "") == (state != "success")
    assert json.loads(found["param"])["input"]["prompt"] == "a cat"


def test_a_success_tells_links_times_and_price() -> None:
    """The links stand in JSON in a string; times are milliseconds, the price is credits."""
    found = polled(task(resolution="4K"), 140.0)
    assert json.loads(found["resultJson"]) == {"resultUrls": ["http://127.0.0.1/1.png"]}
    assert (found["createTime"], found["completeTime"], found["updateTime"]) == (100_000, 130_000, 140_000)
    assert (found["costTime"], found["creditsConsumed"], found["failCode"]) == (30, 24, None)


@pytest.mark.parametrize(
    ("model", "inputs", "price"),
    [("nano-banana-pro", {"resolution": "2K"}, 18), ("nano-banana-pro", {"resolution": "4K"}, 24),
     ("google/nano-banana", {}, 4)],
)  # fmt: skip
def test_models_cost_what_they_cost(model: str, inputs: dict[str, Any], price: int) -> None:
    """In credits of half a cent."""
    done = Task("t", order(model, **inputs), 1.0, 1.0, ("http://127.0.0.1/1.png",))
    assert polled(done, 1.0)["creditsConsumed"] == price


@pytest.mark.parametrize("fault", sorted(ENDS - {"noimage"}))
def test_a_task_that_fails_costs_nothing_and_says_why(fault: str) -> None:
    """Not before its time is over; a refusal is told from a crash by its words."""
    assert polled(task(fault), 110.0)["failMsg"] is None
    found = polled(task(fault), 130.0)
    assert (found["state"], found["resultJson"], found["creditsConsumed"]) == ("fail", "", 0)
    assert ("content policies" in found["failMsg"]) == (fault != "taskfail")


def test_a_success_may_have_no_image() -> None:
    """It is called a success all the same, and is free."""
    found = polled(task("noimage"), 130.0)
    assert (found["state"], json.loads(found["resultJson"]), found["creditsConsumed"]) == (
        "success", {"resultUrls": []}, 0,
    )  # fmt: skip


def test_an_unknown_task_has_no_record() -> None:
    """A 422 inside a 200."""
    answer = kie.polled(None, Asked(KEY, {"taskId": "t"}))
    assert (code(answer), answer.body["data"]) == (422, None)


def test_every_error_stands_inside_a_200() -> None:
    """Of orders and of polls; an unknown fault is a crash, loudly."""
    kinds = {
        kind for kind, fault in FAULTS.items() if KIE in fault.dialects and fault.stage in (Stage.DOOR, Stage.LATE)
    }
    codes = {kind: code(kie.failed(order(), kind, 1.0)) for kind in kinds - ENDS - SERVER_S_OWN}
    assert codes == {"429": 429, "429money": 402, "badkey": 401, "500": 500, "503": 455}
    assert code(kie.over_limit(order(), Excess("rpm", 20, 3.0))) == 429
    assert (code(kie.stumbled("poll429", 1.0)), code(kie.stumbled("poll500", 1.0))) == (429, 500)
    with pytest.raises(ValueError, match="no words for the fault 'gremlins'"):
        kie.failed(order(), "gremlins", 1.0)


def test_the_balance_is_a_number() -> None:
    """Of credits."""
    assert kie.models(Asked(KEY)).body["data"] > 0


def form(**fields: str) -> Asked:
    lines = [
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()
    ]
    file = '--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
    body = "".join(lines).encode() + file.encode() + b"\x89PNG\r\n--x--\r\n"
    return Asked(KEY | {"Content-Type": "multipart/form-data; boundary=x"}, body=body)


def json_of(**fields: Any) -> Asked:
    return Asked(KEY | {"Content-Type": "application/json"}, body=json.dumps(fields).encode())


def test_a_form_is_a_file() -> None:
    """With the name that the form gives, or the file's own."""
    assert kie.upload(form(uploadPath="p")) == Upload("a.png", b"\x89PNG")
    assert kie.upload(form(uploadPath="p", fileName="b.png")) == Upload("b.png", b"\x89PNG")


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
def test_base64_is_a_file_too(prefix: str) -> None:
    """As a data URI or bare."""
    text = prefix + base64.b64encode(b"\x89PNG").decode()
    assert kie.upload(json_of(base64Data=text, uploadPath="p", fileName="b.png")) == Upload("b.png", b"\x89PNG")


@pytest.mark.parametrize(
    "asked",
    [
        form(),
        form(uploadPath=""),
        json_of(base64Data="AAAA"),
        json_of(uploadPath="p"),
        json_of(base64Data="%%%", uploadPath="p"),
        json_of(base64Data=5, uploadPath="p"),
        Asked(KEY, body=b"{"),
        Asked(KEY, body=b"[]"),
        Asked(KEY | {"Content-Type": "multipart/form-data; boundary=y"}, body=b"--x--"),
    ],
)
def test_an_upload_without_file_or_folder_is_refused(asked: Asked) -> None:
    """In the words of the upload service, which also come in a 200."""
    answer = kie.upload(asked)
    assert isinstance(answer, Answer)
    assert (answer.status, answer.body["success"], answer.body["data"]) == (200, False, None)


def test_an_upload_is_answered_with_its_link() -> None:
    """And with its size in bytes."""
    body = kie.uploaded(Upload("a.png", b"1234"), "http://127.0.0.1/a.png").body
    assert (body["success"], body["code"]) == (True, 200)
    assert body["data"] | {"downloadUrl": "http://127.0.0.1/a.png", "fileName": "a.png", "fileSize": 4} == body["data"]


def test_every_answer_has_a_number() -> None:
    """In a header."""
    assert kie.stamp(26, 5)["x-request-id"].endswith("1a")
