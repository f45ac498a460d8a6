"""A vendor of the simulations whose orders are tasks, in Kie's format: ordered at once, polled, downloaded."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

from nanobatch.catalog import Terms
from nanobatch.model import Request
from nanobatch.sandbox.dialects import kie
from nanobatch.sandbox.dialects.base import Answer, Asked, Order, Task
from nanobatch.sandbox.limits import Moment
from nanobatch.settings import ProviderSettings
from tests.simulation import Vendor
from tests.virtual import MONOTONIC_START, VirtualClock

LINK = "http://127.0.0.1:1/images/"


@dataclass
class TaskVendor(Vendor):
    """See `Vendor`. No faults; a bill for every task that was taken."""

    tasks: dict[str, Task] = field(default_factory=dict)

    @property
    def settings(self) -> ProviderSettings:
        """How the user has written it down."""
        terms = self.terms or Terms(self.name, None, {"1K": self.price, "2K": 2 * self.price}, protocol="kie")
        return replace(super().settings, protocol="kie", base_url=f"http://127.0.0.1:1/{self.name}", terms=terms)

    async def answer(self, request: Request, clock: VirtualClock, day: Callable[[float], tuple[int, float]]) -> Answer:
        """Serve one request as the sandbox does."""
        if request.download:
            return Answer(200, self._picture, content_type="image/png")
        asked = self._asked(request, clock)
        if request.method == "GET":
            return kie.polled(self.tasks.get(kie.task_id(asked)), asked)
        self.asked += 1
        order = kie.read(asked)
        if isinstance(order, Answer):
            return order
        number, left = day(clock.wall())
        excess = self._limits.enter(self.plan, Moment(clock.monotonic(), number, left), 1)
        if excess is not None:
            self.violations[excess.kind] += 1
            return kie.over_limit(order, excess)
        self._limits.leave()
        self.days[str(number)] += 1
        self.times.append(clock.monotonic() - MONOTONIC_START)
        return kie.created(self._taken(order, clock.wall()))

    def _taken(self, order: Order, now: float) -> Task:
        prompt = order.drawing.prompt
        seconds = self._dice.throw(prompt).within(*self.plan.latency)
        name = f"task{len(self.tasks)}"
        task = Task(name, order, now, now + seconds, (LINK + name,))
        self.tasks[name] = task
        self.billed[prompt] += 1
        return task

    def _asked(self, request: Request, clock: VirtualClock) -> Asked:
        query: Mapping[str, Any] = {name: values[0] for name, values in parse_qs(urlsplit(request.path).query).items()}
        headers = {"Authorization": f"Bearer {self.settings.api_key}"}
        return Asked(headers, query, {}, json.dumps(request.json).encode(), clock.wall())
