"""docs/cli.md is what the program says of itself."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from nanobatch.cli.app import app
from nanobatch.cli.manual import Command, commands, manual, parameters, settings_of
from nanobatch.cli.mistakes import CommandLineError
from nanobatch.cli.run import run
from nanobatch.schema import SECTIONS
from tests.tiny_server import Shell

COMMANDS = list(commands())


def test_the_manual_is_not_stale(project_root: Path) -> None:
    """Who changes a command refreshes its page."""
    assert (project_root / "docs/cli.md").read_text() == manual(), (
        "docs/cli.md is stale: python -m nanobatch.cli.manual > docs/cli.md"
    )


def test_every_command_and_option_is_in_it() -> None:
    """All that typer knows, by name."""
    text = manual()
    group: Any = get_command(app)
    assert len(COMMANDS) >= 8
    assert [command.name.split()[0] for command in COMMANDS if " " not in command.name] == [
        name for name, found in group.commands.items() if not hasattr(found, "commands")
    ]
    for name, command in group.commands.items():
        assert f"## nanobatch {name}\n" in text or hasattr(command, "commands")
        section = text.partition(f"## nanobatch {name}\n")[2].partition("\n## ")[0]
        for parameter in command.params:
            for option in (one for one in parameter.opts if one.startswith("--") and one != "--help"):
                assert f"`{option}" in section, f"{name} {option}"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_has_an_example_that_parses(command: Command) -> None:
    """In its --help; it may be copied as it stands."""
    examples = command.examples
    assert examples
    for example in examples:
        program, *words = shlex.split(example)
        assert program == "nanobatch"
        found: Any = get_command(app)
        while hasattr(found, "commands"):
            name, *words = words
            found = found.commands[name]
        try:
            found.make_context(name, words)
        except CommandLineError as error:
            pytest.fail(f"{example}: {error}")


def test_help_of_every_command_shows_its_example(tmp_path: Path) -> None:
    """As a person sees it."""
    shell = Shell(tmp_path / "work")
    for command in COMMANDS:
        done = shell.run(*command.name.split(), "--help")
        assert done.returncode == 0
        assert f"Example: {command.examples[0]}"[:60] in " ".join(done.stdout.split())


def test_settings_are_found_in_the_command_itself() -> None:
    """The column of variables follows from the table that the command really uses."""
    found = settings_of(run)
    assert found["size"] == "defaults.size"
    assert found["budget"] == "run.budget_usd"
    names = {parameter.name for parameter in parameters(run)}
    assert set(found) <= names
    for dotted in found.values():
        section, _, key = dotted.partition(".")
        assert section == "limits" or key in SECTIONS[section]


def test_defaults_and_variables_are_shown() -> None:
    """Where a setting stands behind an option, its default is the program's."""
    section = manual().partition("## nanobatch run\n")[2]
    assert (
        "| `--model, -m NAME` | Such as nano-banana-pro. | `nano-banana-pro` | `NANOBATCH_DEFAULTS_MODEL` |" in section
    )
    assert "| `--size 512\\|1K\\|2K\\|4K` |" in section
    assert "`NANOBATCH_CONFIG`" in section
