"""What the manual says beside the commands is true."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from nanobatch import errors
from nanobatch.catalog import load_catalog
from nanobatch.cli.app import BUG, INTERRUPTED
from nanobatch.cli.manual import manual
from nanobatch.cli.manual_texts import AFTER
from tests.tiny_server import Shell, TinyServer


@pytest.fixture
def server() -> Iterator[TinyServer]:
    server = TinyServer()
    yield server
    server.close()


def test_the_exit_codes_are_those_of_the_errors() -> None:
    """Every code that an error class carries is explained, and no other."""
    codes = {
        number
        for cell in re.findall(r"^\| ([\d, ]+) \|", AFTER, flags=re.MULTILINE)
        for number in map(int, cell.split(","))
    }
    carried = {
        kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")
    }
    assert len(carried) > 4
    assert codes == carried | {0, 1, BUG, INTERRUPTED, 143}


def test_the_files_are_those_of_a_run(tmp_path: Path, server: TinyServer) -> None:
    """What a run leaves is in the table, and what the table names is there after a run (or after a repair)."""
    shell = Shell(tmp_path / "work")
    shell.configure(server.url)
    shell.prompts("one", "two")
    assert shell.run("run", "p.csv", "-q").returncode == 0
    (shell.cwd / "p-images/images/a.png").write_bytes(b"wrong")
    assert shell.run("verify", "p-images", "--repair").returncode == 1
    assert shell.run("run", "p.csv", "-q", "--fresh").returncode == 0
    named = set(re.findall(r"^\| `DIR/(.+?)/?` \|", AFTER, flags=re.MULTILINE))
    assert len(named) > 8
    assert {name for name in named if not (shell.cwd / "p-images" / name).exists()} == set()


def test_every_key_variable_is_named() -> None:
    """A new provider's key appears by itself."""
    text = manual()
    variables = [name for entry in load_catalog().providers.values() for name in entry.key_variables]
    assert len(variables) > 8
    assert [name for name in variables if f"`{name}`" not in text] == []
    assert text.count("| `APIYI_API_KEY` |") == 1, "one key of two addresses"
    assert "| the key of apiyi and apiyi-backup |" in text
