"""Putting a run together: what is checked before anything is written or sent."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from nanobatch.assembly import run
from nanobatch.clock import SystemClock
from nanobatch.config import load_settings
from nanobatch.errors import ConfigError, InputError
from nanobatch.events import JobFinished, RunFinished, RunStarted, Warned
from nanobatch.preparation import Prepared, Request, dry_run, output_folder, prepare
from nanobatch.stopping import Stop
from tests.fakes import RecordingObserver
from tests.sandbox_process import sandbox

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, project_root: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(project_root))  # for the sandbox, which is a process of its own
    return tmp_path


def prepared(url: str = "http://127.0.0.1:9", *, flags: dict[str, Any] | None = None, **request: Any) -> Prepared:
    settings = load_settings(
        config_path=None,
        flags=flags or {},
        environ=os.environ,
        cwd=Path(),
        user_folder=Path("nowhere"),
        sandbox_url=url,
    )
    return prepare(Request(inputs=("p.csv",), **request), settings)


async def finished(one: Prepared) -> tuple[Mapping[str, Any], RecordingObserver]:
    seen = RecordingObserver()
    summary = await run(one, clock=SystemClock(), observe=seen, tick=lambda: None, stop=Stop())
    return summary, seen


@pytest.mark.parametrize(
    ("inputs", "told", "folder_name"),
    [
        (("a/products.csv", "b.csv"), None, "products-images"),
        (("-",), None, "prompts-images"),
        (("x.csv",), "elsewhere/deep", "elsewhere/deep"),
    ],
)
async def test_where_the_images_go(inputs: tuple[str, ...], told: str | None, folder_name: str) -> None:
    """As told, else a folder in the working folder, named after the first file."""
    assert output_folder(Request(inputs=inputs), told) == Path(folder_name)


async def test_bad_rows_are_found_before_anything_is_written(folder: Path) -> None:
    """The preflight names every row that nobody can draw, and leaves no folder behind."""
    (folder / "p.csv").write_text("prompt,size,model\nfine,1K,\nhuge,512,\nstrange,1K,no-such-model\n")
    with pytest.raises(InputError) as caught:
        prepared()
    assert [problem.split(": ")[0] for problem in caught.value.problems] == ["p.csv:3", "p.csv:4"]
    assert list(folder.iterdir()) == [folder / "p.csv"]


async def test_a_default_that_nobody_sells_is_one_error(folder: Path) -> None:
    """A wrong --model is told once, by the flag's name, and not once for every row."""
    (folder / "p.csv").write_text("prompt\n" + "x\n" * 50)
    with pytest.raises(ConfigError, match="^--model: "):
        prepared(flags={"defaults.model": "nano-banana-por"})


async def test_skipping_bad_rows_is_told(folder: Path) -> None:
    """With --skip-invalid the good rows remain, and a warning counts the others."""
    (folder / "p.csv").write_text("prompt,size\nfine,1K\nhuge,9K\n")
    one = prepared(skip_invalid=True)
    assert one.plan.jobs == 1
    assert one.warnings[0].startswith("1 bad rows are left out: p.csv:3")


async def test_a_dry_run_touches_nothing(folder: Path) -> None:
    """The plan of a folder that does not exist yet, and of none."""
    (folder / "p.csv").write_text("prompt\na\nb\n")
    plan = dry_run(prepared())
    assert (plan["jobs"], plan["already_done"], plan["to_send"]) == (2, 0, 2)
    assert not (folder / "p-images").exists()


async def test_a_whole_run_and_the_run_after_it(folder: Path) -> None:
    """Images, manifest, summary and events of a run; the next one finds everything done, and the plan knows it."""
    (folder / "p.csv").write_text("prompt,n\na fox,2\na crow,\n")
    with sandbox() as vendor:
        summary, seen = await finished(prepared(vendor.url))
        again, after = await finished(prepared(vendor.url))
        assert vendor.books()["images"] == 3
    assert (summary["exit_code"], summary["ok"], summary["jobs"], summary["resumed"]) == (0, 3, 3, 0)
    assert (again["exit_code"], again["ok"], again["resumed"], again["attempts"]) == (0, 3, 3, 0)
    kinds = [type(event) for event in seen.events]
    assert (kinds[0], kinds[-1], kinds.count(JobFinished)) == (RunStarted, RunFinished, 3)
    assert [type(event) for event in after.events] == [RunStarted, RunFinished]
    assert dry_run(prepared())["already_done"] == 3
    assert (folder / "p-images/run.json").exists()
    assert sorted(path.name for path in (folder / "p-images/images").iterdir()) == [
        "0001-a-fox-2.jpg",
        "0001-a-fox.jpg",
        "0002-a-crow.jpg",
    ]


async def test_a_part_of_the_input_leaves_the_rest_of_the_manifest(folder: Path) -> None:
    """--limit and --only choose what is sent; records of the other rows stay where they are."""
    (folder / "p.csv").write_text("id,prompt\na,fox\nb,crow\nc,hare\n")
    with sandbox() as vendor:
        first, _ = await finished(prepared(vendor.url, limit=2))
        second, seen = await finished(prepared(vendor.url, only="c"))
    assert (first["jobs"], first["exit_code"]) == (2, 0)
    assert [event.record.id for event in seen.events if isinstance(event, JobFinished)] == ["c"]
    assert (second["jobs"], second["ok"]) == (3, 3)
    assert (folder / "p-images/manifest.jsonl").read_text().count("\n") == 3


async def test_a_sandbox_image_never_stands_in_for_a_real_one(folder: Path) -> None:
    """The same folder after a rehearsal: the real run has everything still to do."""
    (folder / "p.csv").write_text("prompt\na fox\n")
    with sandbox() as vendor:
        await finished(prepared(vendor.url))
        (folder / "nanobatch.yaml").write_text(
            f"providers:\n  real: {{protocol: gemini, base_url: '{vendor.gemini}', api_key: k, prices: {{1K: 0.1}}}}\n"
        )
        settings = load_settings(
            config_path=None, flags={}, environ={}, cwd=Path(), user_folder=Path("nowhere"), sandbox_url=None
        )
        real = prepare(Request(inputs=("p.csv",)), settings)
        assert dry_run(real)["to_send"] == 1
        summary, seen = await finished(real)
    assert (summary["ok"], summary["resumed"], summary["sandbox"]) == (1, 0, False)
    assert not [event for event in seen.events if isinstance(event, Warned)]
