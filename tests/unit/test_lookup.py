"""Where a setting stands."""

from __future__ import annotations

import pytest

from nanobatch.errors import ConfigError
from nanobatch.lookup import Found, Sources, checked, expand, flag_name, nearest
from nanobatch.schema import whole
from nanobatch.yaml_files import parse

NEAR = parse("run:\n  retries: 2\n  on_quota: ${WISH:-wait}\n", "near.yaml")
FAR = parse("run:\n  retries: 3\n  grace_seconds: 9\n", "far.yaml")


def test_the_nearest_place_wins() -> None:
    """Flag, environment, then the files in their order; each value tells its place."""
    files = [NEAR, FAR]
    assert Sources({}, {}, files).look_up("run", "retries") == Found(2, "near.yaml:2")
    assert Sources({}, {}, files).look_up("run", "grace_seconds") == Found(9, "far.yaml:3")
    variable = {"NANOBATCH_RUN_RETRIES": "5"}
    assert Sources({}, variable, files).look_up("run", "retries") == Found("5", "NANOBATCH_RUN_RETRIES")
    assert Sources({"run.retries": 0}, variable, files).look_up("run", "retries") == Found(0, "--retries")
    assert Sources({"run.retries": None}, {}, files).look_up("run", "retries") == Found(2, "near.yaml:2")
    assert Sources({}, {}, files).look_up("run", "timeout_seconds") is None


def test_variables_are_replaced_where_a_value_is_taken() -> None:
    """Not where it only stands: a variable of a value that is overridden need not exist."""
    assert Sources({}, {}, [NEAR]).look_up("run", "on_quota") == Found("wait", "near.yaml:3")
    assert Sources({}, {"WISH": "stop"}, [NEAR]).look_up("run", "on_quota") == Found("stop", "near.yaml:3")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("${A}", "one"), ("x${A}y${A}", "xoneyone"), ("${B:-two}", "two"), ("${A:-two}", "one"), ("${E:-}", ""),
        (["${A}", 3, None], ["one", 3, None]), ({"k": {"l": "${A}"}}, {"k": {"l": "one"}}), (5, 5), ("$A", "$A"),
    ],
)  # fmt: skip
def test_braces_are_replaced_wherever_they_stand(value: object, expected: object) -> None:
    """In words, lists and keys; an empty variable counts as none."""
    assert expand(value, {"A": "one", "E": ""}, "here") == expected


def test_a_variable_that_is_missing_is_named_with_its_place() -> None:
    """And with what to write instead."""
    with pytest.raises(
        ConfigError, match=r"here:3: the variable NONE is not set; set it, or write \$\{NONE:-default\}"
    ):
        expand("${NONE}", {}, "here:3")


def test_a_value_that_cannot_be_used_is_told_with_its_place() -> None:
    """Place, key and reason in one sentence."""
    assert checked(Found("7", "x"), whole(1), "run.retries") == 7
    with pytest.raises(ConfigError, match=r"near\.yaml:2: run\.retries must be a number"):
        checked(Found("many", "near.yaml:2"), whole(1), "run.retries")


def test_flags_have_the_names_of_the_command_line() -> None:
    """Most follow from the key; some are shorter."""
    assert flag_name("run.on_quota") == "--on-quota"
    assert flag_name("run.budget_usd") == "--budget"
    assert flag_name("limits.rpm") == "--rpm"


def test_a_word_that_is_nearly_known_is_suggested() -> None:
    """Else all that are known."""
    assert nearest("retires", ["retries", "timeout"]) == "; did you mean 'retries'?"
    assert nearest("zzz", ["retries", "timeout"]) == "; known are retries, timeout"
