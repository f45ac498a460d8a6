"""Who in a ledger is dead."""

from __future__ import annotations

import os
import subprocess
import sys

from nanobatch.limits.holders import holder_name, is_gone

PRINT = "from nanobatch.limits.holders import holder_name; print(holder_name('r1'))"


def test_this_process_is_not_gone() -> None:
    """And its name tells the run, so that two runs of one process are two."""
    name = holder_name("r1")
    assert name.endswith(f"/{os.getpid()}/r1")
    assert not is_gone(name)
    assert holder_name("r2") != name


def test_a_process_that_has_ended_is_gone() -> None:
    """Its neighbours on the machine see that at once."""
    name = subprocess.run([sys.executable, "-c", PRINT], capture_output=True, text=True, check=True).stdout.strip()
    assert name.split("/")[0] == holder_name("r1").split("/")[0]
    assert is_gone(name)


def test_a_process_of_somebody_else_lives() -> None:
    """Not being allowed to touch it is a sign of life."""
    place = holder_name("r").split("/")[0]
    assert not is_gone(f"{place}/1/r")


def test_nobody_knows_of_other_machines() -> None:
    """There a silent process counts as dead after a while, not before."""
    assert not is_gone("0123456789ab/999999999/r")


def test_names_that_are_none_are_left_alone() -> None:
    """Whatever stands in a ledger must not break a run."""
    place = holder_name("r").split("/")[0]
    for name in ("", "/", place, f"{place}/x/r", f"{place}//r", f"{place}/{10**30}/r"):
        assert not is_gone(name)
