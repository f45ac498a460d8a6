"""Teaches nanobatch the wire format of Atelier, an image service of our invention."""

from collections.abc import Iterator
from itertools import chain, repeat
from urllib.parse import quote

from nanobatch.errors import Ambiguous, ExchangeError, Refused, Rejected, ServerFault, Undelivered
from nanobatch.model import FREE, Answer, Cost, Order, Picture, Request, Response, Usage
from nanobatch.providers.base import Exchange, estimated_tokens
from nanobatch.providers.links import download, link_of
from nanobatch.providers.reading import money, node, words
from nanobatch.providers.sentences import clean, said
from nanobatch.providers.statuses import plain_fault


def exchange(order: Order) -> Exchange:
    """Order one image, and fetch it."""
    if order.references:
        raise Rejected("Atelier takes no reference images")
    response = yield Request(
        "POST",
        "/drawings",  # below the base_url of the configuration
        json={"model": order.model, "text": order.prompt, "size": order.size, **order.options},
        cost=Cost(tokens=estimated_tokens(order.prompt)),
    )
    if (error := fault(response)) is not None:
        raise error
    task = words(node(response.json, "id"))
    if not task:  # paid, perhaps: so it is not simply sent again
        raise Ambiguous("the answer names no drawing", http_status=response.status)
    return (yield from resume(order, task))


def resume(order: Order, task: str) -> Exchange:
    """Poll a drawing that is ordered and paid, also by a run that was killed. Order nothing."""
    for seconds in _waits():
        response = yield Request(
            "GET", f"/drawings/{quote(task, safe='')}", cost=FREE, delay_seconds=seconds, repeatable=True, task=task
        )
        if (error := fault(response)) is not None:
            raise error
        drawing = response.json
        match node(drawing, "state"):
            case "done":
                link = link_of(node(drawing, "image"))
                if link is None:
                    raise Undelivered("the drawing is done, but its link is missing")
                usage = Usage(cost_usd=money(node(drawing, "price")))
                return Answer(Picture((yield from download(link))), usage=usage)
            case "refused":
                raise Refused(f"Atelier refuses to draw this{said(clean(words(node(drawing, 'reason'))))}")
            case "failed":
                raise ServerFault("Atelier failed to draw this, and does not bill it")
            case _:  # "waiting", or whatever Atelier will say tomorrow
                continue
    raise AssertionError("unreachable")


def fault(response: Response) -> ExchangeError | None:
    """Say what an answer means that is no success. None for a success."""
    if response.status == 400 and node(response.json, "error", "code") == "too_rude":
        return Refused("Atelier refuses these words", http_status=400)
    return plain_fault(response)  # what statuses and codes mean everywhere


def _waits() -> Iterator[float]:
    return chain((2.0, 2.0, 3.0, 4.0), repeat(5.0))
