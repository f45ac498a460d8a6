"""What becomes of typer's own errors; every mistake through the real command is in tests/integration/test_first_errors.py."""

from __future__ import annotations

import pytest
import typer
from typer.main import get_command

from nanobatch.cli.app import app
from nanobatch.cli.mistakes import CommandLineError, is_only_help, sentence


def said(*arguments: str) -> str:
    with pytest.raises(CommandLineError) as caught:
        get_command(app).main(list(arguments), prog_name="nanobatch", standalone_mode=False)
    assert not is_only_help(caught.value)
    return sentence(caught.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run"], "nanobatch run needs PROMPTS, such as: nanobatch run prompts.csv"),
        (["verify"], "nanobatch verify needs DIR, such as: nanobatch verify prompts-images"),
        (["run", "p", "--sise", "1K"], "nanobatch run has no option --sise; did you mean --size?"),
        (["runn", "p"], "there is no command 'runn'; did you mean 'run'?"),
        (["prompts.CSV"], "prompts.CSV is no command; did you mean: nanobatch run prompts.CSV"),
        (["status", "a", "b"], "b is more than this command takes; see nanobatch status --help"),
    ],
)
def test_each_says_what_to_type(arguments: list[str], words: str) -> None:
    """No usage lines around it, no full stop, no jargon."""
    assert said(*arguments).startswith(words)


def test_the_bare_command_is_no_mistake() -> None:
    """It shows the help."""
    with pytest.raises(CommandLineError) as caught:
        get_command(app).main([], prog_name="nanobatch", standalone_mode=False)
    assert is_only_help(caught.value)


def test_errors_without_a_command_have_a_sentence_as_well() -> None:
    """A callback may raise one that knows no context."""
    assert sentence(typer.BadParameter("it is odd")) == "it is odd; see nanobatch --help"
