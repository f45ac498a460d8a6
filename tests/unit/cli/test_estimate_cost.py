"""`nanobatch estimate-cost`, from outside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nanobatch.catalog.profiles import profile_names
from tests.tiny_server import Shell


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path / "work")


def found(shell: Shell, *arguments: str) -> Any:
    done = shell.run("estimate-cost", *arguments, "-O", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_number_of_images_needs_no_file_and_no_key(shell: Shell) -> None:
    """The rows of every provider, and a plan as if all keys were there."""
    answer = found(shell, "--count", "10000", "--size", "2K")
    assert (answer["images"], answer["prices"], answer["currency"]) == (10_000, "newest", "USD")
    assert list(answer["providers"][0]) == [
        "provider", "model", "size", "images", "price_usd", "cost_usd", "batch_cost_usd", "duration_seconds", "bound_by",
        "monthly_usd", "yearly_usd", "yearly_saving_usd", "note",
    ]  # fmt: skip
    assert [row["provider"] for row in answer["providers"]][:4] == ["google", "laozhang", "kie", "apiyi"]
    plan = answer["plan"]
    assert plan["allocations"] == [{"provider": "google", "lane": "sync", "images": 10_000, "cost_usd": 1392.04}]
    assert (plan["cost_usd"]["low"], plan["already_done"], plan["cached"]) == (1340, 0, 0)


def test_the_plan_is_that_of_the_configuration(shell: Shell) -> None:
    """Who has a key, in the user's order, by the user's strategy and tiers."""
    shell.env |= {"GEMINI_API_KEY": "k", "KIE_API_KEY": "k"}
    assert found(shell, "--count", "10")["plan"]["allocations"][0]["provider"] == "google"
    assert found(shell, "--count", "10", "--strategy", "cheapest")["plan"]["allocations"][0]["provider"] == "kie"
    old = found(shell, "--count", "10000", "--prices", "2025-12", "--tier", "google=3", "--latency", "1")
    assert old["plan"]["cost_usd"] == {"low": 390, "expected": 390, "high": 390}
    assert old["providers"][0]["duration_seconds"] == 400


def test_files_are_read_as_a_run_would(shell: Shell) -> None:
    """Sizes of rows, variants, and what is there already."""
    shell.write("p.csv", "prompt,size,n\nfox,1K,\nowl,2K,2\n")
    answer = found(shell, "p.csv")
    google = [row for row in answer["providers"] if row["provider"] == "google"]
    assert [(row["size"], row["images"]) for row in google] == [("1K", 1), ("2K", 2)]
    assert answer["images"] == 3


def test_a_table_of_products_is_read_through_its_template(shell: Shell) -> None:
    """As the run would with the same options: the README's own example can be estimated."""
    shell.write("products.csv", "product,background\nlamp,oak\nchair,\n")
    template = ("-t", "Studio photo of {product} on {background}", "--size", "2K")
    assert found(shell, "products.csv", *template, "-n", "3")["images"] == 6
    assert found(shell, "products.csv", "--prompt-column", "product")["images"] == 2
    assert found(shell, "products.csv", "--prompt-column", "background", "--skip-invalid")["images"] == 1


@pytest.mark.parametrize("option", [("-t", "{x}"), ("--prompt-column", "x"), ("-n", "2")])
def test_a_number_has_no_columns(shell: Shell, option: tuple[str, str]) -> None:
    """What is about files is an error beside a number, and never silently dropped."""
    done = shell.run("estimate-cost", "--count", "3", *option)
    assert (done.returncode, "are about prompt files" in done.stderr) == (2, True)


def test_no_plan_is_free(shell: Shell) -> None:
    """Where a provider's price is nothing, because its end user pays, the plan says who does."""
    text = shell.run("estimate-cost", "--count", "10", "-p", "puter").stdout
    assert "images at puter are paid by the user whose key it is" in " ".join(text.split())
    assert "paid by" not in shell.run("estimate-cost", "--count", "10", "-p", "google").stdout


def test_text_for_people(shell: Shell) -> None:
    """A table and a sentence; what nobody offers is not in it."""
    done = shell.run("estimate-cost", "--count", "1000", "--size", "4K", "--per", "month", "--baseline", "google")
    assert done.returncode == 0
    assert "1,000 images" in done.stdout
    assert "The plan (priority): 1,000 at google" in done.stdout
    assert "openrouter" not in done.stdout
    assert done.stderr == ""


def test_an_old_table_says_so(shell: Shell) -> None:
    """In one line, on standard error."""
    done = shell.run("estimate-cost", "--count", "1", "--prices", "2025-12")
    assert done.returncode == 0
    assert "days old" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--count"),
        (("p.csv", "--count", "1"), "--count"),
        (("--count", "1", "--prices", "1999"), "1999"),
        (("--count", "1", "--tier", "google"), "PROVIDER=TIER"),
        (("--count", "1", "--size", "3K"), "3K"),
        (("--count", "1", "--size", "512"), "512"),
        (("--count", "0"), "--count"),
        (("gone.csv",), "gone.csv"),
    ],
)
def test_a_mistake_is_2(shell: Shell, arguments: tuple[str, ...], words: str) -> None:
    """With one sentence that says what is wrong."""
    shell.write("p.csv", "prompt\nfox\n")
    done = shell.run("estimate-cost", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stdout == ""


def test_a_profile_fills_in_number_size_and_period_and_says_whom_to_use(shell: Shell) -> None:
    """A table and its prices decide, so the snapshot of 2025-12 gives what was right then."""
    answer = found(shell, "--profile", "china", "--prices", "2025-12")
    assert answer["images"] == 1000
    assert answer["providers"][0]["size"] == "1K"
    assert answer["providers"][0]["monthly_usd"] == 39.0
    advice = answer["profile"]
    assert [choice["provider"] for choice in advice["recommended"]] == ["apiyi", "laozhang"]
    assert list(advice["recommended"][0]) == ["provider", "cost_usd", "batch_cost_usd", "duration_seconds", "why"]
    assert advice["name"] == "china"


def test_the_plan_of_a_profile_is_its_advice(shell: Shell) -> None:
    """Also for somebody whose only key is that of a provider that sells nothing of the kind."""
    shell.env["OPENAI_API_KEY"] = "k"
    answer = found(shell, "--profile", "china")
    names = [choice["provider"] for choice in answer["profile"]["recommended"]]
    assert answer["plan"]["allocations"][0]["provider"] == names[0] == "laozhang"
    other = found(shell, "--profile", "china", "-p", "google")
    assert other["plan"]["allocations"][0]["provider"] == "google"


def test_the_help_names_every_profile(shell: Shell) -> None:
    """What can be asked for can be found."""
    shown = shell.run("estimate-cost", "--help").stdout
    assert all(name in shown for name in profile_names())


def test_what_the_command_line_says_goes_before_the_profile(shell: Shell) -> None:
    """A catalogue may have another number of images."""
    answer = found(shell, "--profile", "ecommerce", "--count", "50", "--size", "4K", "--per", "week")
    assert answer["images"] == 50
    assert {row["size"] for row in answer["providers"]} == {"4K"}
    assert answer["profile"]["recommended"][0]["cost_usd"] == 4.5


def test_a_profile_is_a_line_for_each_choice(shell: Shell) -> None:
    """In a terminal of 80 columns nothing is cut off."""
    done = shell.run("estimate-cost", "--profile", "enterprise-4k")
    assert "1. google: 1,200, the cheapest that fits; the vendor itself" in done.stdout
    assert "…" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--profile", "ecomerce"), "did you mean ecommerce"),
        (("--profile", "china", "p.csv"), "leave out the prompt files"),
    ],
)
def test_a_wrong_profile_is_a_sentence(shell: Shell, arguments: tuple[str, ...], words: str) -> None:
    """Neither a guess nor a traceback."""
    done = shell.run("estimate-cost", *arguments)
    assert done.returncode == 2
    assert words in done.stderr


def test_the_cheapest_mix_for_a_deadline(shell: Shell) -> None:
    """A day and two hours: batches as far as the account may enqueue, flex as far as its slots go, the rest at once."""
    shell.env |= {"GEMINI_API_KEY": "k"}
    plan = found(shell, "--count", "10000", "--strategy", "cheapest", "--deadline", "26h")["plan"]
    assert [(row["provider"], row["lane"]) for row in plan["allocations"]] == [
        ("google", "sync"), ("google", "flex"), ("google", "batch"),
    ]  # fmt: skip
    assert sum(row["images"] for row in plan["allocations"]) == 10_000
    assert sum(row["cost_usd"] for row in plan["allocations"]) == pytest.approx(plan["cost_usd"]["expected"])
    assert plan["cost_usd"]["expected"] < 1400  # 1507.50 without a mix
    assert (plan["in_time"], plan["deadline_seconds"]) == (True, 93_600)
    assert plan["duration_seconds"] <= 93_600
    small = found(shell, "--count", "1000", "--strategy", "cheapest", "--deadline", "26h")["plan"]
    assert small["allocations"] == [{"provider": "google", "lane": "batch", "images": 1000, "cost_usd": 69.6037}]
    assert (small["duration_seconds"], small["bound_by"]) == (86_400, "batches")


def test_a_deadline_that_cannot_be_kept_is_4(shell: Shell) -> None:
    """The plan is then the fastest there is; the sentence names its time and its price."""
    shell.env |= {"GEMINI_API_KEY": "k"}
    late = shell.run("estimate-cost", "--count", "10000", "--strategy", "cheapest", "--deadline", "1h", "-O", "json")
    assert late.returncode == 4
    assert "no mix of lanes is done within 60m; the fastest takes 6.2h and costs about $1,392.07" in late.stderr
    assert "--deadline 6.5h" in late.stderr
    plan = json.loads(late.stdout)["plan"]
    assert (plan["in_time"], plan["duration_seconds"]) == (False, 22_000)
    usual = shell.run("estimate-cost", "--count", "10000", "--deadline", "1h")
    assert usual.returncode == 4
    assert "with --strategy priority it takes 6.2h" in usual.stderr
    assert found(shell, "--count", "10000", "--deadline", "7h")["plan"]["in_time"] is True


def test_a_budget_that_is_too_small_is_4(shell: Shell) -> None:
    """What it is expected to cost decides; the plan is shown all the same."""
    shell.env |= {"GEMINI_API_KEY": "k"}
    dear = shell.run("estimate-cost", "--count", "100", "--budget", "10", "-O", "json")
    assert dear.returncode == 4
    assert "expected to cost $13.92, and the budget is $10.00" in dear.stderr
    assert json.loads(dear.stdout)["plan"]["budget_usd"] == 10
    assert found(shell, "--count", "100", "--budget", "16")["plan"]["cost_usd"]["expected"] == 13.9204


def test_a_mix_of_files_is_counted_row_by_row(shell: Shell) -> None:
    """Sizes, variants and pinned rows are kinds of their own; the table beside the plan counts the same rows."""
    shell.env |= {"GEMINI_API_KEY": "k", "KIE_API_KEY": "k"}
    shell.write("p.csv", "prompt,size,n,provider\nfox,1K,,\nowl,2K,2,\nelk,4K,,kie\n")
    answer = found(shell, "p.csv", "--strategy", "cheapest", "--deadline", "26h")
    assert answer["images"] == 4
    lanes = {(row["provider"], row["lane"]): row["images"] for row in answer["plan"]["allocations"]}
    assert lanes == {("kie", "sync"): 1, ("google", "batch"): 3}
    old = found(shell, "p.csv", "--strategy", "cheapest", "--deadline", "26h", "--prices", "2025-12")
    assert sum(row["images"] for row in old["plan"]["allocations"]) == 4
