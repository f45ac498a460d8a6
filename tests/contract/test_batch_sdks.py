"""The vendors' own clients drive the sandbox's batches unchanged: upload, order, list, look, download, cancel, delete."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from google import genai
from google.genai import types

from tests.sandbox_process import SandboxProcess, sandbox

MODEL = "gemini-3-pro-image"


@pytest.fixture(scope="module")
def vendor() -> Iterator[SandboxProcess]:
    """A sandbox whose batches are over before anybody looks."""
    with sandbox(batch_wait=0, batch_run=0) as running:
        yield running


@pytest.fixture(params=["v1beta", "v1"])
def client(vendor: SandboxProcess, request: pytest.FixtureRequest) -> Iterator[genai.Client]:
    found = genai.Client(api_key="key", http_options={"base_url": vendor.url, "api_version": request.param})
    yield found
    found.close()


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def gemini_row(key: str, prompt: str) -> dict[str, Any]:
    return {"key": key, "request": {"contents": [{"parts": [{"text": prompt}]}]}}


def openai_row(key: str, **body: Any) -> dict[str, Any]:
    return {
        "custom_id": key, "method": "POST", "url": "/v1/images/generations",
        "body": {"model": "gpt-image-2", "size": "1024x1024", **body},
    }  # fmt: skip


def names(prompt: str, data: bytes) -> bool:
    """Tell whether a drawn image carries a prompt's digest."""
    return hashlib.sha256(prompt.encode()).hexdigest().encode() in data


def test_googles_client_with_a_file(client: genai.Client, tmp_path: Path) -> None:
    """A file goes up in pieces, and the results, in an order of their own, carry the keys of their rows."""
    prompts = {f"row-{number}": f"a fox number {number}" for number in range(8)}
    rows = write(tmp_path / "in.jsonl", [gemini_row(key, prompt) for key, prompt in prompts.items()])
    file = client.files.upload(file=rows, config={"display_name": "t", "mime_type": "application/jsonl"})
    assert file.name is not None
    assert file.size_bytes == rows.stat().st_size
    job = client.batches.create(model=MODEL, src=file.name, config={"display_name": "of a file"})
    assert job.name is not None
    assert job.display_name == "of a file"
    assert job.name in [found.name for found in client.batches.list(config={"page_size": 1})]
    job = client.batches.get(name=job.name)
    assert job.state is types.JobState.JOB_STATE_SUCCEEDED
    assert job.name is not None
    assert job.dest is not None
    assert job.dest.file_name is not None
    lines = [json.loads(line) for line in client.files.download(file=job.dest.file_name).splitlines()]
    assert sorted(line["key"] for line in lines) == sorted(prompts)
    for line in lines:
        [part] = line["response"]["candidates"][0]["content"]["parts"]
        assert names(prompts[line["key"]], base64.b64decode(part["inlineData"]["data"]))
    about = client.files.get(name=job.dest.file_name)
    assert about.source is types.FileSource.GENERATED
    client.files.delete(name=file.name)
    with pytest.raises(genai.errors.ClientError, match="permission"):
        client.files.get(name=file.name)
    client.batches.delete(name=job.name)
    with pytest.raises(genai.errors.ClientError, match="not found"):
        client.batches.get(name=job.name)


def test_googles_client_without_a_file(client: genai.Client) -> None:
    """A few rows go with the order, and come back with the batch, in their order."""
    sources = [types.InlinedRequest(contents=f"a heron {number}", metadata={"n": str(number)}) for number in range(3)]
    job = client.batches.create(model=MODEL, src=sources, config={"display_name": "inline"})
    assert job.name is not None
    job = client.batches.get(name=job.name)
    assert job.dest is not None
    assert job.dest.inlined_responses is not None
    for number, found in enumerate(job.dest.inlined_responses):
        assert found.response is not None
        assert found.response.parts is not None
        assert found.response.parts[0].inline_data is not None
        assert names(f"a heron {number}", found.response.parts[0].inline_data.data or b"")


def test_googles_client_cancels(vendor: SandboxProcess, client: genai.Client) -> None:
    """A batch that waits is cancelled; one that has ended is not."""
    vendor.plan(batch_wait=3600)
    try:
        source = [types.InlinedRequest(contents="a fox")]
        job = client.batches.create(model=MODEL, src=source, config={"display_name": "late"})
        assert job.name is not None
        assert job.state is types.JobState.JOB_STATE_PENDING
        client.batches.cancel(name=job.name)
        assert client.batches.get(name=job.name).state is types.JobState.JOB_STATE_CANCELLED
        with pytest.raises(genai.errors.ClientError, match="has ended"):
            client.batches.cancel(name=job.name)
    finally:
        vendor.plan(batch_wait=0)


def test_openais_client(vendor: SandboxProcess, tmp_path: Path) -> None:
    """Rows that are drawn and rows that are wrong come back in two files."""
    good = [openai_row(f"row-{number}", prompt=f"a fox number {number}") for number in range(4)]
    rows = write(tmp_path / "in.jsonl", [*good, openai_row("bad", prompt="")])
    with openai.OpenAI(api_key="key", base_url=vendor.openai, max_retries=0) as client:
        file = client.files.create(file=rows, purpose="batch")
        assert client.files.retrieve(file.id).bytes == rows.stat().st_size
        job = client.batches.create(
            input_file_id=file.id, endpoint="/v1/images/generations", completion_window="24h",
            metadata={"nanobatch": "t"},
        )  # fmt: skip
        assert job.id in [found.id for found in client.batches.list(limit=1)]
        job = client.batches.retrieve(job.id)
        assert job.status == "completed"
        assert job.request_counts is not None
        assert (job.request_counts.completed, job.request_counts.failed) == (4, 1)
        assert job.output_file_id is not None
        assert job.error_file_id is not None
        lines = client.files.content(job.output_file_id).read().splitlines()
        for line in map(json.loads, lines):
            prompt = f"a fox number {line['custom_id'].removeprefix('row-')}"
            assert names(prompt, base64.b64decode(line["response"]["body"]["data"][0]["b64_json"]))
        [line] = map(json.loads, client.files.content(job.error_file_id).read().splitlines())
        assert (line["custom_id"], line["response"]["status_code"]) == ("bad", 400)
        with pytest.raises(openai.ConflictError):
            client.batches.cancel(job.id)
        client.files.delete(file.id)
        with pytest.raises(openai.NotFoundError):
            client.files.retrieve(file.id)


def test_openais_client_cancels(vendor: SandboxProcess, tmp_path: Path) -> None:
    """A batch that waits is cancelled."""
    rows = write(tmp_path / "in.jsonl", [openai_row("a", prompt="a fox")])
    vendor.plan(batch_wait=3600)
    try:
        with openai.OpenAI(api_key="key", base_url=vendor.openai, max_retries=0) as client:
            file = client.files.create(file=rows, purpose="batch")
            job = client.batches.create(
                input_file_id=file.id, endpoint="/v1/images/generations", completion_window="24h"
            )
            assert client.batches.cancel(job.id).status == "cancelling"
            assert client.batches.retrieve(job.id).status == "cancelled"
    finally:
        vendor.plan(batch_wait=0)
