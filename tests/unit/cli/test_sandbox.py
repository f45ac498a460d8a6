"""The sandbox as a command, and as the provider of a run that needs no key."""

from __future__ import annotations

import json
import signal
import urllib.request
from pathlib import Path

import pytest

from tests.tiny_server import Shell


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    found = Shell(tmp_path / "work")
    found.prompts("fox", "owl", "elk")
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_its_address_and_serves_until_it_is_told_to_end(shell: Shell, number: signal.Signals) -> None:
    """One line of JSON with the address; a port of its own choice; an orderly end."""
    with shell.start("sandbox", "--port", "0", "--latency", "0", "--books", "books.jsonl") as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        assert url.startswith("http://127.0.0.1:")
        wanted = {"contents": [{"parts": [{"text": "a fox"}]}]}
        request = urllib.request.Request(
            f"{url}/v1beta/models/gemini-3-pro-image:generateContent",
            json.dumps(wanted).encode(),
            {"content-type": "application/json", "x-goog-api-key": "any"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert "candidates" in json.load(answer)
        process.send_signal(number)
        _, err = process.communicate(timeout=20)
    assert "Traceback" not in err
    assert (shell.cwd / "books.jsonl").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--port", "70000"], "--port"),
        (["--rpm", "0"], "--rpm"),
        (["--latency", "soon"], "soon"),
        (["--fault", "503=2"], "503"),
        (["--fault", "earthquake=0.1"], "earthquake"),
    ],
)
def test_a_mistake_of_usage_is_2(shell: Shell, arguments: list[str], words: str) -> None:
    """A wrong option is named; nothing is served."""
    done = shell.run("sandbox", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stdout == ""


def test_a_run_against_the_sandbox_needs_no_key_and_no_config(shell: Shell) -> None:
    """The first command that anybody tries: three images, pretended money, the books beside them."""
    done = shell.run("run", "p.csv", "--sandbox", "-O", "json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["ok"], summary["sandbox"], list(summary["providers"])) == (3, True, ["google"])
    books = (shell.cwd / "p-images/.nanobatch/sandbox-books.jsonl").read_text().splitlines()
    assert len(books) >= 3
    assert "(sandbox)" in done.stderr


def test_the_books_lie_where_the_config_says(shell: Shell) -> None:
    """An output folder from the config holds everything, the sandbox's books too."""
    shell.write("nanobatch.yaml", "output: {dir: elsewhere}\n")
    assert shell.run("run", "p.csv", "--sandbox").returncode == 0
    assert "elsewhere/.nanobatch/sandbox-books.jsonl" in shell.files()
    assert not (shell.cwd / "p-images").exists()


def test_sandbox_images_are_not_taken_for_real_ones(shell: Shell) -> None:
    """A rehearsal does not count as done when the same prompts are wanted in earnest."""
    assert shell.run("run", "p.csv", "--sandbox").returncode == 0
    shell.env["GEMINI_API_KEY"] = "x"
    plan = json.loads(shell.run("run", "p.csv", "--dry-run", "-O", "json").stdout)
    assert (plan["already_done"], plan["to_send"]) == (0, 3)
