"""What came is looked at, and the copy with the words takes its place before anything is recorded."""

from __future__ import annotations

import base64
import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest

from nanobatch.clock import SystemClock
from nanobatch.errors import DecodeError
from nanobatch.examination import embedding, examine
from nanobatch.model import Answer, Picture
from nanobatch.retry import RetryPolicy
from nanobatch.stores.local import LocalStore
from nanobatch.stores.offload import Offload
from tests.fakes import ManualClock
from tests.harness import Bench, make_job, png, success
from tests.pictures import drawn, pixels, said, signed, xmp_of

pytestmark = pytest.mark.anyio


class Killed(BaseException):
    """The process ends here."""


class DyingStore(LocalStore):
    """A store whose process is killed at the rename."""

    def adopt(self, part: Path, key: str) -> None:
        raise Killed(f"before {part} became {key}")


def bench(tmp_path: Path, data: bytes, parts: tuple[str, ...] = ("prompt", "params")) -> Bench:
    made = Bench(tmp_path / "out", ManualClock(), {"g": [success(data)]}, [make_job()])
    made.pipeline.embed = embedding(parts, made.folder.store.new_part)
    made.pipeline.retry = RetryPolicy(0, on_unknown="retry", rng=random.Random(7))
    return made


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
async def test_the_record_is_about_the_file_as_it_is_stored(tmp_path: Path, kind: str) -> None:
    """Length and digest are those of the copy; the pixels are the provider's; nothing else lies about."""
    data = signed(drawn(kind))
    made = bench(tmp_path, data)
    record = await made.pipeline.run(made.jobs[0])
    assert record.file is not None
    stored = (tmp_path / "out" / record.file).read_bytes()
    assert (record.bytes, record.sha256) == (len(stored), hashlib.sha256(stored).hexdigest())
    assert stored != data
    assert pixels(stored) == pixels(data)
    words = said(xmp_of(stored))
    assert (words["prompt"], words["system"]) == ("prompt 1", "gemini-3-pro-image")
    assert json.loads(words["params"] or "") == {
        "model": "nano-banana-pro", "size": "1K", "provider": "g", "provider_model": "gemini-3-pro-image",
        "job": made.jobs[0].id,
    }  # fmt: skip
    assert list((tmp_path / "out/.nanobatch/parts").iterdir()) == []


@pytest.mark.parametrize(("parts", "prompt", "params"), [(("prompt",), True, False), (("params",), False, True)])
async def test_only_what_is_asked_for_is_embedded(
    tmp_path: Path, parts: tuple[str, ...], prompt: bool, params: bool
) -> None:
    """A prompt may be a secret that the parameters are not."""
    made = bench(tmp_path, drawn("PNG"), parts)
    record = await made.pipeline.run(made.jobs[0])
    stored = (tmp_path / "out" / (record.file or "")).read_bytes()
    assert (b"prompt 1" in stored, b"nano-banana-pro" in stored) == (prompt, params)


async def test_nothing_is_touched_unless_asked(tmp_path: Path) -> None:
    """Off by default: the provider's own bytes."""
    assert embedding((), Path) is None
    made = bench(tmp_path, signed(drawn("JPEG")), ())
    record = await made.pipeline.run(made.jobs[0])
    assert (tmp_path / "out" / (record.file or "")).read_bytes() == signed(drawn("JPEG"))


async def test_what_cannot_be_embedded_is_kept_with_a_warning(tmp_path: Path) -> None:
    """The image is paid, whatever becomes of the words."""
    data = drawn("GIF")
    made = bench(tmp_path, data)
    record = await made.pipeline.run(made.jobs[0])
    assert (tmp_path / "out" / (record.file or "")).read_bytes() == data
    assert any(warning.startswith("nothing could be embedded") for warning in record.warnings)


async def test_a_kill_before_the_outcome_leaves_no_record_of_a_half_copy(tmp_path: Path) -> None:
    """The ledger names the copy, and only when it is whole and flushed; the next run finds it as it was recorded."""
    made = bench(tmp_path, drawn("PNG"))
    made.pipeline.store = DyingStore(tmp_path / "out")
    with pytest.raises(Killed):
        await made.pipeline.run(made.jobs[0])
    lines = [json.loads(line) for line in (tmp_path / "out/.nanobatch/attempts.jsonl").read_text().splitlines()]
    landed: dict[str, Any] = lines[-1]["landed"]
    part = (tmp_path / "out/.nanobatch/parts" / landed["part"]).read_bytes()
    assert (landed["bytes"], landed["sha256"]) == (len(part), hashlib.sha256(part).hexdigest())
    assert b"prompt 1" in part
    again = Bench(tmp_path / "out", SystemClock(), {"g": [success()]}, [make_job()])
    assert list(again.folder.past.landed) == [make_job().id]


async def test_an_image_that_is_none_leaves_no_file(tmp_path: Path) -> None:
    """It is said in an error, and the part is gone."""
    made = bench(tmp_path, b"no image")
    store = made.folder.store
    answer = Answer(Picture(base64.b64encode(b"no image").decode()), (Picture(base64.b64encode(png()).decode()),))
    with pytest.raises(DecodeError, match="not an image"):
        await examine(answer, None, store=store, offload=Offload(), embed=None)  # type: ignore[arg-type]
    assert list((tmp_path / "out/.nanobatch/parts").iterdir()) == []
