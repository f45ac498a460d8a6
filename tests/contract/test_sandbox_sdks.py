"""Official clients talk to the sandbox as they are, and see the vendors' errors as their own."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from google import genai
from google.genai import errors as genai_errors
from google.genai import types
from google.oauth2.credentials import Credentials
from PIL import Image

from tests.sandbox_process import SandboxProcess, sandbox

MODEL = "gemini-3-pro-image"


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sandbox") / "books.jsonl"


@pytest.fixture(scope="module")
def vendor(books: Path) -> Iterator[SandboxProcess]:
    with sandbox(seed=1, books=books) as running:
        yield running


@pytest.fixture(autouse=True)
def untroubled(vendor: SandboxProcess) -> None:
    vendor.plan(faults={}, rpm=None)


def google(vendor: SandboxProcess, key: str = "key", version: str | None = None) -> genai.Client:
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=vendor.url, api_version=version))


def agent_platform(vendor: SandboxProcess, token: str = "ya29.token") -> genai.Client:
    return genai.Client(
        vertexai=True, project="p", location="global", credentials=Credentials(token=token),  # type: ignore[no-untyped-call]
        http_options=types.HttpOptions(base_url=vendor.url, api_version="v1beta1"),
    )  # fmt: skip


def file(colour: str, kind: str = "PNG") -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(data, kind)
    return data.getvalue()


def billed_references(books: Path) -> list[str]:
    """Return the hashes of the images that the last bill started from."""
    last = json.loads(books.read_text().splitlines()[-1])
    assert isinstance(last["references"], list)
    return last["references"]


def hashes(*files: bytes) -> list[str]:
    return [hashlib.sha256(data).hexdigest() for data in files]


def config(ratio: str | None = None, size: str | None = None) -> types.GenerateContentConfig:
    return types.GenerateContentConfig(
        response_modalities=["TEXT", "IMAGE"], image_config=types.ImageConfig(aspect_ratio=ratio, image_size=size)
    )


def picture(answer: types.GenerateContentResponse) -> Image.Image:
    assert answer.parts is not None
    (part,) = [part for part in answer.parts if part.inline_data is not None]
    assert part.inline_data is not None
    assert part.inline_data.data is not None
    image = Image.open(io.BytesIO(part.inline_data.data))
    image.load()
    return image


@pytest.mark.parametrize("version", [None, "v1beta"])
def test_google_s_client_gets_an_image_of_the_asked_size(vendor: SandboxProcess, version: str | None) -> None:
    """google-genai generates on its own API version and on v1beta, with the pixels of ratio and size."""
    with google(vendor, version=version) as client:
        answer = client.models.generate_content(model=MODEL, contents="a red bicycle", config=config("16:9", "2K"))
    assert picture(answer).size == (2752, 1536)
    assert picture(answer).format == "JPEG"
    assert answer.model_version == MODEL
    assert answer.candidates is not None
    assert answer.candidates[0].finish_reason is types.FinishReason.STOP


@pytest.mark.anyio
@pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")  # google-genai's own
async def test_google_s_async_client_gets_an_image(vendor: SandboxProcess) -> None:
    """google-genai's async client generates with the default ratio of the vendor, and reads the tokens."""
    client = google(vendor)
    async with client.aio as aio:
        answer = await aio.models.generate_content(model=MODEL, contents="a blue kite", config=config())
    assert picture(answer).size == (1408, 768)
    usage = answer.usage_metadata
    assert usage is not None
    assert usage.candidates_tokens_details is not None
    assert usage.candidates_tokens_details[0].token_count == 1120
    assert usage.candidates_tokens_details[0].modality is types.MediaModality.IMAGE
    counts = (usage.prompt_token_count, usage.candidates_token_count, usage.thoughts_token_count)
    assert usage.total_token_count == sum(count or 0 for count in counts)


def test_google_s_client_streams(vendor: SandboxProcess) -> None:
    """The image comes whole in one event, the reason to stop in the last."""
    with google(vendor) as client:
        chunks = list(client.models.generate_content_stream(model=MODEL, contents="a kite", config=config()))
    assert len(chunks) == 2
    assert picture(chunks[0]).size == (1408, 768)
    assert chunks[-1].candidates is not None
    assert chunks[-1].candidates[0].finish_reason is types.FinishReason.STOP


def test_google_s_client_edits_references(vendor: SandboxProcess, books: Path) -> None:
    """References as the client encodes them, URL-safe, land byte for byte and in their order, and are counted."""
    sent = [file("red"), file("green", "JPEG"), file("blue", "WEBP")]
    parts = [
        types.Part.from_bytes(data=data, mime_type=f"image/{kind}")
        for data, kind in zip(sent, ("png", "jpeg", "webp"), strict=True)
    ]
    with google(vendor) as client:
        answer = client.models.generate_content(
            model=MODEL, contents=types.Content(parts=[*parts, types.Part(text="blue")]), config=config()
        )
    assert picture(answer).size == (1408, 768)
    assert billed_references(books) == hashes(*sent)
    assert answer.usage_metadata is not None
    assert (answer.usage_metadata.prompt_token_count or 0) > 3 * 258


def test_google_s_client_sees_a_reference_that_is_none(vendor: SandboxProcess) -> None:
    """Bytes of another type than they claim, types that are not taken, and one image too many."""
    good = types.Part.from_bytes(data=file("red"), mime_type="image/png")
    for parts, words in (
        ([types.Part.from_bytes(data=file("red"), mime_type="image/jpeg")], "Unable to process input image"),
        ([types.Part.from_bytes(data=file("red", "GIF"), mime_type="image/gif")], "Unsupported MIME type"),
        ([good] * 15, "fewer images"),
    ):
        with google(vendor) as client, pytest.raises(genai_errors.ClientError, match=words) as caught:
            client.models.generate_content(
                model=MODEL, contents=types.Content(parts=[types.Part(text="x"), *parts]), config=config()
            )
        assert caught.value.code == 400


def test_google_s_client_asks_for_a_tier(vendor: SandboxProcess) -> None:
    """The half-price tier is told back in a header; the client has no field for the usage's."""
    asked = config()
    asked.service_tier = types.ServiceTier.FLEX
    with google(vendor, version="v1beta") as client:
        answer = client.models.generate_content(model=MODEL, contents="a kite", config=asked)
    assert answer.sdk_http_response is not None
    assert (answer.sdk_http_response.headers or {})["x-gemini-service-tier"] == "flex"


def test_google_s_client_speaks_to_vertex(vendor: SandboxProcess, books: Path) -> None:
    """With a token in place of a key, at the address with project and location, in the file format it asks for."""
    asked = types.GenerateContentConfig(
        image_config=types.ImageConfig(aspect_ratio="1:1", image_size="1K", output_mime_type="image/png")
    )
    reference = types.Part.from_bytes(data=file("red"), mime_type="image/png")
    parts = types.Content(role="user", parts=[reference, types.Part(text="a red bicycle")])
    with agent_platform(vendor) as client:
        answer = client.models.generate_content(model=MODEL, contents=parts, config=asked)
    assert (picture(answer).size, picture(answer).format) == ((1024, 1024), "PNG")
    assert billed_references(books) == hashes(file("red"))
    assert answer.create_time is not None
    assert answer.usage_metadata is not None
    assert answer.usage_metadata.traffic_type is types.TrafficType.ON_DEMAND


def test_google_s_client_sees_vertex_s_own_errors(vendor: SandboxProcess) -> None:
    """A key is no token, a preview is dead, and a 429 says nothing more."""
    with agent_platform(vendor, "AIzaKey") as client, pytest.raises(genai_errors.ClientError) as caught:
        client.models.generate_content(model=MODEL, contents="x", config=config())
    assert (caught.value.code, caught.value.status) == (401, "UNAUTHENTICATED")
    assert "ACCESS_TOKEN_TYPE_UNSUPPORTED" in str(caught.value)
    with agent_platform(vendor) as client, pytest.raises(genai_errors.ClientError, match="Publisher Model") as caught:
        client.models.generate_content(model=f"{MODEL}-preview", contents="x", config=config())
    assert caught.value.code == 404
    vendor.plan(faults={"429day": 1})
    with agent_platform(vendor) as client, pytest.raises(genai_errors.ClientError) as caught:
        client.models.generate_content(model=MODEL, contents="x", config=config())
    details: Any = caught.value.details
    assert (caught.value.code, "details" in details["error"]) == (429, False)


def test_google_s_client_lists_models(vendor: SandboxProcess) -> None:
    """The list and one model read as the client's own types."""
    with google(vendor) as client:
        names = [model.name for model in client.models.list(config={"page_size": 2})]
        assert client.models.get(model=MODEL).name == f"models/{MODEL}"
    assert f"models/{MODEL}" in names
    assert len(names) == len(set(names)) > 2


@pytest.mark.parametrize(
    ("fault", "kind", "code", "status"),
    [
        ("429", genai_errors.ClientError, 429, "RESOURCE_EXHAUSTED"),
        ("429day", genai_errors.ClientError, 429, "RESOURCE_EXHAUSTED"),
        ("badkey", genai_errors.ClientError, 400, "INVALID_ARGUMENT"),
        ("leaked", genai_errors.ClientError, 403, "PERMISSION_DENIED"),
        ("500", genai_errors.ServerError, 500, "INTERNAL"),
        ("503", genai_errors.ServerError, 503, "UNAVAILABLE"),
        ("listerror", genai_errors.ServerError, 503, "UNAVAILABLE"),
        ("html502", genai_errors.ServerError, 502, "Bad Gateway"),
    ],
)
def test_google_s_client_sees_its_own_errors(
    vendor: SandboxProcess, fault: str, kind: type[genai_errors.APIError], code: int, status: str
) -> None:
    """Each fault is the class, code and status that the client knows from the vendor."""
    vendor.plan(faults={fault: 1})
    with google(vendor) as client, pytest.raises(kind) as caught:
        client.models.generate_content(model=MODEL, contents="x", config=config())
    assert (caught.value.code, caught.value.status) == (code, status)


def test_google_s_client_sees_a_spent_minute(vendor: SandboxProcess) -> None:
    """Over the limit, the client gets the quota's id and the wish to come back."""
    vendor.plan(rpm=1)
    with google(vendor) as client, contextlib.suppress(genai_errors.ClientError):
        client.models.generate_content(model=MODEL, contents="x", config=config())
    with google(vendor) as client, pytest.raises(genai_errors.ClientError) as caught:
        client.models.generate_content(model=MODEL, contents="x", config=config())
    body: Any = caught.value.details
    details = {detail["@type"].rpartition(".")[2]: detail for detail in body["error"]["details"]}
    assert "PerMinute" in details["QuotaFailure"]["violations"][0]["quotaId"]
    assert 0 < float(details["RetryInfo"]["retryDelay"].removesuffix("s")) <= 60
    assert "Please retry in" in str(caught.value.message)


def test_google_s_client_sees_a_wrong_key_and_a_retired_model(vendor: SandboxProcess) -> None:
    """A key that is not accepted is a 400 with its reason, a dead model a 404."""
    with google(vendor, key="invalid") as client, pytest.raises(genai_errors.ClientError, match="API_KEY_INVALID"):
        client.models.generate_content(model=MODEL, contents="x")
    with google(vendor) as client, pytest.raises(genai_errors.ClientError, match="is not found for API") as caught:
        client.models.generate_content(model="gemini-3-pro-image-preview", contents="x")
    assert caught.value.code == 404


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("safety", types.FinishReason.IMAGE_SAFETY),
        ("noimage", types.FinishReason.NO_IMAGE),
        ("textonly", types.FinishReason.STOP),
    ],
)
def test_google_s_client_reads_answers_without_an_image(
    vendor: SandboxProcess, fault: str, reason: types.FinishReason
) -> None:
    """A 200 without an image is valid for the client, and says its reason."""
    vendor.plan(faults={fault: 1})
    with google(vendor) as client:
        answer = client.models.generate_content(model=MODEL, contents="x", config=config())
    assert answer.candidates is not None
    assert answer.candidates[0].finish_reason is reason
    assert all(part.inline_data is None for part in answer.parts or [])


def test_google_s_client_reads_a_blocked_prompt(vendor: SandboxProcess) -> None:
    """The feedback on a blocked prompt is one the client knows."""
    vendor.plan(faults={"blocked": 1})
    with google(vendor) as client:
        answer = client.models.generate_content(model=MODEL, contents="x", config=config())
    assert answer.prompt_feedback is not None
    assert answer.prompt_feedback.block_reason is types.BlockedReason.PROHIBITED_CONTENT


def open_ai(vendor: SandboxProcess, key: str = "key") -> openai.OpenAI:
    return openai.OpenAI(api_key=key, base_url=vendor.openai, max_retries=0)


def test_openai_s_client_gets_images_of_the_asked_size(vendor: SandboxProcess) -> None:
    """The openai package generates several images at once, in the asked format and size, and reads the usage."""
    with open_ai(vendor) as client:
        answer = client.images.generate(
            model="gpt-image-2", prompt="a green tram", size="1280x720", output_format="webp", quality="low", n=2
        )
    assert answer.data is not None
    images = [base64.b64decode(each.b64_json or "") for each in answer.data]
    assert [Image.open(io.BytesIO(data)).size for data in images] == [(1280, 720)] * 2
    assert [Image.open(io.BytesIO(data)).format for data in images] == ["WEBP"] * 2
    assert images[0] != images[1]
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens
    assert (answer.size, answer.quality, answer.output_format) == ("1280x720", "low", "webp")


@pytest.mark.anyio
async def test_openai_s_async_client_gets_an_image(vendor: SandboxProcess) -> None:
    """The async client of openai generates with the defaults: PNG, square."""
    async with openai.AsyncOpenAI(api_key="key", base_url=vendor.openai, max_retries=0) as client:
        answer = await client.images.generate(model="gpt-image-1.5", prompt="a green tram")
    assert answer.data is not None
    image = Image.open(io.BytesIO(base64.b64decode(answer.data[0].b64_json or "")))
    assert (image.format, image.size) == ("PNG", (1024, 1024))


def test_openai_s_client_edits_files(vendor: SandboxProcess, books: Path) -> None:
    """One file or several, as a form: they land byte for byte and in their order, and are counted."""
    sent = [file("red"), file("green", "JPEG"), file("blue", "WEBP")]
    with open_ai(vendor) as client:
        answer = client.images.edit(
            model="gpt-image-2", prompt="bluer", size="1024x1536", n=2, quality="low", output_format="webp",
            image=[("a.png", sent[0], "image/png"), ("b.jpg", sent[1], "image/jpeg"), ("c.webp", sent[2], "image/webp")],
        )  # fmt: skip
        assert answer.data is not None
        images = [Image.open(io.BytesIO(base64.b64decode(each.b64_json or ""))) for each in answer.data]
        assert [(image.size, image.format) for image in images] == [((1024, 1536), "WEBP")] * 2
        assert billed_references(books) == hashes(*sent)
        assert answer.usage is not None
        assert answer.usage.input_tokens_details.image_tokens > 0
        assert client.images.edit(model="gpt-image-1.5", prompt="x", image=("a.png", sent[0], "image/png")).data
    assert billed_references(books) == hashes(sent[0])


def test_openai_s_client_sees_wrong_files(vendor: SandboxProcess) -> None:
    """A type that is not taken, bytes of another type, too many images, a word that newer models refuse."""
    good = ("a.png", file("red"), "image/png")
    with open_ai(vendor) as client:
        for files, code in (
            ([("a.gif", file("red", "GIF"), "image/gif")], "unsupported_file_mimetype"),
            ([("a.jpg", file("red"), "image/jpeg")], "invalid_image_file"),
            ([good] * 17, "invalid_value"),
        ):
            with pytest.raises(openai.BadRequestError) as caught:
                client.images.edit(model="gpt-image-2", prompt="x", image=files)
            assert caught.value.code == code
        with pytest.raises(openai.BadRequestError) as caught:
            client.images.edit(model="gpt-image-2", prompt="x", image=good, input_fidelity="high")
        assert caught.value.param == "input_fidelity"


def chat(vendor: SandboxProcess, path: str = "/v1") -> openai.OpenAI:
    return openai.OpenAI(api_key="key", base_url=vendor.url + path, max_retries=0)


def test_openai_s_client_chats_with_a_relay(vendor: SandboxProcess, books: Path) -> None:
    """The image stands in the text as markdown, with its data or, for some models, with a link."""
    sent = file("red", "JPEG")
    uri = "data:image/jpeg;base64," + base64.b64encode(sent).decode()
    with chat(vendor) as client:
        answer = client.chat.completions.create(
            model="nano-banana",
            messages=[{"role": "user", "content": [
                {"type": "text", "text": "bluer"}, {"type": "image_url", "image_url": {"url": uri}}
            ]}],
        )  # fmt: skip
        text = answer.choices[0].message.content or ""
        found = re.search(r"!\[image\]\(data:image/png;base64,([A-Za-z0-9+/=]+)\)", text)
        assert found is not None
        assert Image.open(io.BytesIO(base64.b64decode(found[1]))).size == (1024, 1024)
        assert billed_references(books) == hashes(sent)
        linked = client.chat.completions.create(model="url-x", messages=[{"role": "user", "content": "a tram"}])
    link = re.search(r"!\[image\]\((http://127\.0\.0\.1:\d+/[^)]+)\)", linked.choices[0].message.content or "")
    assert link is not None
    assert Image.open(io.BytesIO(httpx.get(link[1], trust_env=False).content)).size == (1024, 1024)


@pytest.mark.parametrize("path", ["/v1", "/openrouter/api/v1"])
def test_openai_s_client_chats_as_with_openrouter(vendor: SandboxProcess, path: str) -> None:
    """Where modalities are asked for, the images stand beside the text."""
    with chat(vendor, path) as client:
        answer = client.chat.completions.create(
            model="google/gemini-3-pro-image", messages=[{"role": "user", "content": "a tram"}],
            extra_body={"modalities": ["image", "text"], "image_config": {"aspect_ratio": "16:9"}},
        )  # fmt: skip
    [image] = answer.choices[0].message.model_dump()["images"]
    data = base64.b64decode(image["image_url"]["url"].removeprefix("data:image/png;base64,"))
    assert Image.open(io.BytesIO(data)).size == (1376, 768)


def test_openai_s_client_sees_a_chat_s_errors(vendor: SandboxProcess) -> None:
    """A relay's code is a word, OpenRouter's is a number."""
    said: Any = {"model": "google/gemini-3-pro-image", "messages": [{"role": "user", "content": "a tram"}]}
    vendor.plan(faults={"429money": 1})
    with chat(vendor) as client:
        with pytest.raises(openai.PermissionDeniedError) as relay:
            client.chat.completions.create(**said)
        with pytest.raises(openai.APIStatusError) as router:
            client.chat.completions.create(**said, extra_body={"modalities": ["image"]})
    assert (relay.value.code, relay.value.type) == ("insufficient_user_quota", "new_api_error")
    assert router.value.status_code == 402
    assert isinstance(router.value.body, dict)
    assert router.value.body["code"] == 402


@pytest.mark.parametrize(
    ("path", "model"), [("/together/v1", "black-forest-labs/FLUX.1-schnell"), ("/xai/v1", "grok-imagine-image")]
)
def test_openai_s_client_speaks_to_its_likes(vendor: SandboxProcess, path: str, model: str) -> None:
    """Together and xAI answer with links until base64 is asked for."""
    with chat(vendor, path) as client:
        linked = client.images.generate(model=model, prompt="a tram", n=2)
        inline = client.images.generate(model=model, prompt="a tram", response_format="b64_json")
    assert linked.data is not None
    assert [each.b64_json for each in linked.data] == [None] * 2
    assert Image.open(io.BytesIO(httpx.get(linked.data[1].url or "", trust_env=False).content)).size == (1024, 1024)
    assert inline.data is not None
    assert Image.open(io.BytesIO(base64.b64decode(inline.data[0].b64_json or ""))).format == "JPEG"


def test_openai_s_client_gets_links(vendor: SandboxProcess) -> None:
    """A model that answers with links serves them."""
    with open_ai(vendor) as client:
        answer = client.images.generate(model="url-sandbox", prompt="a tram", size="1024x1536")
    assert answer.data is not None
    assert answer.data[0].b64_json is None
    download = httpx.get(answer.data[0].url or "", trust_env=False)
    assert Image.open(io.BytesIO(download.content)).size == (1024, 1536)


def test_openai_s_client_lists_models(vendor: SandboxProcess) -> None:
    """The list reads as the client's own type."""
    with open_ai(vendor) as client:
        assert "gpt-image-2" in [model.id for model in client.models.list()]
        assert client.models.retrieve("gpt-image-2").id == "gpt-image-2"


@pytest.mark.parametrize(
    ("fault", "kind", "code"),
    [
        ("429", openai.RateLimitError, "rate_limit_exceeded"),
        ("429day", openai.RateLimitError, "rate_limit_exceeded"),
        ("429money", openai.RateLimitError, "insufficient_quota"),
        ("badkey", openai.AuthenticationError, "invalid_api_key"),
        ("safety", openai.BadRequestError, "moderation_blocked"),
        ("blocked", openai.BadRequestError, "moderation_blocked"),
        ("500", openai.InternalServerError, None),
        ("503", openai.InternalServerError, None),
        ("html502", openai.InternalServerError, None),
    ],
)
def test_openai_s_client_sees_its_own_errors(
    vendor: SandboxProcess, fault: str, kind: type[openai.APIStatusError], code: str | None
) -> None:
    """Each fault is the class and code that the client knows from the vendor."""
    vendor.plan(faults={fault: 1})
    with open_ai(vendor) as client, pytest.raises(kind) as caught:
        client.images.generate(model="gpt-image-2", prompt="x")
    assert caught.value.code == code
    assert caught.value.request_id


def test_openai_s_client_sees_a_wrong_key_and_a_wrong_field(vendor: SandboxProcess) -> None:
    """A key that is not accepted is a 401; response_format is unknown to the newer models."""
    with open_ai(vendor, key="invalid") as client, pytest.raises(openai.AuthenticationError, match="Incorrect API key"):
        client.images.generate(model="gpt-image-2", prompt="x")
    with open_ai(vendor) as client, pytest.raises(openai.BadRequestError) as caught:
        client.images.generate(model="gpt-image-2", prompt="x", response_format="b64_json")
    assert (caught.value.code, caught.value.param) == ("unknown_parameter", "response_format")


def test_openai_s_client_waits_as_long_as_it_is_told(vendor: SandboxProcess) -> None:
    """The client's own retry obeys the header: the second attempt comes after the limit has room."""
    vendor.plan(rpm=1, window=0.4)
    with openai.OpenAI(api_key="key", base_url=vendor.openai, max_retries=1) as client:
        assert client.images.generate(model="gpt-image-2", prompt="x").data
        before = vendor.books()["violations"].get("rpm", 0)
        assert client.images.generate(model="gpt-image-2", prompt="x").data
    vendor.plan(window=60.0)
    assert vendor.books()["violations"]["rpm"] == before + 1


def test_a_cut_connection_is_a_connection_error(vendor: SandboxProcess) -> None:
    """Resets reach the client as what they are, before and after the image was billed."""
    before = vendor.books()["images"]
    with open_ai(vendor) as client:
        for fault in ("reset", "reset-after"):
            vendor.plan(faults={fault: 1})
            with pytest.raises(openai.APIConnectionError):
                client.images.generate(model="gpt-image-2", prompt="x")
    assert vendor.books()["images"] == before + 1
