"""XMP that reads back, and that goes into somebody else's packet without changing it."""

from __future__ import annotations

import pytest

from nanobatch.inscriptions.base import Inscription, Unfit
from nanobatch.inscriptions.xmp import insertion, packet
from tests.pictures import GOOGLES_XMP, said

WORDS = Inscription("a <red> fox & 'hen'", {"size": "1K", "provider_model": "gemini-3"})


def merged(words: Inscription, existing: bytes, *, room: int | None = None) -> bytes:
    place, more = insertion(words, existing, room=room)
    return existing[:place] + more.data + existing[place:]


def test_a_packet_says_it_in_the_fields_that_programs_show() -> None:
    """The description, IPTC's fields for generated images, and all parameters as JSON."""
    assert said(packet(WORDS).data) == {
        "description": "a <red> fox & 'hen'",
        "prompt": "a <red> fox & 'hen'",
        "system": "gemini-3",
        "params": '{"size": "1K", "provider_model": "gemini-3"}',
        "credit": None,
    }


def test_only_what_is_asked_for() -> None:
    """A prompt alone says nothing of parameters, and the other way round."""
    assert set(filter(None, said(packet(Inscription("a fox")).data).values())) == {"a fox"}
    assert said(packet(Inscription(None, {"size": "1K"})).data)["description"] is None


def test_line_ends_survive_and_control_characters_do_not() -> None:
    """XML turns a bare carriage return into a line feed unless it is spelled; it has no word for a NUL."""
    assert said(packet(Inscription("a\r\nb\tc\0d\x1be\ufffff")).data)["prompt"] == "a\r\nb\tc\ufffdd\ufffde\ufffdf"


def test_a_providers_packet_keeps_every_byte() -> None:
    """What it says stays, what we say is added, under the same `rdf:about`."""
    found = merged(WORDS, GOOGLES_XMP)
    assert said(found)["credit"] == "Made with Google AI"
    assert said(found)["description"] == WORDS.prompt
    assert found.count(b'rdf:about="uuid:1"') == 2
    place, more = insertion(WORDS, GOOGLES_XMP)
    assert found[:place] + found[place + len(more.data) :] == GOOGLES_XMP


def test_a_property_is_not_said_twice() -> None:
    """A description that the provider wrote is the provider's."""
    existing = packet(Inscription("theirs")).data
    assert said(merged(WORDS, existing)) | {"params": None} == {
        "description": "theirs", "prompt": "theirs", "system": "gemini-3", "params": None, "credit": None,
    }  # fmt: skip


def test_another_prefix_for_rdf_is_understood() -> None:
    """The namespace decides, not the letters before the colon."""
    existing = GOOGLES_XMP.replace(b"rdf:", b"r:").replace(b"xmlns:rdf", b"xmlns:r")
    assert said(merged(WORDS, existing))["description"] == WORDS.prompt


@pytest.mark.parametrize("existing", [b"", b"a hash", b"</rdf:RDF></rdf:RDF>", GOOGLES_XMP.decode().encode("utf-16")])
def test_what_is_no_packet_is_left_alone(existing: bytes) -> None:
    """Nothing is guessed."""
    with pytest.raises(Unfit, match="unknown form"):
        insertion(WORDS, existing)


def test_a_prompt_that_does_not_fit_twice_stands_once() -> None:
    """The description that every viewer shows is kept before the other."""
    twice = len(packet(Inscription("x" * 1000)).data)
    found = packet(Inscription("x" * 1000), room=twice - 1)
    assert not found.cut
    assert said(found.data)["description"] == "x" * 1000
    assert said(found.data)["prompt"] is None


def test_a_prompt_that_does_not_fit_at_all_is_cut_and_says_so() -> None:
    """As much as fits, between two characters, with a mark at its end; the parameters stay whole."""
    found = packet(Inscription("&狐" * 1000, {"size": "1K"}), room=2000)
    assert found.cut
    assert 1990 < len(found.data) <= 2000
    text = said(found.data)["description"] or ""
    assert text.endswith("…")
    assert ("&狐" * 1000).startswith(text[:-1])
    assert said(found.data)["params"] == '{"size": "1K"}'


@pytest.mark.parametrize("words", [WORDS, Inscription(None, {"size": "1K"})])
def test_no_room_is_said(words: Inscription) -> None:
    """There is nothing to cut any more."""
    with pytest.raises(Unfit, match="no room"):
        packet(words, room=300)
