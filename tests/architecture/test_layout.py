"""The shape of the project: tests mirror modules, names say what is inside, files and functions fit in the head."""

from __future__ import annotations

import ast
import configparser
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "nanobatch"
TESTS = ROOT / "tests"

COVERED_ELSEWHERE = {
    "events.py": "plain data; every reporter's tests build all of them",
    "meaning/roles.py": "plain data; the tests of words and context build all of them",
    "model.py": "plain data; every other test builds them",
    "providers/base.py": "a protocol without code",
    "sandbox/dialects/batch_base.py": "a protocol and plain data; tests of both dialects and of the desk build them",
    **dict.fromkeys(
        (
            f"providers/{name}.py"
            for name in ("fal", "kie", "openai_chat", "openrouter", "puter", "replicate", "together", "xai")
        ),
        "tests/wire holds what it sends and reads; tests/contract runs it, also against its dialect",
    ),
    "stores/base.py": "a protocol without code",
}
VAGUE_NAMES = {"utils", "util", "helpers", "common", "constants", "misc"}
LONGEST_FILE_LINES = 400
LONGER_FILES = {  # file: lines it may have, because splitting would part what must be read together
    "blobs.py": 480,
    "connections.py": 480,
}
WAITERS = {
    "unit/test_pipeline.py": "turns of the loop for the thread that flushes; time itself is moved by hand",
    "virtual.py": "on a loop whose time is virtual",
    "integration/test_promises.py": "asks a real process for a condition, with a deadline",
}
BODY_P90_LINES = 20
LONGEST_BODY_LINES = 60
SLEEPERS = {"time", "asyncio", "anyio", "trio"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def modules() -> list[Path]:
    found = sorted(PACKAGE.rglob("*.py"))
    assert len(found) > 50
    return found


def files_of_tests() -> list[Path]:
    found = sorted(path for path in TESTS.rglob("*.py") if path.name != "__init__.py")
    assert len(found) > 30
    return found


def functions(path: Path) -> Iterator[Function]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, Function):
            yield node


def body_lines(function: Function) -> int:
    """Count the lines from the first statement to the last, without the docstring."""
    statements = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (function.end_lineno or 0) - statements[0].lineno + 1 if statements else 0


def sleeps(path: Path) -> Iterator[int]:
    """Yield the lines on which a file really waits; `asyncio.sleep(0)` only gives way to others."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="asyncio"), attr="sleep"), args=[ast.Constant(value=0)]):
                pass
            case ast.Call(func=ast.Attribute(value=ast.Name(id=library), attr="sleep")) if library in SLEEPERS:
                yield node.lineno
            case ast.ImportFrom(module=library, names=names) if library in SLEEPERS:
                if any(name.name == "sleep" for name in names):
                    yield node.lineno
            case _:
                pass


def test_every_module_has_its_tests_where_one_looks_for_them() -> None:
    """The tests of nanobatch/a/b.py are in tests/unit/a/test_b.py, or a reason says where else."""
    found = [path.relative_to(PACKAGE) for path in modules() if not path.name.startswith("__")]
    assert len(found) > 50
    missing = [
        module.as_posix()
        for module in found
        if module.as_posix() not in COVERED_ELSEWHERE
        and not (TESTS / "unit" / module.parent / f"test_{module.name}").exists()
    ]
    assert not missing, "no tests of their own: " + ", ".join(missing)


def test_every_unit_test_has_its_module() -> None:
    """A module that was renamed takes its tests along."""
    found = [path.relative_to(TESTS / "unit") for path in (TESTS / "unit").rglob("test_*.py")]
    assert len(found) > 30
    orphans = [
        test.as_posix() for test in found if not (PACKAGE / test.parent / test.name.removeprefix("test_")).exists()
    ]
    assert not orphans, "tests of modules that are gone: " + ", ".join(orphans)


def test_exceptions_are_about_files_that_exist() -> None:
    """A reason outlives its module by no commit."""
    assert COVERED_ELSEWHERE
    gone = [name for name in [*COVERED_ELSEWHERE, *LONGER_FILES] if not (PACKAGE / name).exists()]
    assert gone == []


def test_no_module_is_named_after_nothing() -> None:
    """A module is named for what it does; what fits under utils fits under anything."""
    names = {part.removesuffix(".py") for path in modules() for part in path.relative_to(PACKAGE).parts}
    assert "errors" in names
    assert names & VAGUE_NAMES == set()


def test_files_can_be_read_in_one_go() -> None:
    """At most 400 lines, or a named exception."""
    lines = {path.relative_to(PACKAGE).as_posix(): len(path.read_text("utf-8").splitlines()) for path in modules()}
    assert max(lines.values()) > 200
    long = {name: count for name, count in lines.items() if count > LONGER_FILES.get(name, LONGEST_FILE_LINES)}
    assert long == {}


def test_functions_fit_in_the_head() -> None:
    """Nine of ten bodies have at most 20 lines, none more than 60."""
    bodies = sorted(
        (body_lines(function), f"{path.relative_to(PACKAGE)}:{function.lineno} {function.name}")
        for path in modules()
        for function in functions(path)
    )
    assert len(bodies) > 300
    assert bodies[len(bodies) * 9 // 10][0] <= BODY_P90_LINES
    assert [body for body in bodies if body[0] > LONGEST_BODY_LINES] == []


def test_every_test_says_which_rule_it_proves() -> None:
    """A failing test reads as a bug report: its docstring is the rule that is broken."""
    tests = [
        (f"{path.relative_to(TESTS)}:{function.lineno} {function.name}", ast.get_docstring(function))
        for path in files_of_tests()
        for function in functions(path)
        if function.name.startswith("test_") and path.name.startswith("test_")
    ]
    assert len(tests) > 300
    assert [name for name, docstring in tests if not docstring] == []


def test_no_test_waits() -> None:
    """Time is a number that tests set; a test that sleeps is slow today and fails on a busy machine tomorrow."""
    waits = {path.relative_to(TESTS).as_posix(): list(sleeps(path)) for path in files_of_tests()}
    assert [name for name, lines in waits.items() if lines and name not in WAITERS] == []
    assert [name for name in WAITERS if len(waits[name]) != 1] == []


@pytest.mark.parametrize(
    "code",
    ["import time\ntime.sleep(1)", "from time import sleep", "import asyncio\nasyncio.sleep(0.01)", "anyio.sleep(0)"],
)
def test_the_search_for_sleeps_finds_them(code: str, tmp_path: Path) -> None:
    """The guard above is awake itself."""
    path = tmp_path / "test_x.py"
    path.write_text(code)
    assert len(list(sleeps(path))) == 1


@pytest.mark.parametrize("code", ["asyncio.sleep(0)", "clock.sleep(5)", "async def sleep(self): ...", "x = 'sleep(1)'"])
def test_injected_clocks_may_sleep(code: str, tmp_path: Path) -> None:
    """Giving way to other tasks and moving a clock of paper is not waiting."""
    path = tmp_path / "test_x.py"
    path.write_text(code)
    assert list(sleeps(path)) == []


@pytest.mark.parametrize(
    ("contract", "key"), [("sandbox-alone", "forbidden_modules"), ("program-alone", "source_modules")]
)
def test_program_and_sandbox_are_parted_completely(contract: str, key: str) -> None:
    """The contracts that keep the sandbox a second witness leave out no module of the program."""
    contracts = configparser.ConfigParser()
    assert contracts.read(ROOT / ".importlinter")
    listed = contracts[f"importlinter:contract:{contract}"][key].split()
    program = {f"nanobatch.{path.stem}" for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    program -= {"nanobatch.__init__", "nanobatch.__main__", "nanobatch.__pycache__", "nanobatch.sandbox"}
    assert len(program) > 20
    assert set(listed) == program
