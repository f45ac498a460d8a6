"""The table of paths: every dialect is reached, and no path hides another."""

from __future__ import annotations

import re

import pytest

from nanobatch.sandbox import routes
from nanobatch.sandbox.faults import EVERY

PATHS = [
    *((route.path, route.dialect.NAME) for route in routes.CREATES),
    *((path, tasks.dialect.NAME) for tasks in routes.TASKS for path in (*tasks.order, *tasks.polls)),
    *((path, dialect.NAME) for path, dialect in routes.UPLOADS),
    *((path, vendor.NAME) for path, vendor in routes.FREE),
]
PREFIXED = ("/kie/", "/fal/", "/replicate/", "/puter/", "/openrouter/", "/together/", "/xai/")


def test_every_dialect_of_the_faults_has_a_path() -> None:
    """And every path leads to a dialect that the faults know."""
    assert {name for _, name in PATHS} == EVERY


@pytest.mark.parametrize(("path", "name"), PATHS)
def test_a_prefix_is_the_dialect_s_name(path: str, name: str) -> None:
    """Whoever reads a path knows who answers; OpenRouter's chat is the chat dialect's."""
    assert path.startswith("/")
    prefix = next((prefix for prefix in PREFIXED if path.startswith(prefix)), None)
    assert prefix in (None, f"/{name}/") or (prefix, name) == ("/openrouter/", "openai-chat")


def test_no_path_is_there_twice() -> None:
    """The second one would never be reached."""
    asked = [path for path, _ in PATHS]
    assert len(asked) == len(set(asked))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/api/v1/jobs/createTask", "kie"),
        ("/kie/api/v1/jobs/recordInfo", "kie"),
        ("/kie/api/file-base64-upload", "kie"),
        ("/kie/api/v1/chat/credit", "kie"),
        ("/fal/fal-ai/flux/dev", "fal"),
        ("/fal/fal-ai/flux/requests/ab/status", "fal"),
        ("/replicate/models/google/nano-banana/predictions", "replicate"),
        ("/v1/predictions/ab", "replicate"),
        ("/v1/images/edits", "openai"),
        ("/v1/chat/completions", "openai-chat"),
        ("/puter/drivers/call", "puter"),
        ("/v1beta/models/gemini-3-pro-image:generateContent", "gemini"),
        ("/v1beta1/projects/p/locations/l/publishers/google/models/m:generateContent", "vertex"),
    ],
)
def test_a_vendor_s_path_leads_to_its_dialect(path: str, name: str) -> None:
    """As the vendors document them, below the prefix where they need one."""
    found = [owner for pattern, owner in PATHS if _pattern(pattern).fullmatch(path)]
    assert found
    assert set(found) == {name}


def _pattern(path: str) -> re.Pattern[str]:
    """Turn a path of the table into a regular expression, as the server does."""
    pieces = re.split(r"\{[a-z]+(?::((?:[^{}])+))?\}", path)
    texts = [re.escape(text) for text in pieces[::2]]
    holes = [f"(?:{hole or '[^{}/]+'})" for hole in pieces[1::2]]
    return re.compile("".join(text + hole for text, hole in zip(texts, [*holes, ""], strict=True)))
