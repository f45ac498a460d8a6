"""Reading a manifest from outside: the newest line of each job, torn ends, files that change meanwhile."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from nanobatch import manifest_reader
from nanobatch.errors import ConfigError
from nanobatch.manifest_reader import newest_lines, require_run


def line(number: int, status: str = "ok", **more: Any) -> str:
    return json.dumps({"job": f"{number:016x}{number:016x}", "id": f"row-{number}", "status": status, **more}) + "\n"


def write(root: Path, *lines: str) -> Path:
    (root / "manifest.jsonl").write_text("".join(lines))
    return root


def read(root: Path) -> list[tuple[str, str]]:
    return [(found.id, found.status) for _, found in newest_lines(root)]


def test_the_newest_line_of_a_job_decides(tmp_path: Path) -> None:
    """A job that failed, was sent again and succeeded counts once, as what it is now."""
    write(tmp_path, line(1, "failed"), line(2), line(1, "unfinished"), line(3), line(1))
    assert read(tmp_path) == [("row-2", "ok"), ("row-3", "ok"), ("row-1", "ok")]


def test_jobs_that_share_a_mark_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bitmap only suspects; with marks for eight jobs, hundreds are still read exactly."""
    monkeypatch.setattr(manifest_reader, "BITS", 3)
    lines = [line(number, "failed" if number % 3 else "ok") for number in range(300)]
    lines += [line(number) for number in range(0, 300, 7)]
    write(tmp_path, *lines)
    found = dict(read(tmp_path))
    assert len(found) == len(read(tmp_path)) == 300
    assert all(found[f"row-{number}"] == "ok" for number in range(0, 300, 7))
    assert found["row-1"] == "failed"


def test_a_torn_last_line_is_passed_over(tmp_path: Path) -> None:
    """A kill cut it; nobody was told of it."""
    write(tmp_path, line(1), line(2)[:-20])
    assert read(tmp_path) == [("row-1", "ok")]


def test_a_damaged_middle_is_named(tmp_path: Path) -> None:
    """With its line."""
    write(tmp_path, line(1), "{torn\n", line(2))
    with pytest.raises(ConfigError, match=r"manifest\.jsonl:2: this line is damaged"):
        read(tmp_path)


def test_what_is_appended_meanwhile_is_left_for_the_next_time(tmp_path: Path) -> None:
    """A line that comes between the two passes must not make a job count twice."""
    write(tmp_path, line(1), line(2))
    found = newest_lines(tmp_path)
    assert next(found)[1].id == "row-1"
    with (tmp_path / "manifest.jsonl").open("a") as file:
        file.write(line(1, "failed") + line(3))
    assert [one.id for _, one in found] == ["row-2"]


def test_a_manifest_that_is_replaced_meanwhile_is_read_as_it_was(tmp_path: Path) -> None:
    """The end of a run renames a new manifest over the old one."""
    write(tmp_path, line(1), line(2))
    found = newest_lines(tmp_path)
    next(found)
    (tmp_path / "new").write_text(line(9) * 50)
    (tmp_path / "new").replace(tmp_path / "manifest.jsonl")
    assert [one.id for _, one in found] == ["row-2"]


def test_offsets_are_those_of_the_lines(tmp_path: Path) -> None:
    """Whoever wants the whole record can go there."""
    write(tmp_path, line(1), line(2))
    data = (tmp_path / "manifest.jsonl").read_bytes()
    assert [json.loads(data[offset:].splitlines()[0])["id"] for offset, _ in newest_lines(tmp_path)] == [
        "row-1",
        "row-2",
    ]


def test_memory_does_not_grow_with_the_manifest(tmp_path: Path) -> None:
    """Ten times the lines, the same memory: the marks, and a few jobs that share one."""
    peaks = []
    for number in (2_000, 20_000):
        with (tmp_path / "manifest.jsonl").open("w") as file:
            # fingerprints as far apart as real ones are
            file.writelines(line(each * 0x9E3779B97F4A7C15 % 2**64) for each in range(number))
        tracemalloc.start()
        assert sum(1 for _ in newest_lines(tmp_path)) == number
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 500_000
    assert peaks[1] < (1 << 24) + 1_000_000


def test_no_manifest_has_no_lines(tmp_path: Path) -> None:
    """A run that has only begun."""
    assert read(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nothing", "there is no such folder"),
        ("file", "is a file; name the output folder"),
        ("empty", "is not the output"),
    ],
)
def test_only_a_runs_folder_will_do(tmp_path: Path, name: str, sentence: str) -> None:
    """Anything else is answered with a sentence."""
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=sentence):
        require_run(tmp_path / name)


@pytest.mark.parametrize("name", ["manifest.jsonl", ".nanobatch"])
def test_a_runs_folder_has_a_manifest_or_a_state(tmp_path: Path, name: str) -> None:
    """One of both is enough: a run may have been killed early."""
    (tmp_path / name).mkdir()
    require_run(tmp_path)
