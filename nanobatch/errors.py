"""Every way in which nanobatch can fail, one class each.

    NanobatchError                      exit  repeat     lane
    ├── UsageFault
    │   ├── ConfigError                  2    -          run does not start
    │   └── InputError                   2    -          run does not start
    ├── StoreError                       5    -          run stops, nothing is lost
    ├── LedgerError                      5    -          none: the run keeps the limits for itself alone, with a warning
    ├── CacheError                       5    -          none: the run buys what it cannot find, with a warning
    ├── NoProvider                       3    -          no key, or no account left that works
    ├── LimitReached                     4    -          budget or deadline of the user
    ├── NotSent                          5    -          the run ended before it came to this job
    └── ExchangeError                    (one attempt at one provider)
        ├── Unsent                       5    FREE       counts for the breaker
        ├── Ambiguous                    1    ONCE       counts for the breaker
        ├── RateLimited                  5    FREE       bucket drained, concurrency shrinks
        ├── QuotaSpent                   5    ELSEWHERE  parked until the reset
        ├── AccountStopped               3    ELSEWHERE  closed for the run
        │   └── ModelGone                3    ELSEWHERE  this model is closed at this lane, others go on
        ├── Overloaded                   5    FREE       concurrency shrinks
        ├── ServerFault                  5    FREE       counts for the breaker
        ├── Rejected                     1    NEVER      none
        ├── Refused                      1    NEVER      none
        ├── NoImage                      1    FEW        none
        ├── DecodeError                  1    ONCE       none
        ├── Undelivered                  1    NEVER      none
        ├── TaskOpen                     5    FREE       counts for the breaker
        └── RowFailed                    5    NEVER      none

A class says what to do (``repeat``), what it means for the lane (``effect``), what a shell sees
(``exit_code``) and how the manifest names it (``code``). Nobody keeps a second table.
"""

from __future__ import annotations

import enum
from typing import ClassVar


class Repeat(enum.Enum):
    """May the same job be sent again after this failure?"""

    NEVER = "never"
    FREE = "free"  # repeating costs nothing: nothing was billed, or the repeat only fetches; within --retries
    ONCE = "once"  # it may have been paid: at most one repeat per job
    FEW = "few"  # the provider answered, but drew nothing: a few times
    ELSEWHERE = "elsewhere"  # not on this lane


class LaneEffect(enum.Enum):
    """What a failure tells about the provider, beyond this one job."""

    NONE = "none"
    FAULT = "fault"  # one more failure for the breaker
    SHRINK = "shrink"  # too much at once: fewer in flight
    DRAIN = "drain"  # nothing more until the server's wish has passed
    PARK = "park"  # until the daily reset
    CLOSE = "close"  # for the rest of the run


class NanobatchError(Exception):
    """Something went wrong that a person can be told about in one sentence."""

    code: ClassVar[str] = "internal"
    exit_code: ClassVar[int] = 70

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class UsageFault(NanobatchError):
    """A mistake of the user's, found before anything was sent."""

    code = "usage"
    exit_code = 2


class ConfigError(UsageFault):
    """A flag, an environment variable or the config file is wrong."""

    code = "config"


class InputError(UsageFault):
    """The prompt file is wrong.

    Args:
        message: What is wrong, in one sentence.
        problems: One line per bad row (file, line, reason); empty when the file as a whole is wrong.
    """

    code = "input"

    def __init__(self, message: str, problems: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems


class StoreError(NanobatchError):
    """An image or a record could not be written: disk full, no rights."""

    code = "store"
    exit_code = 5


class LedgerError(NanobatchError):
    """The usage that processes share cannot be read or written now; a run goes on without it."""

    code = "ledger"
    exit_code = 5


class CacheError(NanobatchError):
    """The cache of images cannot be read or written now; a run goes on without it."""

    code = "cache"
    exit_code = 5


class NoProvider(NanobatchError):
    """No provider has a key, or none accepted the account."""

    code = "no_provider"
    exit_code = 3


class LimitReached(NanobatchError):
    """A limit that the user set ends the run."""

    code = "limit_reached"
    exit_code = 4


class NotSent(NanobatchError):
    """The run ended before it came to this job; the next run takes it up."""

    code = "not_sent"
    exit_code = 5


class ExchangeError(NanobatchError):
    """One attempt at one provider did not give an image.

    Args:
        message: One sentence; never contains a key, a token or a signed URL.
        http_status: The provider's status, where there was an answer.
        retry_after_seconds: The server's own wish; a floor for the wait, never a ceiling.
        billed: Whether the provider charges for this answer; None where nobody can know.
    """

    repeat: ClassVar[Repeat] = Repeat.NEVER
    effect: ClassVar[LaneEffect] = LaneEffect.NONE
    exit_code = 5

    def __init__(
        self,
        message: str,
        *,
        http_status: int | None = None,
        retry_after_seconds: float | None = None,
        billed: bool | None = False,
    ) -> None:
        super().__init__(message)
        self.http_status = http_status
        self.retry_after_seconds = retry_after_seconds
        self.billed = billed
        self.provider: str | None = None  # filled in where the attempt is known


class Unsent(ExchangeError):
    """The request never left: name resolution, connect or TLS failed."""

    code = "unsent"
    repeat = Repeat.FREE
    effect = LaneEffect.FAULT


class Ambiguous(ExchangeError):
    """The request was sent and the answer never came whole: timeout, reset, cut body. It may have been billed.

    A job that met this more often than the policy allows has failed for good: sending it once more is for the user
    to decide (`--retry-failed`).
    """

    code = "ambiguous"
    exit_code = 1
    repeat = Repeat.ONCE
    effect = LaneEffect.FAULT

    def __init__(self, message: str, *, http_status: int | None = None) -> None:
        super().__init__(message, http_status=http_status, billed=None)


class RateLimited(ExchangeError):
    """429 for a short window (a minute): nothing was billed, wait and send again."""

    code = "rate_limited"
    repeat = Repeat.FREE
    effect = LaneEffect.DRAIN


class QuotaSpent(ExchangeError):
    """429 for the day: this lane rests until the provider's reset."""

    code = "quota_spent"
    repeat = Repeat.ELSEWHERE
    effect = LaneEffect.PARK


class AccountStopped(ExchangeError):
    """The account cannot be used: wrong, leaked or expired key, no credit, `limit: 0`, spending cap, retired model."""

    code = "account_stopped"
    repeat = Repeat.ELSEWHERE
    effect = LaneEffect.CLOSE
    exit_code = 3


class ModelGone(AccountStopped):
    """The provider does not have this model (any more); one row's typing error must not end everybody's run."""

    code = "model_gone"
    effect = LaneEffect.NONE


class Overloaded(ExchangeError):
    """503, 529, "high demand": the provider has too much to do, for minutes to hours."""

    code = "overloaded"
    repeat = Repeat.FREE
    effect = LaneEffect.SHRINK


class ServerFault(ExchangeError):
    """Any other failure on the provider's side: 5xx, an HTML page from a relay, an error inside a 200."""

    code = "server_fault"
    repeat = Repeat.FREE
    effect = LaneEffect.FAULT


class Rejected(ExchangeError):
    """The provider says that the request itself is wrong (other 4xx)."""

    code = "rejected"
    exit_code = 1


class Refused(ExchangeError):
    """The provider's content rules forbid this prompt or its picture."""

    code = "refused"
    exit_code = 1


class NoImage(ExchangeError):
    """A 200 without an image and without a refusal: asking again often helps."""

    code = "no_image"
    repeat = Repeat.FEW
    exit_code = 1


class DecodeError(ExchangeError):
    """A whole answer whose image is cut, not base64 or not an image. It was paid."""

    code = "decode_error"
    repeat = Repeat.ONCE
    exit_code = 1

    def __init__(self, message: str, *, http_status: int | None = None) -> None:
        super().__init__(message, http_status=http_status, billed=True)


class Undelivered(ExchangeError):
    """The image was made and paid, but fetching it kept failing; buying it again is for the user to decide."""

    code = "undelivered"
    exit_code = 1

    def __init__(self, message: str, *, http_status: int | None = None) -> None:
        super().__init__(message, http_status=http_status, billed=True)


class TaskOpen(ExchangeError):
    """The image is ordered and its task written down, but it could not be fetched yet; a later attempt fetches it."""

    code = "task_open"
    repeat = Repeat.FREE
    effect = LaneEffect.FAULT

    def __init__(self, message: str, *, http_status: int | None = None) -> None:
        super().__init__(message, http_status=http_status, billed=None)


class RowFailed(ExchangeError):
    """A row of a batch came to nothing, and another batch may do better."""

    code = "row_failed"
