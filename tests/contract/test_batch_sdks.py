"""The vendor of paper that batches are tested against speaks as the real ones do: their own clients can use it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from google import genai

from tests.batch_server import BatchServer, drawn


@pytest.fixture
def server() -> Iterator[BatchServer]:
    running = BatchServer()
    try:
        yield running
    finally:
        running.close()


def test_googles_client(server: BatchServer, tmp_path: Path) -> None:
    """Upload, order, list, look, download, cancel."""
    client = genai.Client(api_key="key", http_options={"base_url": server.root, "api_version": "v1beta"})
    rows = tmp_path / "in.jsonl"
    rows.write_text(json.dumps({"key": "a", "request": {"contents": [{"parts": [{"text": "a fox"}]}]}}) + "\n")
    file = client.files.upload(file=rows, config={"display_name": "t", "mime_type": "application/jsonl"})
    assert file.name is not None
    job = client.batches.create(model="gemini-3-pro-image", src=file.name, config={"display_name": "t"})
    assert job.state is not None
    assert job.state.name == "JOB_STATE_PENDING"
    assert [found.display_name for found in client.batches.list()] == ["t"]
    assert job.name is not None
    for _ in range(2):
        job = client.batches.get(name=job.name)
        assert job.name is not None
    assert job.state is not None
    assert job.state.name == "JOB_STATE_SUCCEEDED"
    assert job.dest is not None
    assert job.dest.file_name is not None
    assert job.name is not None
    [line] = client.files.download(file=job.dest.file_name).splitlines()
    assert json.loads(line)["key"] == "a"
    client.batches.cancel(name=job.name)
    client.close()


def test_openais_client(server: BatchServer, tmp_path: Path) -> None:
    """Upload, order, list, look, download, cancel."""
    rows = tmp_path / "in.jsonl"
    body = {"model": "gpt-image-2", "prompt": "a fox"}
    row = {"custom_id": "a", "method": "POST", "url": "/v1/images/generations", "body": body}
    rows.write_text(json.dumps(row) + "\n")
    with openai.OpenAI(api_key="key", base_url=f"{server.root}/v1", max_retries=0) as client:
        file = client.files.create(file=rows, purpose="batch")
        job = client.batches.create(
            input_file_id=file.id,
            endpoint="/v1/images/generations",
            completion_window="24h",
            metadata={"nanobatch": "t"},
        )
        assert [found.metadata for found in client.batches.list()] == [{"nanobatch": "t"}]
        for _ in range(2):
            job = client.batches.retrieve(job.id)
        assert job.status == "completed"
        assert job.output_file_id is not None
        [line] = client.files.content(job.output_file_id).read().splitlines()
        found = json.loads(line)
        assert found["custom_id"] == "a"
        assert len(found["response"]["body"]["data"][0]["b64_json"]) > len(drawn("a fox"))
        client.batches.cancel(job.id)
