"""nanobatch for programs: the same run as the command's, with the same locks, limits, budget and resume.

    >>> import nanobatch
    >>> result = nanobatch.run(["a red fox", "a blue hen"], out="images", sandbox=True)
    >>> for record in result.records():
    ...     print(record.status, record.file)

Nothing is printed, and no signal handler is installed: what happens is told to `on_event`, and to standard logging
under the name `nanobatch`. What is wrong before anything is sent is an exception of `nanobatch.errors`; how a run ended
is in its result.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias, TypedDict, Unpack

import msgspec

from nanobatch import assembly
from nanobatch.clock import SystemClock
from nanobatch.errors import InputError
from nanobatch.events import Observer
from nanobatch.journal import read_lines
from nanobatch.manifest import MANIFEST
from nanobatch.model import Record
from nanobatch.preparation import Request, dry_run
from nanobatch.reporters import Observers
from nanobatch.reporters.log_file import log_event
from nanobatch.sources.lines import PromptFile, spooled
from nanobatch.starting import Ready, check, served
from nanobatch.stopping import Stop, StopReason

Row: TypeAlias = str | Mapping[str, Any]
"""One prompt: its words, or the columns of a row as a prompt file has them."""
Path_: TypeAlias = str | os.PathLike[str]
Prompts: TypeAlias = Path_ | Iterable[Row]
"""A prompt file, or the rows themselves. A string names a file; write `["a red fox"]` for one prompt."""

ROWS = "prompts"  # what rows of a program are called in messages: `prompts:3` is the third
_CANCELLED = StopReason("interrupted", "cancelled", 130)
logging.getLogger("nanobatch").addHandler(logging.NullHandler())  # else Python prints warnings that nobody asked for


class Options(TypedDict, total=False):
    """What can be asked of a run, each as the option of `nanobatch run` of that name. All may be left out.

    What is not said here comes from the environment and the configuration files, as for the command.
    """

    out: Path_  # the output folder; its state decides what is still to be sent
    config: Path_  # instead of ./nanobatch.yaml
    prompt_column: str
    template: str  # 'Photo of {product} on {background}'
    name: str  # of files: '{index:04d}-{slug}'
    limit: int  # the first so many prompts
    only: str  # a glob over ids
    skip_invalid: bool
    provider: str | Sequence[str]  # in the order in which they are tried
    model: str
    size: Literal["512", "1K", "2K", "4K"]
    aspect_ratio: str  # "16:9"
    seed: int
    images_per_prompt: int
    embed: str | Sequence[Literal["prompt", "params"]]
    strategy: Literal["priority", "cheapest", "fastest"]
    budget: float  # USD, for this run
    concurrency: int  # requests at once, per provider
    rpm: int  # requests per minute, per provider
    retries: int
    timeout: float  # seconds
    on_quota: Literal["stop", "wait"]
    on_unknown: Literal["retry", "hold"]
    retry_failed: bool
    dedupe: bool  # equal rows share their images, instead of variants
    cache: bool  # take over images that earlier runs elsewhere have paid for
    fresh: bool
    batch: bool  # half-price batches: may take a day
    sandbox: bool  # local doubles of the providers: no key, no cost


_SETTINGS = {  # options that are settings, by their place in the configuration
    "out": "output.dir",
    "name": "output.name",
    "embed": "output.embed",
    "model": "defaults.model",
    "size": "defaults.size",
    "aspect_ratio": "defaults.aspect_ratio",
    "seed": "defaults.seed",
    "images_per_prompt": "defaults.images_per_prompt",
    "strategy": "run.strategy",
    "budget": "run.budget_usd",
    "retries": "run.retries",
    "cache": "cache.enabled",
    "timeout": "run.timeout_seconds",
    "on_quota": "run.on_quota",
    "on_unknown": "run.on_unknown",
    "concurrency": "limits.concurrency",
    "rpm": "limits.rpm",
}
_REQUESTS = ("prompt_column", "template", "limit", "only", "skip_invalid", "retry_failed", "fresh", "dedupe")


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended. Its records are read from the manifest when they are asked for, one at a time."""

    out: Path  # the output folder
    summary: Mapping[str, Any] = field(repr=False)  # what run.json holds
    exit_code: int  # as the command's: 0 all is there, 1 some failed for good, 4 a limit of yours, 5 run it again, ...

    @property
    def cost_usd(self) -> float:
        """What this run cost."""
        return float(self.summary["cost_usd"])

    def records(self) -> Iterator[Record]:
        """Yield a record for every image wanted, in the order of the prompts.

        Raises:
            ConfigError: A line of the manifest is damaged.
        """
        return (record for _, record in read_lines(self.out / MANIFEST, msgspec.json.Decoder(Record)))

    def images(self) -> Iterator[Path]:
        """Yield the path of every image that is there, those of earlier runs too."""
        return (self.out / record.file for record in self.records() if record.has_image and record.file is not None)


def run(prompts: Prompts, *, on_event: Observer | None = None, **options: Unpack[Options]) -> Result:
    """Generate an image for every prompt that has none yet.

    Ctrl-C takes no new prompts, waits for the images on the wire as long as `run.grace_seconds` says, and is then the
    KeyboardInterrupt that it always is.

    Args:
        prompts: A prompt file, or strings and mappings.
        on_event: Told of everything that happens, in order (`nanobatch.events`).
        **options: See `Options`.

    Raises:
        ConfigError: An option, the configuration or the output folder is wrong; another run holds the folder.
        InputError: A prompt is wrong; `problems` names each. Nothing was sent.
        NoProvider: No provider has a key, or its credentials cannot be had.
        StoreError: The output folder cannot be written.
        RuntimeError: An event loop is running here already: use `await nanobatch.arun(...)`.
    """
    _refuse_running_loop("run", "arun")
    known = (
        prompts if isinstance(prompts, str | os.PathLike) else _written(prompts)
    )  # rows of a database are for this thread alone
    return asyncio.run(_run(known, options, on_event))


async def arun(prompts: Prompts, *, on_event: Observer | None = None, **options: Unpack[Options]) -> Result:
    """Generate as `run` does, in the event loop that is running.

    When its task is cancelled it takes no new prompts, waits for the images on the wire as long as `run.grace_seconds`
    says, writes everything down, and then raises CancelledError. Cancelled once more it ends at once; what was on the
    wire is recorded as possibly billed. Rows are read in another thread.
    """
    return await _run(prompts, options, on_event)


async def _run(prompts: Prompts | PromptFile, options: Options, on_event: Observer | None) -> Result:
    stop = Stop(hears_signals=False)
    work = asyncio.create_task(_arun(prompts, options, on_event, stop))  # outlives a cancellation, and is awaited below
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait({work})
        except asyncio.CancelledError as error:
            cancelled = error
            stop.insist(_CANCELLED)
    if cancelled is not None:
        with contextlib.suppress(asyncio.CancelledError):
            work.exception()  # seen, and less important than that the caller wants to go
        raise cancelled
    return work.result()


async def _arun(prompts: Prompts | PromptFile, options: Options, on_event: Observer | None, stop: Stop) -> Result:
    ready = await asyncio.to_thread(_ready, prompts, options)
    with contextlib.closing(ready.prepared.references), contextlib.ExitStack() as stack:
        reachable = await asyncio.to_thread(stack.enter_context, served(ready))
        told = Observers([log_event] if on_event is None else [on_event, log_event])
        summary = await assembly.run(reachable.prepared, clock=SystemClock(), observe=told, tick=told.tick, stop=stop)
    return Result(reachable.prepared.root, summary, summary["exit_code"])


def estimate(prompts: Prompts, **options: Unpack[Options]) -> Mapping[str, Any]:
    """Say what a run would do and what it would cost. Nothing is written or sent, and no key is needed.

    Returns:
        The keys of `nanobatch run --dry-run -O json`: `to_send`, `cost_usd` with `low`, `expected` and `high`,
        `duration_seconds`, `bound_by`, `providers`, ...

    Raises:
        ConfigError: An option or the configuration is wrong.
        InputError: A prompt is wrong.
    """
    ready = _ready(prompts, options, without_keys=True)
    with contextlib.closing(ready.prepared.references):
        return dry_run(ready.prepared)


async def aestimate(prompts: Prompts, **options: Unpack[Options]) -> Mapping[str, Any]:
    """Estimate as `estimate` does, without keeping the event loop from its other work."""
    return await asyncio.to_thread(lambda: estimate(prompts, **options))


def _ready(prompts: Prompts | PromptFile, options: Options, *, without_keys: bool = False) -> Ready:
    """Turn options into what the command line would have made of them, and check everything."""
    given = dict(options)
    unknown = next((name for name in given if name not in Options.__annotations__), None)
    if unknown is not None:
        raise TypeError(f"there is no option {unknown!r}")
    file = os.fspath(prompts) if isinstance(prompts, str | os.PathLike) else None
    rows = None if isinstance(prompts, str | os.PathLike) else _kept(prompts)
    flags = {_SETTINGS[name]: _plain(value) for name, value in given.items() if name in _SETTINGS}
    provider = given.get("provider")
    flags["providers"] = [provider] if isinstance(provider, str) else provider
    asked: dict[str, Any] = {name: given[name] for name in _REQUESTS if given.get(name) is not None}
    request = Request(
        inputs=() if file is None else (file,),
        batch="run" if given.get("batch") else None,
        **asked,
    )
    config = given.get("config")
    return check(
        request,
        flags,
        None if config is None else str(_plain(config)),
        sandbox=bool(given.get("sandbox")),
        without_keys=without_keys,
        rows=rows,
    )


def _kept(rows: Iterable[Row] | PromptFile) -> PromptFile:
    return rows if isinstance(rows, PromptFile) else _written(rows)


def _plain(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _written(rows: Iterable[Row]) -> PromptFile:
    """Write rows to a temporary file, so that a million of them take no memory; it is gone with its reader.

    Raises:
        InputError: A row is none, or the rows are one.
    """
    if isinstance(rows, Mapping):
        raise InputError("the prompts are one mapping; write a list of it: [{...}]")
    encode = msgspec.json.Encoder(enc_hook=_as_text).encode
    count = 0

    def write(spool: BinaryIO) -> None:
        nonlocal count
        for count, row in enumerate(rows, start=1):
            try:
                spool.write(encode({"prompt": row} if isinstance(row, str) else _columns(row)) + b"\n")
            except (TypeError, ValueError) as error:  # UnicodeEncodeError: half of a character
                raise InputError(f"{ROWS}:{count}: not a row: {error}") from error

    file = spooled(ROWS, write)
    if not count:
        raise InputError("there are no prompts")
    return file


def _columns(row: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(row, Mapping):
        raise TypeError(f"a prompt is a string or a mapping, not {type(row).__name__}")
    return dict(row)


def _as_text(value: Any) -> Any:
    """Write what JSON has no word for: paths, as of reference images, and mappings of other kinds."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _refuse_running_loop(name: str, instead: str) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError(f"an event loop is running here: use `await nanobatch.{instead}(...)` instead of {name}")


__all__ = ["Options", "Prompts", "Record", "Result", "aestimate", "arun", "estimate", "run"]
