"""Google's own client drives the sandbox's Vertex AI unchanged: order, list, look, cancel, delete; a bucket in between."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from google import genai
from google.genai import types
from google.oauth2.credentials import Credentials

from tests.sandbox_process import HTTP_TIMEOUT, SandboxProcess, sandbox

MODEL = "gemini-3-pro-image"


@pytest.fixture(scope="module")
def vendor() -> Iterator[SandboxProcess]:
    """A sandbox whose batches are over before anybody looks."""
    with sandbox() as running:
        running.plan(batch_wait=0, batch_run=0)
        yield running


@pytest.fixture(params=["v1beta1", "v1"])
def client(vendor: SandboxProcess, request: pytest.FixtureRequest) -> Iterator[genai.Client]:
    found = genai.Client(
        vertexai=True,
        project="a-project",
        location="us-central1",
        credentials=Credentials(token="a-token"),  # type: ignore[no-untyped-call]
        http_options=types.HttpOptions(base_url=vendor.url, api_version=request.param),
    )
    yield found
    found.close()


@pytest.fixture
def folder() -> str:
    """A folder of the bucket that no other test uses."""
    return secrets.token_hex(4)


def storage(vendor: SandboxProcess, path: str, data: bytes | None = None) -> bytes:
    """Ask Cloud Storage, as its JSON API has it."""
    request = urllib.request.Request(vendor.url + path, data, {"authorization": "Bearer a-token"})
    with urllib.request.urlopen(request, timeout=HTTP_TIMEOUT) as answer:
        found: bytes = answer.read()
        return found


def put(vendor: SandboxProcess, name: str, *prompts: str) -> str:
    """Put an object with a row for each prompt into the bucket."""
    rows = [
        {"request": {"contents": [{"role": "user", "parts": [{"text": prompt}]}], "labels": {"row": f"row-{number}"}}}
        for number, prompt in enumerate(prompts)
    ]
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    storage(vendor, f"/upload/storage/v1/b/a-bucket/o?uploadType=media&name={name}", data)
    return f"gs://a-bucket/{name}"


def lines_below(vendor: SandboxProcess, prefix: str) -> list[Any]:
    names = [item["name"] for item in json.loads(storage(vendor, f"/storage/v1/b/a-bucket/o?prefix={prefix}"))["items"]]
    assert len(names) == 2
    whole = b"".join(
        storage(vendor, f"/storage/v1/b/a-bucket/o/{name.replace('/', '%2F')}?alt=media") for name in names
    )
    return [json.loads(line) for line in whole.splitlines()]


def test_googles_client_in_vertex_mode(vendor: SandboxProcess, client: genai.Client, folder: str) -> None:
    """Rows lie in a bucket, results come into it out of order, and each line repeats its request."""
    prompts = [f"a fox number {number}" for number in range(8)]
    source = put(vendor, f"{folder}/rows.jsonl", *prompts)
    target = f"gs://a-bucket/{folder}/results"
    job = client.batches.create(model=MODEL, src=source, config={"display_name": folder, "dest": target})
    assert job.name is not None
    assert job.name.startswith("projects/a-project/locations/us-central1/batchPredictionJobs/")
    assert job.display_name == folder
    only = {"filter": f'display_name="{folder}"', "page_size": 1}
    assert job.name in [found.name for found in client.batches.list(config=only)]  # type: ignore[arg-type]
    other = {"filter": 'display_name="another"'}
    assert list(client.batches.list(config=other)) == []  # type: ignore[arg-type]
    job = client.batches.get(name=job.name)
    assert job.state is types.JobState.JOB_STATE_SUCCEEDED
    assert job.dest is not None
    assert job.dest.gcs_uri == target
    assert job.completion_stats is not None
    assert job.completion_stats.successful_count == 8
    lines = lines_below(vendor, f"{folder}/results/prediction-model-")
    assert sorted(line["request"]["labels"]["row"] for line in lines) == [f"row-{number}" for number in range(8)]
    for line in lines:
        [part] = line["response"]["candidates"][0]["content"]["parts"]
        prompt = line["request"]["contents"][0]["parts"][0]["text"]
        data = base64.b64decode(part["inlineData"]["data"])
        assert hashlib.sha256(prompt.encode()).hexdigest().encode() in data
        assert line["status"] == ""
    assert job.name is not None
    with pytest.raises(genai.errors.ClientError, match="has ended"):
        client.batches.cancel(name=job.name)
    client.batches.delete(name=job.name)
    with pytest.raises(genai.errors.ClientError, match="does not exist"):
        client.batches.get(name=job.name)


def test_googles_client_cancels(vendor: SandboxProcess, client: genai.Client) -> None:
    """A job that waits is cancelled."""
    source = put(vendor, "late/rows.jsonl", "a fox")
    vendor.plan(batch_wait=3600)
    try:
        job = client.batches.create(model=MODEL, src=source, config={"dest": "gs://a-bucket/late/results"})
        assert job.name is not None
        assert job.state is types.JobState.JOB_STATE_PENDING
        client.batches.cancel(name=job.name)
        assert client.batches.get(name=job.name).state is types.JobState.JOB_STATE_CANCELLED
    finally:
        vendor.plan(batch_wait=0)


def test_a_row_that_is_wrong_has_words_in_its_status(vendor: SandboxProcess, client: genai.Client, folder: str) -> None:
    """And an empty response."""
    source = put(vendor, f"{folder}/rows.jsonl", "a fox", "")
    job = client.batches.create(model=MODEL, src=source, config={"dest": f"gs://a-bucket/{folder}/results"})
    assert job.name is not None
    job = client.batches.get(name=job.name)
    assert job.completion_stats is not None
    assert (job.completion_stats.successful_count, job.completion_stats.failed_count) == (1, 1)
    lines = lines_below(vendor, f"{folder}/results/")
    [bad] = [line for line in lines if line["status"]]
    assert bad["status"].startswith('Bad Request: {"error":{"code":400')
    assert (bad["response"], bad["request"]["labels"]) == ({}, {"row": "row-1"})


def test_an_order_that_makes_no_sense(vendor: SandboxProcess, client: genai.Client) -> None:
    """Rows that are not there, and a token that is none."""
    with pytest.raises(genai.errors.ClientError, match="does not exist"):
        client.batches.create(model=MODEL, src="gs://a-bucket/nothing.jsonl", config={"dest": "gs://a-bucket/x"})
    with (
        genai.Client(
            vertexai=True,
            project="a-project",
            location="global",
            credentials=Credentials(token="invalid-token"),  # type: ignore[no-untyped-call]
            http_options=types.HttpOptions(base_url=vendor.url, api_version="v1beta1"),
        ) as stranger,
        pytest.raises(genai.errors.ClientError, match="401"),
    ):
        list(stranger.batches.list())
