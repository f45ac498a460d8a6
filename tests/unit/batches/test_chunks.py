"""Cutting jobs into batches: no limit is exceeded, no job is lost, no two models meet."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from nanobatch.batches.chunks import MEGABYTE, OUTPUT_BYTES, Chunk, Lot, Weight, cut, weigh
from tests.harness import make_job

LOT = Lot("google", "gemini-3-pro-image")
BIG = Weight(10**15, 10**15, 10**15, 10**6)


def chunks(weights: list[Weight], limit: Weight) -> list[Chunk]:
    return list(cut([(LOT, make_job(number), weight) for number, weight in enumerate(weights, 1)], lambda _: limit))


@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60), st.integers(1, 60), st.just(1)), max_size=40),
    st.tuples(st.integers(60, 150), st.integers(60, 150), st.integers(60, 150), st.integers(1, 9)),
)
def test_every_chunk_keeps_every_limit(weights: list[tuple[int, int, int, int]], limit: tuple[int, ...]) -> None:
    """Jobs come out in their order, each once, in chunks within the limit; and no chunk could take the next job."""
    allowed = Weight(*limit)
    found = chunks([Weight(*weight) for weight in weights], allowed)
    ids = [job.prompt.id for chunk in found for job in chunk.jobs]
    assert ids == [f"row-{number}" for number in range(1, len(weights) + 1)]
    assert all(chunk.weight.fits(allowed) for chunk in found)
    assert all(chunk.weight.rows == len(chunk.jobs) for chunk in found)


def test_a_row_beyond_the_limit_travels_alone() -> None:
    """It is not dropped: the vendor may be more generous than the estimate."""
    found = chunks([Weight(tokens=1, rows=1), Weight(tokens=99, rows=1), Weight(tokens=1, rows=1)], Weight(9, 9, 9, 9))
    assert [len(chunk.jobs) for chunk in found] == [1, 1, 1]


def test_models_do_not_share_a_batch() -> None:
    """Rows that alternate between two models fill two batches, not four."""
    lots = [LOT, replace(LOT, model="other")]
    jobs = [(lots[number % 2], make_job(number + 1), Weight(rows=1)) for number in range(4)]
    found = list(cut(jobs, lambda _: BIG))
    assert [(chunk.lot.model, len(chunk.jobs)) for chunk in found] == [("gemini-3-pro-image", 2), ("other", 2)]


def test_chunks_are_cut_as_they_are_asked_for() -> None:
    """A million rows are not read before the first batch is ordered."""
    read = []

    def endless() -> object:
        for number in range(1, 1000):
            read.append(number)
            yield LOT, make_job(number), Weight(rows=1)

    next(cut(endless(), lambda _: Weight(9, 9, 9, 5)))  # type: ignore[arg-type]
    assert len(read) == 6


def test_weight_follows_size_words_and_references() -> None:
    """A larger image is more output; references are input, and tokens."""
    job = make_job(size="1K")
    small, large = (
        weigh(job, image_tokens=1120, reference_bytes=0),
        weigh(make_job(size="4K"), image_tokens=2000, reference_bytes=0),
    )
    assert large.output_bytes == OUTPUT_BYTES["4K"] > 25 * MEGABYTE
    assert small.output_bytes < large.output_bytes
    assert small.tokens >= 1120 + 300
    many = replace(job, params=replace(job.params, references=("a", "b")))
    heavy = weigh(many, image_tokens=1120, reference_bytes=7 * MEGABYTE)
    assert heavy.input_bytes > 2 * 7 * MEGABYTE * 4 // 3
    assert heavy.tokens == small.tokens + 2 * 1120


def test_half_a_gigabyte_is_a_hundred_and_some_images() -> None:
    """What the default of 500 MB means at 1K."""
    weight = weigh(make_job(), image_tokens=1120, reference_bytes=0)
    found = chunks([weight] * 300, replace(BIG, output_bytes=500 * MEGABYTE))
    assert [len(chunk.jobs) for chunk in found] == [125, 125, 50]
