"""The checks of the doctor."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from nanobatch import doctor
from nanobatch.catalog import load_catalog
from nanobatch.doctor import FREE_CALLS, Finding, catalog_age, disk, exit_code, keys, machine, ping
from nanobatch.errors import Ambiguous, ExchangeError, Unsent
from nanobatch.model import Request, Response
from nanobatch.providers import PROTOCOLS
from nanobatch.settings import Defaults, OutputSettings, RunSettings, Settings
from tests.fakes import ManualClock
from tests.harness import settings as provider

pytestmark = pytest.mark.anyio
CATALOG = load_catalog()


@dataclass
class Sender:
    answer: Response | ExchangeError
    asked: list[Request] = field(default_factory=list)

    async def send(self, request: Request) -> Response:
        self.asked.append(request)
        if isinstance(self.answer, ExchangeError):
            raise self.answer
        return self.answer


def statuses(findings: list[Finding]) -> dict[str, str]:
    return {finding.name: finding.status for finding in findings}


def test_a_sound_machine(tmp_path: Path) -> None:
    """Python, libraries and room on the disk; a folder that is not there yet is looked for above."""
    assert statuses(machine({})) == {"python": "ok"}
    assert disk(tmp_path).status == "ok"
    assert disk(tmp_path / "not" / "there" / "yet").status == "ok"


def test_a_proxy_is_named() -> None:
    """Whoever cannot get through learns by which way requests go; its address may hold a password and is not shown."""
    found = machine({"HTTPS_PROXY": "http://user:pw@proxy", "no_proxy": "x"})
    assert statuses(found)["proxy"] == "ok"
    assert "HTTPS_PROXY" in found[-1].message
    assert "pw" not in found[-1].message


def test_a_full_disk_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images need room."""
    monkeypatch.setattr(doctor, "LEAST_FREE_BYTES", 10**18)
    assert disk(tmp_path).status == "warning"


def test_old_prices_are_a_warning() -> None:
    """After ninety days somebody should look again."""
    born = dt.datetime.combine(CATALOG.as_of, dt.time(12), dt.UTC).timestamp()
    oldest = min(entry.as_of for entry in CATALOG.providers.values())
    clock = ManualClock(now=0.0, wall_offset=born)
    assert catalog_age(CATALOG, clock).status == "ok"
    clock.wall_offset = dt.datetime.combine(oldest + dt.timedelta(days=91), dt.time(12), dt.UTC).timestamp()
    found = catalog_age(CATALOG, clock)
    assert found.status == "warning"
    assert "91 days" in found.message


def test_two_keys_for_one_provider_are_told() -> None:
    """Which of them counts must not be a surprise; the keys themselves are not shown."""
    google = replace(provider("google"), name="google")
    settings = Settings(Defaults(), RunSettings(), OutputSettings(), (google,), warnings=("kie is left out",))
    found = list(keys(settings, {"GEMINI_API_KEY": "one", "GOOGLE_API_KEY": "two"}, CATALOG))
    assert [finding.status for finding in found] == ["warning", "warning", "ok"]
    assert "GEMINI_API_KEY and GOOGLE_API_KEY" in found[1].message
    assert not any("one" in finding.message for finding in found[1:2])
    same = list(keys(settings, {"GEMINI_API_KEY": "one", "GOOGLE_API_KEY": "one"}, CATALOG))
    assert [finding.status for finding in same] == ["warning", "ok"]


DATE = {"date": "Mon, 23 Nov 2026 12:00:00 GMT"}
NOON = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC).timestamp()


@pytest.mark.parametrize(
    ("answer", "status", "code", "words"),
    [
        (Response(200, DATE, json={"models": []}), "ok", 0, "accepted"),
        (Response(200, {}, json={"models": []}), "ok", 0, "accepted"),
        (Response(200, {"date": "nonsense"}, json={"models": []}), "ok", 0, "accepted"),
        (Response(200, {"date": "Mon, 23 Nov 2026 11:00:00 GMT"}, json={}), "warning", 0, "clock is +3600 s"),
        (Response(401, {}, json={"error": {"message": "no such key"}}), "problem", 3, "no such key"),
        (Response(400, {}, json={"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT",
            "details": [{"reason": "API_KEY_INVALID"}]}}), "problem", 3, "key"),
        (Response(404, {}, text="not found"), "warning", 0, "lists no models"),
        (Response(503, {}, json={"error": {"message": "busy"}}), "warning", 0, "busy"),
        (Unsent("cannot connect: refused; nothing was sent"), "problem", 5, "base_url"),
        (Ambiguous("the answer did not come whole"), "problem", 5, "whole"),
    ],
)  # fmt: skip
async def test_a_ping_tells_what_is_wrong(answer: Response | ExchangeError, status: str, code: int, words: str) -> None:
    """The key, the address, the clock or the provider itself: each in a sentence, with an exit code of its own."""
    sender = Sender(answer)
    found = await ping(provider("google"), sender, ManualClock(now=0.0, wall_offset=NOON))
    assert (found.status, found.exit_code) == (status, code), found
    assert words in found.message
    [request] = sender.asked
    assert (request.method, request.cost.requests, request.repeatable) == ("GET", 0, True)


@pytest.mark.parametrize("protocol", sorted(set(PROTOCOLS) - set(FREE_CALLS)))
async def test_what_has_no_free_call_is_not_pinged(protocol: str) -> None:
    """Nothing that might cost something is ever sent."""
    sender = Sender(Response(200, {}, json={}))
    found = await ping(replace(provider("x"), protocol=protocol), sender, ManualClock())
    assert found.status == "ok"
    assert sender.asked == []


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ([Finding("python", "ok", "")], 0),
        ([Finding("catalog", "warning", "")], 0),
        ([Finding("disk", "problem", "", 2), Finding("ping a", "problem", "", 5)], 2),
        ([Finding("ping a", "problem", "", 3), Finding("ping b", "problem", "", 5)], 3),
        ([Finding("ping a", "problem", "", 3), Finding("ping b", "ok", "")], 0),
    ],
)
def test_the_exit_code_is_the_first_problems(findings: list[Finding], code: int) -> None:
    """One provider that works is enough to run."""
    assert exit_code(findings) == code
