"""Tests of turning prompts into jobs."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nanobatch.errors import InputError
from nanobatch.model import Job, Params
from nanobatch.planning import SANDBOX, Defaults, Plan, Planner, job_id
from nanobatch.sources import PromptFiles, ReadOptions

PLAIN = Params(model="nano-banana-pro", size="1K", aspect_ratio=None, seed=None)
FULL = Params(model="m", size="2K", aspect_ratio="16:9", seed=7, references=("sha256:ab", "url-sha256:cd"))
DEFAULTS = Defaults(model="nano-banana-pro", size="1K")

Plans = Callable[..., Planner]


def digest(source: str) -> str:
    """Hash a file's content, or an address in place of what it leads to."""
    data = source.encode() if "://" in source else Path(source).read_bytes()
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.fixture
def plans(tmp_path: Path) -> Plans:
    def build(content: str, *, defaults: Defaults = DEFAULTS, realm: str = "", **options: Any) -> Planner:
        path = tmp_path / "p.csv"
        path.write_text(content)
        return Planner(PromptFiles([str(path)], ReadOptions(**options)), defaults, digest=digest, realm=realm)

    return build


def brief(jobs: list[Job]) -> list[tuple[str, int]]:
    return [(job.key, job.variant) for job in jobs]


@pytest.mark.parametrize(
    ("text", "params", "variant", "realm", "expected"),
    [
        ("a red fox", PLAIN, 0, "", "f9a3079119f36acd5a7953bc24ab87a8"),
        ("a red fox", PLAIN, 1, "", "d98f3bc4725c509ba0553ca9a34852e7"),
        ('ein "Füchslein"\n🦊\x07', FULL, 300, SANDBOX, "747ebfe5e80d545a04fabab1e7f78c35"),
    ],
)
def test_job_ids_are_for_ever(text: str, params: Params, variant: int, realm: str, expected: str) -> None:
    """Manifests on users' disks hold these ids: whoever changes them makes every user pay again."""
    assert job_id(text, params, variant, realm=realm) == expected


def test_job_id_follows_its_description() -> None:
    """The documented recipe, written with nothing but the standard library, gives the same id."""

    def blake(data: bytes) -> bytes:
        return hashlib.blake2b(data, digest_size=16, person=b"nanobatch job").digest()

    fields = {
        "text": 'a "fox"\u2028\x01/é', "model": "m", "size": "2K", "aspect_ratio": "16:9", "seed": 7,
        "references": ["sha256:ab", "url-sha256:cd"], "realm": "sandbox",
    }  # fmt: skip
    base = blake(json.dumps(fields, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode())
    assert job_id(fields["text"], FULL, 258, realm="sandbox") == blake(base + b"\0\0\x01\x02").hex()  # type: ignore[arg-type]


def test_everything_that_decides_an_image_decides_the_id() -> None:
    """Text, each parameter, the order of references, the variant and the realm all make another job."""
    changes: list[dict[str, Any]] = [
        {"model": "n"}, {"size": "4K"}, {"size": None}, {"aspect_ratio": "1:1"}, {"aspect_ratio": None}, {"seed": 8},
        {"seed": 0}, {"seed": None}, {"references": ()}, {"references": ("url-sha256:cd", "sha256:ab")},
    ]  # fmt: skip
    made = [job_id("t", dataclasses.replace(FULL, **change), 0) for change in changes]
    made += [job_id("t", FULL, 0), job_id("t", FULL, 1), job_id("u", FULL, 0), job_id("t", FULL, 0, realm=SANDBOX)]
    assert len(set(made)) == len(made)
    assert all(len(id_) == 32 for id_ in made)


def test_rows_win_over_defaults(plans: Plans) -> None:
    """What a row says goes before what the user set for all; a seed of zero says something."""
    defaults = Defaults(model="m", size="1K", aspect_ratio="1:1", seed=5)
    first, second = plans("prompt,model,size,aspect_ratio,seed\nfox,x,4K,16:9,0\nowl,,,,\n", defaults=defaults).jobs()
    assert first.params == Params(model="x", size="4K", aspect_ratio="16:9", seed=0)
    assert second.params == Params(model="m", size="1K", aspect_ratio="1:1", seed=5)


def test_a_job_is_complete(plans: Plans) -> None:
    """A job carries its prompt, its parameters, its id and the place of its image."""
    (job,) = plans("id,prompt,tag\na/b,fox,t\n").jobs()
    assert job.id == job_id("fox", PLAIN, 0)
    assert (job.variant, job.key, job.params) == (0, "images/a-b", PLAIN)
    assert (job.prompt.id, job.prompt.columns) == ("a/b", {"tag": "t"})


def test_n_images_are_variants_with_numbers(plans: Plans) -> None:
    """A row's first image has its plain name, the further ones -2 and -3; rows without n take the user's number."""
    planner = plans("id,prompt,n\nfox,x,3\nowl,y,\n", images_per_prompt=2)
    assert planner.check() == Plan(prompts=2, jobs=5)
    assert brief(list(planner.jobs())) == [
        ("images/fox", 0), ("images/fox-2", 1), ("images/fox-3", 2), ("images/owl", 0), ("images/owl-2", 1),
    ]  # fmt: skip


def test_equal_rows_are_variants_of_each_other(plans: Plans) -> None:
    """The same words and parameters again are a further variant, in files of their own names."""
    planner = plans("id,prompt,n,size\na,fox,1,\nb,fox,2,1k\nc,owl,1,\nd,fox,1,2K\ne, fox ,1,\n")
    assert brief(list(planner.jobs())) == [
        ("images/a", 0), ("images/b", 1), ("images/b-2", 2), ("images/c", 0), ("images/d", 0), ("images/e", 3),
    ]  # fmt: skip
    assert len({job.id for job in planner.jobs()}) == 6


def test_place_and_name_do_not_decide_the_id(plans: Plans) -> None:
    """A file may be sorted and its rows renamed: no image is bought again."""
    one = {job.id for job in plans("prompt,id\nfox,1\nowl,2\nfox,3\n").jobs()}
    two = {job.id for job in plans("id;prompt\nx;owl\ny;fox\nz;fox\n").jobs()}
    assert one == two


def test_jobs_can_be_read_again_and_need_no_check_first(plans: Plans) -> None:
    """Jobs come in the same order with the same ids every time."""
    planner = plans("prompt,n\nfox,2\nfox,1\nowl,1\n")
    first = list(planner.jobs())
    assert list(planner.jobs()) == first
    assert planner.check().jobs == len(first)
    assert list(planner.jobs()) == first


@pytest.mark.parametrize("options", [{}, {"limit": 3}, {"only": "*owl"}, {"only": "*fox", "limit": 2}])
def test_fingerprints_are_the_jobs_in_short(plans: Plans, options: dict[str, Any]) -> None:
    """Resume needs only the first 64 bits of each id; they come from memory, in the order of the jobs."""
    planner = plans("prompt,n\nfox,2\nowl,1\nhen,1\nfox,1\nowl,3\n", **options)
    expected = [int(job.id[:16], 16) for job in planner.jobs()]
    assert expected
    assert list(planner.fingerprints()) == expected
    assert list(planner.fingerprints()) == expected
    whole = [int(job.id[:16], 16) for job in planner.jobs(everything=True)]
    assert len(whole) == 8, "what is left out is there when everything is asked for"
    assert list(planner.fingerprints(everything=True)) == whole


def test_equal_rows_may_share_their_images(tmp_path: Path) -> None:
    """With dedupe an equal row has the first one's job for a twin; ids and names stay those of variants."""
    path = tmp_path / "p.csv"
    path.write_text("id,prompt,n,provider\na,fox,2,\nb,owl,,\nc,fox,3,\nd,fox,,other\ne,fox,1,\n")

    def jobs(*, dedupe: bool, **options: Any) -> list[Job]:
        files = PromptFiles([str(path)], ReadOptions(**options))
        return list(Planner(files, Defaults(model="m"), digest=digest, dedupe=dedupe).jobs())

    plain, shared = jobs(dedupe=False), jobs(dedupe=True)
    assert [dataclasses.replace(job, twin=None) for job in shared] == plain
    assert {job.twin for job in plain} == {None}
    ids = [job.id for job in plain]
    twins = [None if job.twin is None else ids.index(job.twin) for job in shared]
    assert [job.prompt.id for job in plain] == ["a", "a", "b", "c", "c", "c", "d", "e"]
    assert twins == [None, None, None, 0, 1, None, None, 0]
    left = [(job.prompt.id, job.twin is None) for job in jobs(dedupe=True, only="[ce]")]
    assert left == [("c", True), ("c", True), ("c", True), ("e", False)], "who is not chosen is nobody's twin"


def test_choosing_rows_does_not_change_their_variants(plans: Plans) -> None:
    """A row that --only picks is the same job as in the whole run, also when an equal row stands before it."""
    content = "id,prompt\na,fox\nb,fox\nc,owl\n"
    whole = {job.prompt.id: job.id for job in plans(content).jobs()}
    (picked,) = plans(content, only="b").jobs()
    assert (picked.variant, picked.id) == (1, whole["b"])


def test_skipped_rows_are_reported(plans: Plans) -> None:
    """The plan tells what --skip-invalid left out."""
    plan = plans("prompt,size\nfox,1K\nowl,9K\n", skip_invalid=True).check()
    assert (plan.prompts, plan.jobs, plan.skipped_count) == (1, 1, 1)
    assert plan.skipped[0].origin.line == 3


def test_bad_input_is_refused(plans: Plans) -> None:
    """The check is the preflight of the whole input."""
    with pytest.raises(InputError, match="1 of 1 row cannot be used"):
        plans("prompt,size\nfox,9K\n").check()


def test_a_rehearsal_shares_no_id_with_a_real_run(plans: Plans) -> None:
    """A sandbox image is never taken for a real one."""
    content = "prompt\nfox\nfox\nowl\n"
    real = {job.id for job in plans(content).jobs()}
    assert not real & {job.id for job in plans(content, realm=SANDBOX).jobs()}


def test_references_count_by_content(tmp_path: Path, plans: Plans) -> None:
    """A copied or moved reference is the same; another content or another address is not."""
    for name, content in {"a.png": b"one", "copy.png": b"one", "b.png": b"two"}.items():
        (tmp_path / name).write_bytes(content)
    rows = ["a.png", "copy.png", "b.png", "https://x.org/a.png", "https://x.org/b.png"]
    jobs = list(plans("prompt,references\n" + "".join(f"fox,{row}\n" for row in rows)).jobs())
    assert [job.variant for job in jobs] == [0, 1, 0, 0, 0]
    assert jobs[0].params.references == (f"sha256:{hashlib.sha256(b'one').hexdigest()}",)
    assert len({job.id for job in jobs}) == 5
