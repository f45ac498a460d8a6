"""The options of `run`: what they do to a run, by real processes against a provider of paper."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_server import Shell, TinyServer, fault, image, refusal


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


def records(shell: Shell, folder: str = "p-images") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (shell.cwd / folder / "manifest.jsonl").read_text().splitlines()]


def plan(shell: Shell, *arguments: str) -> dict[str, Any]:
    done = shell.run("run", "p.csv", "--dry-run", "-O", "json", *arguments)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run"], "PROMPTS"),
        (["run", "p.csv", "--frobnicate"], "--frobnicate"),
        (["run", "p.csv", "--strategy", "luck"], "luck"),
        (["run", "p.csv", "-O", "xml"], "xml"),
        (["run", "p.csv", "--limit", "0"], "--limit"),
        (["run", "p.csv", "--budget", "much"], "--budget"),
        (["run", "p.csv", "--budget", "nan"], "--budget"),
        (["run", "p.csv", "--budget", "-1"], "--budget"),
        (["run", "p.csv", "-n", "0"], "--images-per-prompt"),
        (["run", "p.csv", "--rpm", "0"], "--rpm"),
        (["run", "p.csv", "--concurrency", "-3"], "--concurrency"),
        (["run", "p.csv", "--size", "3K"], "3K"),
        (["run", "p.csv", "--aspect-ratio", "wide"], "wide"),
        (["run", "p.csv", "-p", "nobody"], "nobody"),
        (["run", "missing.csv"], "missing.csv"),
        (["run", "p.pdf"], "p.pdf"),
        (["run", "p.csv", "-c", "missing.yaml"], "missing.yaml"),
        (["run", "p.csv", "--log-file", "no/run.log"], "no/run.log"),
        (["run", "p.csv", "--events", "no/events.jsonl"], "no/events.jsonl"),
    ],
    ids=lambda value: " ".join(value[1:]) if isinstance(value, list) else "",
)
def test_a_mistake_of_usage_is_named_and_sends_nothing(
    shell: Shell, server: TinyServer, arguments: list[str], words: str
) -> None:
    """Exit 2, the culprit in the message, no image asked for, nothing written."""
    before = shell.files()
    done = shell.run(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert (server.prompts, shell.files()) == ([], before)


def test_limit_takes_the_first(shell: Shell, server: TinyServer) -> None:
    """`--limit 2` generates the first two; the run is complete then, and the third can follow."""
    assert shell.run("run", "p.csv", "--limit", "2").returncode == 0
    assert sorted(server.prompts) == ["fox", "owl"]
    assert shell.run("run", "p.csv").returncode == 0
    assert server.prompts[2:] == ["elk"]


def test_only_takes_what_matches(shell: Shell, server: TinyServer) -> None:
    """`--only` picks prompts by id."""
    assert shell.run("run", "p.csv", "--only", "[bc]").returncode == 0
    assert sorted(server.prompts) == ["elk", "owl"]


def test_images_per_prompt_makes_variants(shell: Shell, server: TinyServer) -> None:
    """`-n 2` gives each prompt two images, each with its own name."""
    assert shell.run("run", "p.csv", "-n", "2", "-o", "out").returncode == 0
    assert sorted(server.prompts) == ["elk", "elk", "fox", "fox", "owl", "owl"]
    assert [(record["id"], record["variant"], record["file"]) for record in records(shell, "out")][:2] == [
        ("a", 0, "images/a.png"),
        ("a", 1, "images/a-2.png"),
    ]
    assert not (shell.cwd / "p-images").exists()


def test_prompts_come_from_standard_input(shell: Shell, server: TinyServer) -> None:
    """`-` reads what a program writes."""
    done = shell.run("run", "-", "-o", "out", stdin="a red fox\nan owl\n")
    assert done.returncode == 0, done.stderr
    assert sorted(server.prompts) == ["a red fox", "an owl"]
    assert [record["prompt"] for record in records(shell, "out")] == ["a red fox", "an owl"]


def test_columns_templates_and_names(shell: Shell, server: TinyServer) -> None:
    """A file that was never made for this: its columns make the prompt and the name of the file."""
    shell.write("x.csv", "product,background\nmug,snow\nhat,sand\n")
    done = shell.run("run", "x.csv", "-t", "Photo of {product} on {background}", "--name", "{product}", "-o", "out")
    assert done.returncode == 0, done.stderr
    assert sorted(server.prompts) == ["Photo of hat on sand", "Photo of mug on snow"]
    assert [record["file"] for record in records(shell, "out")] == ["images/mug.png", "images/hat.png"]
    shell.run("run", "x.csv", "--prompt-column", "product", "-o", "other", "--limit", "1")
    assert server.prompts[2:] == ["mug"]


def test_what_failed_for_good_is_sent_again_only_when_asked(shell: Shell, server: TinyServer) -> None:
    """A refusal stays a refusal; `--retry-failed` asks once more for that prompt alone."""
    server.script = lambda prompt: refusal() if prompt == "owl" else image()
    assert shell.run("run", "p.csv").returncode == 1
    assert shell.run("run", "p.csv").returncode == 1
    assert len(server.prompts) == 3
    server.script = lambda _: image()
    assert shell.run("run", "p.csv", "--retry-failed").returncode == 0
    assert server.prompts[3:] == ["owl"]


def test_fresh_sends_everything_again_and_keeps_what_was_there(shell: Shell, server: TinyServer) -> None:
    """`--fresh` buys all images anew; the earlier ones are not lost."""
    assert shell.run("run", "p.csv").returncode == 0
    assert shell.run("run", "p.csv", "--fresh").returncode == 0
    assert len(server.prompts) == 6
    assert len([name for name in shell.files() if name.endswith(".png")]) == 6


def test_bad_rows_are_left_out_when_asked(shell: Shell, server: TinyServer) -> None:
    """`--skip-invalid` generates the good rows and warns of the others."""
    shell.write("p.csv", "id,prompt,size\na,fox,1K\nb,owl,9K\n")
    done = shell.run("run", "p.csv", "--skip-invalid")
    assert done.returncode == 0, done.stderr
    assert server.prompts == ["fox"]
    assert "1 bad rows are left out" in done.stderr


def test_a_bad_row_is_named_by_file_and_line(shell: Shell, server: TinyServer) -> None:
    """Nothing is sent while a row is wrong; each one is listed with its reason."""
    shell.write("p.csv", "id,prompt,size\na,fox,1K\nb,owl,9K\nc,,1K\n")
    done = shell.run("run", "p.csv")
    assert done.returncode == 2
    assert "p.csv:3" in done.stderr
    assert "p.csv:4" in done.stderr
    assert (server.prompts, shell.files()) == ([], ["nanobatch.yaml", "p.csv"])


def test_bad_input_leaves_no_folder_of_the_sandbox(shell: Shell) -> None:
    """The sandbox starts after the input was found good, so that a mistake leaves nothing behind."""
    shell.write("p.csv", "id,prompt,size\nb,owl,9K\n")
    assert shell.run("run", "p.csv", "--sandbox").returncode == 2
    assert shell.files() == ["nanobatch.yaml", "p.csv"]


def test_flags_beat_the_config(shell: Shell) -> None:
    """What stands on the command line is what the run does."""
    found = plan(shell, "--rpm", "7", "--concurrency", "3", "--size", "1K", "-m", "other-model", "-o", "elsewhere")
    [provider] = found["providers"]
    assert (provider["limits"]["rpm"], provider["limits"]["concurrency"]) == (7, 3)
    assert (provider["wire_model"], found["output"]) == ("other-model", "elsewhere")


def test_a_plan_sends_and_writes_nothing(shell: Shell, server: TinyServer) -> None:
    """`--dry-run` leaves no trace, in either format."""
    before = shell.files()
    assert list(plan(shell)) == [
        "inputs", "output", "jobs", "already_done", "cached", "duplicates", "to_send", "skipped_rows", "sandbox", "strategy", "providers",
        "sizes",
        "cost_usd", "duration_seconds", "bound_by", "warnings", "semantic", "plan",
    ]  # fmt: skip
    assert list(plan(shell)["plan"]) == [
        "strategy", "allocations", "cost_usd", "duration_seconds", "already_done", "cached", "deadline_seconds", "in_time",
    ]  # fmt: skip
    text = shell.run("run", "p.csv", "--dry-run")
    assert text.stdout.startswith("3 images wanted, 0 already on disk, 3 to generate\ninto p-images\n")
    assert text.stderr == ""
    [line] = shell.run("run", "p.csv", "--dry-run", "-O", "jsonl").stdout.splitlines()
    assert json.loads(line) == plan(shell)
    assert (server.prompts, shell.files()) == ([], before)


def test_a_plan_knows_what_is_done(shell: Shell) -> None:
    """After two of three, the plan is about the third; with `--fresh` it is about all."""
    assert shell.run("run", "p.csv", "--limit", "2").returncode == 0
    found = plan(shell)
    assert (found["jobs"], found["already_done"], found["to_send"], found["cost_usd"]["high"]) == (3, 2, 1, 0.1)
    assert plan(shell, "--fresh")["to_send"] == 3


def test_a_plan_needs_no_running_sandbox(shell: Shell) -> None:
    """`--sandbox --dry-run` starts nothing and writes nothing."""
    before = shell.files()
    assert plan(shell, "--sandbox")["sandbox"] is True
    assert shell.files() == before


def test_retries_are_the_users(shell: Shell, server: TinyServer) -> None:
    """`--retries 1` sends a failed request once more, and then leaves it for the next run."""
    server.script = lambda _: fault(503)
    done = shell.run("run", "p.csv", "--limit", "1", "--retries", "1")
    assert (done.returncode, len(server.prompts)) == (5, 2)
