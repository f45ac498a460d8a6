"""Properties of planning: ids say what an image is, and nothing else."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from nanobatch.model import Job, Params
from nanobatch.planning import Defaults, Planner, job_id
from nanobatch.sources import PromptFiles, ReadOptions

DEFAULTS = Defaults(model="m", size="1K")
ROW = st.fixed_dictionaries(
    {"prompt": st.sampled_from(["fox", "owl", "hen", " fox "])},
    optional={
        "size": st.sampled_from(["1K", "1k", "2K", ""]),
        "seed": st.sampled_from([0, 7, "7.0", None]),
        "n": st.integers(1, 3),
        "tag": st.text(max_size=3),
    },
)
ROWS = st.lists(ROW, min_size=1, max_size=10)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
PARAMS = st.builds(
    Params,
    model=TEXT,
    size=st.none() | st.sampled_from(["1K", "2K"]),
    aspect_ratio=st.none() | st.sampled_from(["1:1", "16:9"]),
    seed=st.none() | st.integers(0, 2**31 - 1),
    references=st.lists(TEXT, max_size=2).map(tuple),
)


def plan(rows: list[dict[str, Any]], **options: Any) -> list[Job]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "p.jsonl")
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        planner = Planner(PromptFiles([str(path)], ReadOptions(**options)), DEFAULTS, digest=str)
        jobs = list(planner.jobs())
        assert list(planner.jobs()) == jobs
        assert [int(job.id[:16], 16) for job in jobs] == list(planner.fingerprints())
        assert planner.check().jobs == len(jobs)
    return jobs


@given(TEXT, PARAMS, st.integers(0, 1000), st.sampled_from(["", "sandbox"]))
def test_a_job_id_can_be_computed_from_its_description(text: str, params: Params, variant: int, realm: str) -> None:
    """The recipe in the docstring, done with the standard library, gives every id."""

    def blake(data: bytes) -> bytes:
        return hashlib.blake2b(data, digest_size=16, person=b"nanobatch job").digest()

    fields = {**params.as_dict(), "text": text, "realm": realm}
    kept = {name: value for name, value in fields.items() if value is not None and value not in ("", [])}
    kept["text"], kept["model"] = text, params.model
    canonical = json.dumps(kept, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    assert job_id(text, params, variant, realm=realm) == blake(blake(canonical) + variant.to_bytes(4)).hex()


@given(ROWS, st.randoms(use_true_random=False))
def test_ids_do_not_depend_on_place_or_order_of_keys(rows: list[dict[str, Any]], random: Any) -> None:
    """Shuffled rows with shuffled keys are the same jobs."""
    shuffled = [dict(random.sample(list(row.items()), len(row))) for row in random.sample(rows, len(rows))]
    assert Counter(job.id for job in plan(rows)) == Counter(job.id for job in plan(shuffled))


@given(ROWS, st.integers(1, 3))
def test_equal_rows_are_variants_without_gaps(rows: list[dict[str, Any]], images: int) -> None:
    """Jobs of the same words and parameters are variants 0, 1, 2 ... in order; all ids and keys differ."""
    jobs = plan(rows, images_per_prompt=images)
    variants: dict[tuple[str, Params], list[int]] = defaultdict(list)
    for job in jobs:
        variants[job.prompt.text, job.params].append(job.variant)
    assert all(numbers == list(range(len(numbers))) for numbers in variants.values())
    assert len({job.id for job in jobs}) == len({job.key for job in jobs}) == len(jobs)
    assert len(jobs) == sum(row.get("n") or images for row in rows)


@given(ROWS)
def test_rows_added_at_the_end_change_nothing_before(rows: list[dict[str, Any]]) -> None:
    """A file that grew keeps the jobs that it had, so resume pays only for the new ones."""
    before = plan(rows)
    assert [job.id for job in plan([*rows, *rows])][: len(before)] == [job.id for job in before]


@given(ROWS, st.integers(1, 12))
def test_a_limit_is_the_beginning_of_the_whole(rows: list[dict[str, Any]], limit: int) -> None:
    """`--limit 10` first and everything later pays for those ten once."""
    limited, whole = plan(rows, limit=limit), plan(rows)
    assert [(job.id, job.key) for job in limited] == [(job.id, job.key) for job in whole][: len(limited)]
    assert len({job.prompt.index for job in limited}) == min(limit, len(rows))
