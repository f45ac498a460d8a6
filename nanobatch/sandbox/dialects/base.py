"""What the server and a dialect say to each other.

The server hands over a request as `Asked`. The dialect answers it, or turns it into an `Order` of images. The server
then has the images made, or has something go wrong, and asks the dialect for the words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from nanobatch.sandbox.images import Drawing
from nanobatch.sandbox.limits import Excess

UNACCEPTED = "invalid"  # keys that begin so are refused, all others are good


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it arrived.

    Args:
        headers: With case-insensitive names.
        query: The part of the URL behind the question mark.
        path: The named parts of the path, such as the model.
        body: Its bytes.
        time: When it arrived, in seconds since 1970.
        uploads: Files that were uploaded before: link and SHA-256.
    """

    headers: Mapping[str, str]
    query: Mapping[str, str] = field(default_factory=dict)
    path: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    time: float = 0.0
    uploads: Mapping[str, str] = field(default_factory=dict)

    @property
    def bearer(self) -> str:
        """The token of `Authorization: Bearer`, or nothing."""
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""


@dataclass(frozen=True, slots=True)
class Order:
    """Images that a valid request asks for.

    Args:
        model: As the client named it.
        drawing: What the images look like.
        images: How many.
        references: The SHA-256 of the bytes of each image that the request starts from, in its order.
        details: What the dialect needs to remember until it answers.
    """

    model: str
    drawing: Drawing
    images: int = 1
    references: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Made:
    """An image that was drawn, and where it can be downloaded."""

    data: bytes
    link: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: JSON, or bytes as they are."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json; charset=UTF-8"

    def encoded(self) -> bytes:
        """Return the body's bytes; inside JSON, bytes become standard base64."""
        return self.body if isinstance(self.body, bytes) else msgspec.json.encode(self.body)


@dataclass(frozen=True, slots=True)
class Task:
    """An order that is made after the answer; polls tell how it stands.

    Args:
        id: The vendor's name for it.
        order: What is wanted.
        created: Seconds since 1970.
        ready: When it ends, in seconds since 1970.
        links: Where its images are; none for a task that fails.
        fault: What ends it without an image, or None.
    """

    id: str
    order: Order
    created: float
    ready: float
    links: tuple[str, ...] = ()
    fault: str | None = None

    def progress(self, now: float) -> float:
        """Return how much of its time has passed: 0.0 when it was taken, 1.0 and never more when it has ended."""
        if now >= self.ready:
            return 1.0
        return max(0.0, now - self.created) / (self.ready - self.created)


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that was sent ahead of an order."""

    name: str
    data: bytes


class Vendor(Protocol):
    """What all wire formats have in common."""

    @property
    def NAME(self) -> str:  # noqa: N802 - a module's constant
        """The name in the books."""
        ...

    def read(self, asked: Asked) -> Order | Answer:
        """Return what is wanted, or the vendor's refusal of a wrong request."""
        ...

    def models(self, asked: Asked) -> Answer:
        """Return the list of models, or the one that the path names; or what else the vendor tells for free."""
        ...

    def over_limit(self, order: Order, excess: Excess) -> Answer:
        """Return the vendor's 429."""
        ...

    def failed(self, order: Order, fault: str, wish_seconds: float) -> Answer:
        """Return the answer of a fault that makes no image."""
        ...

    def stamp(self, number: int, milliseconds: int) -> Mapping[str, str]:
        """Return the headers of every answer: the request's number, the time it took."""
        ...


class Dialect(Vendor, Protocol):
    """A wire format whose images come with the answer; modules of this package are dialects."""

    def answer(self, order: Order, made: Sequence[Made], fault: str | None) -> Answer:
        """Return the images, as a fault bends them; the last of them is final."""
        ...


class TaskDialect(Vendor, Protocol):
    """A wire format whose images are asked for later."""

    def created(self, task: Task) -> Answer:
        """Return the reply to an order that was taken."""
        ...

    def task_id(self, asked: Asked) -> str:
        """Return which task a poll is about."""
        ...

    def polled(self, task: Task | None, asked: Asked) -> Answer:
        """Tell how a task stands; None is one that the vendor does not know."""
        ...

    def stumbled(self, fault: str, wish_seconds: float) -> Answer:
        """Return a poll that goes wrong and says nothing of the task."""
        ...


class UploadDialect(Vendor, Protocol):
    """A wire format whose orders name files that were uploaded before."""

    def upload(self, asked: Asked) -> Upload | Answer:
        """Return the file, or the vendor's refusal."""
        ...

    def uploaded(self, upload: Upload, link: str) -> Answer:
        """Tell where the file is now."""
        ...


class MalformedError(ValueError):
    """The body is not JSON."""


def parsed(body: bytes) -> Any:
    """Read JSON strictly: valid UTF-8, no lone surrogates, no NaN, no bottomless nesting.

    Raises:
        MalformedError: It is something else.
    """
    try:
        return msgspec.json.decode(body)
    except (ValueError, RecursionError) as error:
        raise MalformedError(str(error)) from error


def tokens(text: str) -> int:
    """Estimate the tokens of a text: four characters each."""
    return max(1, (len(text) + 3) // 4)
