"""OpenAI's strictness with its own models, and its imitators' leniency."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanobatch.sandbox.dialects.base import Order
from nanobatch.sandbox.dialects.openai_request import InvalidError, choice, count, read, text

NEW = "gpt-image-2"


def order(model: str = NEW, **fields: Any) -> Order:
    return read({"model": model, "prompt": "a cat", **fields}, 7)


def wrong(model: str = NEW, **fields: Any) -> InvalidError:
    with pytest.raises(InvalidError) as caught:
        order(model, **fields)
    return caught.value


def test_model_and_prompt_are_enough() -> None:
    """The rest has the vendor's defaults."""
    found = order()
    assert (found.model, found.images, found.drawing.prompt) == (NEW, 1, "a cat")
    assert (found.drawing.width, found.drawing.height, found.drawing.kind) == (1024, 1024, "png")
    assert dict(found.details) == {"quality": "medium", "links": False, "created": 7}


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"prompt": "x"}, "model", "missing_required_parameter"),
        ({"model": NEW}, "prompt", "missing_required_parameter"),
        ({"model": NEW, "prompt": ""}, "prompt", "missing_required_parameter"),
        ({"model": NEW, "prompt": None}, "prompt", "missing_required_parameter"),
        ({"model": NEW, "prompt": ["x"]}, "prompt", "invalid_type"),
        ({"model": 5, "prompt": "x"}, "model", "invalid_type"),
        ([], None, None),
        ("x", None, None),
    ],
)
def test_model_and_prompt_are_needed(body: Any, param: str | None, code: str | None) -> None:
    """The error names the field and the vendor's word for the mistake."""
    with pytest.raises(InvalidError) as caught:
        read(body, 0)
    assert (caught.value.param, caught.value.code) == (param, code)


@pytest.mark.parametrize("name", ["response_format", "seed", "aspect_ratio", "style"])
@pytest.mark.parametrize("model", ["gpt-image-1.5", "gpt-image-2", "chatgpt-image-latest"])
def test_own_models_know_no_other_fields(model: str, name: str) -> None:
    """response_format above all."""
    error = wrong(model, **{name: "b64_json"})
    assert str(error) == f"Unknown parameter: '{name}'."
    assert (error.param, error.code) == (name, "unknown_parameter")


def test_other_servers_ignore_what_they_do_not_know() -> None:
    """A compatible server takes response_format, seed and anything else."""
    assert order("flux", response_format="b64_json", seed=5, steps=20).details["links"] is False
    assert order("flux", response_format="url").details["links"] is True
    assert order("url-x").details["links"] is True
    assert order("url-x", response_format="b64_json").details["links"] is False
    found = order("flux", width=640, height=320).drawing
    assert (found.width, found.height) == (640, 320)


@pytest.mark.parametrize(("n", "code"), [(0, "integer_below_min_value"), (11, "integer_above_max_value")])
def test_n_is_one_to_ten(n: int, code: str) -> None:
    """The ends are inside, beyond them the error says on which side."""
    assert wrong(n=n).code == code
    assert (order(n=1).images, order(n=10).images, order(n=None).images) == (1, 10, 1)


@pytest.mark.parametrize("n", ["2", 1.5, True, []])
def test_n_is_an_integer(n: Any) -> None:
    """A number in quotes is none."""
    assert wrong(n=n).code == "invalid_type"


@pytest.mark.parametrize(
    ("size", "pixels"),
    [
        (None, (1024, 1024)), ("auto", (1024, 1024)), ("1280x720", (1280, 720)), ("3840x2160", (3840, 2160)),
        ("2160x3840", (2160, 3840)), ("768x256", (768, 256)), ("848x1264", (848, 1264)),
    ],
)  # fmt: skip
def test_sizes_of_new_models(size: str | None, pixels: tuple[int, int]) -> None:
    """Sides divide by 16, no more than three to one, up to 4K."""
    drawing = order(size=size).drawing
    assert (drawing.width, drawing.height) == pixels


@pytest.mark.parametrize(
    "size",
    ["1025x1024", "3856x2160", "3840x2176", "1024x320", "1024", "x", "1024x", "0x0", "1K", "1024X1024", 1024, "-16x16",
     "016x016", " 1024x1024", "1024x1024\n", "٣٢x٣٢", []],
)  # fmt: skip
def test_other_sizes_are_refused(size: Any) -> None:
    """Odd, too large, too long, or not a size at all."""
    assert (wrong(size=size).param, wrong(size=size).code) == ("size", "invalid_value")


def test_older_models_have_three_sizes() -> None:
    """And name them."""
    assert order("gpt-image-1.5", size="1536x1024").drawing.width == 1536
    error = wrong("gpt-image-1-mini", size="1280x720")
    assert "'1024x1024', '1024x1536', '1536x1024', 'auto'" in str(error)


def test_other_servers_draw_any_size_that_can_be_drawn() -> None:
    """A pixel, but no poster."""
    assert order("flux", size="1x7").drawing.height == 7
    assert wrong("flux", size="9000x10").code == "invalid_value"


@pytest.mark.parametrize("quality", ["low", "medium", "high"])
def test_qualities_are_kept(quality: str) -> None:
    """What was asked is what comes back; auto is medium."""
    assert order(quality=quality).details["quality"] == quality
    assert order(quality="auto").details["quality"] == "medium"


@pytest.mark.parametrize("quality", ["hd", "standard", "xhigh", "max", 5])
def test_qualities_of_other_times_are_refused(quality: Any) -> None:
    """The older words, and those that only newer models know."""
    assert wrong(quality=quality).code == "invalid_value"
    if quality in ("xhigh", "max"):
        assert order("gpt-image-2.5-flare", quality=quality).details["quality"] == quality
    assert order("dall-e-3", quality=quality).details["quality"] == str(quality)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_formats_are_drawn(kind: str) -> None:
    """Three formats can be asked for."""
    assert order(output_format=kind).drawing.kind == kind


@pytest.mark.parametrize(
    "fields",
    [
        {"output_format": "gif"},
        {"output_format": "JPEG"},
        {"background": "blue"},
        {"background": "transparent", "output_format": "jpeg"},
        {"moderation": "none"},
        {"complexity": "most"},
        {"output_compression": 101, "output_format": "jpeg"},
        {"output_compression": "10", "output_format": "jpeg"},
        {"output_compression": True, "output_format": "jpeg"},
        {"output_compression": 50},
        {"output_compression": -1, "output_format": "webp"},
    ],
)
def test_wrong_words_are_refused(fields: dict[str, Any]) -> None:
    """Each with the field's name."""
    error = wrong(**fields)
    assert error.code == "invalid_value"
    assert error.param in fields


def test_compression_reaches_the_pen() -> None:
    """For formats that lose something; PNG takes only the full quality."""
    assert order(output_format="jpeg", output_compression=10).drawing.quality == 10
    assert order(output_format="jpeg", output_compression=0).drawing.quality == 1
    assert order(output_compression=100).drawing.kind == "png"


def test_a_prompt_may_be_long_but_not_longer() -> None:
    """32,000 characters, for OpenAI's own models."""
    read({"model": NEW, "prompt": "x" * 32_000}, 0)
    read({"model": "flux", "prompt": "x" * 40_000}, 0)
    with pytest.raises(InvalidError, match="string too long") as caught:
        read({"model": NEW, "prompt": "x" * 32_001}, 0)
    assert caught.value.code == "string_above_max_length"


def test_streams_are_not_spoken() -> None:
    """The sandbox says so instead of answering something else."""
    assert "does not stream" in str(wrong(stream=True))
    order(stream=False)


@pytest.mark.parametrize("model", ["gpt-image-1", "gpt-image-1.5", "gpt-image-1-mini"])
def test_older_models_choose_how_closely_they_follow_an_image(model: str) -> None:
    """Low or high; newer ones are always high and refuse the word, and without an image nobody knows it."""
    body = {"model": model, "prompt": "x", "input_fidelity": "high"}
    assert read(body, 0, ("hash",)).references == ("hash",)
    for wrong_body, references, code in (
        (body | {"input_fidelity": "medium"}, ("hash",), "invalid_value"),
        (body | {"model": NEW}, ("hash",), "invalid_input_fidelity_model"),
        (body, (), "unknown_parameter"),
    ):
        with pytest.raises(InvalidError) as caught:
            read(wrong_body, 0, references)
        assert (caught.value.param, caught.value.code) == ("input_fidelity", code)
    assert read({"model": "flux", "prompt": "x", "input_fidelity": "any"}, 0, ("hash",)).model == "flux"


def test_the_readers_of_fields_serve_other_vendors_too() -> None:
    """Each with its own most and its own words."""
    assert count({"n": 4}, 4) == 4
    with pytest.raises(InvalidError, match="between 1 and 4, got 5"):
        count({"n": 5}, 4)
    assert (text({"a": "b"}, "a"), choice({}, "a", ("b", "c"), "c")) == ("b", "c")
    with pytest.raises(InvalidError, match="Supported values are: 'b', 'c'"):
        choice({"a": ["b"]}, "a", ("b", "c"), "c")


_NAMES = st.sampled_from([
    "model", "prompt", "n", "size", "quality", "background", "output_format", "output_compression", "moderation",
    "stream", "response_format", "width", "height",
])  # fmt: skip
_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.sampled_from(["64x64"])
_VALUES = st.recursive(_LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3))


@given(st.sampled_from([NEW, "flux"]), st.dictionaries(_NAMES, _VALUES, max_size=5))
def test_whatever_comes_is_read_or_refused(model: str, fields: dict[str, Any]) -> None:
    """No JSON makes the sandbox stumble: it becomes an image that can be drawn, or an error that says why."""
    with contextlib.suppress(InvalidError):
        found = read({"model": model, "prompt": "x"} | fields, 0)
        assert 1 <= found.drawing.width <= 8192
        assert 1 <= found.drawing.height <= 8192
