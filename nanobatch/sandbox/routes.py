"""Which path leads to which dialect. A new format adds its lines here, and nothing in the server.

A format whose images come with the answer is one line of `CREATES` for each path; one with tasks is an entry of `TASKS`
with every path that orders and every path that asks. The named parts of a path, such as `{model}`, are in `Asked.path`.

All formats share one port. A vendor whose paths clash with another's lives below its own name, which then ends its
base URL: `http://127.0.0.1:8787/fal`. Kie's and Puter's own paths clash with nothing and are served without it, too.
"""

from __future__ import annotations

from typing import NamedTuple

from nanobatch.sandbox.dialects import (
    fal,
    gemini,
    kie,
    openai,
    openai_chat,
    openai_edits,
    openrouter,
    puter,
    replicate,
    together,
    vertex,
    xai,
)
from nanobatch.sandbox.dialects.base import Dialect, TaskDialect, UploadDialect, Vendor

GEMINI_MODELS = "/{version:v1(?:alpha|beta)?}/models"
_VERTEX = "/v1beta1/projects/{project}/locations/{location}/publishers/google/models"


class Creates(NamedTuple):
    """A POST that orders an image and is answered with it."""

    path: str
    dialect: Dialect


class Tasks(NamedTuple):
    """A format with tasks: a POST that orders, and GETs that ask."""

    order: tuple[str, ...]
    polls: tuple[str, ...]
    dialect: TaskDialect


CREATES = (
    Creates("/v1/images/generations", openai),
    Creates("/v1/images/edits", openai_edits),
    Creates("/v1/chat/completions", openai_chat),
    Creates("/openrouter/api/v1/chat/completions", openai_chat),
    Creates("/openrouter/api/v1/images", openrouter),
    Creates("/together/v1/images/generations", together),
    Creates("/xai/v1/images/generations", xai),
    Creates("/drivers/call", puter),
    Creates("/puter/drivers/call", puter),
    Creates(_VERTEX + "/{model:.+}:{action:[A-Za-z]+}", vertex),
    Creates(GEMINI_MODELS + "/{model:.+}:{action:[A-Za-z]+}", gemini),
)
TASKS = (
    Tasks(
        ("/api/v1/jobs/createTask", "/kie/api/v1/jobs/createTask"),
        ("/api/v1/jobs/recordInfo", "/kie/api/v1/jobs/recordInfo"),
        kie,
    ),
    Tasks(
        ("/v1/models/{owner}/{name}/predictions", "/replicate/models/{owner}/{name}/predictions"),
        ("/v1/predictions/{prediction}", "/replicate/predictions/{prediction}"),
        replicate,
    ),
    Tasks(
        ("/fal/{model:.+}",),
        (
            "/fal/{app:[^/]+/[^/]+}/requests/{request}/{what:status}",
            "/fal/{app:[^/]+/[^/]+}/requests/{request}",
        ),
        fal,
    ),
)
UPLOADS: tuple[tuple[str, UploadDialect], ...] = (  # POSTs of files that orders may name
    ("/api/file-stream-upload", kie),
    ("/api/file-base64-upload", kie),
    ("/kie/api/file-stream-upload", kie),
    ("/kie/api/file-base64-upload", kie),
)
FREE: tuple[tuple[str, Vendor], ...] = (  # GETs that cost nothing and tell whether a key is good
    ("/api/v1/chat/credit", kie),
    ("/kie/api/v1/chat/credit", kie),
    ("/v1/account", replicate),
    ("/replicate/account", replicate),
    ("/openrouter/api/v1/{what:models|key}", openrouter),
    ("/together/v1/models", together),
    ("/xai/v1/models", xai),
)
