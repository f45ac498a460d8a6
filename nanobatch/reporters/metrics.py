"""`--metrics FILE`: the run in figures for Prometheus, as the textfile collector of node_exporter reads them.

The file is replaced as a whole every few seconds, at the start and at the end, so that nobody reads half of it. Times
are values in seconds since 1970; the collector takes no timestamps. A run that was killed leaves `nanobatch_running 1`
and a `nanobatch_updated_timestamp_seconds` that grows old.
"""

from __future__ import annotations

import datetime as dt
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nanobatch.clock import Clock
from nanobatch.errors import ConfigError
from nanobatch.events import AttemptFailed, AttemptStarted, Event, JobFinished, RunFinished, RunStarted
from nanobatch.model import Status

EVERY_SECONDS = 15.0
Labels = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Metric:
    """One metric with its samples."""

    name: str
    kind: str  # gauge | counter
    help: str
    samples: Mapping[Labels, float]

    def lines(self, common: Labels) -> Iterator[str]:
        """Yield the lines of the exposition format."""
        yield f"# HELP nanobatch_{self.name} {self.help}"
        yield f"# TYPE nanobatch_{self.name} {self.kind}"
        for labels, value in self.samples.items():
            named = ",".join(f'{name}="{_escaped(text)}"' for name, text in (*common, *labels))
            yield f"nanobatch_{self.name}{{{named}}} {value:.10g}"


@dataclass(slots=True)
class Figures:
    """What is counted; an observer."""

    clock: Clock
    output: str = ""
    running: bool = True
    jobs: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    images: Counter[str] = field(default_factory=Counter)  # by provider, as all below
    attempts: Counter[str] = field(default_factory=Counter)
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    cost_usd: dict[str, float] = field(default_factory=dict)
    maybe_usd: float = 0.0
    in_flight: dict[str, str] = field(default_factory=dict)  # job: provider
    started: float = 0.0  # wall-clock seconds, as those below
    finished: float | None = None
    resume_after: float | None = None
    exit_code: int | None = None

    def __call__(self, event: Event) -> None:
        """Count an event."""
        match event:
            case RunStarted():
                self.output = str(Path(event.output).absolute())  # several runs may be told apart in one Prometheus
                self.jobs, self.started = event.jobs, self.clock.wall()
                self.statuses["ok"] = event.already_done  # as far as is known before the end
                self.images.update(dict.fromkeys(event.providers, 0))
            case AttemptStarted(job=job, provider=provider):
                self.attempts[provider] += 1
                self.in_flight[job] = provider
            case AttemptFailed():
                self.failures[event.provider or "none", event.code] += 1
                self.in_flight.pop(event.job, None)
            case JobFinished():
                self._finish_job(event)
            case RunFinished(summary=summary):
                self.running, self.finished = False, self.clock.wall()
                self.exit_code, self.maybe_usd = summary["exit_code"], summary["maybe_cost_usd"]
                self.statuses = Counter({status.value: summary[status] for status in Status})
                after = summary["resume_after"]
                self.resume_after = dt.datetime.fromisoformat(after).timestamp() if after else None
            case _:
                pass

    def _finish_job(self, event: JobFinished) -> None:
        record = event.record
        self.in_flight.pop(record.job, None)
        self.statuses[record.status] += 1
        provider = record.provider or "none"
        self.cost_usd[provider] = self.cost_usd.get(provider, 0.0) + record.cost_usd
        self.maybe_usd += record.maybe_cost_usd
        if record.has_image and not event.from_cache:
            self.images[provider] += 1

    def metrics(self) -> Iterator[Metric]:
        """Yield every metric that is known by now."""
        flights = Counter(self.in_flight.values())
        by_provider = {name: float(flights[name]) for name in (*self.images, *flights)}
        yield _single("running", "Whether a run is at work.", float(self.running))
        yield _single("jobs", "Images that the input asks for.", float(self.jobs))
        statuses = {status.value: float(self.statuses[status]) for status in Status}
        yield Metric("jobs_ended", "gauge", "Jobs by how they stand.", _labelled("status", statuses))
        yield Metric("in_flight", "gauge", "Requests on the wire.", _labelled("provider", by_provider))
        yield Metric("images_total", "counter", "Images that this run made.", _labelled("provider", self.images))
        yield Metric("attempts_total", "counter", "Requests that may cost money.", _labelled("provider", self.attempts))
        failures: dict[Labels, float] = {
            (("provider", who), ("code", code)): float(n) for (who, code), n in self.failures.items()
        }
        yield Metric("attempt_failures_total", "counter", "Requests that gave no image.", failures)
        yield Metric(
            "cost_usd_total", "counter", "Money spent on this run's jobs.", _labelled("provider", self.cost_usd)
        )
        yield _single("maybe_cost_usd", "Money that may have been billed besides.", self.maybe_usd)
        yield _single("started_timestamp_seconds", "When the run began.", self.started)
        yield _single("updated_timestamp_seconds", "When this file was written.", self.clock.wall())
        for name, about, value in (
            ("finished_timestamp_seconds", "When the run ended.", self.finished),
            ("exit_code", "How the run ended; 0 is well.", self.exit_code),
            ("resume_after_timestamp_seconds", "When running again helps.", self.resume_after),
        ):
            if value is not None:
                yield _single(name, about, float(value))


class MetricsFile:
    """Writes the figures.

    Raises:
        ConfigError: The file cannot be written. Later failures are OSErrors, which switch this observer off.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._figures = Figures(clock)
        self._due = 0.0
        if path.is_dir() or not os.access(path.parent, os.W_OK):
            raise ConfigError(f"--metrics: {path} cannot be written; name a file in a folder that you may write to")

    def __call__(self, event: Event) -> None:
        """Count, and write at the start and at the end."""
        self._figures(event)
        if isinstance(event, RunStarted | RunFinished):
            self._write()

    def tick(self) -> None:
        """Write when it is due."""
        if self._clock.monotonic() >= self._due:
            self._write()

    def _write(self) -> None:
        self._due = self._clock.monotonic() + EVERY_SECONDS
        common = (("output", self._figures.output),)
        lines = [line for metric in self._figures.metrics() if metric.samples for line in metric.lines(common)]
        part = self._path.with_name(f".{self._path.name}.{os.getpid()}")  # the collector reads *.prom alone
        part.write_text("\n".join([*lines, ""]), encoding="utf-8", errors="replace")
        part.replace(self._path)


def _single(name: str, about: str, value: float) -> Metric:
    return Metric(name, "gauge", about, {(): value})


def _labelled(label: str, values: Mapping[str, float]) -> dict[Labels, float]:
    return {((label, name),): float(value) for name, value in values.items()}


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
