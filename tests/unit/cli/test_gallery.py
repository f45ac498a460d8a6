"""`nanobatch gallery` and the page that a run leaves, from outside."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tiny_server import KEY, Shell, TinyServer, image, refusal


@pytest.fixture
def server() -> Iterator[TinyServer]:
    server = TinyServer(lambda prompt: refusal() if "bad" in prompt else image())
    yield server
    server.close()


@pytest.fixture
def shell(tmp_path: Path, server: TinyServer) -> Shell:
    shell = Shell(tmp_path / "work")
    shell.configure(server.url)
    return shell


def test_a_run_leaves_a_page_and_names_it(shell: Shell) -> None:
    """In what it says, and in run.json; the page holds no key."""
    shell.prompts("one", "bad two")
    done = shell.run("run", "p.csv", "--progress", "none")
    assert "gallery: p-images/gallery.html" in done.stdout.splitlines()
    assert shell.summary()["gallery"] == "p-images/gallery.html"
    page = (shell.cwd / "p-images/gallery.html").read_text("utf-8")
    assert '"prompt":"one"' in page
    assert KEY not in page


def test_a_run_that_wants_none_leaves_none(shell: Shell) -> None:
    """output.gallery: false."""
    shell.prompts("one")
    shell.env["NANOBATCH_OUTPUT_GALLERY"] = "false"
    done = shell.run("run", "p.csv", "--progress", "none")
    assert "gallery" not in done.stdout
    assert shell.summary()["gallery"] is None
    assert not (shell.cwd / "p-images/gallery.html").exists()


def test_a_page_that_cannot_be_written_is_a_warning(shell: Shell) -> None:
    """The exit code is about images."""
    shell.prompts("one")
    (shell.cwd / "p-images").mkdir()
    (shell.cwd / "p-images/gallery.html").write_text("mine")
    done = shell.run("run", "p.csv", "--progress", "plain")
    assert done.returncode == 0
    assert "there is no gallery of this run: p-images/gallery.html is not a page of nanobatch" in done.stderr
    assert shell.summary()["gallery"] is None
    assert "there is no gallery" in shell.summary()["warnings"][0]


def test_the_command_makes_it_again(shell: Shell) -> None:
    """For people with an address to open, for programs as JSON."""
    shell.prompts("one", "bad two")
    shell.run("run", "p.csv", "--progress", "none")
    page = shell.cwd / "p-images/gallery.html"
    page.unlink()
    done = shell.run("gallery", "p-images")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"p-images/gallery.html: 1 ok, 1 refused\n\nnext: open it in a browser\n  {page.as_uri()}\n"
    found = json.loads(shell.run("gallery", "p-images", "-O", "json").stdout)
    assert (found["ok"], found["refused"], found["next"]["command"]) == (1, 1, page.as_uri())


@pytest.mark.parametrize("name", ["nothing", ".", "p.csv"])
def test_what_is_no_run_is_2(shell: Shell, name: str) -> None:
    """One sentence that says what to do."""
    shell.prompts("one")
    done = shell.run("gallery", name)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
