"""Another package's provider: the example of docs/providers.md, installed as a package and found by its entry point."""

from __future__ import annotations

import doctest
import re
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nanobatch import providers
from nanobatch.catalog.data import load_catalog
from nanobatch.errors import (
    Ambiguous,
    ConfigError,
    ExchangeError,
    Overloaded,
    RateLimited,
    Refused,
    Rejected,
    ServerFault,
    Undelivered,
)
from nanobatch.model import FREE, Answer, Blob, Order, Reference, Request, Response
from nanobatch.providers.base import Provider, TaskProvider

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "tests" / "third_party_provider"
PAGE = (ROOT / "docs" / "providers.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
FOX = Order("a red fox", "sanguine", size="1K")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Lay the package out as an installer does: its modules, and the metadata that its pyproject.toml describes."""
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    metadata = tmp_path / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 1.0\n")
    groups = project["entry-points"].items()
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in points.items()) for group, points in groups]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    shutil.copy(PACKAGE / "nanobatch_atelier.py", tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("nanobatch_atelier", None)


@pytest.fixture
def atelier(installed: None) -> Provider:
    return providers.load("atelier")


def drawing(state: Any, **more: Any) -> Response:
    return Response(200, {}, json={"state": state, **more})


def polling(atelier: Provider) -> Any:
    conversation = atelier.exchange(FOX)
    next(conversation)
    conversation.send(Response(201, {}, json={"id": "7"}))
    return conversation


def test_the_page_shows_the_files_that_are_tested() -> None:
    """What a reader copies is what runs here, letter by letter."""
    shown = {language: text for language, text in BLOCKS if language in ("toml", "python")}
    assert shown == {
        "toml": (PACKAGE / "pyproject.toml").read_text("utf-8"),
        "python": (PACKAGE / "nanobatch_atelier.py").read_text("utf-8"),
    }


def test_the_pages_conversation_runs_as_it_is_printed(installed: None) -> None:
    """The example of a test is a test."""
    [text] = [text for language, text in BLOCKS if language == "pycon"]
    example = doctest.DocTestParser().get_doctest(text, {}, "providers.md", "providers.md", 0)
    assert len(example.examples) > 5
    assert doctest.DocTestRunner().run(example).failed == 0


def test_the_page_knows_every_provider() -> None:
    """The table names each provider of the catalog with its format, the variables of its key, and its references."""
    rows = {
        cells[0].strip("`"): cells
        for line in PAGE.splitlines()
        if len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == 6
    }
    catalog = load_catalog()
    assert len(catalog.providers) >= 4
    for entry in catalog.providers.values():
        _, protocol, variables, answers, references, _ = rows[entry.name]
        assert protocol == f"`{entry.protocol}`"
        assert re.findall(r"[A-Z_]{5,}", variables) == list(entry.key_variables)
        assert int(references) == catalog.protocols[entry.protocol].references.most
        assert answers in ("at once", "by tasks")


def test_the_package_is_found(installed: None) -> None:
    """Its name stands behind ours, and it has what a format with tasks needs."""
    assert providers.known() == (*providers.PROTOCOLS, "atelier")
    assert isinstance(providers.load("atelier"), TaskProvider)


def test_without_the_package_its_protocol_is_unknown() -> None:
    """Nothing of the example is part of nanobatch."""
    with pytest.raises(ConfigError, match="unknown protocol 'atelier'"):
        providers.load("atelier")


def test_one_order_then_polls_then_the_download(atelier: Provider) -> None:
    """The first request is the only one that costs; every poll carries the task; the image is fetched without the key."""
    conversation = atelier.exchange(FOX)
    order = next(conversation)
    assert (order.method, order.path, order.repeatable, order.task) == ("POST", "/drawings", False, None)
    assert (order.cost.requests, order.cost.images) == (1, 1)
    poll = conversation.send(Response(201, {}, json={"id": 7}))
    waits = [poll.delay_seconds]
    for _ in range(5):
        poll = conversation.send(drawing("waiting"))
        assert poll == Request(
            "GET", "/drawings/7", cost=FREE, delay_seconds=poll.delay_seconds, repeatable=True, task="7"
        )
        waits.append(poll.delay_seconds)
    assert waits == [2, 2, 3, 4, 5, 5]
    download = conversation.send(drawing("done", image="https://cdn.example/7.png", price=0.03))
    assert (download.path, download.download, download.cost) == ("https://cdn.example/7.png", True, FREE)
    blob = Blob(Path("7"), 2048, "0" * 64)
    with pytest.raises(StopIteration) as done:
        conversation.send(Response(200, {}, blob=blob))
    answer = done.value.value
    assert isinstance(answer, Answer)
    assert answer.picture.data == blob
    assert answer.usage is not None
    assert answer.usage.cost_usd == 0.03


def test_a_task_is_taken_up_by_another_process(atelier: Provider) -> None:
    """`resume` begins with a poll and orders nothing."""
    assert isinstance(atelier, TaskProvider)
    poll = next(atelier.resume(FOX, "a?b"))
    assert (poll.method, poll.path, poll.cost, poll.task) == ("GET", "/drawings/a%3Fb", FREE, "a?b")


def test_what_it_cannot_carry_is_rejected_before_anything_is_sent(atelier: Provider) -> None:
    """The catalog does not know the format, so the provider itself says no."""
    references = (Reference(b"x", "image/png", "0" * 64),)
    with pytest.raises(Rejected, match="takes no reference images"):
        next(atelier.exchange(Order("x", "m", references=references)))


@pytest.mark.parametrize("state", ["waiting", "polishing", None, 7, [], {"a": 1}])
def test_a_state_that_it_does_not_know_is_polled_on(atelier: Provider, state: Any) -> None:
    """A drawing that is paid is not given up for a word that nobody explained."""
    conversation = polling(atelier)
    assert conversation.send(drawing(state)).path == "/drawings/7"


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (drawing("refused", reason="no foxes; see https://a.example/x?sig=1"), Refused, "no foxes; see https://a.example/x?***"),
        (drawing("refused"), Refused, "refuses to draw this"),
        (drawing("failed"), ServerFault, "does not bill"),
        (drawing("done"), Undelivered, "link is missing"),
        (drawing("done", image="file:///etc/passwd"), Undelivered, "link is missing"),
        (Response(503, {}, json={}), Overloaded, "overloaded"),
        (Response(200, {}, text="<html>"), ServerFault, "HTML page"),
    ],
)  # fmt: skip
def test_how_a_drawing_can_end(atelier: Provider, answer: Response, kind: type[ExchangeError], says: str) -> None:
    """Each end is the leaf that says what may be done about it."""
    with pytest.raises(ExchangeError) as raised:
        polling(atelier).send(answer)
    assert type(raised.value) is kind
    assert says in raised.value.message


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Response(400, {}, json={"error": {"code": "too_rude", "message": "tut"}}), Refused),
        (Response(400, {}, json={"error": {"message": "size"}}), Rejected),
        (Response(429, {}, json={"error": {"message": "slow down"}}), RateLimited),
        (Response(201, {}, json={}), Ambiguous),
        (Response(201, {}, json={"id": None}), Ambiguous),
    ],
)
def test_how_an_order_can_fail(atelier: Provider, answer: Response, kind: type[ExchangeError]) -> None:
    """An order that may have been accepted is ambiguous; one that was turned away is not."""
    conversation = atelier.exchange(FOX)
    next(conversation)
    with pytest.raises(ExchangeError) as raised:
        conversation.send(answer)
    assert type(raised.value) is kind
