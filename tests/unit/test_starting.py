"""How a run starts, whoever asks: settings, checks, the sandbox."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest

from nanobatch.errors import ConfigError, StoreError
from nanobatch.journal import KEPT
from nanobatch.preparation import Request
from nanobatch.starting import NOWHERE, SANDBOX_BOOKS, check, nothing_sent, served


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("p.csv").write_text("prompt\na fox\n")
    return tmp_path


def test_checking_writes_nothing(folder: Path) -> None:
    """The sandbox is not started for it either."""
    ready = check(Request(("p.csv",)), {}, None, sandbox=True)
    assert {provider.base_url.startswith(NOWHERE) for provider in ready.settings.providers} == {True}
    assert ready.prepared.plan.jobs == 1
    ready.prepared.references.close()
    assert [path.name for path in folder.iterdir()] == ["p.csv"]


def test_the_sandbox_works_as_long_as_it_is_needed(folder: Path) -> None:
    """Its address is in the settings of the run, of every seller and of what may follow; then it is gone."""
    ready = check(Request(("p.csv",)), {"output.dir": "out"}, None, sandbox=True)
    with served(ready) as reachable:
        addresses = {provider.base_url for provider in reachable.settings.providers}
        assert {seller.settings.base_url for seller in reachable.prepared.sellers} == addresses
        root = next(iter(addresses)).split("/v1")[0].rstrip("/")
        with urllib.request.urlopen(f"{root.split('/', 3)[0]}//{root.split('/')[2]}/__books") as books:
            assert json.load(books)["images"] == 0
    ready.prepared.references.close()
    assert (folder / "out" / SANDBOX_BOOKS).exists()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{root.split('/', 3)[0]}//{root.split('/')[2]}/__books")


def test_without_the_sandbox_nothing_is_added() -> None:
    """The run is served by those who are in its settings."""
    flags = {"providers": ["google"]}
    ready = check(Request(("p.csv",)), flags, None, sandbox=False, without_keys=True)
    with served(ready) as reachable:
        assert reachable is ready
    ready.prepared.references.close()


@pytest.mark.parametrize(
    ("request_", "flags", "words"),
    [
        (Request(("p.csv",)), {"output.dir": "p.csv"}, "p.csv is a file; choose a folder"),
        (Request(("p\udc80.csv",)), {}, "file names must be valid UTF-8"),
    ],
)
def test_names_that_cannot_be_used(request_: Request, flags: dict[str, str], words: str) -> None:
    """Before anything is paid."""
    with pytest.raises(ConfigError, match=words):
        check(request_, flags, None, sandbox=True)


def test_a_place_that_cannot_be_written_is_to_be_changed() -> None:
    """Nothing was sent, so nothing is kept, and running again would not help."""
    error = nothing_sent(StoreError(f"cannot write x: the disk is full{KEPT}"))
    assert error.message == "cannot write x: the disk is full; nothing was sent: name another place"
