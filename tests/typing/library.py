"""Uses of the library that a type checker must accept, with the types that it must find."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, assert_type

import nanobatch
from nanobatch import Options, Record, Result, aestimate, arun, estimate, run
from nanobatch.errors import InputError
from nanobatch.events import Event, JobFinished


def listen(event: Event) -> None:
    if isinstance(event, JobFinished):
        assert_type(event.record, Record)


def rows() -> Iterator[dict[str, object]]:
    yield {"prompt": "a fox", "sku": 7}


def sync() -> Result:
    run("prompts.csv")
    run(Path("prompts.csv"), out=Path("images"), config="other.yaml")
    run(["a fox", {"prompt": "a hen", "size": "2K"}], provider="google", embed=["prompt"], on_event=listen)
    run(rows(), provider=["google", "kie"], embed="prompt,params", budget=5, size="4K", on_quota="wait")
    run(rows(), strategy="cheapest", deadline="26h")
    options: Options = {"out": "images", "sandbox": True}
    result = nanobatch.run({"a fox", "a hen"}, **options)
    assert_type(result, Result)
    assert_type(result.exit_code, int)
    assert_type(result.cost_usd, float)
    assert_type(list(result.records()), list[Record])
    assert_type(list(result.images()), list[Path])
    assert_type(estimate(rows(), images_per_prompt=2), Mapping[str, Any])
    return result


async def asynchronous() -> None:
    try:
        assert_type(await arun(rows(), seed=7), Result)
    except InputError as error:
        assert_type(error.problems, tuple[str, ...])
    assert_type(await aestimate("prompts.csv"), Mapping[str, Any])


def wrong() -> None:
    nanobatch.runn()  # type: ignore[attr-defined]
    run("prompts.csv", bugdet=5)  # type: ignore[call-arg]
    run("prompts.csv", size="3K")  # type: ignore[arg-type]
    run(7)  # type: ignore[arg-type]
    run("prompts.csv", strategy="cheap")  # type: ignore[arg-type]
