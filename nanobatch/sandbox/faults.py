"""What can go wrong at a vendor, as one table, and the dice that decide when it does.

A fault that a dialect does not know leaves its requests alone. The dice depend on the seed, the prompt and how often
this prompt was asked before, never on the order in which requests arrive: the same run meets the same faults however
its requests interleave.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

GEMINI, OPENAI, VERTEX, CHAT, PUTER = "gemini", "openai", "vertex", "openai-chat", "puter"
OPENROUTER, TOGETHER, XAI = "openrouter", "together", "xai"
KIE, FAL, REPLICATE = "kie", "fal", "replicate"
TASKS = frozenset({KIE, FAL, REPLICATE})
BATCHES = frozenset({GEMINI, OPENAI, VERTEX})
LATER = TASKS | BATCHES
AT_ONCE = frozenset({GEMINI, OPENAI, VERTEX, CHAT, PUTER, OPENROUTER, TOGETHER, XAI})
EVERY = AT_ONCE | TASKS
ONLY_GEMINI = frozenset({GEMINI, VERTEX})
BASE64 = frozenset({GEMINI, VERTEX, OPENAI, OPENROUTER, TOGETHER, XAI})


class Stage(Enum):
    """How far a request comes before the fault: what it cost in time and money."""

    DOOR = "answered at once; nothing is made, nothing is billed"
    LATE = "answered after the usual latency; nothing is made, nothing is billed"
    MADE = "the image is made and billed, the answer is odd"
    WIRE = "the image is made and billed, the delivery breaks"
    TASK = "the task is taken and ends without an image; nothing is billed"
    POLL = "a poll of a task goes wrong; the task goes on"
    LINK = "a download goes wrong; the image, or the file of results, stays where it is"
    UPLOAD = "an upload of rows goes wrong; what has arrived is kept"
    ORDER = "the order of a batch goes wrong"
    LIST = "a list is not complete"
    BATCH = "a batch ends otherwise than it should"
    ROW = "a row of a batch goes wrong in the file of results; the image is billed"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong."""

    does: str
    stage: Stage
    dialects: frozenset[str] = EVERY
    draws: int = 1  # images drawn for each one ordered
    bills: int = 1  # images billed for each one ordered, where the stage bills at all

    @property
    def billed(self) -> bool:
        """Whether a request that meets this fault is paid."""
        return self.stage in (Stage.MADE, Stage.WIRE, Stage.ROW)


FAULTS: Mapping[str, Fault] = {
    "429": Fault("429, a quota per minute, with the wish to come back later", Stage.DOOR),
    "429day": Fault("429, the day's quota is spent; Gemini's RetryInfo lies about it", Stage.DOOR, AT_ONCE),
    "429zero": Fault("429 with 'limit: 0': the account has no quota at all for this model", Stage.DOOR, AT_ONCE),
    "429money": Fault("no money left: 429 at OpenAI and Google, 402 at Kie and Replicate, 403 at fal", Stage.DOOR),
    "badkey": Fault("the key is not accepted: 400 at Gemini, 401 elsewhere", Stage.DOOR),
    "leaked": Fault("403, the key was reported as leaked", Stage.DOOR, ONLY_GEMINI),
    "blocked": Fault(
        "the prompt is refused: promptFeedback at Gemini, 400 moderation_blocked at OpenAI, a failed task", Stage.DOOR
    ),
    "reset": Fault("the connection is reset once the request is read", Stage.DOOR),
    "500": Fault("500, an internal error", Stage.LATE),
    "503": Fault("503, the model is overloaded", Stage.LATE),
    "html502": Fault("502 with a gateway's HTML page", Stage.LATE),
    "html200": Fault("200 with an HTML page instead of JSON", Stage.LATE),
    "json200err": Fault("200 whose JSON is an error object", Stage.LATE, AT_ONCE),
    "listerror": Fault("503 whose JSON is a list of one error object", Stage.LATE, AT_ONCE - {PUTER}),
    "noimage": Fault(
        "200 without an image: finishReason NO_IMAGE at Gemini, empty data at OpenAI, a task without result", Stage.LATE
    ),
    "safety": Fault("the finished image is refused: IMAGE_SAFETY at Gemini, 400 at OpenAI, a failed task", Stage.LATE),
    "textonly": Fault("200 with finishReason STOP and words instead of an image", Stage.LATE, ONLY_GEMINI),
    "nullcandidates": Fault("200 whose candidates (OpenAI: data) are null", Stage.LATE, AT_ONCE),
    "hang": Fault("no answer ever, until the client gives up", Stage.LATE),
    "badb64": Fault("the base64 contains characters that do not belong there", Stage.MADE, BASE64),
    "cutimage": Fault("the answer is whole, but the image in it ends half-way", Stage.MADE, AT_ONCE),
    "urlsafe": Fault("base64 in its URL-safe alphabet and without padding", Stage.MADE, BASE64),
    "dataprefix": Fault("base64 behind a 'data:image/...;base64,' prefix", Stage.MADE, BASE64),
    "wrongmime": Fault("an image of another kind than declared: PNG for JPEG and so on", Stage.MADE),
    "thought": Fault("a draft flagged as thought before the final image", Stage.MADE, ONLY_GEMINI, draws=2),
    "multi": Fault(
        "three images without any flag, the last is final; each is billed", Stage.MADE, ONLY_GEMINI, draws=3, bills=3
    ),
    "snake": Fault("keys in snake_case: inline_data, mime_type", Stage.MADE, ONLY_GEMINI),
    "signature": Fault("a thoughtSignature of 3 MB beside the image", Stage.MADE, ONLY_GEMINI),
    "truncate": Fault("the connection closes half-way through the body", Stage.WIRE),
    "reset-after": Fault("the connection is reset before the answer's first byte", Stage.WIRE),
    "slowdrip": Fault("the whole answer, trickling for seconds", Stage.WIRE),
    "taskfail": Fault("the task fails at the vendor", Stage.TASK, TASKS),
    "taskrefuse": Fault("the task is refused by the vendor's content rules", Stage.TASK, TASKS),
    "poll429": Fault("a poll is answered with a rate limit", Stage.POLL, LATER),
    "poll500": Fault("a poll is answered with an internal error", Stage.POLL, LATER),
    "poll502": Fault("a poll is answered with a gateway's HTML page", Stage.POLL, LATER),
    "pollreset": Fault("the connection of a poll is reset", Stage.POLL, LATER),
    "download403": Fault("a download is forbidden, as with an expired link", Stage.LINK),
    "download500": Fault("a download is answered with an internal error", Stage.LINK),
    "downloadcut": Fault("a download ends half-way", Stage.LINK),
    "uploadcut": Fault("the connection is reset when half of a piece has arrived", Stage.UPLOAD, BATCHES),
    "upload503": Fault("a piece is not taken, with a 503", Stage.UPLOAD, BATCHES),
    "orderlost": Fault("the batch is made, and the reply to the order never comes", Stage.ORDER, BATCHES),
    "order429": Fault("the order is not taken, with a 429", Stage.ORDER, BATCHES),
    "order503": Fault("the order is not taken, with a 503", Stage.ORDER, BATCHES),
    "listlag": Fault("a list of batches lacks the newest one", Stage.LIST, BATCHES),
    "batchfail": Fault("the batch fails, and nothing of it is made", Stage.BATCH, BATCHES),
    "batchexpire": Fault("the batch expires when half of its rows are done", Stage.BATCH, BATCHES),
    "batchcancel": Fault("the vendor cancels the batch when half of its rows are done", Stage.BATCH, BATCHES),
    "resultsgone": Fault("the files of results are deleted at once", Stage.BATCH, BATCHES),
    "rowmissing": Fault("the row is left out", Stage.ROW, BATCHES),
    "rowtwice": Fault("the row comes twice", Stage.ROW, BATCHES),
    "rowstray": Fault("the row comes with a key that nobody has sent", Stage.ROW, BATCHES),
    "rowtorn": Fault("the row is cut in the middle of its line", Stage.ROW, BATCHES),
}

ENDS = frozenset({"taskfail", "taskrefuse", "blocked", "safety", "noimage"})  # a task is taken, and ends without image
CREATION = frozenset({Stage.DOOR, Stage.LATE, Stage.MADE, Stage.WIRE, Stage.TASK})
POLL, LINK, UPLOAD = frozenset({Stage.POLL}), frozenset({Stage.LINK}), frozenset({Stage.UPLOAD})
ORDER, LIST, BATCH = frozenset({Stage.ORDER}), frozenset({Stage.LIST}), frozenset({Stage.BATCH})
ROW = frozenset({Stage.DOOR, Stage.LATE, Stage.MADE, Stage.ROW})
NOT_IN_ROWS = frozenset({"reset", "hang", "html200", "html502", "badkey", "leaked", "429money", "listerror"})
THROWS = (CREATION, POLL, LINK, UPLOAD, ORDER, LIST, BATCH, ROW)  # what may go wrong with one request of each sort


@dataclass(frozen=True, slots=True)
class Throw:
    """Two numbers in [0, 1) that decide the fate of one request."""

    fault: float
    latency: float

    def pick(self, faults: Mapping[str, float], dialect: str | None, stages: frozenset[Stage] = CREATION) -> str | None:
        """Return the fault that these odds give this request, or None.

        Args:
            faults: Kind and probability.
            dialect: The wire format; None where there is none, as for a download.
            stages: What may go wrong with a request of this sort; others have their own throws.
        """
        reached = 0.0
        for kind, probability in faults.items():
            if FAULTS[kind].stage not in stages:
                continue
            reached += probability
            if self.fault < reached:
                return kind if dialect is None or dialect in FAULTS[kind].dialects else None
        return None

    def within(self, shortest: float, longest: float) -> float:
        """Return the latency in seconds."""
        return shortest + (longest - shortest) * self.latency


class Dice:
    """Throws that repeat with the seed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._asked: Counter[bytes] = Counter()

    def throw(self, prompt: str) -> Throw:
        """Throw for the next time that this prompt is asked."""
        digest = hashlib.sha256(prompt.encode()).digest()
        times = self._asked[digest]
        self._asked[digest] += 1
        fate = hashlib.sha256(f"{self._seed} {times} ".encode() + digest).digest()
        return Throw(_fraction(fate[:7]), _fraction(fate[7:14]))


def _fraction(seven: bytes) -> float:
    """Turn 56 bits into a number in [0, 1); the lowest three are dropped, since a float holds 53."""
    return float((int.from_bytes(seven, "big") >> 3) / 2**53)


def table() -> str:
    """Return the faults as text for a person: kind, what it does, what is billed, which dialects know it."""
    lines = []
    for stage in Stage:
        lines.append(f"{stage.value}:")
        for kind, fault in FAULTS.items():
            if fault.stage is stage:
                lines.append(f"  {kind:15} {fault.does}{_where(fault.dialects)}")
    return "\n".join(lines)


def _where(dialects: frozenset[str]) -> str:
    """Say in which formats a fault exists, where it is not in all."""
    if dialects == EVERY:
        return ""
    named = {TASKS: "formats with tasks only", LATER: "formats with tasks, and batches", BATCHES: "batches only"}
    if dialects in named:
        return f" ({named[dialects]})"
    return " (not in formats with tasks)" if dialects == AT_ONCE else f" ({', '.join(sorted(dialects))} only)"
