"""The sandbox as a process: how it starts, says where it is, and ends."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from nanobatch.sandbox.__main__ import main
from nanobatch.sandbox.faults import FAULTS
from tests.sandbox_process import SandboxProcess, sandbox

SECONDS = 20.0


def create(vendor: SandboxProcess, prompt: str = "a cat", patience: float = SECONDS) -> int:
    body = json.dumps({"model": "gpt-image-2", "prompt": prompt, "size": "64x64"}).encode()
    request = urllib.request.Request(vendor.openai + "/images/generations", body, {"Authorization": "Bearer k"})
    with urllib.request.urlopen(request, timeout=patience) as answer:
        answer.read()
        return int(answer.status)


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(ending: signal.Signals) -> None:
    """Asked to end, it ends with 0."""
    with sandbox() as vendor:
        assert create(vendor) == 200
        vendor.process.send_signal(ending)
        assert vendor.process.wait(SECONDS) == 0


def test_it_ends_with_its_standard_input() -> None:
    """A parent that was killed leaves no sandbox behind."""
    with sandbox() as vendor:
        assert vendor.process.stdin is not None
        vendor.process.stdin.write(b"ignored")
        vendor.process.stdin.close()
        assert vendor.process.wait(SECONDS) == 0


def test_without_the_option_it_outlives_its_standard_input() -> None:
    """Started in the background by a shell, it stays."""
    command = [sys.executable, "-m", "nanobatch.sandbox"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        with urllib.request.urlopen(url + "/__books", timeout=SECONDS) as answer:
            assert answer.status == 200
        process.terminate()
        assert process.stdout.read() == b""
        assert process.wait(SECONDS) == 0


def test_the_first_line_says_where_it_is(tmp_path: Path) -> None:
    """Address, books and process, in one JSON object."""
    books = tmp_path / "books.jsonl"
    with sandbox(books=books, rpm=7, seed=3, latency="0.01-0.02", faults={"503": 0.5}, retry_after=2) as vendor:
        assert vendor.pid == vendor.process.pid
        assert vendor.url.startswith("http://127.0.0.1:")
        plan = vendor.books()["plan"]
        assert (plan["rpm"], plan["seed"], plan["latency"]) == (7, 3, [0.01, 0.02])
        assert (plan["faults"], plan["retry_after"], plan["window"]) == ({"503": 0.5}, 2.0, 60.0)
    assert books.exists()


def test_trouble_on_the_wire_leaves_it_silent() -> None:
    """Resets, cut bodies and clients that leave are its trade: nothing appears on standard error, and it ends well."""
    command = [sys.executable, "-m", "nanobatch.sandbox", "--latency", "0.05", "--drip", "0.2", "--seed", "1"]
    command += [text for kind in ("reset", "reset-after", "truncate", "hang", "slowdrip") for text in
                ("--fault", f"{kind}=0.2")]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        vendor = SandboxProcess(json.loads(process.stdout.readline())["url"], process.pid, process)
        outcomes: set[object] = set()
        for number in range(30):
            try:
                outcomes.add(create(vendor, str(number), patience=0.1))
            except (OSError, http.client.HTTPException) as error:
                outcomes.add(type(error).__name__)
        assert set(vendor.books()["faults"]) == {"reset", "reset-after", "truncate", "hang", "slowdrip"}
        process.terminate()
        assert process.stderr.read() == b""
        assert process.wait(SECONDS) == 0
    assert len(outcomes) > 1


def test_bills_survive_a_kill(tmp_path: Path) -> None:
    """Killed in the middle, its books hold every image that it delivered, and the next process goes on."""
    books = tmp_path / "books.jsonl"
    with sandbox(books=books) as vendor:
        for number in range(5):
            create(vendor, str(number))
        vendor.kill()
    with sandbox(books=books) as vendor:
        assert vendor.books()["images"] == 5
        create(vendor, "4")
        assert vendor.books(full=True)["by_prompt"]["4"] == 2
        assert vendor.books()["twice"] == 1


def test_a_sandbox_that_cannot_start_says_why(tmp_path: Path) -> None:
    """The helper of the tests passes the sentence on."""
    with pytest.raises(RuntimeError, match="cannot keep books"), sandbox(books=tmp_path):
        pass
    with sandbox() as vendor, pytest.raises(ValueError, match="there is no setting 'speed'"):
        vendor.plan(speed=1)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--rpm", "0"], "rpm is a whole number of at least 1"),
        (["--rpm", "many"], "argument --rpm: invalid int value: 'many'"),
        (["--latency", "fast"], "latency is a number of seconds"),
        (["--latency=-1"], "latency is a number of seconds"),
        (["--fault", "503"], "KIND=PROBABILITY"),
        (["--fault", "nonsense=0.5"], "there is no fault 'nonsense'"),
        (["--fault", "503=0.6", "--fault", "500=0.6"], "together are at most 1"),
        (["--port", "70000"], "a port is between 0 and 65535"),
        (["--window", "0"], "window"),
        (["--concurency", "5"], "unrecognized arguments: --concurency 5"),
        (["--books", "/nowhere/at/all"], "cannot keep books in /nowhere/at/all"),
    ],
)
def test_a_wrong_option_is_one_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, one line on standard error, nothing on standard output."""
    try:
        code = main(arguments)
    except SystemExit as ended:
        code = int(ended.code or 0)
    shown = capsys.readouterr()
    assert code == 2
    assert sentence in shown.err
    assert shown.err.startswith("nanobatch: ")
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def test_a_taken_port_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """The port is named."""
    with sandbox() as vendor:
        port = vendor.url.rpartition(":")[2]
        assert main(["--port", port]) == 2
    assert capsys.readouterr().err.startswith(f"nanobatch: cannot listen on port {port}: ")


def test_faults_explain_themselves(capsys: pytest.CaptureFixture[str]) -> None:
    """`--fault help` prints the table and ends well."""
    assert main(["--fault", "help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {kind} " in shown for kind in FAULTS)
