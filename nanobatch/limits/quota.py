"""All quotas of one lane, asked and spent as one: requests, images and tokens per minute, requests per day."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from nanobatch.limits.account import LEASE_SECONDS, Meter
from nanobatch.limits.daily_quota import PACIFIC, DailyQuota
from nanobatch.limits.token_bucket import UNLIMITED, Grant, TokenBucket
from nanobatch.model import Cost

_MINUTE = 60.0
_LEAST_MARGIN = 0.25  # of the usual margin: jitter does not shrink with the window


@dataclass(slots=True, eq=False)
class Receipt:
    """What one request took, so that it can be given back."""

    grants: list[tuple[TokenBucket, Grant]]
    wall: float  # when it was spent, which decides the day
    requests: int


def margin_of(window_seconds: float, usual_seconds: float = 1.0) -> float:
    """Return what is added to a window: the same part of a shorter one, and a quarter of the usual at least."""
    return usual_seconds * min(1.0, max(window_seconds / _MINUTE, _LEAST_MARGIN))


class Quota:
    """Spend a cost from every dimension at once, or from none.

    A dimension that is None is not limited. Requests are always counted, so that a drain has a place.
    """

    def __init__(
        self,
        *,
        rpm: int | None = None,
        ipm: int | None = None,
        tpm: int | None = None,
        rpd: int | None = None,
        zone: str = PACIFIC,
        margin_seconds: float = 1.0,
        window_seconds: float = 60.0,
    ) -> None:
        # A vendor that counts in shorter windows allows as many at the same rate, and the same part of it as margin.
        share = window_seconds / _MINUTE
        self._requests = TokenBucket(
            UNLIMITED if rpm is None else max(1, int(rpm * share)),
            window_seconds=window_seconds,
            margin_seconds=margin_of(window_seconds, margin_seconds),
        )
        self._images = None if ipm is None else TokenBucket(ipm, margin_seconds=margin_seconds)
        self._tokens = None if tpm is None else TokenBucket(tpm, margin_seconds=margin_seconds)
        self._day = DailyQuota(UNLIMITED if rpd is None else rpd, zone)

    @property
    def day(self) -> DailyQuota:
        """The limit per day."""
        return self._day

    def meters(self) -> list[Meter]:
        """Return the limits per window as the shared ledger keeps them."""
        buckets = {"requests": self._requests, "images": self._images, "tokens": self._tokens}
        return [
            Meter(kind, bucket.capacity, bucket.period_seconds + LEASE_SECONDS)
            for kind, bucket in buckets.items()
            if bucket is not None and bucket.capacity < UNLIMITED
        ]

    def __repr__(self) -> str:
        return f"<Quota requests={self._requests!r} images={self._images!r} tokens={self._tokens!r} day={self._day!r}>"

    def check(self, cost: Cost) -> None:
        """Refuse a cost that no minute could ever pay.

        Raises:
            ConfigError: It exceeds a limit by itself.
        """
        for bucket, tokens in self._amounts(cost):
            bucket.check(tokens)

    def delay(self, now: float, cost: Cost) -> float:
        """Return the seconds until the minutes' limits allow this cost; the day is asked apart."""
        return max(bucket.delay(now, tokens) for bucket, tokens in self._amounts(cost))

    def day_allows(self, wall: float, cost: Cost) -> bool:
        """Tell whether today's quota still pays this cost."""
        return cost.requests == 0 or cost.requests <= self._day.left(wall)

    def resets_at(self, wall: float) -> float:
        """Return the wall-clock time at which the provider's next day begins."""
        return self._day.resets_at(wall)

    def spend(self, now: float, wall: float, *, cost: Cost) -> Receipt:
        """Take a cost that `delay` and `day_allows` have allowed at this moment."""
        grants = [(bucket, bucket.spend(now, tokens)) for bucket, tokens in self._amounts(cost) if tokens]
        if cost.requests:
            self._day.spend(wall, cost.requests)
        return Receipt(grants, wall, cost.requests)

    def refund(self, receipt: Receipt) -> None:
        """Give everything back: the request was never sent."""
        for bucket, grant in receipt.grants:
            bucket.refund(grant)
        self._day.refund(receipt.wall, receipt.requests)
        receipt.requests = 0

    def settle_tokens(self, now: float, receipt: Receipt, *, actual: int) -> None:
        """Correct the reserved tokens to what the provider counted."""
        if self._tokens is None:
            return
        mine = [grant for bucket, grant in receipt.grants if bucket is self._tokens]
        excess = sum(grant.tokens for grant in mine) - actual
        if excess < 0:
            receipt.grants.append((self._tokens, self._tokens.remember(now, -excess)))
        for grant in mine:
            back = max(0, min(excess, grant.tokens))
            self._tokens.refund(grant, back)
            excess -= back

    def drain(self, now: float, until: float) -> None:
        """Let no request through before `until`."""
        self._requests.drain(now, until)

    def drained_for(self, now: float) -> float:
        """Return for how many seconds from now a drain lasts."""
        return self._requests.drained_for(now)

    def mark_day_spent(self, wall: float) -> None:
        """Believe the vendor that today's quota is gone."""
        self._day.mark_spent(wall)

    def remember(self, now: float, wall: float, *, spends: Iterable[tuple[float, Cost]]) -> None:
        """Count what earlier runs spent: pairs of wall-clock time and cost."""
        for spent_at, cost in sorted(spends, key=lambda spend: spend[0]):
            age = max(0.0, wall - spent_at)  # another machine's clock may be ahead of ours
            for bucket, tokens in self._amounts(cost):
                if tokens:
                    bucket.remember(now - age, tokens)
            if cost.requests:
                self._day.remember(min(spent_at, wall), cost.requests)

    def _amounts(self, cost: Cost) -> list[tuple[TokenBucket, int]]:
        amounts = [(self._requests, cost.requests)]
        if self._images is not None:
            amounts.append((self._images, cost.images))
        if self._tokens is not None:
            amounts.append((self._tokens, cost.tokens))
        return amounts
