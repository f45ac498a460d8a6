"""Credentials of Google Cloud, through the real google-auth against a token service of paper on loopback."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import doctest
import importlib
import json
import math
import os
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from nanobatch import google_credentials
from nanobatch.errors import AccountStopped, ConfigError, NanobatchError, NoProvider, Unsent
from nanobatch.google_credentials import GoogleCredential, project_of
from tests.fakes import ManualClock

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "ya29.SECRET-0123456789-token"
VARIABLES = (
    "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT", "GOOGLE_CLOUD_QUOTA_PROJECT",
    "CLOUDSDK_CONFIG", "CLOUDSDK_CORE_PROJECT",
)  # fmt: skip


class TokenService:
    """Answers every request for a token with the same status and body, and remembers what was asked."""

    def __init__(self) -> None:
        self.status = 200
        self.body: Any = None  # None: tokens, numbered
        self.lifetime: Any = 3600
        self.asked: list[dict[str, str]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/token"

    def answer(self, form: str) -> bytes:
        self.asked.append(dict(urllib.parse.parse_qsl(form)))
        if isinstance(self.body, str):
            return self.body.encode()
        token = {"access_token": f"{TOKEN}-{len(self.asked)}", "expires_in": self.lifetime, "token_type": "Bearer"}
        return json.dumps(token if self.body is None else self.body).encode()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = service.answer(self.rfile.read(int(self.headers["content-length"])).decode())
                self.send_response(service.status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        return Handler


@pytest.fixture(scope="module")
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    kind, encoding = serialization.PrivateFormat.PKCS8, serialization.Encoding.PEM
    return key.private_bytes(encoding, kind, serialization.NoEncryption()).decode()


@pytest.fixture
def service() -> Iterator[TokenService]:
    found = TokenService()
    yield found
    found.close()


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the credentials of the machine that runs the tests, also those of a machine in Google's cloud."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("PATH", "")  # no gcloud


@pytest.fixture
def key_file(service: TokenService, private_key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A service account's key, as the console gives it out, whose token service is ours."""
    path = tmp_path / "account.json"
    account = {
        "type": "service_account", "project_id": "a-project", "private_key_id": "k1", "private_key": private_key,
        "client_email": "robot@a-project.iam.gserviceaccount.com", "client_id": "1", "token_uri": service.url,
    }  # fmt: skip
    path.write_text(json.dumps(account))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    return path


@pytest.fixture
def clock() -> ManualClock:
    """Starts now, because the library reads the machine's clock for the moment at which a token expires."""
    return ManualClock(now=0.0, wall_offset=time.time())


@pytest.fixture
def credential(key_file: Path, clock: ManualClock) -> GoogleCredential:
    return GoogleCredential(clock)


async def failure_of(credential: GoogleCredential) -> NanobatchError:
    with pytest.raises(NanobatchError) as raised:
        await credential.headers()
    return raised.value


async def test_a_request_is_signed_with_a_token(credential: GoogleCredential, service: TokenService) -> None:
    """The account's own signature is exchanged for a token of the scope that Vertex AI wants."""
    assert await credential.headers() == {"authorization": f"Bearer {TOKEN}-1"}
    [asked] = service.asked
    assert asked["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    claims = json.loads(base64.urlsafe_b64decode(asked["assertion"].split(".")[1] + "=="))
    assert claims["scope"] == "https://www.googleapis.com/auth/cloud-platform"
    assert claims["iss"] == "robot@a-project.iam.gserviceaccount.com"


async def test_a_quota_project_is_named_beside_the_token(
    credential: GoogleCredential, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is billed for the quota may differ from whose credentials they are."""
    monkeypatch.setenv("GOOGLE_CLOUD_QUOTA_PROJECT", "who-pays")
    assert await credential.headers() == {"authorization": f"Bearer {TOKEN}-1", "x-goog-user-project": "who-pays"}


async def test_a_token_is_used_until_five_minutes_before_its_end(
    credential: GoogleCredential, clock: ManualClock, service: TokenService
) -> None:
    """An hour's token is asked for once an hour, and never sent when it may expire on the way."""
    first = await credential.headers()
    clock.now = 3290.0
    assert await credential.headers() is first
    clock.now = 3400.0
    assert await credential.headers() == {"authorization": f"Bearer {TOKEN}-2"}
    assert len(service.asked) == 2


async def test_a_token_of_short_life_is_used_for_half_of_it(
    credential: GoogleCredential, clock: ManualClock, service: TokenService
) -> None:
    """A cloud machine's service hands out what it has, also with four minutes left; not each request asks again."""
    service.lifetime = 240
    for now, asked in ((0.0, 1), (60.0, 1), (110.0, 1), (150.0, 2)):
        clock.now = now
        await credential.headers()
        assert len(service.asked) == asked


@pytest.mark.parametrize(
    ("left", "used_for"),
    [(3600, 3300), (601, 301), (600, 300), (300, 150), (10, 5), (0, 0), (-7200, -3600)],
)
def test_how_long_a_token_is_used(left: float, used_for: float) -> None:
    """Five minutes before its end, or half its life; one that has expired is not kept."""
    now = 1_790_000_000.0
    expiry = dt.datetime.fromtimestamp(now + left, dt.UTC).replace(tzinfo=None)
    assert google_credentials._use_until(expiry, now) == now + used_for


def test_a_token_without_an_end_is_kept() -> None:
    """Not every service says when its tokens expire."""
    assert google_credentials._use_until(None, 0.0) == math.inf


async def test_the_file_is_read_once(credential: GoogleCredential, clock: ManualClock, key_file: Path) -> None:
    """A refresh in the middle of a run does not depend on a file that was moved meanwhile."""
    await credential.headers()
    key_file.unlink()
    clock.now = 4000.0
    assert await credential.headers() == {"authorization": f"Bearer {TOKEN}-2"}


async def test_one_refresh_serves_all(credential: GoogleCredential, service: TokenService) -> None:
    """A thousand jobs that start together fetch one token."""
    found = await asyncio.gather(*(credential.headers() for _ in range(1000)))
    assert len(service.asked) == 1
    assert all(headers == {"authorization": f"Bearer {TOKEN}-1"} for headers in found)


async def test_one_failure_serves_all_who_waited(credential: GoogleCredential, service: TokenService) -> None:
    """Jobs that wait for the same token do not queue to fail one after another; who comes later tries again."""
    service.status, service.body = 400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
    failures = await asyncio.gather(*(failure_of(credential) for _ in range(50)))
    assert len(service.asked) == 1
    assert {type(error) for error in failures} == {AccountStopped}
    assert len({error.message for error in failures}) == 1
    assert len(set(map(id, failures))) == 50, "each job writes its own provider into its own error"
    service.status, service.body = 200, None
    assert await credential.headers() == {"authorization": f"Bearer {TOKEN}-2"}


async def test_a_second_failure_is_asked_for_again(credential: GoogleCredential, service: TokenService) -> None:
    """An old failure is not the answer to a new question."""
    service.status, service.body = 400, {"error": "invalid_grant"}
    await failure_of(credential)
    await failure_of(credential)
    assert len(service.asked) == 2


async def test_the_loop_goes_on_while_a_token_is_fetched(credential: GoogleCredential) -> None:
    """The library blocks, so it works in a thread."""
    turns = 0
    fetching = asyncio.ensure_future(credential.headers())
    while not fetching.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns > 3
    assert fetching.result()


@pytest.mark.parametrize(
    ("status", "body", "kind", "says"),
    [
        (400, {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}, AccountStopped, "expired or revoked"),
        (401, {"error": "invalid_client"}, AccountStopped, "invalid_client"),
        (403, "no", AccountStopped, "does not accept the credentials"),
        (400, {"error": {"nested": 1}}, AccountStopped, "does not accept the credentials"),
        (200, {}, AccountStopped, "No access token"),
        (200, {"access_token": ""}, Unsent, "without a token"),
        (200, {"access_token": None}, Unsent, "without a token"),
        (200, {"access_token": 7, "expires_in": 3600}, Unsent, "without a token"),
        (200, {"access_token": "x", "expires_in": "soon"}, Unsent, "no token"),
        (200, "<html>Please log in to the hotel's network</html>", Unsent, "no token"),
        (200, "", Unsent, "no token"),
        (200, [], Unsent, "no token"),
    ],
)  # fmt: skip
async def test_what_a_refused_token_means(
    credential: GoogleCredential, service: TokenService, status: int, body: Any, kind: type[NanobatchError], says: str
) -> None:
    """Credentials that are refused close the provider; a network that answers in Google's place is tried again."""
    service.status, service.body = status, body
    error = await failure_of(credential)
    assert type(error) is kind
    assert says in error.message
    assert error.message.isprintable()


async def test_a_network_that_is_down_is_tried_again(credential: GoogleCredential, service: TokenService) -> None:
    """Nothing was sent, so nothing was billed."""
    service.close()
    error = await failure_of(credential)
    assert type(error) is Unsent
    assert "cannot be reached" in error.message


async def test_a_missing_list_of_authorities_is_told(
    credential: GoogleCredential, key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An environment variable that names no file is found by its own words."""
    account = json.loads(key_file.read_text()) | {"token_uri": "https://127.0.0.1:9/token"}
    key_file.write_text(json.dumps(account))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    error = await failure_of(credential)
    assert type(error) is Unsent
    assert "/nowhere/ca.pem" in error.message


def test_what_the_library_calls_passing_is_passing() -> None:
    """Its own tries are over then, and ours are not; some credentials hide the network's error in another."""
    kinds: Any = importlib.import_module("google.auth.exceptions")
    hidden = kinds.RefreshError("x")
    hidden.__cause__ = kinds.TransportError("no route")
    assert google_credentials._is_passing(kinds.RefreshError("x", retryable=True), kinds)
    assert google_credentials._is_passing(kinds.TimeoutError("x"), kinds)
    assert google_credentials._is_passing(hidden, kinds)
    assert not google_credentials._is_passing(kinds.RefreshError("x"), kinds)


async def test_the_token_is_in_no_text(credential: GoogleCredential, service: TokenService, clock: ManualClock) -> None:
    """Neither what is printed while debugging nor the sentence of an error holds a token, new or old."""
    assert repr(credential) == "GoogleCredential(has_token=False)"
    await credential.headers()
    assert repr(credential) == "GoogleCredential(has_token=True)"
    clock.now = 4000.0
    service.status, service.body = 400, {"message": "no", "access_token": TOKEN}
    error = await failure_of(credential)
    assert type(error) is AccountStopped
    assert "SECRET" not in f"{error} {error!r} {error.__cause__!r}"


async def test_without_credentials_the_way_to_get_some_is_named() -> None:
    """A person learns the one command that helps."""
    error = await failure_of(GoogleCredential())
    assert type(error) is NoProvider
    assert "`gcloud auth application-default login`" in error.message
    with pytest.raises(NoProvider):
        project_of()


@pytest.mark.parametrize(
    "content",
    [
        None, b"", b"no json", b"[]", b"{}", b"7", b"null", b"\xff\xfe", b'{"type": "strange"}',
        b'{"type": "service_account"}', b'{"type": "service_account", "private_key": "x", "client_email": "y", "token_uri": "z"}',
        b'{"type": "authorized_user"}', b'{"type": ["x"]}',
    ],
)  # fmt: skip
async def test_a_file_that_is_no_key_is_a_mistake_in_the_configuration(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the variable names, the sentence names the variable, and nothing is sent."""
    path = tmp_path / "key.json"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    error = await failure_of(GoogleCredential())
    assert type(error) is ConfigError
    assert "GOOGLE_APPLICATION_CREDENTIALS" in error.message
    assert error.message.isprintable()


async def test_a_folder_is_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that leads to no file at all is the same mistake."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path))
    assert type(await failure_of(GoogleCredential())) is ConfigError


def test_the_project_of_a_key_is_known(key_file: Path, service: TokenService) -> None:
    """The file names it, and no token is needed to know it."""
    assert project_of() == "a-project"
    assert service.asked == []


@pytest.mark.parametrize("name", ["GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT"])
def test_the_environment_names_the_project_first(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who says it there means it, with or without credentials."""
    monkeypatch.setenv(name, "my-project")
    assert project_of() == "my-project"


def test_a_key_without_a_project(
    key_file: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """None is an answer, and the library's warning about it stays off the console."""
    account = json.loads(key_file.read_text())
    del account["project_id"]
    key_file.write_text(json.dumps(account))
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "")
    assert project_of() is None
    assert capfd.readouterr() == ("", "")


def test_without_the_package_its_name_is_told() -> None:
    """The library is an extra; who asks for Vertex AI without it learns what to install."""
    code = (
        "import asyncio\n"
        "from nanobatch.google_credentials import GoogleCredential\n"
        "asyncio.run(GoogleCredential().headers())"
    )
    bare = [sys.executable, "-S", "-c", code]  # -S: without the packages that are installed
    found = subprocess.run(bare, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False)
    assert "ConfigError" in found.stderr
    assert "pip install 'nanobatch[vertex]'" in found.stderr


def test_nobody_else_pays_for_the_import() -> None:
    """Importing this module imports no library of Google's."""
    code = "import sys, nanobatch.google_credentials\nassert not [m for m in sys.modules if m.startswith('google')]"
    subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True, timeout=60)


def test_the_example_works() -> None:
    """The class's example can be typed as it is printed."""
    assert doctest.testmod(google_credentials).failed == 0
