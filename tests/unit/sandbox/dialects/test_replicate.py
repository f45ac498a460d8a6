"""Replicate's dialect: the door, the inputs of the two families, predictions."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import datetime
from typing import Any

import pytest

from nanobatch.sandbox.dialects import replicate
from nanobatch.sandbox.dialects.base import Answer, Asked, Order, Task
from nanobatch.sandbox.faults import ENDS, FAULTS, REPLICATE, Stage
from nanobatch.sandbox.limits import Excess

KEY = {"Authorization": "Bearer k"}
PNG = b"\x89PNG\r\n\x1a\n a cat"
URI = "data:image/png;base64," + base64.b64encode(PNG).decode()
UPLOADED = "http://127.0.0.1/1.png"
BANANA, FLUX, SCHNELL = "google/nano-banana-pro", "black-forest-labs/flux-1.1-pro", "black-forest-labs/flux-schnell"
SERVER_S_OWN = {"reset", "hang", "html200", "html502"}


def read(model: str, body: Any) -> Order | Answer:
    owner, name = model.split("/")
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return replicate.read(Asked(KEY, path={"owner": owner, "name": name}, body=data, uploads={UPLOADED: "hash"}))


def order(model: str = BANANA, **inputs: Any) -> Order:
    found = read(model, {"input": {"prompt": "a cat", **inputs}})
    assert isinstance(found, Order), found
    return found


def task(fault: str | None = None, model: str = BANANA) -> Task:
    links = () if fault else ("http://127.0.0.1/__images/ab.png",)
    return Task("t", order(model), created=100.0, ready=110.0, links=links, fault=fault)


def polled(found: Task | None, now: float) -> Answer:
    return replicate.polled(found, Asked(KEY, path={"prediction": "t"}, time=now))


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer invalid"}, {"Authorization": "Token k"}])
def test_without_a_good_key_nobody_passes(headers: dict[str, str]) -> None:
    """A 401 in a problem object, at every door."""
    asked = Asked(headers, path={"owner": "o", "name": "n", "prediction": "t"}, body=b"{}")
    for answer in (replicate.read(asked), replicate.models(asked), replicate.polled(task(), asked)):
        assert isinstance(answer, Answer)
        assert (answer.status, answer.body["status"]) == (401, 401)
        assert answer.content_type == "application/problem+json"


@pytest.mark.parametrize(
    ("model", "inputs", "pixels", "kind"),
    [
        (BANANA, {}, (1024, 1024), "jpeg"),
        (BANANA, {"aspect_ratio": "16:9", "resolution": "2K", "output_format": "png"}, (2752, 1536), "png"),
        (BANANA, {"aspect_ratio": "match_input_image"}, (1408, 768), "jpeg"),
        (FLUX, {"aspect_ratio": "3:2", "seed": 5, "output_format": "jpg"}, (1264, 848), "jpeg"),
        (FLUX, {"aspect_ratio": "custom", "width": 640, "height": 480}, (640, 480), "webp"),
        (SCHNELL, {"megapixels": "1", "go_fast": True}, (1024, 1024), "webp"),
    ],
)
def test_an_order_becomes_a_drawing(model: str, inputs: dict[str, Any], pixels: tuple[int, int], kind: str) -> None:
    """The two families have fields, formats and defaults of their own."""
    drawing = order(model, **inputs).drawing
    assert ((drawing.width, drawing.height), drawing.kind, drawing.prompt) == (pixels, kind, "a cat")


@pytest.mark.parametrize(
    ("model", "field"), [(BANANA, "image_input"), ("black-forest-labs/flux-2-pro", "input_images")]
)
def test_references_come_as_uris(model: str, field: str) -> None:
    """With data in them, or as links that were uploaded."""
    assert order(model, **{field: [URI, UPLOADED]}).references == (hashlib.sha256(PNG).hexdigest(), "hash")


def test_several_images_are_asked_at_once() -> None:
    """Where the model can."""
    assert order(SCHNELL, num_outputs=4).images == 4


@pytest.mark.parametrize(
    ("model", "inputs", "where"),
    [
        (BANANA, {"prompt": ""}, "prompt"),
        (BANANA, {"prompt": None}, "prompt"),
        (BANANA, {"aspect_ratio": "16x9"}, "aspect_ratio"),
        (BANANA, {"aspect_ratio": {}}, "aspect_ratio"),
        (BANANA, {"aspect_ratio": "custom"}, "aspect_ratio"),
        (BANANA, {"resolution": "8K"}, "resolution"),
        (BANANA, {"output_format": "jpeg"}, "output_format"),
        (BANANA, {"seed": 5}, "seed"),
        (BANANA, {"input_images": [URI]}, "input_images"),
        (BANANA, {"image_input": URI}, "image_input"),
        (BANANA, {"image_input": [URI] * 15}, "image_input"),
        (BANANA, {"image_input": ["https://example.com/a.png"]}, "image_input"),
        (FLUX, {"image_input": [URI]}, "image_input"),
        (FLUX, {"aspect_ratio": "match_input_image"}, "aspect_ratio"),
        (FLUX, {"aspect_ratio": "custom", "width": 64}, "width"),
        (FLUX, {"aspect_ratio": "custom", "width": "640"}, "width"),
        (SCHNELL, {"num_outputs": 5}, "num_outputs"),
        (SCHNELL, {"num_outputs": True}, "num_outputs"),
    ],
)
def test_a_wrong_input_is_a_422_that_names_it(model: str, inputs: dict[str, Any], where: str) -> None:
    """In the detail and in the list of fields."""
    answer = read(model, {"input": {"prompt": "a cat", **inputs}})
    assert isinstance(answer, Answer)
    assert answer.status == 422
    assert answer.body["detail"].startswith(f"- input.{where}: ")
    assert answer.body["invalid_fields"][0]["field"] == f"input.{where}"


@pytest.mark.parametrize(("body", "status"), [(b"{", 400), ([], 422), ({}, 422), ({"input": "a cat"}, 422)])
def test_a_body_without_input_is_refused(body: Any, status: int) -> None:
    """Whatever it is instead."""
    answer = read(BANANA, body)
    assert isinstance(answer, Answer)
    assert answer.status == status


def test_a_prediction_begins_before_it_ends() -> None:
    """The reply to an order is a 201 that is only starting, also where the image is ready at once."""
    ready = Task("t", order(), 100.0, 100.0, ("http://127.0.0.1/__images/ab.png",))
    answer = replicate.created(ready)
    assert (answer.status, answer.body["id"], answer.body["status"], answer.body["output"]) == (
        201, "t", "starting", None,
    )  # fmt: skip
    assert replicate.task_id(Asked(KEY, path={"prediction": "t"})) == "t"


@pytest.mark.parametrize(
    ("now", "word"),
    [(100.0, "starting"), (102.9, "starting"), (103.1, "processing"), (109.9, "processing"), (110.0, "succeeded")],
)
def test_the_status_follows_the_time(now: float, word: str) -> None:
    """And there is no output before the end."""
    answer = polled(task(), now)
    assert (answer.status, answer.body["status"]) == (200, word)
    assert (answer.body["output"] is None) == (word != "succeeded")


@pytest.mark.parametrize(
    ("model", "listed"), [(BANANA, False), (FLUX, False), (SCHNELL, True), ("black-forest-labs/flux-dev", True)]
)
def test_an_output_is_a_link_or_a_list(model: str, listed: bool) -> None:
    """Models that can make several images list one, too."""
    link = "http://127.0.0.1/__images/ab.png"
    assert polled(task(model=model), 110.0).body["output"] == ([link] if listed else link)


def test_times_are_written_as_the_vendor_does() -> None:
    """ISO 8601 in UTC."""
    body = polled(task(), 120.0).body
    assert body["created_at"] == "1970-01-01T00:01:40.000Z"
    assert datetime.fromisoformat(body["completed_at"]).timestamp() == 110.0
    assert body["metrics"]["predict_time"] == 10.0


@pytest.mark.parametrize("fault", sorted(ENDS - {"noimage"}))
def test_a_prediction_that_fails_says_why(fault: str) -> None:
    """A refusal is told from a crash by its words."""
    body = polled(task(fault), 110.0).body
    assert (body["status"], body["output"]) == ("failed", None)
    assert ("flagged as sensitive" in body["error"]) == (fault != "taskfail")


@pytest.mark.parametrize(("model", "output"), [(BANANA, None), (SCHNELL, [])])
def test_a_success_may_have_no_image(model: str, output: list[str] | None) -> None:
    """Null where a link stood, an empty list where a list did."""
    body = polled(task("noimage", model), 110.0).body
    assert (body["status"], body["output"], body["error"]) == ("succeeded", output, None)


def test_an_unknown_prediction_is_not_found() -> None:
    """A problem object with status 404."""
    assert polled(None, 110.0).status == 404


def test_every_fault_has_the_vendor_s_status() -> None:
    """An unknown fault is a crash, loudly."""
    kinds = {
        kind
        for kind, fault in FAULTS.items()
        if REPLICATE in fault.dialects and fault.stage in (Stage.DOOR, Stage.LATE)
    }
    answers = {kind: replicate.failed(order(), kind, 1.2) for kind in kinds - ENDS - SERVER_S_OWN}
    statuses = {kind: answer.status for kind, answer in answers.items()}
    assert statuses == {"429": 429, "429money": 402, "badkey": 401, "500": 500, "503": 503}
    assert all(answer.body["status"] == answer.status for answer in answers.values())
    assert answers["429"].headers == replicate.stumbled("poll429", 1.2).headers == {"retry-after": "2"}
    assert answers["429"].body["retry_after"] == 2
    assert "in 1 second." in replicate.over_limit(order(), Excess("rpm", 5, 0.1)).body["detail"]
    assert (replicate.stumbled("poll429", 1.0).status, replicate.stumbled("poll500", 1.0).status) == (429, 500)
    with pytest.raises(ValueError, match="no words for the fault 'gremlins'"):
        replicate.failed(order(), "gremlins", 1.0)


def test_the_account_is_told_for_free() -> None:
    """The cheapest way to try a key."""
    assert replicate.models(Asked(KEY)).body["username"] == "sandbox"


def test_every_answer_has_a_number() -> None:
    """In a header."""
    assert replicate.stamp(26, 5)["x-request-id"].endswith("1a")
