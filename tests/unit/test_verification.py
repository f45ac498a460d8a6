"""Every file against its record; a repair that loses nothing and makes the next run send exactly what is lost."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from nanobatch.errors import ConfigError
from nanobatch.folder import locked, open_folder
from nanobatch.manifest import fingerprint
from nanobatch.manifest_reader import Line
from nanobatch.verification import SET_ASIDE, check_file, verify
from tests.fakes import ManualClock
from tests.harness import png


def job(number: int) -> str:
    return f"{number:016x}{number:016x}"


class Desk:
    """An output folder with whole images, made by hand."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = ManualClock()
        (root / "images").mkdir(parents=True)

    def image(self, number: int, data: bytes | None = None, *, file: str | None = None, **more: Any) -> Path:
        path = self.root / (file or f"images/{number}.png")
        data = png(width=number + 1) if data is None else data
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self.record(number, path.relative_to(self.root).as_posix(), data, **more)
        return path

    def record(self, number: int, file: str | None, data: bytes, **more: Any) -> None:
        line = {"job": job(number), "id": f"row-{number}", "index": number, "status": "ok", "file": file}
        line |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        self.append("manifest.jsonl", line | more)

    def append(self, name: str, line: dict[str, Any]) -> None:
        (self.root / name).parent.mkdir(exist_ok=True)
        with (self.root / name).open("a") as file:
            file.write(json.dumps(line) + "\n")

    def verify(self, *, repair: bool = False) -> dict[str, Any]:
        return verify(self.root, self.clock, repair=repair)

    def kinds(self, *, repair: bool = False) -> dict[str, str]:
        return {problem["file"]: problem["kind"] for problem in self.verify(repair=repair)["problems"]}

    def to_send(self, numbers: range) -> set[int]:
        """Return what the next run would send, as resume decides it."""
        with locked(self.root, self.clock):
            folder = open_folder(self.root, self.clock, wanted=lambda: [fingerprint(job(number)) for number in numbers])
            return {number for number in numbers if fingerprint(job(number)) not in folder.done}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "out")


def test_whole_images_are_right(desk: Desk) -> None:
    """Also many of them, in folders of their own, and refused rows without a file."""
    for number in range(200):
        desk.image(number, file=f"images/{number % 7}/{number}.png")
    desk.record(200, None, b"", status="refused")
    found = desk.verify()
    assert (found["exit_code"], found["problems"], found["images"]) == (0, [], 200)
    assert found["bytes"] == sum(len(png(width=number + 1)) for number in range(200))
    assert found["next"]["command"].startswith("nanobatch status")


def test_each_kind_of_wrong_has_its_name(desk: Desk) -> None:
    """With the record it belongs to."""
    missing, changed, cut, grown = (desk.image(number) for number in range(4))
    damaged = desk.image(4, b"\x89PNG\r\n\x1a\n" + bytes(30))
    web_page = desk.image(5, b"<html>expired</html>")
    missing.unlink()
    changed.write_bytes(changed.read_bytes()[:-1] + b"x")
    cut.write_bytes(cut.read_bytes()[:-9])
    grown.write_bytes(grown.read_bytes() + b"x")
    (desk.root / "images/stranger.png").write_bytes(png())
    found = desk.verify()
    assert desk.kinds() == {
        "images/0.png": "missing", "images/1.png": "changed", "images/2.png": "truncated", "images/3.png": "changed",
        "images/4.png": "damaged", "images/5.png": "damaged", "images/stranger.png": "foreign",
    }  # fmt: skip
    assert found["exit_code"] == 1
    assert found["counts"] == {"missing": 1, "changed": 2, "truncated": 1, "damaged": 2, "unreadable": 0, "foreign": 1}
    first = found["problems"][0]
    assert (first["id"], first["index"], first["job"]) == ("row-0", 0, job(0))
    assert damaged.exists()
    assert web_page.exists()


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda path: path.mkdir(), "changed"),
        (lambda path: path.symlink_to("nowhere"), "missing"),
        (os.mkfifo, "changed"),
        (lambda path: path.write_bytes(b""), "truncated"),
    ],
)
def test_what_stands_in_an_images_place_is_looked_at(desk: Desk, make: Any, kind: str) -> None:
    """A folder, a dead link, a pipe (which would never end): none of them hangs or breaks the check."""
    path = desk.image(1)
    path.unlink()
    make(path)
    assert desk.kinds()["images/1.png"] == kind


@pytest.mark.parametrize("file", ["/etc/passwd", "../outside.png", "images/../../outside.png", ""])
def test_a_record_cannot_reach_outside_of_the_folder(desk: Desk, file: str) -> None:
    """A manifest may come from anywhere; nothing out there is read, and above all nothing is moved."""
    outside = desk.root.parent / "outside.png"
    outside.write_bytes(png())
    desk.record(1, file, b"else")
    assert desk.kinds(repair=True) == {file: "missing"}
    assert outside.read_bytes() == png()


def test_a_file_that_may_not_be_read_is_no_lost_image(desk: Desk) -> None:
    """Buying it again would be the wrong answer; a name that no system takes counts the same."""
    line = Line(job=job(1), status="ok", file="images/" + "x" * 300, sha256="0", bytes=1)
    problem = check_file(desk.root, line)
    assert problem is not None
    assert problem.kind == "unreadable"
    assert "too long" in problem.why


def test_the_newest_record_counts(desk: Desk) -> None:
    """An older line of the same job says nothing about the file of today."""
    desk.record(1, "images/1.png", b"an earlier one")
    desk.image(1)
    assert desk.verify()["problems"] == []


def test_images_of_earlier_inputs_are_not_foreign(desk: Desk) -> None:
    """The history knows them, and where they were moved."""
    (desk.root / "images/old.png").write_bytes(png())
    (desk.root / "images/moved.png").write_bytes(png())
    desk.append(".nanobatch/history.jsonl", {"job": job(8), "file": "images/old.png", "status": "ok"})
    desk.append(".nanobatch/history.jsonl", {"moved": "images/x.png", "to": "images/moved.png"})
    desk.image(1)
    assert desk.verify()["problems"] == []


def test_what_a_kill_left_unrecorded_is_not_foreign(desk: Desk) -> None:
    """The ledger knows it; the next run records it without sending anything."""
    data = png()
    (desk.root / "images/9.png").write_bytes(data)
    landed = {
        "part": "p.part",
        "file": "images/9.png",
        "sha256": "0",
        "bytes": len(data),
        "mime": "image/png",
        "width": 1,
        "height": 1,
    }
    facts = {"attempt": "a", "job": job(9), "provider": "google", "at": 1.0}
    desk.append(".nanobatch/attempts.jsonl", facts | {"kind": "intent"})
    desk.append(".nanobatch/attempts.jsonl", facts | {"kind": "outcome", "code": "ok", "landed": landed})
    desk.image(1)
    found = desk.verify()
    assert (found["problems"], found["unrecorded"], found["exit_code"]) == ([], 1, 0)


@pytest.mark.parametrize("name", [".DS_Store", "Thumbs.db", "desktop.ini", ".hidden.png"])
def test_what_file_managers_leave_is_nobodys_fault(desk: Desk, name: str) -> None:
    """A cron job must not fail because somebody looked at the pictures."""
    desk.image(1)
    (desk.root / "images" / name).write_bytes(b"x")
    assert desk.verify()["exit_code"] == 0


def test_beside_a_run_at_work_new_files_are_not_foreign(desk: Desk) -> None:
    """Their records come in a moment; older strangers are named all the same."""
    desk.image(1)
    for name, age in (("new.png", 1.0), ("old.png", 3600.0)):
        (desk.root / "images" / name).write_bytes(png())
        moment = desk.clock.wall() - age
        os.utime(desk.root / "images" / name, (moment, moment))
    with locked(desk.root, desk.clock):
        found = desk.verify()
    assert found["running"] is True
    assert [problem["file"] for problem in found["problems"]] == ["images/old.png"]


def test_looking_changes_nothing(desk: Desk) -> None:
    """Without --repair not a file is touched."""
    desk.image(1).write_bytes(b"changed")
    before = sorted((str(path), path.stat().st_mtime_ns) for path in desk.root.rglob("*"))
    desk.verify()
    assert sorted((str(path), path.stat().st_mtime_ns) for path in desk.root.rglob("*")) == before


def test_a_repair_makes_the_next_run_send_what_is_lost_and_nothing_else(desk: Desk) -> None:
    """Also what has changed without changing its length, which resume alone would take for done."""
    paths = [desk.image(number) for number in range(6)]
    paths[1].unlink()
    paths[2].write_bytes(paths[2].read_bytes()[:-1] + b"x")
    paths[3].write_bytes(paths[3].read_bytes()[:20])
    desk.record(6, None, b"", status="refused")
    assert 2 not in desk.to_send(range(7))
    found = desk.verify(repair=True)
    assert found["repair"] == {"set_aside": 2, "put_back": 0, "to_send": 3, "folder": str(desk.root / SET_ASIDE)}
    assert desk.to_send(range(7)) == {1, 2, 3}


def test_a_repair_deletes_no_byte(desk: Desk) -> None:
    """What is wrong is set aside, several times under one name too."""
    for content in (b"first", b"second", b"third"):
        (desk.root / "images/1.png").write_bytes(content)
        desk.record(1, "images/1.png", png())
        desk.verify(repair=True)
    aside = sorted((desk.root / SET_ASIDE / "images").iterdir())
    assert [path.name for path in aside] == ["1.png", "1~2.png", "1~3.png"]
    assert {path.read_bytes() for path in aside} == {b"first", b"second", b"third"}


def test_a_lost_image_under_another_name_is_put_back(desk: Desk) -> None:
    """Somebody renamed it: buying it again would be a waste."""
    path = desk.image(1)
    path.rename(desk.root / "images/nice one.png")
    found = desk.verify()
    assert [problem["kind"] for problem in found["problems"]] == ["missing", "foreign"]
    assert found["problems"][0]["found_at"] == "images/nice one.png"
    repaired = desk.verify(repair=True)
    assert (repaired["repair"]["put_back"], repaired["repair"]["to_send"]) == (1, 0)
    assert desk.verify()["exit_code"] == 0
    assert desk.to_send(range(1, 2)) == set()


def test_swapped_images_are_both_told(desk: Desk) -> None:
    """Each has the other's bytes; a repair sets both aside."""
    one, two = desk.image(1), desk.image(2)
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    assert set(desk.kinds().values()) <= {"changed", "truncated"}
    desk.verify(repair=True)
    assert desk.to_send(range(1, 3)) == {1, 2}


def test_a_folder_in_use_is_not_repaired(desk: Desk) -> None:
    """A run at work would write what the repair moves."""
    path = desk.image(1)
    path.write_bytes(b"changed")
    with locked(desk.root, desk.clock), pytest.raises(ConfigError, match="in use by another run"):
        desk.verify(repair=True)
    assert path.read_bytes() == b"changed"


def test_the_next_step_follows_from_what_is_wrong(desk: Desk) -> None:
    """Repair what changed; run where files are only missing; move what is foreign."""
    path = desk.image(1)
    data = path.read_bytes()
    path.write_bytes(b"changed")
    assert desk.verify()["next"]["command"].endswith("--repair")
    path.unlink()
    assert desk.verify()["next"]["command"].startswith("nanobatch run")
    path.write_bytes(data)
    (desk.root / "images/stranger").write_bytes(b"?")
    assert "elsewhere" in desk.verify()["next"]["why"]


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    """A repair of any other folder would be a disaster."""
    (tmp_path / "images").mkdir()
    with pytest.raises(ConfigError, match="is not the output of a run"):
        verify(tmp_path, ManualClock(), repair=True)
    assert [path.name for path in tmp_path.iterdir()] == ["images"]
