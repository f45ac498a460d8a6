"""The nouns of nanobatch: frozen, slotted, free of I/O. A prompt is a row; a job is one image wanted."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

Columns: TypeAlias = Mapping[str, Any]
NO_COLUMNS: Columns = MappingProxyType({})

SIZES = ("512", "1K", "2K", "4K")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a prompt stands, as a person would look for it."""

    file: str  # as the user typed it; "-" for standard input
    line: int  # 1-based line on which the row begins

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Prompt:
    """One row of the input, checked and normalised, with the columns that nanobatch does not know."""

    index: int  # 1-based place among all prompts of the run
    text: str  # after the template
    origin: Origin
    id: str  # cleaned: given, or `{index:04d}-{slug}`; unique in the run
    name: str  # file name without suffix and extension, may hold the template's own `/`; cleaned, unique in the run
    model: str | None = None
    provider: str | None = None
    size: str | None = None
    aspect_ratio: str | None = None
    seed: int | None = None
    n: int | None = None
    references: tuple[str, ...] = ()
    columns: Columns = field(default_factory=lambda: NO_COLUMNS)  # unhashable in 3.11, so no plain default


@dataclass(frozen=True, slots=True)
class Params:
    """What decides an image beside the words. Everything here is part of the job id."""

    model: str  # our name or the vendor's id, as the user wrote it
    size: str | None
    aspect_ratio: str | None
    seed: int | None
    references: tuple[str, ...] = ()  # digests

    def as_dict(self) -> dict[str, Any]:
        """Return the parameters as the manifest shows them."""
        return {
            "model": self.model,
            "size": self.size,
            "aspect_ratio": self.aspect_ratio,
            "seed": self.seed,
            "references": list(self.references),
        }


@dataclass(frozen=True, slots=True)
class Job:
    """One image wanted: prompt × parameters × variant."""

    id: str  # 32 hex digits: a hash of everything that decides the image
    variant: int  # 0, 1, 2 ... among equal prompts
    key: str  # where the image goes, below the output folder, without extension: "images/0001-a-red-fox-2"
    prompt: Prompt
    params: Params
    twin: str | None = None  # with --dedupe: the job of an equal row, whose image this one gets


@dataclass(frozen=True, slots=True)
class Cost:
    """What one request takes from a provider's quota."""

    requests: int = 1
    images: int = 1
    tokens: int = 0


FREE = Cost(requests=0, images=0, tokens=0)


@dataclass(frozen=True, slots=True)
class Reference:
    """An image that a job starts from, as one provider takes it."""

    data: bytes = field(repr=False)
    mime: str  # "image/jpeg"
    sha256: str  # hex, of the source that the user named, which decides the job's id

    @property
    def file_name(self) -> str:
        """A name to upload it under; says nothing about the user's files."""
        return f"{self.sha256[:16]}.{self.mime.removeprefix('image/').replace('jpeg', 'jpg')}"


@dataclass(frozen=True, slots=True)
class Order:
    """One job in the words of one provider: what a provider's generator receives."""

    prompt: str
    model: str  # the provider's own id
    size: str | None = None  # "1K"; None: the model takes no size
    aspect_ratio: str | None = None  # "16:9"; None: the provider decides
    pixels: tuple[int, int] | None = None  # what size and ratio mean for this model, width × height
    seed: int | None = None
    references: tuple[Reference, ...] = ()  # in the user's order; types and sizes as the provider takes them
    upload_url: str | None = None  # what precedes the paths of a provider's upload service, where it is another host
    options: Mapping[str, Any] = field(default_factory=dict)  # extra wire fields from the user's config


@dataclass(frozen=True, slots=True)
class FormFile:
    """A file in a multipart form."""

    name: str  # of the form's field
    file_name: str
    mime: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Form:
    """A multipart/form-data body: the plain fields, then the files, each in its order."""

    fields: tuple[tuple[str, str], ...] = ()  # name and value
    files: tuple[FormFile, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request that a provider's generator asks for. It never holds a key: the transport adds it."""

    method: str
    path: str  # below the provider's base_url; or an absolute http(s) URL: of a result to download, or below upload_url
    json: Any = None  # bytes inside it are sent as base64
    form: Form | None = None  # instead of json
    content: bytes | None = field(default=None, repr=False)  # instead of both: bytes as they are
    headers: Mapping[str, str] = field(default_factory=dict)
    cost: Cost = Cost()
    delay_seconds: float = 0.0
    repeatable: bool = False  # a poll or a download: sending it again buys nothing
    download: bool = False  # the body is the image itself; sent without the key
    task: str | None = None  # what `resume` needs to find the paid task again; recorded before this request is sent


@dataclass(frozen=True, slots=True)
class Blob:
    """A long base64 string that left the JSON while it streamed, or a downloaded body: decoded, on disk."""

    path: Path
    size: int  # bytes
    sha256: str  # hex
    flaw: str | None = None  # why the bytes are not what was sent ("not base64 at character 17")


@dataclass(frozen=True, slots=True)
class Response:
    """One whole HTTP answer. Exactly one of `json`, `text` and `blob` tells what came."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    json: Any = None  # decoded; a Blob stands where a long base64 string stood
    text: str | None = None  # the beginning of a body that is not JSON
    blob: Blob | None = None  # the body of a download


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the provider reported them; None where it said nothing."""

    input_tokens: int | None = None
    text_tokens: int | None = None  # text and thinking that was billed as output
    image_tokens: int | None = None
    cost_usd: float | None = None  # some relays report money instead
    input_image_tokens: int | None = None  # those of the input that are reference images


@dataclass(frozen=True, slots=True)
class Picture:
    """One image of an answer, still as it came."""

    data: Blob | str  # str: base64 too short to have been taken out of the JSON
    mime: str | None = None  # the provider's claim; the bytes decide


@dataclass(frozen=True, slots=True)
class Answer:
    """What a provider's generator returns: the image, and what came with it."""

    picture: Picture
    drafts: tuple[Picture, ...] = ()
    usage: Usage | None = None
    model: str | None = None  # the model that the provider says it used
    warnings: tuple[str, ...] = ()
    full_price: bool = False  # a cheaper tier of service was asked for, and the usual one served


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What the bytes themselves say."""

    mime: str
    extension: str  # with the dot: ".jpg"
    width: int
    height: int


class Status(enum.StrEnum):
    """How a job stands in the manifest."""

    OK = "ok"
    CACHED = "cached"
    REFUSED = "refused"
    FAILED = "failed"
    UNFINISHED = "unfinished"


@dataclass(frozen=True, slots=True)
class Failure:
    """The `error` of a record."""

    code: str
    message: str
    http_status: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One line of the manifest. Every key is always present; their order is the order on disk."""

    job: str
    id: str
    variant: int
    index: int
    status: Status
    file: str | None = None
    sha256: str | None = None
    bytes: int | None = None
    mime: str | None = None
    width: int | None = None
    height: int | None = None
    prompt: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    provider: str | None = None
    provider_model: str | None = None
    attempts: int = 0
    cost_usd: float = 0.0
    cost_basis: str = "none"  # usage | price | none
    maybe_cost_usd: float = 0.0
    warnings: tuple[str, ...] = ()
    started_at: str | None = None
    finished_at: str | None = None
    latency_seconds: float | None = None
    error: Failure | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_image(self) -> bool:
        """Whether the job's image is on disk."""
        return self.status in (Status.OK, Status.CACHED)
