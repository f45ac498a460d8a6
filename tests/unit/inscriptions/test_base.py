"""The words, and the file that is read in steps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nanobatch.errors import StoreError
from nanobatch.inscriptions.base import Inscription, Unfit, opened


def test_params_are_one_line_of_json() -> None:
    """Readable as it stands, whatever the language; nothing where nothing is asked for."""
    words = Inscription(params={"size": "1K", "note": "狐\n"})
    assert words.params_json == '{"size": "1K", "note": "狐\\n"}'
    assert json.loads(words.params_json) == words.params
    assert Inscription("a fox").params_json is None


@pytest.mark.parametrize(("params", "system"), [({"provider_model": "m-1"}, "m-1"), ({}, None), (None, None)])
def test_the_system_is_the_providers_model(params: dict[str, str] | None, system: str | None) -> None:
    """Only what is known is said."""
    assert Inscription("a fox", params).system == system


def test_a_stretch_comes_in_pieces(tmp_path: Path) -> None:
    """Never more than so many bytes at a time, and all of them."""
    path = tmp_path / "x"
    path.write_bytes(b"0123456789")
    with opened(path) as file:
        assert list(file.stretch((1, 9), 3)) == [b"123", b"456", b"78"]
        with pytest.raises(Unfit, match="ends in the middle"):
            file.read(8, 3)


def test_a_file_that_is_gone_is_a_store_error(tmp_path: Path) -> None:
    """Not a bare OSError."""
    with pytest.raises(StoreError), opened(tmp_path / "gone"):
        pass


def test_a_file_that_cannot_be_read_keeps_its_image(tmp_path: Path) -> None:
    """A disk that fails is a reason to write nothing into it, and no end of the run; a folder fails in the same way."""
    with opened(tmp_path) as file, pytest.raises(Unfit, match="cannot be read: Is a directory"):
        file.read(0, 1)
