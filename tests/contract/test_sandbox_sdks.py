"""Official clients talk to the sandbox as they are, and see the vendors' errors as their own."""

from __future__ import annotations

import base64
import contextlib
import io
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from google import genai
from google.genai import errors as genai_errors
from google.genai import types
from PIL import Image

from tests.sandbox_process import SandboxProcess, sandbox

MODEL = "gemini-3-pro-image"


@pytest.fixture(scope="module")
def vendor() -> Iterator[SandboxProcess]:
    with sandbox(seed=1) as running:
        yield running


@pytest.fixture(autouse=True)
def untroubled(vendor: SandboxProcess) -> None:
    vendor.plan(faults={}, rpm=None)


def google(vendor: SandboxProcess, key: str = "key", version: str | None = None) -> genai.Client:
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=vendor.url, api_version=version))


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


def test_google_s_client_edits_a_reference(vendor: SandboxProcess) -> None:
    """References as the client encodes them, URL-safe, are accepted and counted."""
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(file, "PNG")
    reference = types.Part.from_bytes(data=file.getvalue(), mime_type="image/png")
    with google(vendor) as client:
        answer = client.models.generate_content(
            model=MODEL, contents=types.Content(parts=[reference, types.Part(text="blue")]), config=config()
        )
    assert picture(answer).size == (1408, 768)
    assert answer.usage_metadata is not None
    assert (answer.usage_metadata.prompt_token_count or 0) > 258


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
