"""The tree of failures: drawn once, kept once."""

from __future__ import annotations

import re

import pytest

from nanobatch import errors
from nanobatch.errors import ExchangeError, InputError, NanobatchError, Repeat

ROW = re.compile(
    r"^[ │├└─]*(?P<name>[A-Z]\w+)\s+(?P<exit>\d+|exit)\s+(?P<repeat>-|[A-Z]+|repeat)\s+(?P<lane>.+)$", re.MULTILINE
)


def every_class() -> dict[str, type[NanobatchError]]:
    return {
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, NanobatchError) and value is not NanobatchError
    }


def drawn() -> dict[str, re.Match[str]]:
    assert errors.__doc__ is not None
    return {match["name"]: match for match in ROW.finditer(errors.__doc__) if match["exit"] != "exit"}


def test_every_leaf_is_drawn() -> None:
    """The tree on the module's first page names every class that is raised."""
    leaves = {name for name, one in every_class().items() if name not in ("UsageFault", "ExchangeError")}
    assert len(leaves) > 15
    assert set(drawn()) == leaves


@pytest.mark.parametrize("name", sorted(drawn()))
def test_the_drawing_tells_the_truth(name: str) -> None:
    """Exit code and repeat rule of each class are those that the tree shows."""
    one, row = every_class()[name], drawn()[name]
    assert one.exit_code == int(row["exit"])
    if issubclass(one, ExchangeError):
        assert one.repeat is Repeat[row["repeat"]]
    else:
        assert row["repeat"] == "-"


def test_codes_are_unique() -> None:
    """The manifest's `error.code` names one class."""
    codes = [one.code for name, one in every_class().items() if name not in ("UsageFault", "ExchangeError")]
    assert len(codes) > 15
    assert len(set(codes)) == len(codes)


def test_what_may_have_been_paid_says_so() -> None:
    """`billed` is unknown for a cut answer, true for a broken image, false for a clear failure."""
    assert errors.Ambiguous("x").billed is None
    assert errors.DecodeError("x").billed is True
    assert errors.Undelivered("x").billed is True
    assert errors.ServerFault("x").billed is False


def test_many_mistakes_are_told_at_once() -> None:
    """An input error carries a line for each bad row."""
    assert InputError("2 bad rows", ("p.csv:2: empty", "p.csv:9: empty")).problems == (
        "p.csv:2: empty",
        "p.csv:9: empty",
    )
