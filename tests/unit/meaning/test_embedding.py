"""Prompts in numbers, without a network."""

from __future__ import annotations

import numpy as np
import pytest

from nanobatch.meaning.embedding import DIMENSIONS, Embedding, _folder_of


@pytest.fixture(scope="module")
def embedding() -> Embedding:
    return Embedding()


def test_the_model_comes_with_its_package(embedding: Embedding) -> None:
    """It loads from the disk, and every text has a row of length one."""
    rows = embedding.embed(["a red fox", "a couch", "赤いキツネ"])
    assert rows.shape == (3, DIMENSIONS)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


def test_what_is_near_in_meaning_is_near_in_numbers(embedding: Embedding) -> None:
    """It ranks: a couch is nearer to a sofa than to a train. Which numbers differ, it does not see."""
    sofa, couch, train = embedding.embed(["a cat on a sofa", "a cat on a couch", "a cat on a train"])
    assert sofa @ couch > sofa @ train
    three, four = embedding.embed(["3 red balls", "4 red balls"])
    assert three @ four > 0.9


def test_nothing_is_far_from_everything(embedding: Embedding) -> None:
    """A text without tokens has no direction."""
    assert not embedding.embed([""]).any()
    assert embedding.embed([]).shape == (0, DIMENSIONS)


def test_a_model_that_is_not_there_is_told_by_its_name() -> None:
    """Whoever asked for it makes a sentence of that."""
    with pytest.raises(ModuleNotFoundError) as caught:
        _folder_of("no_such_model")
    assert caught.value.name == "no_such_model"
