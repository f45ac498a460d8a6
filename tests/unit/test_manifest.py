"""The manifest and what a second run reads in it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nanobatch.errors import ConfigError
from nanobatch.manifest import FAILED, HISTORY, MANIFEST, Manifest, fingerprint
from nanobatch.model import Failure, Job, Origin, Params, Prompt, Record, Status
from nanobatch.stores.local import LocalStore

PARAMS = Params(model="nano-banana-pro", size="1K", aspect_ratio=None, seed=None)


def job(number: int, *, variant: int = 0, job_id: str | None = None, columns: dict[str, Any] | None = None) -> Job:
    prompt = Prompt(
        index=number,
        text=f"prompt {number}",
        origin=Origin("p.csv", number + 1),
        id=f"row-{number}",
        name=f"row-{number}",
        columns=columns or {},
    )
    suffix = f"-{variant + 1}" if variant else ""
    return Job(
        job_id or f"{number:016x}{variant:016x}".replace("0" * 16, "f" * 16, 1)[:32],
        variant,
        f"images/row-{number}{suffix}",
        prompt,
        PARAMS,
    )


def ids(jobs: Iterable[Job]) -> list[int]:
    return [fingerprint(job.id) for job in jobs]


def unique_jobs(count: int) -> list[Job]:
    return [job(number, job_id=f"{number * 7919:016x}{number:016x}") for number in range(1, count + 1)]


def record(of: Job, status: Status = Status.OK, *, file: str | None = None, **changes: Any) -> Record:
    facts: dict[str, Any] = (
        {"file": file or f"{of.key}.png", "bytes": 3, "sha256": "00"}
        if status is Status.OK
        else {"error": Failure("refused", "the provider's rules forbid it")}
    )
    return Record(
        job=of.id,
        id=of.prompt.id,
        variant=of.variant,
        index=of.prompt.index,
        status=status,
        prompt=of.prompt.text,
        columns=dict(of.prompt.columns),
        **{**facts, **changes},
    )


def image(store: LocalStore, key: str, data: bytes = b"png") -> None:
    (store.root / key).parent.mkdir(parents=True, exist_ok=True)
    (store.root / key).write_bytes(data)


def nothing(_: Job) -> Record | None:
    return None


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "out")


def finished_run(store: LocalStore, jobs: list[Job], *, of: list[Job] | None = None) -> None:
    """Let a run end with images for `of` (all jobs by default)."""
    manifest = Manifest(store)
    manifest.resume(ids(jobs))
    for one in of if of is not None else jobs:
        file = manifest.free_name(one.key, ".png")
        image(store, file)
        manifest.append(record(one, file=file))
    manifest.finish(jobs, nothing)


def test_a_new_folder_has_nothing_done(store: LocalStore) -> None:
    """Without a manifest everything is to do, and the input is not even read."""

    def untouchable() -> Iterator[int]:
        yield 1
        raise AssertionError("read")

    assert Manifest(store).resume(untouchable()) == set()


def test_recorded_and_intact_is_done(store: LocalStore) -> None:
    """The second run sends only what is not recorded, or not on disk, or not whole."""
    jobs = unique_jobs(4)
    finished_run(store, jobs)
    (store.root / f"{jobs[1].key}.png").unlink()
    (store.root / f"{jobs[2].key}.png").write_bytes(b"pn")
    assert Manifest(store).resume(ids(jobs)) == set(ids([jobs[0], jobs[3]]))


def test_a_killed_run_resumes_from_the_appended_lines(store: LocalStore) -> None:
    """Lines count as soon as they are appended, without any end of the run; a torn one does not."""
    jobs = unique_jobs(2)
    manifest = Manifest(store)
    manifest.resume(ids(jobs))
    image(store, "images/row-1.png")
    manifest.append(record(jobs[0]))
    with (store.root / MANIFEST).open("ab") as file:
        file.write(b'{"job":"')
    assert Manifest(store).resume(ids(jobs)) == set(ids([jobs[0]]))


def test_refused_and_failed_rest_until_asked_for(store: LocalStore) -> None:
    """A refusal is not sent again by itself; `--retry-failed` sends it; unfinished is always sent."""
    jobs = unique_jobs(3)
    manifest = Manifest(store)
    manifest.resume(ids(jobs))
    for one, status in zip(jobs, (Status.REFUSED, Status.FAILED, Status.UNFINISHED), strict=True):
        manifest.append(record(one, status))
    manifest.finish(jobs, nothing)
    assert Manifest(store).resume(ids(jobs)) == set(ids(jobs[:2]))
    assert Manifest(store).resume(ids(jobs), retry_failed=True) == set()


def test_the_newest_line_decides(store: LocalStore) -> None:
    """A job that failed first and succeeded later is done, and stands once in the finished manifest."""
    [one] = unique_jobs(1)
    manifest = Manifest(store)
    manifest.resume(ids([one]))
    manifest.append(record(one, Status.UNFINISHED))
    image(store, "images/row-1.png")
    manifest.append(record(one))
    manifest.finish([one], nothing)
    assert [line["status"] for line in lines(store.root / MANIFEST)] == ["ok"]


def test_the_finished_manifest_has_every_job_in_input_order(store: LocalStore) -> None:
    """Jobs end in any order and are listed in the order of the input; those never reached are there too."""
    jobs = unique_jobs(5)
    manifest = Manifest(store)
    manifest.resume(ids(jobs))
    for number in (3, 0, 4):
        image(store, f"{jobs[number].key}.png")
        manifest.append(record(jobs[number]))
    manifest.finish(jobs, lambda one: record(one, Status.UNFINISHED))
    written = lines(store.root / MANIFEST)
    assert [line["job"] for line in written] == [one.id for one in jobs]
    assert [line["status"] for line in written] == ["ok", "unfinished", "unfinished", "ok", "ok"]


def test_the_keys_of_a_line_are_a_promise(store: LocalStore) -> None:
    """Every key is always present, in this order."""
    [one] = unique_jobs(1)
    manifest = Manifest(store)
    manifest.resume(ids([one]))
    manifest.append(record(one, Status.REFUSED))
    manifest.finish([one], nothing)
    assert list(lines(store.root / MANIFEST)[0]) == [
        "job",
        "id",
        "variant",
        "index",
        "status",
        "file",
        "sha256",
        "bytes",
        "mime",
        "width",
        "height",
        "prompt",
        "params",
        "provider",
        "provider_model",
        "attempts",
        "cost_usd",
        "cost_basis",
        "maybe_cost_usd",
        "warnings",
        "started_at",
        "finished_at",
        "latency_seconds",
        "error",
        "columns",
    ]


def test_rows_that_moved_keep_their_image_and_get_their_new_place(store: LocalStore) -> None:
    """A row inserted above shifts the others: they are not sent again, and the manifest shows today's place."""
    before = unique_jobs(1)[0]
    finished_run(store, [before])
    prompt = Prompt(
        index=2, text=before.prompt.text, origin=Origin("p.csv", 3), id="new-id", name="new-id", columns={"sku": 7}
    )
    after = Job(before.id, 0, "images/new-id", prompt, PARAMS)
    manifest = Manifest(store)
    assert manifest.resume(ids([after])) == set(ids([before]))
    manifest.finish([after], nothing)
    [line] = lines(store.root / MANIFEST)
    assert (line["index"], line["id"], line["columns"], line["file"]) == (2, "new-id", {"sku": 7}, "images/row-1.png")


def test_another_input_does_not_forget_what_was_paid(store: LocalStore) -> None:
    """Run A, then B in the same folder, then A again: A's images are recalled and nothing is sent."""
    jobs = unique_jobs(4)
    first, second = jobs[:2], jobs[2:]
    finished_run(store, first)
    finished_run(store, second)
    assert [line["job"] for line in lines(store.root / MANIFEST)] == [one.id for one in second]
    manifest = Manifest(store)
    assert manifest.resume(ids(first)) == set(ids(first))
    manifest.finish(first, nothing)
    assert [line["job"] for line in lines(store.root / MANIFEST)] == [one.id for one in first]


def test_an_edited_prompt_takes_the_name_and_the_old_image_is_kept(store: LocalStore) -> None:
    """The new image of an edited row gets its name; the old one is set aside, and recalled when the edit is undone."""
    old = job(1, job_id=f"{1:016x}{1:016x}")
    new = job(1, job_id=f"{2:016x}{2:016x}")
    finished_run(store, [old])
    image(store, "images/row-1.png", b"old")
    finished_run(store, [new])
    assert (store.root / "images/row-1.png").read_bytes() == b"png"
    manifest = Manifest(store)
    assert manifest.resume(ids([old])) == set(ids([old]))
    manifest.finish([old], nothing)
    [line] = lines(store.root / MANIFEST)
    assert (store.root / line["file"]).read_bytes() == b"old"


def test_an_image_of_this_input_is_never_in_the_way(store: LocalStore) -> None:
    """When a finished job of the same input owns the wanted name, the new image gets another one."""
    jobs = unique_jobs(2)
    finished_run(store, jobs, of=jobs[:1])
    manifest = Manifest(store)
    manifest.resume(ids(jobs))
    assert manifest.free_name(jobs[0].key, ".png") == "images/row-1~2.png"
    assert (store.root / "images/row-1.png").exists()
    assert manifest.free_name(jobs[1].key, ".png") == "images/row-2.png"


def test_a_strangers_file_is_set_aside_not_overwritten(store: LocalStore) -> None:
    """A file that nobody recorded is moved, because it may be somebody's work."""
    [one] = unique_jobs(1)
    image(store, "images/row-1.png", b"mine")
    manifest = Manifest(store)
    manifest.resume(ids([one]))
    assert manifest.free_name(one.key, ".png") == "images/row-1.png"
    assert [path.read_bytes() for path in store.root.rglob("row-1~1.png")] == [b"mine"]


def test_fresh_starts_over_and_deletes_nothing(store: LocalStore) -> None:
    """`--fresh` finds nothing done, also in a run after it that was interrupted; the old lines and images are kept."""
    jobs = unique_jobs(2)
    finished_run(store, jobs)
    manifest = Manifest(store)
    assert manifest.resume(ids(jobs), fresh=True) == set()
    file = manifest.free_name(jobs[0].key, ".png")
    image(store, file, b"new")
    manifest.append(record(jobs[0], file=file))
    assert Manifest(store).resume(ids(jobs)) == set(ids(jobs[:1]))
    assert len(list(store.root.rglob("manifest~*.jsonl"))) == 1
    assert [path.read_bytes() for path in store.root.rglob("row-1~1.png")] == [b"png"]


def test_sending_some_again_leaves_the_others_alone(store: LocalStore) -> None:
    """`--fresh --only fox` draws the fox again; its earlier image is kept aside, and what else was paid stays known."""
    jobs = unique_jobs(3)
    finished_run(store, jobs)
    manifest = Manifest(store)
    assert manifest.resume(ids(jobs), again=frozenset(ids(jobs[:1]))) == set(ids(jobs[1:]))
    file = manifest.free_name(jobs[0].key, ".png")
    image(store, file, b"new")
    manifest.append(record(jobs[0], file=file, bytes=3))
    manifest.finish(jobs, nothing)
    assert Manifest(store).resume(ids(jobs)) == set(ids(jobs))
    assert len(lines(store.root / "manifest.jsonl")) == 3
    assert [path.read_bytes() for path in store.root.rglob("row-1~1.png")] == [b"png"]


def test_a_damaged_line_stops_the_run_before_it_starts(store: LocalStore) -> None:
    """A manifest damaged in the middle is not guessed at."""
    jobs = unique_jobs(1)
    finished_run(store, jobs)
    path = store.root / MANIFEST
    path.write_bytes(b"not json\n" + path.read_bytes())
    with pytest.raises(ConfigError, match=r"manifest\.jsonl:1"):
        Manifest(store).resume(ids(jobs))


def test_failed_rows_are_rows_again(store: LocalStore) -> None:
    """failed.jsonl has one row per prompt that lacks images, `n` telling how many, with the row's own columns."""
    prompt = Prompt(
        index=1, text="a cat", origin=Origin("p.csv", 2), id="cat", name="pets/cat", columns={"sku": "7", "id": "x"}
    )
    jobs = [Job(f"{n:032x}", n, f"images/pets/cat-{n + 1}", prompt, PARAMS) for n in range(3)]
    manifest = Manifest(store)
    manifest.resume(ids(jobs))
    image(store, "images/pets/cat-1.png")
    manifest.append(record(jobs[0], file="images/pets/cat-1.png"))
    manifest.finish(jobs, lambda one: record(one, Status.REFUSED))
    assert lines(store.root / FAILED) == [
        {
            "id": "cat",
            "prompt": "a cat",
            "model": "nano-banana-pro",
            "size": "1K",
            "name": "pets/cat",
            "n": 2,
            "sku": "7",
            "error": "the provider's rules forbid it",
        }
    ]


def test_equal_fingerprints_do_not_mix_up_jobs(store: LocalStore) -> None:
    """Two job ids that share 64 bits are told apart when the manifest is rewritten."""
    twins = [job(number, job_id="ab" * 8 + f"{number:016x}") for number in (1, 2)]
    manifest = Manifest(store)
    manifest.resume(ids(twins))
    for one in twins:
        image(store, f"{one.key}.png")
        manifest.append(record(one))
    manifest.finish(twins, nothing)
    assert [(line["job"], line["file"]) for line in lines(store.root / MANIFEST)] == [
        (one.id, f"{one.key}.png") for one in twins
    ]


def test_the_history_is_not_a_public_file(store: LocalStore) -> None:
    """Old lines live in the state folder."""
    assert HISTORY.startswith(".nanobatch/")


def test_an_unchanged_manifest_is_not_written_again(store: LocalStore) -> None:
    """A run that finds everything done leaves the file alone, and still counts every record."""
    jobs = unique_jobs(3)
    finished_run(store, jobs)
    for expected in (True, False):
        manifest = Manifest(store)
        manifest.resume(ids(jobs))
        before = (store.root / MANIFEST).stat().st_ino
        seen: list[Record] = []
        manifest.finish(jobs, nothing, seen.append, input_digest="same")
        assert ((store.root / MANIFEST).stat().st_ino != before) is expected
        assert [one.job for one in seen] == [one.id for one in jobs]


def test_another_input_digest_writes_it_again(store: LocalStore) -> None:
    """A changed column or order changes the input, so the manifest is brought up to date."""
    jobs = unique_jobs(2)
    finished_run(store, jobs)
    for digest, order in (("a", jobs), ("b", jobs[::-1])):
        manifest = Manifest(store)
        manifest.resume(ids(order))
        manifest.finish(order, nothing, input_digest=digest)
        assert [line["job"] for line in lines(store.root / MANIFEST)] == [one.id for one in order]
