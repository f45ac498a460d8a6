"""Owns the reference images of a run: reads each source once, knows it by its digest, gives it as providers take it.

What is remembered of a source is where it is and what its header says, not its bytes; those are read again when a
job needs them, and compared with the digest, because a file may be saved anew while a long run goes on.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from dataclasses import dataclass
from pathlib import Path

from nanobatch.errors import InputError, StoreError
from nanobatch.model import Reference
from nanobatch.references.accepted import Accepted, Header
from nanobatch.references.addresses import is_url, show
from nanobatch.references.download import Downloader
from nanobatch.references.files import Stamp, printable, read, stamp
from nanobatch.references.memory import Memory

KEPT_BYTES = 256 * 2**20  # of references that are ready to be sent
CONVERSIONS_AT_ONCE = 2  # each may hold several times 400 MB


@dataclass(frozen=True, slots=True)
class _Source:
    """Where an image that passed all checks can be read again."""

    path: Path
    shown: str
    header: Header


class References:
    """The reference images of one run.

    >>> references = References(Path("/tmp/nanobatch-references"))
    >>> digest = references.digest("fox.heic", Path("prompts"))
    >>> references.load(digest, Accepted(types=("image/png", "image/jpeg"), max_bytes=7_000_000)).mime
    'image/jpeg'

    Args:
        folder: Where downloaded ones are kept while the process lives; made when first needed, for this user alone.
        allow_private: Whether URLs may lead into private networks.
        max_bytes: Of one source.
        timeout_seconds: For one download.
    """

    def __init__(
        self,
        folder: Path,
        *,
        allow_private: bool = False,
        max_bytes: int = 50 * 1024 * 1024,
        timeout_seconds: float = 60.0,
    ) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._downloader = Downloader(max_bytes=max_bytes, timeout_seconds=timeout_seconds, allow_private=allow_private)
        self._digests = dict[tuple[str, Path], str | InputError]()  # by what the rows say
        self._stamps = dict[Stamp, str]()
        self._sources = dict[str, _Source]()
        self._downloaded = set[Path]()
        self._reading = threading.Lock()
        self._converting = threading.BoundedSemaphore(CONVERSIONS_AT_ONCE)
        self._memory = Memory[tuple[str, Accepted]](max_bytes=KEPT_BYTES)

    def __repr__(self) -> str:
        return f"References({len(self._sources)} sources, {self._memory!r})"

    def digest(self, source: str, base: Path) -> str:
        """Return the sha256 of a file or of what a URL leads to, in hex digits. Each is read once in a run.

        Args:
            source: A path, or an http or https URL.
            base: What a relative path begins at.

        Raises:
            InputError: It is missing, not allowed, too large or not an image that can be used.
            StoreError: A download finds no place on the disk.
        """
        key = (source, Path() if is_url(source) else base)
        found = self._digests.get(key)
        if found is None:
            with self._reading:
                found = self._digests.get(key) or self._first_look(source, base)
                self._digests[key] = found
        if isinstance(found, InputError):
            raise InputError(found.message)
        return found

    def load(self, digest: str, accepted: Accepted) -> Reference:
        """Return a source that `digest` was asked about as a provider takes it. May take seconds; any thread may ask.

        Raises:
            InputError: It cannot be made to fit, or is not what it was any more.
        """
        return self._memory.get((digest, accepted), lambda: self._made(digest, accepted))

    def close(self) -> None:
        """Remove what was downloaded."""
        self._memory.clear()
        if not self._downloaded:
            return
        for path in self._downloaded:
            with contextlib.suppress(OSError):
                path.unlink()
        with contextlib.suppress(OSError):  # somebody else's files are in it
            self._folder.rmdir()
        self._downloaded.clear()

    def _first_look(self, source: str, base: Path) -> str | InputError:
        """Read a source; return the reason instead of its digest where it cannot be used."""
        shown = show(source) if is_url(source) else printable(source)
        try:
            return self._fetched(source, shown) if is_url(source) else self._opened(base / source, shown)
        except InputError as error:
            return InputError(f"reference image {shown}: {error.message}")

    def _opened(self, path: Path, shown: str) -> str:
        state = stamp(path)
        if (digest := self._stamps.get(state)) is None:
            data = read(path, self._max_bytes)
            digest = self._stamps[state] = self._known(path.absolute(), data, shown)
        return digest

    def _fetched(self, url: str, shown: str) -> str:
        data = self._downloader.fetch(url)
        path = self._folder / hashlib.sha256(data).hexdigest()
        if path not in self._downloaded:
            self._write(path, data)
        return self._known(path, data, shown)

    def _known(self, path: Path, data: bytes, shown: str) -> str:
        """Check the bytes of a source, and remember where they are."""
        from nanobatch.references.header import read_header  # noqa: PLC0415 - Pillow is for runs with references

        digest = hashlib.sha256(data).hexdigest()
        if digest not in self._sources:
            self._sources[digest] = _Source(path, shown, read_header(path, data))
        return digest

    def _write(self, path: Path, data: bytes) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._downloaded.add(path)
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:  # noqa: PTH123 - with its rights from the start
                file.write(data)
        except OSError as error:
            raise StoreError(f"cannot keep a reference image in {self._folder}: {error.strerror}") from error

    def _made(self, digest: str, accepted: Accepted) -> Reference:
        from nanobatch.references.conversion import convert  # noqa: PLC0415 - see _known

        source = self._sources[digest]
        try:
            data = self._read_again(source.path, digest)
            mime = source.header.mime
            if not accepted.takes(source.header, len(data)):
                with self._converting:
                    data, mime = convert(data, mime, accepted)
        except InputError as error:
            raise InputError(f"reference image {source.shown}: {error.message}") from error
        return Reference(data, mime, digest)

    def _read_again(self, path: Path, digest: str) -> bytes:
        data = read(path, self._max_bytes)
        if hashlib.sha256(data).hexdigest() != digest:
            raise InputError("changed since the run began")
        return data
