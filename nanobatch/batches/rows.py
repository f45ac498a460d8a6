"""Lets a row that has come pass for a provider's answer, so that it goes through the pipeline as any other does.

To the pipeline a row of a batch is a task that was ordered long ago: it asks a provider to `resume` it, and the
provider asks a sender for the answer, which lies here already.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nanobatch.batches.talk import Sender
from nanobatch.batches.wire import BatchWire
from nanobatch.errors import DecodeError, ExchangeError, NoImage, Refused, Rejected, RowFailed, Undelivered
from nanobatch.images import inspect, materialise
from nanobatch.model import FREE, Answer, Blob, Order, Picture, Request, Response
from nanobatch.parts import discard
from nanobatch.providers.base import Exchange

_FINAL = (Refused, Rejected, Undelivered, RowFailed)


@dataclass(frozen=True, slots=True)
class Arrival:
    """What came for one job: an answer, or the reason why none will come."""

    response: Response | None = None
    error: ExchangeError | None = None
    is_last: bool = False  # the job has been asked for often enough


class RowDesk:
    """Where rows wait for the pipeline: a provider and its sender in one.

    Args:
        wire: Reads the rows.
        transport: Follows a link where a row holds one in place of its image.
        new_part: Names a file for an image that is so small that it stayed in the JSON.
    """

    def __init__(self, wire: BatchWire, transport: Sender, new_part: Callable[[], Path]) -> None:
        self._wire = wire
        self._transport = transport
        self._new_part = new_part
        self._arrivals: dict[str, Arrival] = {}

    def put(self, job: str, arrival: Arrival) -> None:
        """Lay down what came for a job."""
        self._arrivals[job] = arrival

    def exchange(self, order: Order) -> Exchange:
        """Order nothing: batches are ordered by their engine."""
        raise AssertionError(f"a batch's row is not asked for by itself: {order.prompt[:50]!r}")

    def resume(self, order: Order, task: str) -> Exchange:
        """Return a job's image. The task is the job's id.

        Raises:
            ExchangeError: Refused and rejected rows as such; all else, of which another batch may know better, as
                `RowFailed`.
        """
        arrival = self._arrivals[task]
        if arrival.error is not None:
            del self._arrivals[task]
            raise arrival.error
        try:
            response = yield Request("GET", f"/{task}", cost=FREE)
            return self._checked((yield from self._wire.answered(order, response)))
        except _FINAL:
            raise
        except NoImage as error:
            if arrival.is_last:
                raise
            raise _passing(error) from error
        except ExchangeError as error:
            raise _passing(error) from error
        finally:
            self._arrivals.pop(task, None)

    def fault(self, response: Response) -> ExchangeError | None:
        """Classify an answer."""
        return self._wire.fault(response)

    async def send(self, request: Request) -> Response:
        """Return what lies here, or follow a link."""
        arrival = self._arrivals.get(request.path.removeprefix("/"))
        if arrival is not None and arrival.response is not None:
            return arrival.response
        return await self._transport.send(request)

    def _checked(self, answer: Answer) -> Answer:
        """Look at the image here, where a broken one can still be said to be the row's fault."""
        blob = materialise(answer.picture, self._new_part)
        try:
            inspect(blob.path)
        except DecodeError:
            discard(blob.path)
            raise
        return replace(answer, picture=Picture(blob, answer.picture.mime))


def _passing(error: ExchangeError) -> RowFailed:
    return RowFailed(error.message, http_status=error.http_status, billed=error.billed)


def discard_blobs(content: Any) -> None:
    """Delete the images of a line that nobody wants."""
    todo = [content]
    while todo:
        found = todo.pop()
        if isinstance(found, Blob):
            discard(found.path)
        elif isinstance(found, dict):
            todo += found.values()
        elif isinstance(found, list):
            todo += found
