"""The words that options accept."""

from __future__ import annotations

import enum

EMBED_HELP = "Write these into the images as metadata. Breaks the check of a C2PA signature."


class Strategy(enum.StrEnum):
    """Which provider takes which job."""

    PRIORITY = "priority"
    CHEAPEST = "cheapest"
    FASTEST = "fastest"


class OnQuota(enum.StrEnum):
    """What happens when every daily quota is spent."""

    STOP = "stop"
    WAIT = "wait"


class OnUnknown(enum.StrEnum):
    """What happens to a request that may have been billed and never came back."""

    RETRY = "retry"
    HOLD = "hold"


class Spill(enum.StrEnum):
    """Where rows go that a batch gives back."""

    SYNC = "sync"


class DataFormat(enum.StrEnum):
    """What standard output carries."""

    TEXT = "text"
    JSON = "json"
    JSONL = "jsonl"
    PATHS = "paths"


class Progress(enum.StrEnum):
    """How progress is shown."""

    AUTO = "auto"
    BAR = "bar"
    PLAIN = "plain"
    NONE = "none"
