"""Fetching images: redirects, caps, deadlines and refusals, against a real server."""

from __future__ import annotations

import datetime as dt
import itertools
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from nanobatch import __version__
from nanobatch.errors import InputError
from nanobatch.references.addresses import Address, Target
from nanobatch.references.download import Downloader
from tests.unit.references.conftest import Page, Web

INSIDE = Downloader(allow_private=True, timeout_seconds=10)


def reason(downloader: Downloader, url: str) -> str:
    with pytest.raises(InputError) as caught:
        downloader.fetch(url)
    assert "127.0.0.1:" not in caught.value.message
    return caught.value.message


def test_a_body_is_fetched(web: Web) -> None:
    """The bytes are what the server sent, whatever they are, and nothing compressed is asked for."""
    body = bytes(range(256)) * 4000
    assert INSIDE.fetch(web.put("/a.png?size=2&sig=x%2Fy", body)) == body
    (path, headers), *more = web.requests
    assert not more
    assert path == "/a.png?size=2&sig=x%2Fy"
    assert headers["Host"] == f"127.0.0.1:{web.port}"
    assert headers["Accept-Encoding"] == "identity"
    assert headers["User-Agent"] == f"nanobatch/{__version__}"
    assert {"Cookie", "Authorization", "Referer"}.isdisjoint(headers)


def test_a_chunked_body_is_fetched(web: Web) -> None:
    """A server may not know the length beforehand."""
    page = Page(
        headers={"Transfer-Encoding": "chunked"}, pieces=lambda: iter([b"3\r\nabc\r\n", b"2\r\nde\r\n0\r\n\r\n"])
    )
    assert INSIDE.fetch(web.put("/a", page)) == b"abcde"


def test_private_addresses_are_not_even_connected_to(web: Web) -> None:
    """Unless the user allows it, this machine's own servers see nothing."""
    assert "private network" in reason(Downloader(), web.put("/a", b"x"))
    assert "private network" in reason(Downloader(), f"http://localhost:{web.port}/a")
    assert web.requests == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(status: int, web: Web) -> None:
    """Five redirects are followed, relative ones too."""
    web.put("/5", b"image")
    for number in range(5):
        web.redirect(
            f"/{number}",
            to=f"{number + 1}" if number % 2 else f"http://localhost:{web.port}/{number + 1}",
            status=status,
        )
    assert INSIDE.fetch(web.put("/start", web.pages["/0"])) == b"image"
    assert web.paths == ["/start", "/1", "/2", "/3", "/4", "/5"]


def test_a_loop_of_redirects_ends(web: Web) -> None:
    """After five redirects nobody is followed any further."""
    web.redirect("/b", to="/a")
    assert reason(INSIDE, web.redirect("/a", to="/b")) == "more than 5 redirects"
    assert len(web.requests) == 6


class Names:
    """A resolver that gives each name its addresses, one after the other with every question."""

    def __init__(self, **known: list[str]) -> None:
        self.known = {name: itertools.cycle(found) for name, found in known.items()}
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> list[Address]:
        self.asked.append(host)
        return [(socket.AF_INET, (next(self.known[host.partition(".")[0]]), port))]


def test_the_checked_address_is_the_one_connected_to(web: Web) -> None:
    """A name is asked for once per step, so it cannot mean something else when the connection is made."""
    web.put("/a.png", b"image")
    names = Names(pictures=["127.0.0.1", "127.0.0.99"])
    url = f"http://pictures.example:{web.port}/a.png"
    assert Downloader(resolve=names, allow_private=True).fetch(url) == b"image"
    assert names.asked == ["pictures.example"]
    assert web.requests[0][1]["Host"] == f"pictures.example:{web.port}"


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("http://metadata.example/latest", "the host metadata.example is in a private network"),
        ("/latest", "the host pictures.example is in a private network"),  # by now
        ("http://user:secret@pictures.example/", "user name or password"),
        ("file:///etc/passwd", "not file:"),
        ("http://[broken/", "not valid HTTP"),
    ],
)
def test_every_step_of_a_redirect_is_checked(location: str, why: str, web: Web) -> None:
    """A server that may be asked cannot send us where we may not go."""
    web.redirect("/a", to=location)
    names = Names(pictures=["127.0.0.1", "10.0.0.1"], metadata=["169.254.169.254"])
    said = reason(_TrustsTheFirst(resolve=names), f"http://pictures.example:{web.port}/a")
    assert why in said
    assert "secret" not in said
    assert web.paths == ["/a"]


class _TrustsTheFirst(Downloader):
    """Takes the first server for a public one, though it is on this machine, and nobody else."""

    __slots__ = ()

    def _connection(self, target: Target, deadline: Any) -> Any:
        assert isinstance(self.resolve, Names)
        return Downloader._connection(replace(self, allow_private=not self.resolve.asked), target, deadline)


def test_a_redirect_without_an_address_is_an_error(web: Web) -> None:
    """A 302 that leads nowhere is reported by its status."""
    assert reason(INSIDE, web.put("/a", Page(status=302))) == "HTTP 302 without a new address"


@pytest.mark.parametrize("status", [204, 206, 304, 400, 401, 403, 404, 410, 429, 500, 503])
def test_other_answers_are_named_by_their_status(status: int, web: Web) -> None:
    """Only a 200 brings an image; the body of another answer is nobody's business."""
    body = b"" if status in (204, 304) else b"secret"
    assert reason(INSIDE, web.put("/a?sig=secret", Page(body, status))) == f"HTTP {status}"


def test_a_body_that_is_announced_too_large_is_not_read(web: Web) -> None:
    """The length in the header is enough to refuse it."""
    page = Page(headers={"Content-Length": "1001"}, pieces=lambda: iter(()))
    assert reason(Downloader(allow_private=True, max_bytes=1000), web.put("/a", page)) == "larger than 1,000 bytes"


def test_a_body_is_capped_while_it_streams(web: Web) -> None:
    """Without a length it is read up to the limit and no further."""
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while True:
            sent += 65_536
            yield bytes(65_536)

    url = web.put("/a", Page(pieces=endless))
    assert reason(Downloader(allow_private=True, max_bytes=1_000_000), url) == "larger than 1,000,000 bytes"
    assert sent < 50_000_000
    assert len(Downloader(allow_private=True, max_bytes=1_000_000).fetch(web.put("/b", bytes(1_000_000)))) == 1_000_000


def test_a_cut_body_is_not_an_image(web: Web) -> None:
    """Fewer bytes than announced, in either way of announcing them, are an error."""
    page = Page(headers={"Content-Length": "10"}, pieces=lambda: iter([b"12345"]))
    assert reason(INSIDE, web.put("/a", page)) == "the answer is cut off after 5 bytes"
    page = Page(headers={"Transfer-Encoding": "chunked"}, pieces=lambda: iter([b"a\r\n12345"]))
    assert reason(INSIDE, web.put("/b", page)) == "the answer is cut off"


def test_a_silent_server_is_left(web: Web) -> None:
    """A body that never comes ends the download at its time limit."""

    def silent() -> Iterator[bytes]:
        yield b"x"
        web.released.wait(30)

    url = web.put("/a?secret", Page(pieces=silent))
    assert reason(Downloader(allow_private=True, timeout_seconds=0.1), url) == "not fetched within 0.1 s"


@pytest.mark.parametrize("where", ["head", "body"])
def test_single_bytes_do_not_extend_the_time(where: str, web: Web) -> None:
    """The limit is for the whole download: who sends a byte now and then does not win."""
    seconds = itertools.count()  # every step on the socket takes one

    def dripping() -> Iterator[bytes]:
        for _ in range(1000):
            yield b"x"
            if web.released.wait(0.001):
                return

    headers = {"Content-Length": "100000"} if where == "body" else {"X-" + "y" * 60_000: "z"}
    url = web.put("/a", Page(headers=headers, pieces=dripping))
    downloader = Downloader(allow_private=True, timeout_seconds=9, monotonic=lambda: float(next(seconds)))
    assert reason(downloader, url) == "not fetched within 9 s"
    assert next(seconds) < 20


def test_a_closed_port_is_a_reason(web: Web) -> None:
    """Where nobody listens, the reason is the system's."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    assert reason(INSIDE, f"http://127.0.0.1:{port}/?secret") == "no connection: Connection refused"


def test_a_server_that_never_shakes_hands_is_left() -> None:
    """A port that is open and silent takes a part of the time only, so that other addresses have a chance."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"https://127.0.0.1:{server.getsockname()[1]}/"
        downloader = Downloader(allow_private=True, timeout_seconds=10, connect_seconds=0.1)
        assert reason(downloader, url) == "no connection within 0.1 s"


def test_the_next_address_is_tried(web: Web) -> None:
    """A host has several addresses, of which the first may be dead."""
    web.put("/a", b"image")

    def resolve(_host: str, port: int) -> list[Address]:
        return [(socket.AF_INET, ("127.0.0.77", port)), (socket.AF_INET, ("127.0.0.1", port))]

    assert Downloader(allow_private=True, resolve=resolve).fetch(f"http://pictures.example:{web.port}/a") == b"image"


def test_what_is_not_http_is_refused() -> None:
    """A server of another kind is no reason to crash."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def greet() -> None:
            client, _ = server.accept()
            with client:
                client.sendall(b"220 mail.example ESMTP\r\n")
                client.recv(1000)

        thread = threading.Thread(target=greet)
        thread.start()
        assert reason(INSIDE, f"http://127.0.0.1:{port}/") == "the answer is not valid HTTP"
        thread.join()


# ------------------------------------------------------------------------------------------------------------- TLS


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Make a certificate for pictures.example that signs itself, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "pictures.example")])
    now = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("pictures.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = tmp_path / "pictures.pem"
    path.write_bytes(built.public_bytes(pem) + secret)
    return path


@pytest.fixture
def secured(web: Web, certificate: Path) -> Web:
    """Make the server speak TLS; the handshake happens in the thread of each connection."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    web.server.socket = context.wrap_socket(web.server.socket, server_side=True, do_handshake_on_connect=False)
    return web


def test_the_certificate_is_for_the_name(secured: Web, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the connection goes to an address, the certificate has to be the host's."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    secured.put("/a.png", b"image" * 100_000)
    downloader = Downloader(allow_private=True, resolve=Names(pictures=["127.0.0.1"], other=["127.0.0.1"]))
    assert downloader.fetch(f"https://pictures.example:{secured.port}/a.png") == b"image" * 100_000
    said = reason(downloader, f"https://other.example:{secured.port}/a.png")
    assert said.startswith("the certificate is not valid: Hostname mismatch")


def test_a_certificate_that_nobody_vouches_for_is_refused(secured: Web) -> None:
    """Nothing is sent to a server that cannot say who it is."""
    downloader = Downloader(allow_private=True, resolve=Names(pictures=["127.0.0.1"]))
    assert "the certificate is not valid" in reason(downloader, f"https://pictures.example:{secured.port}/a")
    assert secured.requests == []


def test_a_server_without_tls_is_a_reason(web: Web) -> None:
    """An https URL of a server that speaks plain HTTP fails in words."""
    assert reason(INSIDE, f"https://127.0.0.1:{web.port}/").startswith("no TLS connection: ")
