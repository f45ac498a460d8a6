"""What stands in the files: an opening sentence, assertions in tests, and nothing that is nobody's business."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = sorted((ROOT / "nanobatch").rglob("*.py"))
TEST_FILES = sorted((ROOT / "tests").rglob("test_*.py"))
PUBLISHED = [
    *CODE,
    *sorted((ROOT / "docs").rglob("*.md")),
    *(path for name in ("README.md", "CHANGELOG.md", "pyproject.toml") if (path := ROOT / name).exists()),
]
KEYS = re.compile(
    r"AIza[0-9A-Za-z_-]{20,}|\bsk-[0-9A-Za-z]{16,}|\bgh[ps]_[0-9A-Za-z]{20,}|-----BEGIN [A-Z ]*PRIVATE KEY"
)
PLACES = re.compile(r"/(work|root)/|/home/(?!(you|me|user)/)\w+/|/Users/\w+/")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_there_is_something_to_check() -> None:
    """An empty list of files would obey every rule below."""
    assert len(CODE) > 60
    assert len(TEST_FILES) > 50
    assert {"README.md", "docs/architecture.md", "nanobatch/model.py"} <= set(map(name, PUBLISHED))


@pytest.mark.parametrize("path", [*CODE, *TEST_FILES], ids=name)
def test_every_module_opens_with_a_sentence(path: Path) -> None:
    """The first thing in a file says what it is for."""
    opening = ast.get_docstring(ast.parse(path.read_text("utf-8")))
    assert opening
    assert re.search(r"[.:?]$", opening.splitlines()[0]), opening


@pytest.mark.parametrize("path", TEST_FILES, ids=name)
def test_every_test_file_can_fail(path: Path) -> None:
    """A file of tests without a single assertion proves nothing."""
    tree = ast.parse(path.read_text("utf-8"))
    raises = {"raises", "fail", "warns"}
    assert any(
        isinstance(node, ast.Assert) or (isinstance(node, ast.Attribute) and node.attr in raises)
        for node in ast.walk(tree)
    )


@pytest.mark.parametrize("path", TEST_FILES, ids=name)
def test_nothing_is_mocked_by_a_library(path: Path) -> None:
    """Fakes that are written down, instead of mocks that agree to everything."""
    imported = {
        module
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        for module in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import)
            else [node.module or ""] if isinstance(node, ast.ImportFrom)
            else []
        )
    }  # fmt: skip
    assert imported
    assert not {module for module in imported if module.startswith(("unittest", "mock", "pytest_mock"))}


@pytest.mark.parametrize("path", PUBLISHED, ids=name)
def test_no_key_and_no_ones_machine_is_in_the_files(path: Path) -> None:
    """What is published names neither a secret nor the folder where somebody worked on it."""
    text = path.read_text("utf-8")
    assert KEYS.findall(text) == []
    assert PLACES.search(text) is None


@pytest.mark.parametrize("text", ["AIza" + "x" * 35, "sk-" + "a1" * 12, "ghp_" + "a1" * 12])
def test_the_search_for_keys_finds_keys(text: str) -> None:
    """The guard above is awake itself."""
    assert KEYS.search(f"key={text},")


@pytest.mark.parametrize(
    ("text", "found"),
    [("/" + "root/venv", True), ("/Users/" + "ann/x", True), ("/home/you/p.csv", False), ("a/work", False)],
)
def test_the_search_for_machines_tells_examples_apart(text: str, found: bool) -> None:
    """A path in an example is nobody's machine."""
    assert bool(PLACES.search(text)) == found
