"""A whole run as a process: exit codes, streams, files, signals. The provider is a server of paper on loopback."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nanobatch.cli.running import complain
from nanobatch.errors import InputError, StoreError
from tests.moments import HOSTILE, obeyed
from tests.tiny_server import KEY, Reply, Shell, TinyServer, fault, image, refusal, spent_day


@pytest.fixture
def server() -> Iterator[TinyServer]:
    running = TinyServer()
    yield running
    running.close()


@pytest.fixture
def shell(tmp_path: Path, server: TinyServer) -> Shell:
    found = Shell(tmp_path / "work")
    found.configure(server.url)
    found.prompts("fox", "owl", "elk")
    return found


def hanging(_: str) -> Reply:
    return Reply(503, {}, hang=True)


def test_a_complete_run_is_0(shell: Shell) -> None:
    """Every prompt has its image: data on standard output, progress on standard error, the folder as promised."""
    done = shell.run("run", "p.csv")
    assert (done.returncode, shell.summary()["exit_code"]) == (0, 0)
    assert done.stdout.startswith("3 of 3 images in p-images, after ")
    assert "3 images wanted through paper, into p-images" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert shell.files() == [
        "nanobatch.yaml",
        "p-images/.nanobatch/attempts.jsonl",
        "p-images/.nanobatch/finished",
        "p-images/.nanobatch/lock",
        "p-images/.nanobatch/started.json",
        "p-images/failed.jsonl",
        "p-images/gallery.html",
        "p-images/images/a.png",
        "p-images/images/b.png",
        "p-images/images/c.png",
        "p-images/manifest.jsonl",
        "p-images/run.json",
        "p.csv",
    ]
    assert (shell.cwd / "p-images/failed.jsonl").read_bytes() == b""


def test_the_same_command_again_sends_nothing(shell: Shell, server: TinyServer) -> None:
    """Resume is the default: what is on disk is not bought again."""
    assert shell.run("run", "p.csv").returncode == 0
    done = shell.run("run", "p.csv")
    assert (done.returncode, len(server.prompts)) == (0, 3)
    assert "(3 from earlier runs)" in done.stdout
    assert (shell.summary()["resumed"], shell.summary()["cost_usd"]) == (3, 0)


def test_a_refused_prompt_is_1(shell: Shell, server: TinyServer) -> None:
    """Ended, but a prompt has no image for good; it stands in failed.jsonl and in the summary."""
    server.script = lambda prompt: refusal() if prompt == "owl" else image()
    done = shell.run("run", "p.csv")
    assert done.returncode == 1
    assert "without an image: 1 refused" in done.stdout
    [line] = (shell.cwd / "p-images/failed.jsonl").read_text().splitlines()
    assert json.loads(line)["prompt"] == "owl"
    assert "b refused: " in done.stderr


def test_a_wrong_key_is_3(shell: Shell, server: TinyServer) -> None:
    """One refused account ends the run at once, with the provider's reason and without the key."""
    server.script = lambda _: fault(403, "Your API key was reported as leaked.")
    done = shell.run("run", "p.csv")
    assert (done.returncode, shell.summary()["exit_code"]) == (3, 3)
    assert len(server.prompts) <= 2
    assert "leaked" in done.stderr
    assert KEY not in done.stderr + done.stdout


def test_no_key_at_all_is_3(shell: Shell) -> None:
    """The message names the variables to set and the way without a key."""
    (shell.cwd / "nanobatch.yaml").unlink()
    done = shell.run("run", "p.csv")
    assert (done.returncode, done.stdout) == (3, "")
    assert "GEMINI_API_KEY" in done.stderr
    assert "--sandbox" in done.stderr
    assert shell.files() == ["p.csv"]


def test_a_spent_budget_is_4(shell: Shell, server: TinyServer) -> None:
    """Two images at ten cents fit into 25 cents; the third is not asked for."""
    done = shell.run("run", "p.csv", "--budget", "0.25")
    assert (done.returncode, shell.summary()["exit_code"], len(server.prompts)) == (4, 4, 2)
    assert shell.summary()["cost_usd"] == 0.2
    assert shell.summary()["stop_reason"] in done.stderr


def test_a_spent_day_is_5_and_says_until_when(shell: Shell, server: TinyServer) -> None:
    """The run ends instead of polling, and run.json has the moment at which it is worth running again."""
    server.script = lambda _: spent_day()
    done = shell.run("run", "p.csv")
    assert (done.returncode, shell.summary()["exit_code"]) == (5, 5)
    assert shell.summary()["resume_after"] > shell.summary()["finished_at"]
    assert "next: run the same command again after" in done.stdout


def test_a_provider_that_is_not_there_is_5(shell: Shell) -> None:
    """Nobody listens at the address: nothing was billed, the same command again may help."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shell.configure(f"http://127.0.0.1:{port}/v1beta")
    done = shell.run("run", "p.csv")
    assert (done.returncode, shell.summary()["unfinished"], shell.summary()["cost_usd"]) == (5, 3, 0)


def test_a_config_error_is_2_with_its_line(shell: Shell) -> None:
    """A typing error in a key names the nearest known key and the place."""
    shell.write("nanobatch.yaml", "run:\n  retires: 3\n")
    done = shell.run("run", "p.csv")
    assert done.returncode == 2
    assert "nanobatch.yaml:2" in done.stderr
    assert "retries" in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_ends_in_order(shell: Shell, server: TinyServer, number: signal.Signals, code: int) -> None:
    """What hangs on the wire is given up after the grace period, recorded as possibly billed, and taken up again."""
    shell.configure(server.url, grace_seconds=0.2)
    server.script = lambda prompt: hanging(prompt) if prompt != "fox" else image()
    done = shell.interrupt(server, number, "run", "p.csv", "-O", "json")
    assert (done.returncode, json.loads(done.stdout)["exit_code"]) == (code, code)
    assert json.loads(done.stdout) == shell.summary()
    assert shell.summary()["maybe_cost_usd"] > 0
    assert "Traceback" not in done.stderr
    assert "nanobatch: interrupted" in done.stderr
    server.script = lambda _: image()
    assert shell.run("run", "p.csv").returncode == 0


def test_what_is_on_the_wire_may_still_land(shell: Shell, server: TinyServer) -> None:
    """Within the grace period a paid image is waited for: nothing is lost, and the rest is for the next run."""
    shell.configure(server.url, grace_seconds=30)
    shell.prompts(*"123456789")
    server.script = lambda _: Reply(200, image().body, hang=True)
    with shell.start("run", "p.csv", "-O", "paths") as process:
        server.wait_for_requests(2)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        while "stopping: interrupted; 2 on the wire" not in process.stderr.readline():
            assert process.poll() is None
        server._closing.set()
        out, _ = process.communicate(timeout=20)
    assert (process.returncode, len(out.splitlines()), len(server.prompts)) == (130, 2, 2)
    assert shell.summary()["maybe_cost_usd"] == 0


def test_a_second_ctrl_c_ends_at_once(shell: Shell, server: TinyServer) -> None:
    """Who does not want to wait for the grace period presses again."""
    shell.configure(server.url, grace_seconds=3000)
    server.script = hanging
    with shell.start("run", "p.csv") as process:
        server.wait_for_requests(2)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        while "stopping" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode == 130
    assert shell.summary()["maybe_cost_usd"] == 0.2


def test_a_folder_belongs_to_one_run_at_a_time(shell: Shell, server: TinyServer) -> None:
    """The second run names the first one's process and ends with 2; the first goes on."""
    server.script = lambda _: Reply(200, image().body, hang=True)
    with shell.start("run", "p.csv", "--limit", "1") as first:
        server.wait_for_requests(1)
        second = shell.run("run", "p.csv")
        assert second.returncode == 2
        assert f"process {first.pid}" in second.stderr
        server._closing.set()
        first.communicate(timeout=20)
    assert first.returncode == 0


@pytest.mark.parametrize("format", ["paths", "jsonl"])
def test_a_reader_that_has_seen_enough_ends_the_run(shell: Shell, server: TinyServer, format: str) -> None:  # noqa: A002
    """`| head -1`: the run stops in order, without a traceback, and pays for no further image."""
    shell.prompts(*(f"prompt {number}" for number in range(26)))
    before = shell.run("run", "p.csv", "--dry-run")
    assert before.returncode == 0
    done = shell.bash(f"nanobatch run p.csv -O {format} --concurrency 1 | head -1")
    assert (done.returncode, len(done.stdout.splitlines())) == (5, 1)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
    assert 1 <= len(server.prompts) < 26
    assert shell.summary()["stop_reason"] == "standard output takes nothing more"
    shell.run("run", "p.csv")
    assert len(server.prompts) == 26


def test_both_streams_into_a_pipe_that_closes(shell: Shell, server: TinyServer) -> None:
    """`2>&1 | head -1`: nothing can be said any more, so the images and the exit code must be right all the same."""
    shell.prompts(*(f"prompt {number}" for number in range(26)))
    server.script = lambda prompt: refusal() if prompt == "prompt 25" else image()
    done = shell.bash("nanobatch run p.csv -O text 2>&1 | head -1")
    assert done.stderr == ""
    assert (done.returncode, shell.summary()["ok"]) == (1, 25)


def test_data_only_on_standard_output(shell: Shell) -> None:
    """Each line of jsonl is a record, each line of paths is a file that is there."""
    done = shell.run("run", "p.csv", "-O", "jsonl", "--verbose")
    assert sorted(json.loads(line)["id"] for line in done.stdout.splitlines()) == ["a", "b", "c"]
    done = shell.run("run", "p.csv", "-O", "paths", "--fresh")
    assert len(done.stdout.splitlines()) == 3
    assert all((shell.cwd / line).is_file() for line in done.stdout.splitlines())


@pytest.mark.parametrize("arguments", [["-q"], ["-q", "--progress", "plain"], ["-q", "--progress", "bar"]])
def test_quiet_is_silent(shell: Shell, arguments: list[str]) -> None:
    """A run that went well says nothing at all."""
    done = shell.run("run", "p.csv", *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_quiet_still_says_what_went_wrong(shell: Shell) -> None:
    """Errors are never silent, and data that was asked for still comes."""
    done = shell.run("run", "p.csv", "-q", "--budget", "0.25", "-O", "paths")
    assert done.returncode == 4
    assert len(done.stdout.splitlines()) == 2
    assert done.stderr.startswith("nanobatch: ")
    assert done.stderr.count("\n") == 1


def test_no_progress_leaves_the_summary(shell: Shell) -> None:
    """`--progress none` is only about standard error."""
    done = shell.run("run", "p.csv", "--progress", "none")
    assert done.stderr == ""
    assert done.stdout.startswith("3 of 3 images")


def test_verbose_logs_beside_the_lines(shell: Shell) -> None:
    """`-v` shows each attempt on standard error."""
    done = shell.run("run", "p.csv", "-v")
    assert done.stderr.count(" DEBUG attempt_started ") == 3


def test_no_key_in_any_file_or_stream(shell: Shell, server: TinyServer) -> None:
    """Events, log, manifest, ledger, summary, standard output and error: the key is in none of them."""
    server.script = lambda prompt: image() if prompt == "fox" else fault(400, f"bad key {KEY} in request")
    done = shell.run("run", "p.csv", "--events", "events.jsonl", "--log-file", "run.log", "-v", "-O", "jsonl")
    assert done.returncode == 1
    files = [name for name in shell.files() if name != "nanobatch.yaml"]
    assert {"events.jsonl", "run.log", "p-images/run.json", "p-images/failed.jsonl"} <= set(files)
    assert [name for name in files if KEY.encode() in (shell.cwd / name).read_bytes()] == []
    assert KEY not in done.stdout + done.stderr
    events = [json.loads(line)["event"] for line in (shell.cwd / "events.jsonl").read_text().splitlines()]
    assert (events[0], events[-1], events.count("job_finished")) == ("run_started", "run_finished", 3)


def test_the_run_has_one_name(shell: Shell) -> None:
    """The id in the first event is the id in run.json."""
    shell.run("run", "p.csv", "--events", "events.jsonl")
    first = json.loads((shell.cwd / "events.jsonl").read_text().splitlines()[0])
    assert first["run_id"] == shell.summary()["run_id"]


@pytest.mark.parametrize("name", ["title", "c1", "right to left", "line breaks", "long"])
def test_a_provider_cannot_write_to_the_terminal(shell: Shell, server: TinyServer, name: str) -> None:
    """What an error says is shown, not obeyed, on every stream and in the log."""
    server.script = lambda _: fault(400, HOSTILE[name])
    done = shell.run("run", "p.csv", "--limit", "1", "--log-file", "run.log", "-v")
    assert done.returncode == 1
    assert obeyed(done.stdout + done.stderr + (shell.cwd / "run.log").read_text()) == []
    assert max(map(len, (done.stdout + done.stderr).splitlines())) < 800


def test_half_a_character_in_an_error_harms_one_row(shell: Shell, server: TinyServer) -> None:
    """An answer with a broken escape is a failure of that job; the run and its files are whole."""
    broken = b'{"error": {"code": 400, "message": "half \\ud83d of a pair"}}'
    server.script = lambda prompt: Reply(400, broken) if prompt == "owl" else image()
    done = shell.run("run", "p.csv", "--events", "events.jsonl")
    assert (done.returncode, shell.summary()["ok"]) == (1, 2)
    assert "switched off" not in done.stderr


def test_names_that_no_file_of_ours_could_hold_are_refused_before_anything_is_sent(
    shell: Shell, server: TinyServer
) -> None:
    """A folder name that is not valid UTF-8 could not stand in run.json, so it is an error at the start."""
    done = shell.bash("nanobatch run p.csv -o $'caf\\xe9'")
    assert done.returncode == 2
    assert "UTF-8" in done.stderr
    assert server.prompts == []


def test_a_bar_on_a_terminal(shell: Shell) -> None:
    """With a terminal there is a bar, it goes away at the end, and the cursor comes back."""
    output = on_terminal(shell, "run", "p.csv")
    assert "\x1b[?25l" in output
    assert output.rindex("\x1b[?25h") > output.rindex("\x1b[?25l")
    assert "3 of 3 images in p-images" in output


@pytest.mark.parametrize(("typed", "sent"), [("y\n", 3), ("n\n", 0)])
def test_an_expensive_run_is_confirmed_by_a_person(shell: Shell, server: TinyServer, typed: str, sent: int) -> None:
    """The plan and the highest price are shown; no sends nothing."""
    shell.configure(server.url, confirm_above_usd=0.2)
    output = on_terminal(shell, "run", "p.csv", answers={"Spend up to $0.300?": typed}, code=0 if sent else 2)
    assert "3 images wanted, 0 already on disk, 3 to generate" in output
    assert len(server.prompts) == sent
    assert (shell.cwd / "p-images").exists() == (sent > 0)


@pytest.mark.parametrize("arguments", [["--yes"], ["-O", "paths", "--sandbox", "--dry-run"]])
def test_who_said_yes_is_not_asked(shell: Shell, server: TinyServer, arguments: list[str]) -> None:
    """`--yes`, and runs that cost nothing, go ahead."""
    shell.configure(server.url, confirm_above_usd=0.2)
    assert "Spend up to" not in on_terminal(shell, "run", "p.csv", *arguments)


def test_without_a_terminal_nothing_is_asked(shell: Shell, server: TinyServer) -> None:
    """A cron job has nobody to answer; the budget is its guard."""
    shell.configure(server.url, confirm_above_usd=0.2)
    assert shell.run("run", "p.csv").returncode == 0


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_the_parent_closed_are_no_matter(shell: Shell, server: TinyServer, closed: str) -> None:
    """A service manager may start a command without standard streams; the files of the run stay its own."""
    done = shell.bash(f"nanobatch run p.csv {closed}; echo EXIT $?")
    assert done.stdout.endswith("EXIT 0\n")
    assert (shell.summary()["ok"], shell.summary()["warnings"]) == (3, [])
    ledger = (shell.cwd / "p-images/.nanobatch/attempts.jsonl").read_text().splitlines()
    assert all(json.loads(line) for line in ledger)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("run p.csv --dry-run -O json >/dev/full", 5),
        ("run p.csv -O jsonl --progress none >/dev/full", 5),
        ("run p.csv -O text --progress none >/dev/full", 5),
        ("run p.csv 2>/dev/full", 0),
        ("run p.csv --events /dev/full --log-file /dev/full", 0),
    ],
)
def test_a_full_disk_under_the_output_is_no_crash(shell: Shell, line: str, code: int) -> None:
    """Data that could not be written is not a success; progress and logs that could not be written cost nothing."""
    done = shell.bash(f"nanobatch {line}")
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert ("standard output" in done.stderr) == (code == 5)


@pytest.mark.parametrize("more", [[], ["--sandbox"]])
def test_a_folder_that_cannot_be_made_is_2(shell: Shell, server: TinyServer, more: list[str]) -> None:
    """Nothing was sent, and running the same command again would not help."""
    done = shell.run("run", "p.csv", "-o", "/dev/null/out", *more)
    assert done.returncode == 2
    assert "/dev/null/out/.nanobatch" in done.stderr
    assert server.prompts == []


@pytest.mark.parametrize("more", [[], ["--sandbox"], ["--dry-run"]])
def test_a_file_is_no_folder(shell: Shell, server: TinyServer, more: list[str]) -> None:
    """`-o prompts.csv` is a mistake of usage, found before anything is sent."""
    done = shell.run("run", "p.csv", "-o", "p.csv", *more)
    assert done.returncode == 2
    assert "p.csv is a file" in done.stderr
    assert server.prompts == []


def test_every_bad_row_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """A complaint has one line for itself and one for each row, none of them obeyed by a terminal."""
    complain(InputError("2 rows are wrong", ("p.csv:2: \x1b[2Jno prompt", "p.csv:3: no\nprompt")))
    complain(StoreError("disk full"))
    assert capsys.readouterr().err == (
        "nanobatch: 2 rows are wrong\n  p.csv:2: ·[2Jno prompt\n  p.csv:3: no⏎prompt\nnanobatch: disk full\n"
    )


def test_a_complaint_that_nobody_reads_is_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exit code is right also when standard error is gone."""

    class Gone:
        attempts = 0

        def write(self, _: str) -> int:
            self.attempts += 1
            raise BrokenPipeError

    gone = Gone()
    monkeypatch.setattr(sys, "stderr", gone)
    complain(StoreError("disk full"))
    assert gone.attempts == 1


ON_TERMINAL = """
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGINT, signal.SIG_DFL)  # a job in a shell's background inherits that it is ignored
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C on it reaches the command
os.execv(sys.executable, [sys.executable, "-m", "nanobatch", *sys.argv[1:]])
"""


def on_terminal(shell: Shell, *arguments: str, answers: dict[str, str] | None = None, code: int = 0) -> str:
    """Run the command on a terminal of its own, answer its questions, and return what it showed."""
    waiting = dict(answers or {})
    main, side = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", ON_TERMINAL, *arguments], cwd=shell.cwd, env={**shell.env, "TERM": "xterm"},
        stdin=side, stdout=side, stderr=side, start_new_session=True,
    )  # fmt: skip
    os.close(side)
    shown = b""
    try:
        while chunk := _read(main):
            shown += chunk
            for question in [question for question in waiting if question.encode() in shown]:
                os.write(main, waiting.pop(question).encode())
        assert process.wait(20) == code, shown.decode()
    finally:
        process.kill()
        process.wait()
        os.close(main)
    assert not waiting
    return shown.decode()


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 65536)
    except OSError:  # Linux says so when the last process left the terminal
        return b""
