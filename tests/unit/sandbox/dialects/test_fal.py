"""fal's dialect: the door, the fields of the two families, status and result."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest

from nanobatch.sandbox.dialects import fal
from nanobatch.sandbox.dialects.base import Answer, Asked, Order, Task
from nanobatch.sandbox.faults import ENDS, FAL, FAULTS, Stage
from nanobatch.sandbox.limits import Excess

KEY = {"Authorization": "Key k"}
PNG = b"\x89PNG\r\n\x1a\n a cat"
URI = "data:image/png;base64," + base64.b64encode(PNG).decode()
SHA256 = hashlib.sha256(PNG).hexdigest()
UPLOADED = "http://127.0.0.1/1.png"
BANANA, FLUX = "fal-ai/nano-banana-pro", "fal-ai/flux-pro/v1.1"
SERVER_S_OWN = {"reset", "hang", "html200", "html502"}


def read(model: str, body: Any) -> Order | Answer:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return fal.read(Asked(KEY, path={"model": model}, body=data, uploads={UPLOADED: "hash"}))


def order(model: str = BANANA, **fields: Any) -> Order:
    found = read(model, {"prompt": "a cat", **fields})
    assert isinstance(found, Order), found
    return found


def task(fault: str | None = None, model: str = BANANA, **fields: Any) -> Task:
    links = () if fault else ("http://127.0.0.1/__images/ab.png",)
    return Task("t", order(model, **fields), created=100.0, ready=110.0, links=links, fault=fault)


def polled(found: Task | None, now: float, *, app: str = BANANA, status: bool = False) -> Answer:
    path = {"app": app, "request": "t"} | ({"what": "status"} if status else {})
    return fal.polled(found, Asked(KEY, path=path, time=now))


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Key invalid"}, {"Authorization": "Bearer k"},
                                     {"Authorization": "Key"}])  # fmt: skip
def test_without_a_good_key_nobody_passes(headers: dict[str, str]) -> None:
    """A Bearer token is none: the scheme is `Key`."""
    asked = Asked(headers, path={"model": BANANA, "app": BANANA, "request": "t"}, body=b"{}")
    for answer in (fal.read(asked), fal.models(asked), fal.polled(task(), asked)):
        assert isinstance(answer, Answer)
        assert answer.status == 401


@pytest.mark.parametrize(
    ("model", "fields", "pixels", "kind"),
    [
        (BANANA, {}, (1408, 768), "png"),
        (BANANA, {"aspect_ratio": "auto"}, (1408, 768), "png"),
        (BANANA, {"aspect_ratio": "1:1", "resolution": "2K", "output_format": "jpeg"}, (2048, 2048), "jpeg"),
        ("google/nano-banana-2.1", {"aspect_ratio": "9:16", "output_format": "webp"}, (768, 1376), "webp"),
        (FLUX, {}, (1024, 768), "jpeg"),
        (FLUX, {"image_size": "portrait_16_9"}, (576, 1024), "jpeg"),
        ("fal-ai/flux/schnell", {"image_size": {"width": 640, "height": 480}, "seed": 7}, (640, 480), "jpeg"),
    ],
)
def test_an_order_becomes_a_drawing(model: str, fields: dict[str, Any], pixels: tuple[int, int], kind: str) -> None:
    """Nano Banana takes a ratio and a resolution, FLUX a named size or sides; their defaults differ."""
    drawing = order(model, **fields).drawing
    assert ((drawing.width, drawing.height), drawing.kind, drawing.prompt) == (pixels, kind, "a cat")


def test_several_images_are_asked_at_once() -> None:
    """And all of them are in the result."""
    assert order(num_images=4).images == 4
    assert order().images == 1


def test_references_belong_to_the_edit() -> None:
    """As data URIs or uploaded links, in their order."""
    found = order(BANANA + "/edit", image_urls=[URI, UPLOADED])
    assert found.references == (SHA256, "hash")


@pytest.mark.parametrize(
    ("model", "body", "where"),
    [
        (BANANA, [], "input"),
        (BANANA, {}, "prompt"),
        (BANANA, {"prompt": ""}, "prompt"),
        (BANANA, {"prompt": 5}, "prompt"),
        (BANANA, {"prompt": "x", "num_images": 5}, "num_images"),
        (BANANA, {"prompt": "x", "num_images": True}, "num_images"),
        (BANANA, {"prompt": "x", "aspect_ratio": "16x9"}, "aspect_ratio"),
        (BANANA, {"prompt": "x", "aspect_ratio": []}, "aspect_ratio"),
        (BANANA, {"prompt": "x", "resolution": "8K"}, "resolution"),
        (BANANA, {"prompt": "x", "output_format": "gif"}, "output_format"),
        (BANANA, {"prompt": "x", "image_size": "square"}, "image_size"),
        (BANANA, {"prompt": "x", "image_urls": [URI]}, "image_urls"),
        (BANANA, {"prompt": "x", "colour": "red"}, "colour"),
        (BANANA + "/edit", {"prompt": "x"}, "image_urls"),
        (BANANA + "/edit", {"prompt": "x", "image_urls": []}, "image_urls"),
        (BANANA + "/edit", {"prompt": "x", "image_urls": [URI] * 15}, "image_urls"),
        (BANANA + "/edit", {"prompt": "x", "image_urls": ["https://example.com/a.png"]}, "image_urls"),
        (BANANA + "/edit", {"prompt": "x", "image_urls": [None]}, "image_urls"),
        (FLUX, {"prompt": "x", "aspect_ratio": "1:1"}, "aspect_ratio"),
        (FLUX, {"prompt": "x", "image_size": "huge"}, "image_size"),
        (FLUX, {"prompt": "x", "image_size": {"width": 64}}, "image_size"),
        (FLUX, {"prompt": "x", "image_size": {"width": 64, "height": 99_999}}, "image_size"),
        (FLUX, {"prompt": "x", "image_size": {"width": True, "height": 64}}, "image_size"),
    ],
)
def test_a_wrong_field_is_a_422_that_names_it(model: str, body: Any, where: str) -> None:
    """In a list of details, as the vendor's validator writes them."""
    answer = read(model, body)
    assert isinstance(answer, Answer)
    assert answer.status == 422
    (detail,) = answer.body["detail"]
    assert detail["loc"] == ["body", where]
    assert detail["msg"]
    assert detail["type"]


def test_a_body_that_is_not_json_is_a_422() -> None:
    """Like every wrong body."""
    answer = read(BANANA, b"{")
    assert isinstance(answer, Answer)
    assert (answer.status, answer.body["detail"][0]["type"]) == (422, "json_invalid")


def test_a_submission_is_answered_with_its_places() -> None:
    """Without the model's sub-path, at the vendor's own host: a client that follows them leaves the sandbox."""
    body = fal.created(task(model="fal-ai/flux/dev")).body
    assert (body["request_id"], body["status"]) == ("t", "IN_QUEUE")
    assert body["status_url"] == "https://queue.fal.run/fal-ai/flux/requests/t/status"
    assert fal.task_id(Asked(path={"request": "t"}, headers={})) == "t"


@pytest.mark.parametrize(
    ("now", "status", "word"),
    [(100.0, 202, "IN_QUEUE"), (102.9, 202, "IN_QUEUE"), (103.1, 202, "IN_PROGRESS"), (110.0, 200, "COMPLETED")],
)
def test_the_status_follows_the_time(now: float, status: int, word: str) -> None:
    """A 202 until the end, and a result that is not there before."""
    answer = polled(task(), now, status=True)
    assert (answer.status, answer.body["status"]) == (status, word)
    assert polled(task(), now).status == (200 if word == "COMPLETED" else 400)


def test_a_result_names_its_images() -> None:
    """With their type and size."""
    (image,) = polled(task(aspect_ratio="1:1"), 110.0).body["images"]
    assert image == {
        "url": "http://127.0.0.1/__images/ab.png", "file_name": "ab.png", "content_type": "image/png", "width": 1024,
        "height": 1024,
    }  # fmt: skip


@pytest.mark.parametrize("fault", sorted(ENDS - {"noimage"}))
def test_a_task_that_fails_is_completed_and_has_no_result(fault: str) -> None:
    """A refusal is a 422 with the vendor's type, a crash a 500."""
    assert polled(task(fault), 110.0, status=True).body["status"] == "COMPLETED"
    answer = polled(task(fault), 110.0)
    if fault == "taskfail":
        assert answer.status == 500
    else:
        assert (answer.status, answer.body["detail"][0]["type"]) == (422, "content_policy_violation")


def test_a_result_may_have_no_image() -> None:
    """An empty list."""
    answer = polled(task("noimage"), 110.0)
    assert (answer.status, answer.body["images"]) == (200, [])


def test_a_request_of_another_application_is_not_found() -> None:
    """Nor is an unknown one."""
    assert polled(None, 110.0).status == 404
    assert polled(task(), 110.0, app="fal-ai/flux").status == 404


def test_every_fault_has_the_vendor_s_status() -> None:
    """An unknown fault is a crash, loudly."""
    kinds = {
        kind for kind, fault in FAULTS.items() if FAL in fault.dialects and fault.stage in (Stage.DOOR, Stage.LATE)
    }
    answers = {kind: fal.failed(order(), kind, 1.2) for kind in kinds - ENDS - SERVER_S_OWN}
    statuses = {kind: answer.status for kind, answer in answers.items()}
    assert statuses == {"429": 429, "429money": 403, "badkey": 401, "500": 500, "503": 503}
    assert all(answer.body["detail"] for answer in answers.values())
    assert answers["429"].headers == fal.stumbled("poll429", 1.2).headers == {"Retry-After": "2"}
    assert fal.over_limit(order(), Excess("rpm", 5, 0.1)).headers == {"Retry-After": "1"}
    assert (fal.stumbled("poll429", 1.0).status, fal.stumbled("poll500", 1.0).status) == (429, 500)
    with pytest.raises(ValueError, match="no words for the fault 'gremlins'"):
        fal.failed(order(), "gremlins", 1.0)


def test_the_queue_lists_no_models() -> None:
    """A good key is told so."""
    assert fal.models(Asked(KEY)).status == 404


def test_every_answer_has_a_number() -> None:
    """In a header."""
    assert fal.stamp(26, 5)["x-fal-request-id"].endswith("1a")
