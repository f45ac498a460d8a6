"""The one switch that ends a run."""

from __future__ import annotations

import pytest

from nanobatch.stopping import Stop, Stopped, StopReason

FIRST = StopReason("quota", "the quota is spent", 5)
SECOND = StopReason("interrupted", "interrupted", 130)


def test_a_running_run_passes_the_check() -> None:
    """Nothing happens until somebody asks."""
    stop = Stop()
    stop.check()
    assert not stop.asked.is_set()


def test_the_first_reason_stands() -> None:
    """What ended the run is what the summary says, whatever happens afterwards."""
    stop = Stop()
    stop.ask(FIRST)
    stop.ask(SECOND)
    assert stop.reason is FIRST
    with pytest.raises(Stopped):
        stop.check()


def test_a_person_who_asks_twice_means_now() -> None:
    """The first Ctrl-C waits for what is on the wire, the second does not."""
    stop = Stop()
    stop.insist(SECOND)
    assert not stop.at_once.is_set()
    stop.insist(SECOND)
    assert stop.at_once.is_set()


def test_ctrl_c_cuts_short_a_stop_that_was_already_going_on() -> None:
    """A run that ends for another reason can be hurried by one Ctrl-C."""
    stop = Stop()
    stop.ask(FIRST)
    stop.insist(SECOND)
    assert stop.at_once.is_set()
    assert stop.reason is FIRST
