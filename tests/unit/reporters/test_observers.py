"""Several observers as one: what one of them does wrong costs nobody an image."""

from __future__ import annotations

import io

import pytest

from nanobatch.errors import StoreError
from nanobatch.events import Event, Observer, Warned
from nanobatch.reporters import Observers
from nanobatch.reporters.plain import PlainLines
from tests.fakes import ManualClock, RecordingObserver
from tests.moments import every_event, started


class Broken:
    """An observer with a bug."""

    calls = 0

    def __call__(self, _: Event) -> None:
        self.calls += 1
        raise ZeroDivisionError("division by zero")


def test_everybody_hears_everything_in_order() -> None:
    """Each observer receives each event, in the order in which it happened."""
    first, second = RecordingObserver(), RecordingObserver()
    told = Observers([first, second])
    for event in every_event():
        told(event)
    assert len(first.events) == 8
    assert first.events == second.events


def test_a_bug_is_switched_off_and_reported_once() -> None:
    """The observer that failed hears nothing more; the others hear the event and one warning that names it."""
    broken, others = Broken(), RecordingObserver()
    told = Observers([broken, others])
    told(started())
    told(started())
    assert broken.calls == 1
    warnings = [event for event in others.events if isinstance(event, Warned)]
    assert [event.message for event in warnings] == [
        "Broken failed and is switched off: ZeroDivisionError: division by zero"
    ]
    assert len(others.events) == 3


def test_all_may_fail() -> None:
    """When every observer has a bug the run still goes on."""
    broken = [Broken(), Broken()]
    told = Observers([*broken])
    for event in every_event():
        told(event)
    assert [one.calls for one in broken] == [1, 1]


def test_the_list_that_was_given_stays_whole() -> None:
    """Who made the observers can still close each of them after one was switched off."""
    given: list[Observer] = [Broken()]
    Observers(given)(started())
    assert len(given) == 1


def test_an_error_that_people_can_be_told_about_gets_through() -> None:
    """A full disk under the events file is not a bug: it ends the run."""

    def full(_: Event) -> None:
        raise StoreError("the disk is full")

    with pytest.raises(StoreError):
        Observers([full])(started())


def test_a_tick_that_fails_is_switched_off_too() -> None:
    """A terminal that goes away between two events must not end a run in the middle."""

    class Gone(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    clock, others, ticks = ManualClock(), RecordingObserver(), [0]
    plain = PlainLines(Gone(), clock)
    told = Observers([others], ticks=[plain.tick, lambda: ticks.append(1)])
    clock.now += 31
    told.tick()
    clock.now += 31
    told.tick()
    assert ticks == [0, 1, 1]
    [warning] = others.events
    assert isinstance(warning, Warned)
    assert warning.message.startswith("PlainLines.tick failed and is switched off: BrokenPipeError")
