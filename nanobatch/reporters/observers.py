"""Passes each event to every observer. One that fails is switched off and reported once; the run goes on."""

from __future__ import annotations

from collections.abc import Callable

from nanobatch.errors import NanobatchError
from nanobatch.events import Event, Observer, Warned


class Observers:
    """Several observers as one."""

    def __init__(self, observers: list[Observer], *, ticks: list[Callable[[], None]] | None = None) -> None:
        self._observers = list(observers)
        self._ticks = list(ticks or ())

    def __call__(self, event: Event) -> None:
        """Tell everybody what happened."""
        for observer in list(self._observers):
            if not any(observer is one for one in self._observers):
                continue  # it failed just now, at the warning about another one
            try:
                observer(event)
            except NanobatchError:
                raise
            except Exception as error:  # noqa: BLE001 - the one observer's bug must not cost anybody an image
                self._observers = [one for one in self._observers if one is not observer]
                self._report(observer, error)

    def tick(self) -> None:
        """Let observers act on time; called about every second."""
        for tick in list(self._ticks):
            try:
                tick()
            except Exception as error:  # noqa: BLE001 - as above
                self._ticks.remove(tick)
                self._report(tick, error)

    def _report(self, observer: Callable[..., None], error: Exception) -> None:
        name = getattr(observer, "__qualname__", type(observer).__name__)
        self(Warned(f"{name} failed and is switched off: {type(error).__name__}: {error}"))
