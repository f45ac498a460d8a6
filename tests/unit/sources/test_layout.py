"""Tests of finding columns by name."""

from __future__ import annotations

import pytest

from nanobatch.sources.layout import describe_missing, lay_out


@pytest.mark.parametrize("name", ["prompt", "Prompt", " PROMPTS ", "text", "Caption"])
def test_prompt_has_several_names(name: str) -> None:
    """The prompt's column is known by the names that data sets use, in any case."""
    assert lay_out(["x", name]).known == {"prompt": name}


def test_the_first_name_of_the_prompt_wins() -> None:
    """With a prompt and a caption, the caption is a column like any other."""
    layout = lay_out(["caption", "prompt"])
    assert (layout.known, layout.others) == ({"prompt": "prompt"}, ("caption",))


@pytest.mark.parametrize("name", ["aspect_ratio", "Aspect Ratio", "ASPECT-RATIO", " aspect ratio "])
def test_blanks_and_hyphens_are_underscores(name: str) -> None:
    """People write aspect ratio in many ways."""
    assert lay_out(["prompt", name]).known["aspect_ratio"] == name


def test_unknown_columns_are_kept_as_they_are_written() -> None:
    """What nanobatch does not know travels on under its own header, in order."""
    assert lay_out(["Prompt", "Category", "SKU #"]).others == ("Category", "SKU #")


def test_another_column_may_be_the_prompt() -> None:
    """With --prompt-column, a column named prompt is one like any other, and the chosen one serves nothing else."""
    layout = lay_out(["prompt", "Beschreibung"], prompt_column="beschreibung")
    assert (layout.known, layout.others) == ({"prompt": "Beschreibung"}, ("prompt",))
    assert lay_out(["name", "id"], prompt_column="Name").known == {"prompt": "name", "id": "id"}
    assert "prompt" not in lay_out(["prompt"], prompt_column="nope").known


def test_the_exact_spelling_wins() -> None:
    """JSON objects may hold both; the exact key is meant."""
    assert lay_out(["seed", "Seed"]).known["seed"] == "seed"
    assert lay_out(["Seed", "seed"]).known["seed"] == "seed"


def test_find_prefers_exact_then_known_then_similar() -> None:
    """A template finds a column by its header, by nanobatch's name for it, or without regard to case."""
    layout = lay_out(["Text", "Product Name", "a b", "a_b"])
    assert layout.find("prompt") == "Text"
    assert layout.find("product_name") == "Product Name"
    assert (layout.find("a b"), layout.find("a_b")) == ("a b", "a_b")
    assert layout.find("nope") is None


def test_missing_columns_are_explained() -> None:
    """The message has the nearest column and the others."""
    layout = lay_out(["Product", "prompt"])
    assert layout.lacking(["prompt", "product"]) is None
    assert layout.lacking(["prodct"]) == "no column 'prodct' (did you mean 'Product'? columns: Product, prompt)"
    assert describe_missing("x", ()) == "no column 'x' (columns: none)"


def test_a_hostile_header_cannot_flood_or_command_the_terminal() -> None:
    """Only some columns are shown, and those without control characters."""
    message = describe_missing("prompt", ["\x1b]0;pwn\x07", *(f"c{number}" for number in range(5_000))])
    assert len(message) < 200
    assert message.isprintable()
