"""Puts together what one provider needs to work in a run: its wire format, its gate, its way out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from nanobatch.clock import Clock
from nanobatch.connections import Connections
from nanobatch.events import Observer
from nanobatch.exchange import Sender
from nanobatch.google_credentials import GoogleCredential
from nanobatch.limits import Gate
from nanobatch.limits.circuit_breaker import CircuitBreaker
from nanobatch.limits.quota import Quota
from nanobatch.limits.share import Share
from nanobatch.model import Cost, Reference
from nanobatch.providers import load
from nanobatch.references import Accepted, References
from nanobatch.routing import Lane, Seller
from nanobatch.settings import Limits, ProviderSettings
from nanobatch.transport import Auth, HttpTransport

COOLDOWN_SECONDS = 60.0  # of the breaker; doubles with every probe in vain, up to ten minutes
LONE_COOLDOWN_SECONDS = 15.0  # where no other provider can take the work meanwhile
FLEX_TIMEOUT_SECONDS = 900.0  # the cheaper tier may let a request wait for minutes
AUTHS: dict[str, Auth] = {
    "x-goog-api-key": "x-goog-api-key", "bearer": "bearer", "key": "key", "google": "google", "none": "none",
}  # fmt: skip


class WayOut(Protocol):
    """Makes what sends a provider's requests; `http` is the one that a run uses."""

    def __call__(
        self,
        provider: ProviderSettings,
        connections: Connections,
        *,
        new_part: Callable[[], Path],
        timeout_seconds: float,
        credential: GoogleCredential | None,
    ) -> Sender:
        """Return a sender.

        Args:
            provider: Whose requests.
            connections: Shared by all lanes of the run.
            new_part: Names a file for what comes.
            timeout_seconds: For one exchange.
            credential: For providers that take a token in place of a key.
        """
        ...


def http(
    provider: ProviderSettings,
    connections: Connections,
    *,
    new_part: Callable[[], Path],
    timeout_seconds: float,
    credential: GoogleCredential | None,
) -> Sender:
    """Send over HTTP."""
    return HttpTransport(
        connections,
        base_url=provider.base_url,
        upload_url=provider.upload_url,
        auth=AUTHS[provider.auth],
        api_key=provider.api_key,
        credential=credential if provider.auth == "google" else None,
        new_part=new_part,
        timeout_seconds=timeout_seconds,
    )


async def check_credentials(providers: Iterable[ProviderSettings]) -> GoogleCredential | None:
    """Fetch a token before the first job, where a provider asks for one.

    Raises:
        NanobatchError: This machine has no credentials that Google accepts.
    """
    if not any(provider.auth == "google" for provider in providers):
        return None
    credential = GoogleCredential()
    await credential.headers()
    return credential


def open_lane(  # noqa: PLR0913 - one argument for each part of a run
    seller: Seller,
    connections: Connections,
    *,
    clock: Clock,
    observe: Observer,
    new_part: Callable[[], Path],
    timeout_seconds: float,
    spends: Sequence[tuple[float, Cost]],
    credential: GoogleCredential | None,
    is_alone: bool,
    share: Callable[[Quota], Share] | None = None,
    way_out: WayOut = http,
) -> Lane:
    """Open one provider's lane.

    Args:
        seller: What it sells.
        connections: Shared by all lanes of the run.
        clock: For the gate.
        observe: Told of the lane's changes.
        new_part: Names a file for what comes.
        timeout_seconds: For one exchange over HTTP.
        spends: What earlier runs took from the same quotas.
        credential: For providers that take a token in place of a key.
        is_alone: No other provider can take its work.
        share: Makes its part of the limits, where other processes work on the same account.
        way_out: Makes what sends its requests.
    """
    provider = seller.settings
    limits = provider.limits
    gate = Gate(
        clock,
        name=provider.name,
        concurrency=limits.concurrency,
        rpm=limits.rpm,
        ipm=limits.ipm,
        tpm=limits.tpm,
        rpd=limits.rpd,
        zone=provider.day_zone,
        window_seconds=limits.window_seconds,
        breaker=breaker_for(limits, cooldown_seconds=provider.cooldown_seconds, is_alone=is_alone),
        sends_away=not is_alone,
        observer=observe,
        share=share,
    )
    gate.remember(spends)
    sender = open_way(
        provider,
        connections,
        way_out=way_out,
        new_part=new_part,
        timeout_seconds=timeout_seconds,
        credential=credential,
    )
    return Lane(seller, load(provider.protocol), sender, gate)


def open_way(
    provider: ProviderSettings,
    connections: Connections,
    *,
    way_out: WayOut,
    new_part: Callable[[], Path],
    timeout_seconds: float,
    credential: GoogleCredential | None,
) -> Sender:
    """Make what sends a provider's requests, with the patience that its tier of service needs."""
    return way_out(
        provider,
        connections,
        new_part=new_part,
        timeout_seconds=max(timeout_seconds, FLEX_TIMEOUT_SECONDS) if provider.flex else timeout_seconds,
        credential=credential,
    )


def breaker_for(limits: Limits, *, cooldown_seconds: float | None, is_alone: bool) -> CircuitBreaker:
    """Make a breaker whose threshold is more than bad luck: of many requests in flight some fail in a row by chance."""
    usual = LONE_COOLDOWN_SECONDS if is_alone else COOLDOWN_SECONDS
    return CircuitBreaker(max(8, min(20, limits.concurrency // 2)), cooldown_seconds=cooldown_seconds or usual)


def reference_for(references: References, digest: str, *, seller: Seller, model: str) -> Reference:
    """Return a reference image as a provider takes it with one of its models; blocks.

    Raises:
        InputError: It cannot be made to fit.
    """
    rules = seller.offer(model).carries.references
    return references.load(digest, Accepted(types=rules.types, max_bytes=rules.bytes))
