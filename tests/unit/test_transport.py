"""One exchange with a server that sends exactly the bytes a test wrote, and what each outcome means for money."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import email.message
import email.policy
import gzip
import itertools
import json
import logging
import re
import socket
import ssl
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from nanobatch.connections import Connections, resolves_to_public
from nanobatch.errors import Ambiguous, ConfigError, DecodeError, StoreError, Unsent
from nanobatch.model import Blob, Form, FormFile, Request
from nanobatch.transport import USER_AGENT, HttpTransport, _check_place

pytestmark = pytest.mark.anyio

IMAGE = bytes(range(256)) * 400
KEY = "sk-very-secret-key"
ANSWER = json.dumps({"data": [{"b64_json": base64.b64encode(IMAGE).decode()}], "created": 17}).encode()
POST = Request("POST", "/images/generations", json={"prompt": "a red fox — 狐"})

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Key:
    value: str = KEY

    def reveal(self) -> str:
        return self.value


@dataclass
class Server:
    """A loopback server: each request is answered by the next script, the last one again and again."""

    scripts: list[Script | bytes] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    closed: int = 0
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"(?i)content-length: (\d+)", head)
                self.requests.append(head + await reader.readexactly(int(length[1]) if length else 0))
                script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
                if isinstance(script, bytes):
                    writer.write(script)
                    await writer.drain()
                else:
                    await script(reader, writer)
        self.closed += 1
        writer.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    script = Server()
    listener = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    script.port = listener.sockets[0].getsockname()[1]
    yield script
    listener.close()


@pytest.fixture
async def connections() -> AsyncIterator[Connections]:
    async with Connections(8) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "parts").mkdir()
    return tmp_path / "parts"


@pytest.fixture
def transport(server: Server, connections: Connections, folder: Path) -> HttpTransport:
    return transport_to(server.url + "/v1/", connections, folder)


def transport_to(url: str, connections: Connections, folder: Path, **options: Any) -> HttpTransport:
    numbers = itertools.count()
    given: dict[str, Any] = {
        "auth": "bearer",
        "api_key": Key(),
        "new_part": lambda: folder / f"{next(numbers)}.part",
    } | options
    return HttpTransport(connections, base_url=url, **given)


def http(body: bytes = b"{}", status: str = "200 OK", **headers: str) -> bytes:
    lines = {"Content-Length": str(len(body)), **{name.replace("_", "-"): value for name, value in headers.items()}}
    return (
        f"HTTP/1.1 {status}\r\n".encode()
        + b"".join(f"{name}: {value}\r\n".encode() for name, value in lines.items() if value)
        + b"\r\n"
        + body
    )


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    head = http(b"", Content_Length="", Transfer_Encoding="chunked")
    return head + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + end


def then_close(data: bytes) -> Script:
    async def script(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        raise ConnectionAbortedError

    return script


def then_reset(data: bytes) -> Script:
    async def script(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise ConnectionAbortedError

    return script


def then_silence(data: bytes) -> Script:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await reader.read(1)
        raise ConnectionAbortedError

    return script


async def until(true: Callable[[], bool]) -> None:
    """Let the loop turn until the server or the file system shows that something has happened."""
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - a folder has no event
            await asyncio.sleep(0)


def leftovers(folder: Path) -> list[Path]:
    return list(folder.iterdir())


# ------------------------------------------------------------------------------------------- whole answers


async def test_an_image_arrives_as_a_file(server: Server, transport: HttpTransport) -> None:
    """The long base64 of an answer is a file when `send` returns, and the JSON around it is parsed."""
    server.scripts = [http(ANSWER, X_Request_Id="r1")]
    response = await transport.send(POST)
    blob = response.json["data"][0]["b64_json"]
    assert isinstance(blob, Blob)
    assert blob.path.read_bytes() == IMAGE
    assert (response.status, response.json["created"], response.headers["x-request-id"]) == (200, 17, "r1")
    assert (response.text, response.blob) == (None, None)


async def test_what_is_sent(server: Server, transport: HttpTransport) -> None:
    """Path, JSON, key, agent and encoding are on the wire as they should be, and nothing else."""
    server.scripts = [http()]
    await transport.send(Request("POST", "/images/generations?x=1", json={"prompt": "狐"}, headers={"X-Extra": "1"}))
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    assert first == "POST /v1/images/generations?x=1 HTTP/1.1"
    headers = {line.partition(": ")[0].lower(): line.partition(": ")[2] for line in lines}
    assert json.loads(body) == {"prompt": "狐"}
    assert headers == {
        "host": f"127.0.0.1:{server.port}",
        "authorization": f"Bearer {KEY}",
        "user-agent": USER_AGENT,
        "accept": "*/*",
        "accept-encoding": "identity",
        "content-type": "application/json",
        "content-length": str(len(body)),
        "x-extra": "1",
    }


async def test_the_key_travels_in_the_header_of_the_wire_format(
    server: Server, connections: Connections, folder: Path
) -> None:
    """Google's header carries the bare key; `none` and a missing key send none."""
    server.scripts = [http()]
    for auth, key in (("x-goog-api-key", Key()), ("none", Key()), ("bearer", None)):
        await transport_to(server.url, connections, folder, auth=auth, api_key=key).send(POST)
    assert b"x-goog-api-key: " + KEY.encode() in server.requests[0].lower()
    assert KEY.encode() not in server.requests[1] + server.requests[2]


async def test_fal_takes_its_key_as_key(server: Server, connections: Connections, folder: Path) -> None:
    """The scheme `key` writes the word Key before it."""
    server.scripts = [http()]
    await transport_to(server.url, connections, folder, auth="key").send(POST)
    assert b"\r\nauthorization: Key " + KEY.encode() + b"\r\n" in server.requests[0].replace(b"Author", b"author")


@dataclass
class Tokens:
    """A credential whose token changes with every request."""

    fails: Exception | None = None
    asked: int = 0

    async def headers(self) -> dict[str, str]:
        self.asked += 1
        if self.fails is not None:
            raise self.fails
        return {"authorization": f"Bearer token-{self.asked}", "x-goog-user-project": "p"}


async def test_a_credential_is_asked_for_every_request(server: Server, connections: Connections, folder: Path) -> None:
    """Under `google` each request carries what the credential says now, and never the key; a download carries none."""
    server.scripts = [http()]
    transport = transport_to(server.url, connections, folder, auth="google", credential=Tokens())
    await transport.send(POST)
    await transport.send(POST)
    await transport.send(download(f"{server.url}/a.png"))
    assert b"Bearer token-1\r\n" in server.requests[0]
    assert b"Bearer token-2\r\n" in server.requests[1]
    assert b"x-goog-user-project: p" in server.requests[1]
    assert b"token" not in server.requests[2]
    assert KEY.encode() not in b"".join(server.requests)


async def test_a_credential_that_fails_sends_nothing(server: Server, connections: Connections, folder: Path) -> None:
    """What the credential raises is what the exchange ends in, before anything is sent."""
    server.scripts = [http()]
    tokens = Tokens(fails=Unsent("no token"))
    with pytest.raises(Unsent, match="no token"):
        await transport_to(server.url, connections, folder, auth="google", credential=tokens).send(POST)
    assert not server.requests


async def test_google_without_a_credential_is_a_config_error(connections: Connections, folder: Path) -> None:
    """The scheme google cannot work with a key alone."""
    with pytest.raises(ConfigError, match="credential"):
        transport_to("http://127.0.0.1", connections, folder, auth="google")


@pytest.mark.parametrize("path", ["/uploads/a?b=c", "{upload}/files", "{upload}", "{base}/images"])
async def test_the_key_goes_to_the_providers_own_places(
    server: Server, connections: Connections, folder: Path, path: str
) -> None:
    """Below base_url and upload_url, also as absolute URLs, requests carry the key."""
    server.scripts = [http()]
    upload = f"{server.url}/files/v2"
    transport = transport_to(f"{server.url}/v1", connections, folder, upload_url=upload)
    await transport.send(Request("POST", path.format(upload=upload, base=f"{server.url}/v1"), json={}))
    assert KEY.encode() in server.requests[0]


FOREIGN = [
    "http://127.0.0.1:{port}/other",
    "http://127.0.0.1:{port}/v10/x",
    "http://127.0.0.1:{port}/v1/../other",
    "http://localhost:{port}/v1/x",
    "http://user@127.0.0.1:{port}/v1/x",
    "https://127.0.0.1:{port}/v1/x",
    "http://127.0.0.1:1/v1/x",
    "@127.0.0.1:{port}/other",
    "images/generations",
]


@pytest.mark.parametrize("url", FOREIGN)
async def test_the_key_goes_nowhere_else(server: Server, connections: Connections, folder: Path, url: str) -> None:
    """An absolute URL elsewhere that is no download is a provider's bug; nothing is sent, and its query is not told."""
    server.scripts = [http()]
    transport = transport_to(f"{server.url}/v1", connections, folder, upload_url=f"{server.url}/files/v2")
    with pytest.raises(AssertionError, match="not its own: nothing was sent") as caught:
        await transport.send(Request("POST", url.format(port=server.port) + "?signature=hidden", json={}))
    assert "hidden" not in str(caught.value)
    assert not server.requests


async def test_an_upload_url_must_be_a_url(connections: Connections, folder: Path) -> None:
    """A wrong upload URL is named as such."""
    with pytest.raises(ConfigError, match="upload_url"):
        transport_to("http://127.0.0.1", connections, folder, upload_url="uploads.example")


async def test_a_form_is_sent_as_multipart(server: Server, transport: HttpTransport) -> None:
    """Fields and files arrive in their order, byte for byte, as another program reads them, and with a length."""
    server.scripts = [http()]
    files = (
        FormFile("image[]", "a.png", "image/png", IMAGE + b"\r\n--"),
        FormFile("image[]", 'b"\r\n.jpg', "image/jpeg", b""),
    )
    await transport.send(
        Request("POST", "/edits", form=Form(fields=(("prompt", "狐 &=\r\n"), ("n", "1")), files=files))
    )
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}\r\n".encode() in (head + b"\r\n").lower()
    assert b"chunked" not in head
    message = email.message_from_bytes(head.partition(b"\r\n")[2] + b"\r\n\r\n" + body, policy=email.policy.HTTP)
    parts = [part for part in message.iter_parts() if isinstance(part, email.message.EmailMessage)]
    names = [part.get_param("name", header="content-disposition") for part in parts]
    assert names == ["prompt", "n", "image[]", "image[]"]
    contents = [part.get_payload(decode=True) for part in parts]
    assert contents == ["狐 &=\r\n".encode(), b"1", IMAGE + b"\r\n--", b""]
    assert [part.get_filename() for part in parts] == [None, None, "a.png", "b%22%0D%0A.jpg"]
    assert [part.get_content_type() for part in parts[2:]] == ["image/png", "image/jpeg"]


async def test_bytes_in_json_are_standard_base64(server: Server, transport: HttpTransport) -> None:
    """Bytes anywhere inside a request's JSON arrive as base64 with + and / and padding."""
    server.scripts = [http()]
    data = b"\xfb\xff\xfe" + IMAGE + b"\x00"
    await transport.send(
        Request("POST", "/x", json={"parts": [{"inlineData": {"data": data, "mimeType": "image/png"}}]})
    )
    body = server.requests[0].partition(b"\r\n\r\n")[2]
    assert json.loads(body)["parts"][0]["inlineData"]["data"] == base64.b64encode(data).decode()


async def test_an_image_inside_a_chat_message(server: Server, transport: HttpTransport) -> None:
    """The base64 of a data URI in the middle of a chat message is a file; the words around it are kept."""
    text = f"Here: ![image](data:image/png;base64,{base64.b64encode(IMAGE).decode()}) Enjoy!"
    server.scripts = [http(json.dumps({"choices": [{"message": {"content": text}}]}).encode())]
    before, blob, after = (await transport.send(POST)).json["choices"][0]["message"]["content"]
    assert (before, after) == ("Here: ![image](data:image/png;base64,", ") Enjoy!")
    assert blob.path.read_bytes() == IMAGE


async def test_a_users_header_cannot_replace_the_key(server: Server, transport: HttpTransport) -> None:
    """What a provider's generator sends as a header never displaces the key."""
    server.scripts = [http()]
    await transport.send(Request("POST", "/x", headers={"Authorization": "Bearer other"}))
    assert server.requests[0].lower().count(b"authorization") == 1
    assert KEY.encode() in server.requests[0]


async def test_a_large_request_is_sent_whole(server: Server, transport: HttpTransport) -> None:
    """A request with large reference images arrives complete and with its length."""
    server.scripts = [http()]
    await transport.send(Request("POST", "/x", json={"image": "A" * 3_000_000}))
    assert len(server.requests[0]) > 3_000_000
    assert b"chunked" not in server.requests[0][:1000]


@pytest.mark.parametrize("chunk", [1000, 70_000])
async def test_a_chunked_answer(server: Server, transport: HttpTransport, chunk: int) -> None:
    """An answer in HTTP chunks of any size is the same answer."""
    server.scripts = [chunked(*(ANSWER[at : at + chunk] for at in range(0, len(ANSWER), chunk)))]
    response = await transport.send(POST)
    assert response.json["data"][0]["b64_json"].path.read_bytes() == IMAGE


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("GZIP", gzip.compress)]
)
async def test_an_unwanted_compression_is_undone(
    server: Server, transport: HttpTransport, encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    """A server that compresses although nobody asked is understood."""
    server.scripts = [http(pack(ANSWER), Content_Encoding=encoding)]
    assert (await transport.send(POST)).json["data"][0]["b64_json"].path.read_bytes() == IMAGE


async def test_a_page_instead_of_json_is_text(server: Server, transport: HttpTransport, folder: Path) -> None:
    """A web page under a 200 comes as text for the provider to judge."""
    server.scripts = [http(b"<html>busy</html>", Content_Type="text/html")]
    response = await transport.send(POST)
    assert (response.status, response.text, response.json) == (200, "<html>busy</html>", None)
    assert not leftovers(folder)


@pytest.mark.parametrize("status", ["400 Bad Request", "429 Too Many Requests", "503 Unavailable", "302 Found"])
async def test_every_status_is_a_response(server: Server, transport: HttpTransport, status: str) -> None:
    """An answer that is not a success is returned with its JSON, and a redirect of the API is not followed."""
    server.scripts = [http(b'{"error": {"code": 1}}', status, Location="http://127.0.0.1:1/", Retry_After="7")]
    response = await transport.send(POST)
    assert (response.status, response.json) == (int(status[:3]), {"error": {"code": 1}})
    assert response.headers["retry-after"] == "7"


@pytest.mark.parametrize("body", [b"<html>524</html>", b"", b"busy", b'{"error": ', b"17"])
async def test_an_error_that_is_not_json_is_text(server: Server, transport: HttpTransport, body: bytes) -> None:
    """The text of an error is kept, also where it only begins as JSON."""
    server.scripts = [http(body, "524 Timeout")]
    response = await transport.send(POST)
    assert (response.status, response.json, response.text) == (524, None, body.decode())


async def test_a_huge_error_is_read_in_part(server: Server, transport: HttpTransport) -> None:
    """Of an error of 3 MB only the beginning is read, and the next request has a fresh connection."""
    server.scripts = [http(b"x" * 3_000_000, "500 Oops"), http()]
    response = await transport.send(POST)
    assert response.text == "x" * 65_536
    assert (await transport.send(POST)).status == 200
    assert server.connections == 2


async def test_a_cut_error_keeps_its_status(server: Server, transport: HttpTransport) -> None:
    """A 429 whose text is cut is still a 429: nothing was billed."""
    server.scripts = [then_close(http(b"busy", "429 Busy", Content_Length="100"))]
    response = await transport.send(POST)
    assert (response.status, response.text) == (429, "busy")


async def test_connections_are_used_again(server: Server, transport: HttpTransport) -> None:
    """Ten requests in a row need one connection."""
    server.scripts = [http(ANSWER)]
    for _ in range(10):
        await transport.send(POST)
    assert server.connections == 1


async def in_steps(writer: asyncio.StreamWriter, data: bytes, step: int) -> None:
    for at in range(0, len(data), step):
        writer.write(data[at : at + step])
        await writer.drain()
        await asyncio.sleep(0)


def by_and_by(data: bytes, step: int) -> Script:
    async def script(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await in_steps(writer, data, step)

    return script


@pytest.mark.parametrize("step", [1, 7])
async def test_a_head_that_comes_in_pieces(server: Server, transport: HttpTransport, step: int) -> None:
    """Where the pieces of an answer's head end does not matter, and the connection is used again."""
    body = b'{"created": 17}'
    server.scripts = [by_and_by(http(body, X_Request_Id="r1"), step), by_and_by(chunked(body[:5], body[5:]), step)]
    for _ in range(2):
        assert (await transport.send(POST)).json == {"created": 17}
    assert server.connections == 1


async def test_interim_answers_are_passed_over(server: Server, transport: HttpTransport) -> None:
    """100 Continue and 103 Early Hints come before the answer, and are not it."""
    early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    server.scripts = [early + http(ANSWER), by_and_by(early + http(b"{}"), 10)]
    assert (await transport.send(POST)).json["data"][0]["b64_json"].path.read_bytes() == IMAGE
    assert (await transport.send(POST)).json == {}
    assert server.connections == 1


async def test_bare_line_feeds_end_a_head(server: Server, transport: HttpTransport) -> None:
    """A server that ends its lines with line feeds alone gets the judgement of aiohttp's parser, not a long wait."""
    server.scripts = [then_silence(http(b"{}").replace(b"\r\n", b"\n"))]
    with contextlib.suppress(Ambiguous):
        assert (await transport.send(POST)).json == {}


async def test_an_answer_without_a_length(server: Server, transport: HttpTransport) -> None:
    """A body that ends with its connection is whole; the next request has a fresh connection."""
    server.scripts = [then_close(http(ANSWER, Content_Length="", Connection="close")), http()]
    assert (await transport.send(POST)).json["data"][0]["b64_json"].path.read_bytes() == IMAGE
    await transport.send(POST)
    assert server.connections == 2


@pytest.mark.parametrize("answer", [http(b"", "204 No Content", Content_Length=""), http(b""), http(b"", "500 Oops")])
async def test_an_answer_without_a_body(server: Server, transport: HttpTransport, answer: bytes) -> None:
    """An empty answer is a response, and its connection is used again."""
    server.scripts = [answer]
    for _ in range(2):
        response = await transport.send(POST)
        assert (response.json, response.text or "") == (None, "")
    assert server.connections == 1


@pytest.mark.parametrize(
    "answer", [chunked(ANSWER), http(b"{}", "429 Busy"), http(gzip.compress(b"{}"), Content_Encoding="gzip")]
)
async def test_every_whole_body_leaves_its_connection_usable(
    server: Server, transport: HttpTransport, answer: bytes
) -> None:
    """In chunks, compressed or of an error: a body that was read to its end costs no new connection."""
    server.scripts = [answer]
    for _ in range(3):
        await transport.send(POST)
    assert server.connections == 1


@pytest.mark.parametrize(
    "answer", [http(b'{"a": 1}'), chunked(b'{"a": 1}'), http(b"", "204 No Content", Content_Length="")]
)
async def test_bytes_behind_an_answer_are_nobodys(server: Server, transport: HttpTransport, answer: bytes) -> None:
    """What a server sends beyond its answer is never taken for the answer to the next request."""
    server.scripts = [answer + http(b'{"forged": 1}'), http(b'{"b": 2}')]
    await transport.send(POST)
    assert (await transport.send(POST)).json == {"b": 2}
    assert server.connections == 2


async def test_bytes_on_an_idle_connection_are_nobodys(server: Server, transport: HttpTransport) -> None:
    """What comes while nobody has asked for anything closes the connection."""
    go_on = asyncio.Event()

    async def speak_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(http(b'{"a": 1}'))
        await go_on.wait()
        writer.write(http(b'{"forged": 1}'))
        await writer.drain()

    server.scripts = [speak_up, http(b'{"b": 2}')]
    assert (await transport.send(POST)).json == {"a": 1}
    go_on.set()
    await until(lambda: server.closed == 1)
    assert (await transport.send(POST)).json == {"b": 2}


async def test_a_refusal_may_come_before_the_request_is_read(connections: Connections, folder: Path) -> None:
    """A server that answers a huge request early, and reads no more of it, is heard."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(http(b'{"error": "too large"}', "413 Too Large"))
        await writer.drain()
        await gone.wait()
        writer.close()

    gone = asyncio.Event()
    listener = await asyncio.start_server(refuse, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    response = await transport_to(url, connections, folder).send(Request("POST", "/x", json={"a": bytes(30_000_000)}))
    assert (response.status, response.json) == (413, {"error": "too large"})
    gone.set()
    listener.close()


async def test_a_header_cannot_hold_another(server: Server, transport: HttpTransport) -> None:
    """A line break in a header of a provider's is its bug, and nothing is sent."""
    server.scripts = [http()]
    with pytest.raises(AssertionError, match="line break"):
        await transport.send(Request("POST", "/x", headers={"X-A": "b\r\nX-Evil: 1"}))
    assert not server.requests


# ------------------------------------------------------------------------------------------- broken exchanges

HALF = len(ANSWER) // 2
BROKEN: dict[str, Script] = {
    "closed without an answer": then_close(b""),
    "reset without an answer": then_reset(b""),
    "closed within the headers": then_close(b"HTTP/1.1 200 OK\r\nContent-"),
    "closed after the headers": then_close(http(b"", Content_Length="1000")),
    "reset after the headers": then_reset(http(b"", Content_Length="1000")),
    "half a body": then_close(http(ANSWER[:HALF], Content_Length=str(len(ANSWER)))),
    "half a body, reset": then_reset(http(ANSWER[:HALF], Content_Length=str(len(ANSWER)))),
    "one byte too few": then_close(http(ANSWER, Content_Length=str(len(ANSWER) + 1))),
    "a cut chunk": then_close(chunked(ANSWER[:HALF], end=b"fff\r\nabc")),
    "no last chunk": then_close(chunked(ANSWER, end=b"")),
    "a chunk of nonsense": then_close(chunked(ANSWER[:HALF], end=b"zz\r\n")),
    "half a gzip": then_close(http(gzip.compress(ANSWER)[:-20], Content_Encoding="gzip")),
    "not gzip": then_close(http(ANSWER, Content_Encoding="gzip")),
    "a garbage status line": then_close(b"SSH-2.0-OpenSSH_9.9\r\n\r\n"),
    "a garbage header": then_close(b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n"),
    "endless headers": then_close(b"HTTP/1.1 200 OK\r\n" + b"X-A: " + b"a" * 20_000 + b"\r\n\r\n"),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_answer_is_ambiguous(server: Server, transport: HttpTransport, folder: Path, name: str) -> None:
    """Once the request is out, an answer that never comes whole may have been billed; no part of it is left."""
    server.scripts = [BROKEN[name]]
    with pytest.raises(Ambiguous, match="may have been billed") as caught:
        await transport.send(POST)
    assert caught.value.billed is None
    assert KEY not in str(caught.value)
    assert not leftovers(folder)
    assert len(server.requests) == 1


async def test_a_silent_server_is_ambiguous(server: Server, connections: Connections, folder: Path) -> None:
    """A server that takes the request and says nothing may have drawn the image."""
    server.scripts = [then_silence(b"")]
    with pytest.raises(Ambiguous, match=r"no whole answer within 0\.2 s"):
        await transport_to(server.url, connections, folder, timeout_seconds=0.2).send(POST)


async def test_a_body_that_stops_is_ambiguous(server: Server, connections: Connections, folder: Path) -> None:
    """The timeout is for the whole exchange: a body that stops arriving ends it, and its part is deleted."""
    server.scripts = [then_silence(http(ANSWER[:HALF], Content_Length=str(len(ANSWER))))]
    with pytest.raises(Ambiguous, match=r"no whole answer within 0\.2 s"):
        await transport_to(server.url, connections, folder, timeout_seconds=0.2).send(POST)
    assert not leftovers(folder)


async def test_a_closed_port_is_unsent(connections: Connections, folder: Path) -> None:
    """Where nobody listens nothing was sent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unsent, match="cannot connect") as caught:
        await transport_to(f"http://127.0.0.1:{port}", connections, folder).send(POST)
    assert caught.value.billed is False


async def test_a_name_without_address_is_unsent(connections: Connections, folder: Path) -> None:
    """A name that does not exist is Unsent."""
    with pytest.raises(Unsent, match="cannot connect"):
        await transport_to("http://nowhere.invalid", connections, folder).send(POST)


async def test_no_tls_on_the_other_side_is_unsent(server: Server, connections: Connections, folder: Path) -> None:
    """A server that does not speak TLS has read no request."""
    server.scripts = [http()]
    with pytest.raises(Unsent):
        await transport_to(f"https://127.0.0.1:{server.port}", connections, folder, timeout_seconds=0.5).send(POST)


async def test_waiting_for_a_connection_is_unsent(server: Server, folder: Path) -> None:
    """A request that found no free connection in its time was not sent."""
    server.scripts = [then_silence(b"")]
    async with Connections(1) as one:
        patient = transport_to(server.url, one, folder)
        hurried = transport_to(server.url, one, folder, timeout_seconds=0.2)
        holder = asyncio.ensure_future(patient.send(POST))
        await until(lambda: bool(server.requests))
        with pytest.raises(Unsent, match="nothing was sent"):
            await hurried.send(POST)
        holder.cancel()
        with pytest.raises(asyncio.CancelledError):
            await holder
    assert len(server.requests) == 1


async def test_cancelling_deletes_the_part_and_closes_the_connection(
    server: Server, transport: HttpTransport, folder: Path
) -> None:
    """A cancelled exchange leaves no file and no connection, and the cancellation goes on."""
    server.scripts = [then_silence(http(ANSWER[:HALF], Content_Length=str(len(ANSWER))))]
    task = asyncio.ensure_future(transport.send(POST))
    await until(lambda: bool(leftovers(folder)))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not leftovers(folder)
    await until(lambda: bool(server.closed))


async def test_invalid_json_under_a_200_is_a_decode_error(
    server: Server, transport: HttpTransport, folder: Path
) -> None:
    """A whole body that began as JSON and is none was paid for."""
    server.scripts = [http(ANSWER[:-3])]
    with pytest.raises(DecodeError, match="not valid JSON") as caught:
        await transport.send(POST)
    assert caught.value.billed is True
    assert not leftovers(folder)


async def test_a_part_that_cannot_be_written_is_a_store_error(
    server: Server, connections: Connections, folder: Path
) -> None:
    """No place for the image is the machine's fault, and says which file."""
    server.scripts = [http(ANSWER)]
    missing = folder / "gone" / "a.part"
    with pytest.raises(StoreError, match=r"cannot write .*a\.part: No such file"):
        await transport_to(server.url, connections, folder, new_part=lambda: missing).send(POST)


async def test_a_full_disk_leaves_nothing(server: Server, connections: Connections, folder: Path) -> None:
    """A part that may not grow is a StoreError, and what was written of it is deleted."""
    import resource  # noqa: PLC0415
    import signal  # noqa: PLC0415

    server.scripts = [http(ANSWER)]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(StoreError, match="File too large"):
            await transport_to(server.url, connections, folder).send(POST)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert not leftovers(folder)


# ------------------------------------------------------------------------------------------- downloads


def download(url: str) -> Request:
    return Request("GET", url, download=True, repeatable=True)


async def test_a_download_carries_no_key(server: Server, transport: HttpTransport) -> None:
    """A result is fetched with our name and without the key, byte for byte with its signed query."""
    server.scripts = [http(IMAGE, Content_Type="image/png")]
    response = await transport.send(download(f"{server.url}/a%2Fb.png?sig=a%2Bb%2F%7E=&x"))
    assert response.blob is not None
    assert response.blob.path.read_bytes() == IMAGE
    assert server.requests[0].startswith(b"GET /a%2Fb.png?sig=a%2Bb%2F%7E=&x HTTP/1.1")
    assert USER_AGENT.encode() in server.requests[0]
    assert KEY.encode() not in server.requests[0]


async def test_redirects_are_followed_by_hand(server: Server, transport: HttpTransport) -> None:
    """Five redirects, absolute and relative, are followed; the sixth is too many."""
    hops = [http(b"", "302 Found", Location=f"/{number}") for number in range(4)]
    server.scripts = [http(b"", "307 Moved", Location=f"{server.url}/first"), *hops, http(IMAGE)]
    response = await transport.send(download(f"{server.url}/start"))
    assert response.blob is not None
    assert response.blob.size == len(IMAGE)
    server.scripts = [http(b"", "302 Found", Location="/again")]
    with pytest.raises(DecodeError, match="more than 5 times"):
        await transport.send(download(f"{server.url}/start"))


@pytest.mark.parametrize("place", ["file:///etc/passwd", "ftp://127.0.0.1/a", "data:image/png;base64,AAAA", "gopher:x"])
async def test_no_redirect_leads_to_a_file(server: Server, transport: HttpTransport, place: str) -> None:
    """Only http and https are fetched, at first and after a redirect, and the error hides the query."""
    server.scripts = [http(b"", "302 Found", Location=place)]
    for url in (place, f"{server.url}/a?signature=hidden"):
        with pytest.raises(DecodeError, match=r"only http and https|not a URL") as caught:
            await transport.send(download(url))
        assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "169.254.169.254", "10.1.2.3", "[::ffff:10.0.0.1]", "0.0.0.0"])
def test_a_public_providers_result_is_never_inside(host: str) -> None:
    """A result of a provider on the internet never lies at a private address; that of a private provider may."""
    with pytest.raises(DecodeError, match="private network"):
        _check_place(httpx.URL(f"http://{host}/a.png"), private_allowed=False)
    _check_place(httpx.URL(f"http://{host}/a.png"), private_allowed=True)


@pytest.mark.parametrize("host", ["localhost", "2130706433", "127.1"])
async def test_a_name_that_leads_inside_is_refused(
    server: Server, connections: Connections, folder: Path, host: str
) -> None:
    """A name or a short spelling of a private address is refused where it is resolved; nothing is sent there."""
    server.scripts = [http(IMAGE)]
    transport = transport_to("https://8.8.8.8/v1", connections, folder)
    with pytest.raises(DecodeError, match=r"private (network|address)|cannot be used"):
        await transport.send(download(f"http://{host}:{server.port}/a.png"))
    assert not server.requests


async def test_where_a_provider_is() -> None:
    """Loopback providers are private; an unknown name counts as public, the stricter of the two."""
    assert not await resolves_to_public("localhost")
    assert not await resolves_to_public("192.168.0.7")
    assert await resolves_to_public("8.8.8.8")
    assert await resolves_to_public("nowhere.invalid")


async def test_a_download_that_is_too_large_is_given_up(server: Server, connections: Connections, folder: Path) -> None:
    """A body beyond the cap is an error, and nothing of it is left."""
    server.scripts = [http(b"x" * 3_000_000)]
    transport = transport_to(server.url, connections, folder, max_image_bytes=2**20)
    with pytest.raises(DecodeError, match="more than 1 MB"):
        await transport.send(download(f"{server.url}/a.png"))
    assert not leftovers(folder)


async def test_an_expired_link_is_a_response(server: Server, transport: HttpTransport) -> None:
    """A 403 for a result is an answer for the provider to judge."""
    server.scripts = [http(b"<Error>Expired</Error>", "403 Forbidden")]
    response = await transport.send(download(f"{server.url}/a.png"))
    assert (response.status, response.text, response.blob) == (403, "<Error>Expired</Error>", None)


async def test_a_cut_download_leaves_nothing(server: Server, transport: HttpTransport, folder: Path) -> None:
    """Half a picture is deleted."""
    server.scripts = [then_close(http(IMAGE[:5000], Content_Length=str(len(IMAGE))))]
    with pytest.raises(Ambiguous):
        await transport.send(download(f"{server.url}/a.png"))
    assert not leftovers(folder)


# ------------------------------------------------------------------------------------------- TLS, proxies, settings


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Make a certificate for localhost that signs itself, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = tmp_path / "localhost.pem"
    path.write_bytes(built.public_bytes(pem) + secret)
    return path


@pytest.fixture
async def tls_server(certificate: Path) -> AsyncIterator[Server]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    script = Server(scripts=[http(ANSWER)])
    listener = await asyncio.start_server(script.serve, "127.0.0.1", 0, ssl=context)
    script.port = listener.sockets[0].getsockname()[1]
    yield script
    listener.close()


async def test_a_private_authority_is_trusted_by_ssl_cert_file(
    tls_server: Server, certificate: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SSL_CERT_FILE adds an authority, and an image arrives whole over TLS."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with Connections(2) as opened:
        response = await transport_to(f"https://localhost:{tls_server.port}", opened, folder).send(POST)
    assert response.json["data"][0]["b64_json"].path.read_bytes() == IMAGE


async def all_whole(url: str, images: int, folder: Path, *, content: bytes) -> bool:
    """Ask for many images at once, and tell whether each came as it is."""
    async with Connections(images) as many:
        transport = transport_to(url, many, folder)
        responses = await asyncio.gather(*(transport.send(POST) for _ in range(images)))
    found = [response.json["data"][0]["b64_json"] for response in responses]
    return all(blob.path.read_bytes() == content for blob in found) and len(found) == images


@pytest.mark.parametrize("closes", [False, True])
@pytest.mark.parametrize("over_tls", [False, True])
async def test_bodies_that_take_turns_come_whole(
    server: Server,
    tls_server: Server,
    certificate: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    over_tls: bool,
    closes: bool,
) -> None:
    """Of many large bodies most wait unread for their turn; none is lost, also where its end and the server are gone."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    content = IMAGE * 10
    answer = http(json.dumps({"data": [{"b64_json": base64.b64encode(content).decode()}]}).encode())
    asked = tls_server if over_tls else server
    asked.scripts = [then_close(answer) if closes else answer] * 40
    url = f"https://localhost:{tls_server.port}" if over_tls else server.url
    assert await all_whole(url, 40, folder, content=content)


async def test_an_unknown_authority_is_unsent(tls_server: Server, connections: Connections, folder: Path) -> None:
    """A certificate that nobody vouches for ends the exchange before the key is sent."""
    with pytest.raises(Unsent, match="certificate"):
        await transport_to(f"https://localhost:{tls_server.port}", connections, folder).send(POST)
    assert not tls_server.requests


async def test_a_plain_request_goes_through_the_proxy(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTP_PROXY is asked for the whole URL, with its own password and not with the address of the provider."""
    server.scripts = [http(ANSWER)]
    monkeypatch.setenv("HTTP_PROXY", f"http://user:pass@127.0.0.1:{server.port}")
    async with Connections(2) as opened:
        response = await transport_to("http://provider.example/v1", opened, folder).send(POST)
    assert response.json["data"][0]["b64_json"].path.read_bytes() == IMAGE
    assert server.requests[0].startswith(b"POST http://provider.example/v1/images/generations HTTP/1.1")
    assert b"Proxy-Authorization: Basic " + base64.b64encode(b"user:pass") in server.requests[0]


async def test_a_proxy_that_refuses_is_unsent(server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that does not open the tunnel has passed nothing on; the key stays here."""
    server.scripts = [http(b"no", "407 Proxy Authentication Required")]
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.port}")
    async with Connections(2) as opened:
        with pytest.raises(Unsent, match="407"):
            await transport_to("https://provider.example/v1", opened, folder).send(POST)
    assert server.requests[0].startswith(b"CONNECT provider.example:443")
    assert KEY.encode() not in server.requests[0]


@pytest.mark.parametrize("key", ["sk-a\n", "sk a", "sk-ü", "sk\r\nX-Evil: 1"])
async def test_a_key_with_a_line_break_is_a_config_error(connections: Connections, folder: Path, key: str) -> None:
    """A key that cannot stand in a header is refused without being shown."""
    with pytest.raises(ConfigError) as caught:
        transport_to("http://127.0.0.1", connections, folder, api_key=Key(key))
    assert key not in str(caught.value)


@pytest.mark.parametrize("url", ["api.example/v1", "ftp://api.example", "http://", "http://[::1", ""])
async def test_a_base_url_must_be_a_url(connections: Connections, folder: Path, url: str) -> None:
    """A base URL without scheme or host is refused at the start."""
    with pytest.raises(ConfigError, match="base_url"):
        transport_to(url, connections, folder)


async def test_logs_hold_no_key_and_no_query(
    server: Server, transport: HttpTransport, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the libraries log at whatever level, neither the key nor a signed query is in it."""
    server.scripts = [http(IMAGE), http(), then_close(b"")]
    with caplog.at_level(logging.DEBUG):
        await transport.send(download(f"{server.url}/a?signature=hidden"))
        await transport.send(POST)
        with pytest.raises(Ambiguous):
            await transport.send(POST)
    assert logging.getLogger("httpx").level >= logging.WARNING
    assert KEY not in caplog.text
    assert "hidden" not in caplog.text


async def test_a_slow_body_delays_nobody(server: Server, connections: Connections, folder: Path) -> None:
    """While more bodies than the turnstile lets through hang half way, another exchange is served at once."""
    slow = then_silence(http(ANSWER[:HALF], Content_Length=str(len(ANSWER))))
    server.scripts = [*[slow] * 40, http(ANSWER)]
    async with Connections(64) as many:
        transport = transport_to(server.url, many, folder)
        hanging = [asyncio.ensure_future(transport.send(POST)) for _ in range(40)]
        await until(lambda: len(leftovers(folder)) == 40)
        response = await transport.send(POST)
        assert response.json["created"] == 17
        for task in hanging:
            task.cancel()
        results = await asyncio.gather(*hanging, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)
    assert len(leftovers(folder)) == 1


GET = Request("GET", "/files/x:download?alt=media", repeatable=True)


async def streamed(transport: HttpTransport, *, stall_seconds: float = 5.0) -> tuple[int, dict[str, str], bytes]:
    status, headers, body = 0, {}, bytearray()

    def begin(code: int, found: dict[str, str]) -> Any:
        nonlocal status, headers
        status, headers = code, found

        def take(data: bytes | bytearray, start: int, end: int) -> None:
            body.extend(data[start:end])

        return take

    await transport.stream(GET, begin, stall_seconds=stall_seconds)
    return status, headers, bytes(body)


async def test_a_stream_is_handed_on_as_it_is(server: Server, transport: HttpTransport) -> None:
    """Status, headers and every byte, of a success and of a failure; the key travels along."""
    server.scripts = [http(b"line 1\nline 2\n", ETag='"e"'), http(b"gone", "404 Not Found")]
    status, headers, body = await streamed(transport)
    assert (status, headers["etag"], body) == (200, '"e"', b"line 1\nline 2\n")
    assert KEY.encode() in server.requests[0]
    assert (await streamed(transport))[::2] == (404, b"gone")


async def test_a_stream_that_nobody_wants_ends(server: Server, transport: HttpTransport) -> None:
    """Whoever refuses the body at its head gets none of it."""
    server.scripts = [http(b"x" * 1000, "416 Range Not Satisfiable")]
    await transport.stream(GET, lambda *_: None, stall_seconds=5.0)


async def test_a_cut_stream_says_so(server: Server, transport: HttpTransport) -> None:
    """A body that ends too early is no whole file."""
    server.scripts = [then_close(http(b"half", Content_Length="100"))]
    with pytest.raises(Ambiguous):
        await streamed(transport)


async def test_a_silent_stream_is_given_up(server: Server, transport: HttpTransport) -> None:
    """After the longest silence, however long the whole may take."""
    server.scripts = [then_silence(http(b"half", Content_Length="100"))]
    with pytest.raises(Ambiguous, match="nothing came"):
        await streamed(transport, stall_seconds=0.2)


async def test_bytes_go_out_as_they_are(server: Server, connections: Connections, folder: Path) -> None:
    """A piece of a file, to one of the vendor's own places; any other place gets neither bytes nor key."""
    home = f"{server.url}/upload/v1beta"
    transport = transport_to(f"{server.url}/v1beta", connections, folder, more_homes=(home,))
    server.scripts = [http()]
    await transport.send(Request("POST", f"{home}/files?upload_id=1", content=b"\x00raw\xff"))
    assert server.requests[0].endswith(b"\r\n\r\n\x00raw\xff")
    with pytest.raises(AssertionError):
        await transport.send(Request("POST", f"{server.url}/download/v1beta/files/x", content=b"1"))
