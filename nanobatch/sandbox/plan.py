"""How one sandbox behaves: limits, latency, faults. Checked once, here, whether it comes from flags or over HTTP."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from nanobatch.sandbox.faults import FAULTS, THROWS

_COUNTS = ("rpm", "rpd", "ipm", "concurrency", "image_bytes", "enqueued_tokens", "open_batches")
_SECONDS = ("drip", "batch_wait", "batch_run", "ahead")
POINTS = ("upload", "order", "poll", "download")  # of a batch's life, at which requests can be held
_MOST = 1_000_000_000


class PlanError(ValueError):
    """The plan asks for something impossible; the text says what, in one sentence."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The settings of a sandbox. None means no limit.

    Args:
        rpm: Requests in any rolling window.
        rpd: Requests between two midnights in Pacific time.
        ipm: Images in any rolling window.
        concurrency: Requests being served at once.
        latency: Shortest and longest time an image takes, in seconds.
        faults: Kind and probability, see `nanobatch.sandbox.faults.FAULTS`.
        seed: Makes latencies and faults repeatable; None picks one.
        retry_after: What a 429 wishes, in seconds; None tells the true time until the limit has room.
        image_bytes: Pads every image to at least this size; None leaves it as drawn.
        window: The length of the rolling window in seconds; vendors say a minute.
        drip: How long the fault `slowdrip` takes, in seconds.
        link_seconds: How long an image can be downloaded once it is ready; None is as long as the sandbox remembers.
        first: Kind and number of faults that the first requests meet which can, whatever the probabilities.
        batch_wait: Seconds until a batch starts.
        batch_run: Seconds that a batch runs at least.
        enqueued_tokens: In all open batches of a model.
        open_batches: At once.
        inline_bytes: Of results that come with a batch; beyond it every look at the batch is answered with a 503.
        ahead: Seconds by which the sandbox's clock is ahead, for batches and files: tomorrow comes when it is told.
        hold: Points of a batch's life; requests that arrive there wait until they are held no more.
    """

    rpm: int | None = None
    rpd: int | None = None
    ipm: int | None = None
    concurrency: int | None = None
    latency: tuple[float, float] = (0.2, 0.6)
    faults: Mapping[str, float] = field(default_factory=dict)
    seed: int | None = None
    retry_after: float | None = None
    image_bytes: int | None = None
    window: float = 60.0
    drip: float = 10.0
    link_seconds: float | None = None
    first: Mapping[str, int] = field(default_factory=dict)
    batch_wait: float = 0.2
    batch_run: float = 0.4
    enqueued_tokens: int | None = None
    open_batches: int | None = None
    inline_bytes: int = 20_000_000
    ahead: float = 0.0
    hold: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in _COUNTS:
            _check_count(name, getattr(self, name))
        if self.seed is not None and (isinstance(self.seed, bool) or not isinstance(self.seed, int)):
            raise PlanError(f"seed is a whole number, not {self.seed!r}")
        shortest, longest = (_seconds("latency", value) for value in self.latency)
        if longest < shortest:
            raise PlanError(f"latency goes from short to long, not from {shortest:g} to {longest:g}")
        for name in ("retry_after", "link_seconds"):
            if getattr(self, name) is not None:
                _seconds(name, getattr(self, name))
        for name in _SECONDS:
            _seconds(name, getattr(self, name))
        if _seconds("window", self.window) == 0:
            raise PlanError("window is longer than 0 seconds")
        _check_faults(self.faults)
        _check_first(self.first)
        if wrong := [point for point in self.hold if point not in POINTS]:
            raise PlanError(f"there is no point {wrong[0]!r} to hold requests at; there are {', '.join(POINTS)}")

    def changed(self, changes: Any) -> Plan:
        """Return the plan with the named settings replaced, as JSON gives them. The seed stays.

        Raises:
            PlanError: A name or a value is wrong.
        """
        if not isinstance(changes, Mapping):
            raise PlanError("a plan is a JSON object of settings")
        names = [each.name for each in fields(self) if each.name != "seed"]
        for name in changes:
            if name not in names:
                raise PlanError(f"there is no setting {name!r}; there are {', '.join(names)}")
        changes = dict(changes)
        if "latency" in changes:
            changes["latency"] = latency(changes["latency"])
        if "hold" in changes:
            changes["hold"] = tuple(changes["hold"])
        return replace(self, **changes)

    def as_json(self) -> dict[str, Any]:
        """Return the settings as JSON knows them."""
        return asdict(self) | {
            "faults": dict(self.faults),
            "first": dict(self.first),
            "latency": list(self.latency),
            "hold": list(self.hold),
        }


def latency(value: Any) -> tuple[float, float]:
    """Read a latency in seconds: 1.5, '1.5', '0.2-0.6' or [0.2, 0.6]."""
    if isinstance(value, str):
        ends: list[Any] = [_number(value, part) for part in value.split("-")]
    else:
        ends = list(value) if isinstance(value, list | tuple) else [value]
    if len(ends) not in (1, 2):
        raise PlanError(f"latency is a number of seconds or two with a '-' between them, not {value!r}")
    return _seconds("latency", ends[0]), _seconds("latency", ends[-1])


def faults(pairs: list[str]) -> dict[str, float]:
    """Read faults written as KIND=PROBABILITY."""
    found: dict[str, float] = {}
    for pair in pairs:
        kind, equals, probability = pair.partition("=")
        try:
            found[kind] = float(probability)
        except ValueError:
            equals = ""
        if not equals:
            raise PlanError(f"a fault is written KIND=PROBABILITY, such as 503=0.1, not {pair!r}")
    return found


def first(pairs: list[str]) -> dict[str, int]:
    """Read numbers of faults written as KIND=N."""
    found: dict[str, int] = {}
    for pair in pairs:
        kind, _, number = pair.partition("=")
        if not number.isdecimal():
            raise PlanError(f"faults of the first requests are written KIND=N, such as orderlost=2, not {pair!r}")
        found[kind] = int(number)
    return found


def _number(whole: str, part: str) -> float:
    try:
        return float(part)
    except ValueError:
        raise PlanError(f"latency is a number of seconds such as 1.5 or 0.2-0.6, not {whole!r}") from None


def _seconds(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise PlanError(f"{name} is a number of seconds, 0 or more, not {value!r}")
    return float(value)


def _check_count(name: str, value: Any) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST):
        raise PlanError(f"{name} is a whole number of at least 1, or left out for no limit, not {value!r}")


def _check_faults(odds: Any) -> None:
    if not isinstance(odds, Mapping):
        raise PlanError(f"faults are an object of kinds and probabilities, not {odds!r}")
    for kind, probability in odds.items():
        _check_kind(kind)
        if isinstance(probability, bool) or not isinstance(probability, int | float) or not 0 <= probability <= 1:
            raise PlanError(f"the probability of {kind} is between 0 and 1, not {probability!r}")
    for stages in THROWS:
        reached = sum(probability for kind, probability in odds.items() if FAULTS[kind].stage in stages)
        if reached > 1 + 1e-9:
            raise PlanError(f"the probabilities of all faults together are at most 1, not {reached:g}")


def _check_first(numbers: Any) -> None:
    if not isinstance(numbers, Mapping):
        raise PlanError(f"first is an object of kinds and numbers, not {numbers!r}")
    for kind, number in numbers.items():
        _check_kind(kind)
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise PlanError(f"the number of {kind} is a whole number, not {number!r}")


def _check_kind(kind: str) -> None:
    if kind not in FAULTS:
        raise PlanError(f"there is no fault {kind!r}; there are {', '.join(FAULTS)}")
