"""The page as text: nothing that comes from data means anything in it, and its policy lets nothing else in."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanobatch import __version__
from nanobatch.reporters.gallery.page import SCRIPTS, inert, pieces, written_from
from tests.gallery_folder import HOSTILE


class Reader(html.parser.HTMLParser):
    """Collects what a parser finds: the tags, and the text of scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []  # one for each tag
        self.is_inside = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.texts.append("")
        self.is_inside = True

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002 - the parser calls it so
        self.is_inside = False

    def handle_data(self, data: str) -> None:
        if self.is_inside:
            self.texts[-1] += data

    def all(self, tag: str, **attributes: str) -> list[tuple[dict[str, str | None], str]]:
        found = zip(self.tags, self.texts, strict=True)
        return [(have, text) for (name, have), text in found if name == tag and attributes.items() <= have.items()]


def page(title: str = "out", rows: list[Any] | None = None, facts: Any = None) -> str:
    encoded = [json.dumps(row, ensure_ascii=False).encode() for row in rows or []]
    return b"".join(pieces(title, encoded, lambda: facts or {}, source="1-2")).decode()


@pytest.mark.parametrize("text", HOSTILE)
def test_data_stays_data(text: str) -> None:
    """The page has the same elements whatever it shows, and its script reads back what was written."""
    found = Reader(page(text, [{"prompt": text, text: [text]}], {"folder": text}))
    assert found.tags == Reader(page()).tags
    assert json.loads(found.all("script", id="tiles")[0][1]) == [{"prompt": text, text: [text]}]
    assert json.loads(found.all("script", id="facts")[0][1]) == {"folder": text}
    assert found.all("title")[0][1].strip() == text


@given(
    st.recursive(st.text() | st.integers() | st.none(), lambda inner: st.dictionaries(st.text(), inner), max_leaves=5)
)
def test_what_is_made_inert_says_the_same(value: Any) -> None:
    """Every JSON value survives, and nothing in it can begin or end anything in HTML."""
    written = inert(json.dumps(value, ensure_ascii=False))
    assert json.loads(written) == value
    assert not set("<>&\u2028\u2029") & set(written)


def test_the_policy_names_its_own_script_and_style_by_digest() -> None:
    """No other script runs, no style applies, and no address but files and pictures is reached."""
    found = Reader(page())
    policy = found.all("meta", **{"http-equiv": "Content-Security-Policy"})[0][0]["content"] or ""
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    scripts = [text for have, text in found.all("script") if "type" not in have]
    styles = [text for _, text in found.all("style")]
    assert (len(scripts), len(styles)) == (1, 1)
    for name, text in (("script-src", scripts[0]), ("style-src", styles[0])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[name] == f"'sha256-{digest}'"
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["img-src"] == "'self' file: data:"


def test_the_policy_comes_before_anything_that_it_governs() -> None:
    """A policy that stands later does not hold for what came before it."""
    tags = [tag for tag, _ in Reader(page()).tags]
    assert tags[:4] == ["html", "head", "meta", "meta"]
    assert tags.index("style") > 3


def test_the_page_is_whole_in_itself() -> None:
    """No style, script, font or picture comes from elsewhere; no handler stands in an attribute."""
    found = Reader(page())
    sources = [value for _, have in found.tags for name, value in have.items() if name in ("src", "href", "action")]
    assert sources == ["data:,", "#grid"]
    assert not [name for _, have in found.tags for name in have if name.startswith("on") or name == "style"]
    assert not re.search(r"https?://|@import|url\(", page())


def test_scripts_never_read_text_as_html() -> None:
    """What would: none of it is there."""
    script = Reader(page()).all("script")[-1][1]
    assert len(script) > 5000
    for door in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
        "fetch(",
        "XMLHttp",
    ):
        assert door not in script, door


def test_a_page_without_tiles_is_whole_too() -> None:
    """A run that has just begun."""
    assert json.loads(Reader(page()).all("script", id="tiles")[0][1]) == []


def test_a_page_says_what_it_was_made_from() -> None:
    """And by which version; another program's page is told apart."""
    assert written_from(page()[:4096]) == "1-2"
    assert written_from("x" * 250 + page("t" * 250)[:3800]) == "1-2"
    assert written_from(page().replace(f"nanobatch {__version__}", "nanobatch 0.0.1")) is None
    assert written_from("<!doctype html><title>mine</title>") == ""


def test_controls_have_names() -> None:
    """Whoever cannot see the page hears what each thing is for."""
    text = page()
    found = Reader(text)
    labels = re.findall(r"<label[^>]*>(.*?)</label>", text, re.DOTALL)
    for tag in ("input", "select"):
        for have, _ in found.all(tag):
            assert any(f'id="{have["id"]}"' in label for label in labels), have
    assert {tag for tag, _ in found.tags} >= {"header", "main", "search", "dialog", "h1", "noscript"}
    assert len(SCRIPTS) > 3
