"""Questions that `cache clear` asks, and how figures are written."""

from __future__ import annotations

import io
import sys

import pytest
import typer

from nanobatch.cache_assembly import user_folder
from nanobatch.caches.embedded import EmbeddedCache
from nanobatch.cli.cache_upkeep import drop_all, drop_useless, tell
from tests.unit.caches.test_embedded import NOW, WEEK, job, refusal


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def known() -> int:
    cache = EmbeddedCache(user_folder(), ttl_seconds=WEEK)
    found = len(cache.look_up([job(1)], now=NOW))
    cache.close()
    return found


@pytest.mark.parametrize(("says", "code", "left"), [("n\n", 2, 1), ("", 2, 1), ("y\n", 0, 0)])
def test_a_person_is_asked(monkeypatch: pytest.MonkeyPatch, says: str, code: int, left: int) -> None:
    """Anything but yes leaves everything as it is."""
    cache = EmbeddedCache(user_folder(), ttl_seconds=WEEK)
    cache.put([refusal(1)], now=NOW)
    cache.close()
    monkeypatch.setattr(sys, "stdin", Terminal(says))
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert drop_all(None, yes=False, as_json=False) == code
    assert known() == left


def test_people_read_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    """An empty cache is described, too."""
    assert tell(None, as_json=False) == 0
    out = capsys.readouterr().out
    assert "0, 0.0 MB, worth $0.00" in out
    assert "oldest" in out
    assert drop_useless(None, older_than=None, as_json=False) == 0
    assert capsys.readouterr().out == "dropped 0 too old, 0 whose image is gone; 0.0 MB freed\n"


def test_an_age_is_a_duration() -> None:
    """Else the option is named, before anything is dropped."""
    with pytest.raises(typer.BadParameter, match="--older-than"):
        drop_useless(None, older_than="soon", as_json=False)
