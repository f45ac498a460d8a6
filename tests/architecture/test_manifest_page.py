"""docs/manifest.md against the code: every key of every file is explained, and none that does not exist."""

from __future__ import annotations

import dataclasses
import json
import re
import typing
from pathlib import Path
from typing import Any

import msgspec
import pytest

import nanobatch
from nanobatch.attempts import Landed, Line
from nanobatch.events import Event
from nanobatch.model import Failure, Params, Record
from nanobatch.reporters.events_file import event_name
from tests.sandbox_process import sandbox

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/manifest.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^##+ (.+?)\n(.*?)(?=^##|\Z)", PAGE, flags=re.MULTILINE | re.DOTALL))


def keys(section: str) -> list[str]:
    """Return the first column of a section's table, in its order."""
    found = re.findall(r"^\| `(\w+)` \|", SECTIONS[section], flags=re.MULTILINE)
    assert found
    return found


def fields(kind: Any) -> list[str]:
    if issubclass(kind, msgspec.Struct):
        return [field.name for field in msgspec.structs.fields(kind)]
    return [field.name for field in dataclasses.fields(kind)]


@pytest.mark.parametrize(("section", "kind"), [("manifest.jsonl", Record), ("params", Params), ("error", Failure)])
def test_a_record_is_explained_key_by_key(section: str, kind: Any) -> None:
    """In the order in which they stand on disk."""
    assert keys(section) == fields(kind)


def test_the_ledger_is_explained_key_by_key() -> None:
    """Its lines, and what they say of an image that has landed."""
    assert sorted(keys("attempts.jsonl")) == sorted(fields(Line))
    landed = next(line for line in SECTIONS["attempts.jsonl"].splitlines() if line.startswith("| `landed`"))
    assert re.findall(r"`(\w+)`", landed)[1:] == fields(Landed)


def test_events_are_explained_field_by_field() -> None:
    """All of them, with their names in files."""
    rows = re.findall(r"^\| `(\w+)` \| .* \| (.*?) \|$", SECTIONS["Events"], flags=re.MULTILINE)
    kinds = typing.get_args(Event)
    assert len(kinds) == 8
    assert {name: re.findall(r"`(\w+)`", row) for name, row in rows} == {
        event_name(object.__new__(kind)): fields(kind) for kind in kinds
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a run that met a refusal."""
    place = tmp_path_factory.mktemp("run")
    with sandbox(faults={"safety": 1.0}) as vendor, pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for name in ("HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
            patch.setenv(name, str(place / name.lower()))
        provider = {"protocol": "gemini", "base_url": vendor.gemini, "api_key": "k", "prices": {"1K": 0.1}}
        (place / "nanobatch.yaml").write_text(json.dumps({"providers": {"local": provider}}))
        picture = place / "r.png"
        nanobatch.run(["a fox"], out="first", sandbox=True)
        next((place / "first/images").iterdir()).rename(picture)
        row = {
            "prompt": "a fox", "provider": "local", "size": "1K", "aspect_ratio": "16:9", "n": 2, "name": "fox",
            "model": "nano-banana-pro", "references": [str(picture)], "sku": 7,
        }  # fmt: skip
        assert nanobatch.run([row], out="out").exit_code == 1
    return place / "out"


def test_the_summary_is_explained_key_by_key(folder: Path) -> None:
    """In the order of run.json, with the share of each provider, the failures and the hooks."""
    summary = json.loads((folder / "run.json").read_text())
    assert keys("run.json") == list(summary)
    (share,) = summary["providers"].values()
    assert keys("providers") == list(share)
    for name in ("failures", "hooks"):
        row = next(line for line in SECTIONS["run.json"].splitlines() if line.startswith(f"| `{name}`"))
        inner = summary[name][0] if name == "failures" else summary[name]
        assert set(inner) <= set(re.findall(r"`(\w+)`", row))


def test_rows_to_try_again_are_explained_key_by_key(folder: Path) -> None:
    """All keys that nanobatch writes there, in their order, before the row's own columns."""
    row = json.loads((folder / "failed.jsonl").read_text())
    own = [name for name in row if name not in ("sku", "error")]
    assert own == [name for name in keys("failed.jsonl") if name not in ("seed", "error")]
    assert list(row)[-2:] == ["sku", "error"]
