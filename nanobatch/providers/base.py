"""What a provider is: a synchronous generator that asks for requests and returns an answer.

It is free of async, retries, HTTP libraries and files, so a test drives it like a function. A format that answers at
once yields once. A format with tasks yields the order, then polls, then the download:

>>> from nanobatch.errors import ServerFault
>>> from nanobatch.model import FREE, Answer, Order, Picture, Request, Response
>>> def fault(response):
...     if response.status == 200:
...         return None
...     return ServerFault(f"the provider failed with HTTP {response.status}", http_status=response.status)
>>> def exchange(order):
...     response = yield Request("POST", "/tasks", json={"model": order.model, "prompt": order.prompt})
...     if (error := fault(response)) is not None:
...         raise error
...     return (yield from resume(order, response.json["id"]))
>>> def resume(order, task):
...     state = {}
...     while state.get("state") != "done":
...         polled = yield Request("GET", f"/tasks/{task}", cost=FREE, delay_seconds=2.0, repeatable=True, task=task)
...         state = polled.json
...     found = yield Request("GET", state["url"], cost=FREE, repeatable=True, download=True)
...     return Answer(Picture(found.blob))

`repeatable` and `FREE` say that sending it again buys nothing; a `download` is sent without the key. The request that
is neither is the order: it is sent once. Uploads that come before it are free and repeatable. The `task` of the first
poll is written down before the poll is sent, so that another process can `resume` it; it may hold whatever `resume`
needs, but no key and no signed link. To drive an exchange, send each response and take the next request, until it
returns:

>>> conversation = exchange(Order("a red fox", "some-model"))
>>> next(conversation).json
{'model': 'some-model', 'prompt': 'a red fox'}
>>> conversation.send(Response(200, {}, json={"id": "7", "state": "waiting"})).path
'/tasks/7'
>>> conversation.send(Response(200, {}, json={"id": "7", "state": "done", "url": "https://cdn.example/7.png"})).download
True

Two rules for whatever an answer may hold. The generator ends in an `Answer` or in a leaf of `ExchangeError`, never in
another exception: `nanobatch.providers.reading` follows JSON that nobody promised. And no sentence of an error holds a
key or a signed link: `nanobatch.providers.sentences.clean` takes them out. Statuses and codes that mean the same
everywhere are read by `nanobatch.providers.statuses.plain_fault`.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Protocol, TypeAlias, runtime_checkable

from nanobatch.errors import ExchangeError
from nanobatch.model import Answer, Order, Request, Response

Exchange: TypeAlias = Generator[Request, Response, Answer]

CHARACTERS_PER_TOKEN = 4  # English; other scripts need more tokens, which the quota's own counting corrects


class Provider(Protocol):
    """One wire format. A module with these two functions is a provider."""

    def exchange(self, order: Order) -> Exchange:
        """Ask for one image.

        Raises:
            ExchangeError: The leaf that says what the vendor's answer means.
        """
        ...

    def fault(self, response: Response) -> ExchangeError | None:
        """Read the vendor's quirks: what an answer that is no success means, or None for a success."""
        ...


@runtime_checkable
class TaskProvider(Provider, Protocol):
    """A wire format whose orders are tasks, fetched later."""

    def resume(self, order: Order, task: str) -> Exchange:
        """Poll a task that was ordered and paid before, and fetch its image. Orders nothing.

        Raises:
            ExchangeError: The leaf that says what became of the task.
        """
        ...


def estimated_tokens(prompt: str) -> int:
    """Estimate what a prompt takes from a quota of tokens per minute; never nothing."""
    return max(1, len(prompt) // CHARACTERS_PER_TOKEN)
