"""What is checked before a run: the input against the settings, each row against what the providers can do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from nanobatch.attempts import OpenTask
from nanobatch.config import load_settings
from nanobatch.errors import ConfigError, InputError
from nanobatch.preparation import Prepared, Request, dry_run, output_folder, prepare


def prepared(folder: Path, rows: str, providers: dict[str, Any], **run: Any) -> Prepared:
    (folder / "p.csv").write_text(rows)
    (folder / "nanobatch.yaml").write_text(json.dumps({"providers": providers, "run": run}))
    settings = load_settings(config_path=None, flags={}, environ={}, cwd=folder, user_folder=folder / "none")
    return prepare(Request((str(folder / "p.csv"),)), settings)


def endpoint(protocol: str, **more: Any) -> dict[str, Any]:
    return {
        "protocol": protocol, "base_url": "http://127.0.0.1:1", "api_key": "k", "prices": {"1K": 0.1, "2K": 0.2}, **more,
    }  # fmt: skip


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png", "c.png"):
        Image.new("RGB", (16, 16), {"a.png": "red", "b.png": "green", "c.png": "blue"}[name]).save(tmp_path / name)
    return tmp_path


def test_references_decide_the_job_by_their_content(photos: Path) -> None:
    """Found from the prompt file's folder, whatever they are called; another order is another picture."""
    (photos / "copy.png").write_bytes((photos / "a.png").read_bytes())
    rows = "prompt,references\nfox,a.png;b.png\nfox,copy.png;b.png\nfox,b.png;a.png\n"
    one = prepared(photos, rows, {"x": endpoint("gemini")})
    jobs = list(one.planner.jobs())
    assert [job.variant for job in jobs] == [0, 1, 0]
    assert len({job.params.references for job in jobs}) == 2
    one.references.close()


def test_a_provider_that_cannot_take_them_is_skipped(photos: Path) -> None:
    """The row is planned with the one that can, and the plan says so."""
    providers = {"x": endpoint("xai", priority=1), "y": endpoint("gemini", priority=2)}
    one = prepared(photos, "prompt,references\nfox,a.png;b.png;c.png\nowl,\n", providers)
    plan = dry_run(one)
    assert {row["name"]: row["images"] for row in plan["providers"]} == {"x": 1, "y": 1}
    one.references.close()


def test_a_plan_without_the_ledger_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What other runs have sent today is unknown then; the plan is made all the same."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "state" / "nanobatch").mkdir(parents=True)
    (tmp_path / "state" / "nanobatch" / "usage.sqlite").write_bytes(b"no database at all" * 100)
    one = prepared(tmp_path, "prompt\nfox\n", {"x": endpoint("gemini", limits={"rpd": 100})})
    plan = dry_run(one)
    assert plan["to_send"] == 1
    assert any("usage.sqlite cannot be read" in warning for warning in plan["warnings"])
    one.references.close()


def test_a_plan_asks_no_redis_what_was_sent_today(tmp_path: Path) -> None:
    """It says that it does not know, where a day has a limit."""
    (tmp_path / "p.csv").write_text("prompt\nfox\n")
    for limits, told in (({"rpd": 100}, True), ({"rpm": 100}, False)):
        given = {"providers": {"x": endpoint("gemini", limits=limits)}, "usage": {"url": "redis://:word@127.0.0.1:1/0"}}
        (tmp_path / "nanobatch.yaml").write_text(json.dumps(given))
        settings = load_settings(config_path=None, flags={}, environ={}, cwd=tmp_path, user_folder=tmp_path / "none")
        one = prepare(Request((str(tmp_path / "p.csv"),)), settings)
        warnings = " ".join(dry_run(one)["warnings"])
        assert ("a plan does not ask" in warnings) == told
        assert "word" not in warnings
        one.references.close()


def test_when_nobody_can_take_them_the_row_is_told(photos: Path) -> None:
    """Before anything is sent, with file, line and the reason of every provider."""
    providers = {"x": endpoint("xai", priority=1), "y": endpoint("together", priority=2)}
    rows = "prompt,model,references\nfox,nano-banana-pro,a.png;b.png;c.png\n"
    with pytest.raises(InputError) as caught:
        prepared(photos, rows, providers)
    [problem] = caught.value.problems
    assert "p.csv:2" in str(problem)
    assert "x takes no reference images" in str(problem)
    assert "y takes at most 1 reference images" in str(problem)


def test_a_broken_reference_is_told_with_its_row(photos: Path) -> None:
    """A file that is no image is found in the preflight."""
    (photos / "d.png").write_text("not an image")
    with pytest.raises(InputError) as caught:
        prepared(photos, "prompt,references\nfox,a.png\nowl,d.png\n", {"x": endpoint("gemini")})
    assert "p.csv:3" in str(caught.value.problems[0])
    assert "d.png" in str(caught.value.problems[0])


def test_a_reference_in_a_private_network_needs_consent(photos: Path) -> None:
    """A prompt file from elsewhere must not make this machine ask its neighbours."""
    with pytest.raises(InputError) as caught:
        prepared(photos, "prompt,references\nfox,http://127.0.0.1:9/a.png\n", {"x": endpoint("gemini")})
    assert "allow_private_references" in str(caught.value.problems[0]) or "private" in str(caught.value.problems[0])


def test_only_a_provider_of_this_run_that_has_tasks_can_fetch_one(photos: Path) -> None:
    """What nobody can fetch counts as possibly billed."""
    one = prepared(photos, "prompt\nfox\n", {"k": endpoint("kie"), "g": endpoint("gemini")})
    assert one.can_fetch(OpenTask("a", "k", "t", 0.1, 0.0))
    assert not one.can_fetch(OpenTask("a", "g", "t", 0.1, 0.0))
    assert not one.can_fetch(OpenTask("a", "gone", "t", 0.1, 0.0))


def test_a_model_that_nobody_sells_is_told_once(photos: Path) -> None:
    """A default of the user's own is his mistake, not that of every row."""
    (photos / "p.csv").write_text("prompt\nfox\n")
    settings = load_settings(
        config_path=None, flags={"defaults.model": "no-such"}, environ={"GEMINI_API_KEY": "k"}, cwd=photos,
        user_folder=photos / "none",
    )  # fmt: skip
    with pytest.raises(ConfigError, match="--model"):
        prepare(Request((str(photos / "p.csv"),)), settings)


@pytest.mark.parametrize(
    ("inputs", "told", "expected"),
    [(("a/p.csv",), None, "p-images"), (("-",), None, "prompts-images"), (("p.csv", "q.csv"), "x/y", "x/y")],
)
def test_the_output_folder(inputs: tuple[str, ...], told: str | None, expected: str) -> None:
    """As told, else named after the first file, in the working folder."""
    assert output_folder(Request(inputs), told) == Path(expected)
