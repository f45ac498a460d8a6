"""Objects in a bucket of Google Cloud Storage, through its JSON API: upload, list, download, delete.

Facts: https://docs.cloud.google.com/storage/docs/json_api/v1 and, for uploads that resume,
https://docs.cloud.google.com/storage/docs/performing-resumable-uploads. An object is called
`gs://BUCKET/NAME#GENERATION`; with the generation a download that was cut goes on with the very same bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

from nanobatch.batches.uploads import at_home, upload_in_pieces
from nanobatch.batches.wire import Read, Talk
from nanobatch.errors import AccountStopped, ExchangeError, ServerFault
from nanobatch.model import FREE, Request, Response
from nanobatch.providers.gemini_faults import fault
from nanobatch.providers.reading import OK, body_of, items, node, words
from nanobatch.providers.sentences import said
from nanobatch.providers.statuses import sentence_of

PAGE = 1000
_GONE = frozenset({404, 410})
_INCOMPLETE = 308  # more of an upload is wanted
_OBJECT = re.compile(r"gs://([^/]+)/(.*?)(?:#([0-9]+))?", re.DOTALL)
_RANGE = re.compile(r"bytes=0-([0-9]+)")


@dataclass(frozen=True, slots=True)
class Storage:
    """Cloud Storage at an address.

    Args:
        url: Where it is, such as https://storage.googleapis.com.
    """

    url: str

    def homes(self) -> tuple[str, ...]:
        """Return what precedes all its addresses."""
        return f"{self.url}/storage/v1", f"{self.url}/upload/storage/v1"

    def upload(self, uri: str, size: int, read: Read) -> Talk[str]:
        """Upload an object in pieces; return its URI.

        Raises:
            ExchangeError: It was not taken.
        """
        return upload_in_pieces(_Upload(self.url, uri, size), read)

    def find(self, folder: str) -> Talk[list[str]]:
        """Return the URIs of all objects below a URI, in the order of their names; none where the bucket is gone.

        Raises:
            ExchangeError: They could not be listed.
        """
        bucket, prefix, _ = _parts(folder)
        path = f"{self.url}/storage/v1/b/{bucket}/o?prefix={quote(prefix, safe='')}&maxResults={PAGE}"
        path += "&fields=items(name,generation),nextPageToken"
        found: list[str] = []
        token = ""
        while True:
            page = f"&pageToken={quote(token, safe='')}" if token else ""
            response = yield Request("GET", path + page, cost=FREE, repeatable=True)
            if response.status in _GONE:
                return found
            if response.status not in OK:
                raise refusal(response, f"the objects below {folder} cannot be listed")
            body = body_of(response)
            found += [
                f"gs://{bucket}/{words(node(item, 'name'))}#{words(node(item, 'generation'))}"
                for item in items(node(body, "items"))
            ]
            token = words(node(body, "nextPageToken"))
            if not token:
                return sorted(found)

    def download(self, uri: str) -> Request:
        """Return the request that an object's bytes answer, whole or from where a break left off."""
        return Request("GET", self._address(uri, "alt=media"), cost=FREE, repeatable=True)

    def delete(self, uri: str) -> Talk[None]:
        """Delete an object; one that is gone is no error.

        Raises:
            ExchangeError: It is still there.
        """
        response = yield Request("DELETE", self._address(uri, ""), cost=FREE, repeatable=True)
        if response.status not in OK and response.status not in _GONE:
            raise refusal(response, f"{uri} was not deleted")

    def _address(self, uri: str, query: str) -> str:
        bucket, name, generation = _parts(uri)
        whole = "&".join(filter(None, (query, f"generation={generation}" if generation else "")))
        return f"{self.url}/storage/v1/b/{bucket}/o/{quote(name, safe='')}{f'?{whole}' if whole else ''}"


@dataclass(frozen=True, slots=True)
class _Upload:
    """A resumable upload, in the words of Cloud Storage."""

    url: str
    uri: str
    size: int

    def begin(self) -> Talk[str]:
        bucket, name, _ = _parts(self.uri)
        response = yield Request(
            "POST",
            f"{self.url}/upload/storage/v1/b/{bucket}/o?uploadType=resumable&name={quote(name, safe='')}",
            json={},
            headers={"x-upload-content-type": "application/jsonl", "x-upload-content-length": str(self.size)},
            cost=FREE,
            repeatable=True,
        )
        address = response.headers.get("location", "")
        if response.status not in OK or not address:
            raise refusal(response, f"{self.uri} cannot be written")
        return at_home(address, self.url)

    def piece(self, address: str, data: bytes, *, at: int) -> Request:
        place = f"bytes {at}-{at + len(data) - 1}/{self.size}"
        return Request("PUT", address, content=data, headers={"content-range": place}, cost=FREE)

    def received(self, response: Response, *, sent: int) -> str | int:  # noqa: ARG002 - the answer says it itself
        if response.status in OK:
            return self.uri
        if response.status != _INCOMPLETE:
            raise refusal(response, f"{self.uri} was not taken")
        place = _RANGE.fullmatch(response.headers.get("range", ""))
        return int(place[1]) + 1 if place else 0

    def look(self, address: str, *, delay_seconds: float) -> Talk[str | int | None]:
        response = yield Request(
            "PUT",
            address,
            content=b"",
            headers={"content-range": f"bytes */{self.size}"},
            cost=FREE,
            repeatable=True,
            delay_seconds=delay_seconds,
        )
        return None if response.status in _GONE else self.received(response, sent=self.size)


def refusal(response: Response, what: str) -> ExchangeError:
    """Say why Cloud Storage did not do what it was asked for."""
    more = said(sentence_of(response))
    match response.status:
        case 403:
            wanted = "these credentials need the role Storage Object User on the bucket"
            return AccountStopped(f"{what}: {wanted}{more}", http_status=403)
        case 404 | 410:
            return AccountStopped(f"{what}: there is no such bucket{more}", http_status=response.status)
        case _:
            error = fault(response)
            if error is None:
                return ServerFault(f"{what}: the answer says nothing", http_status=response.status)
            wish = error.retry_after_seconds
            return type(error)(f"{what}: {error.message}", http_status=response.status, retry_after_seconds=wish)


def _parts(uri: str) -> tuple[str, str, str | None]:
    """Return an object's bucket, name and generation."""
    found = _OBJECT.fullmatch(uri)
    if found is None:
        raise ServerFault(f"{uri!r} is no place in Cloud Storage")
    return found[1], found[2], found[3]
