"""Whatever stands in a configuration file: it loads, or it is refused with a sentence."""

from __future__ import annotations

import dataclasses
import datetime as dt
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import event, given
from hypothesis import strategies as st

from nanobatch.config import load_settings
from nanobatch.errors import ConfigError, NoProvider
from nanobatch.schema import LIMITS, PROVIDER, SECTIONS
from nanobatch.settings import Settings

SECRET = "sk-hypothesis-0123456789"
KEYS_OF_SECTIONS = [key for keys in SECTIONS.values() for key in keys]
WORDS = st.sampled_from([*SECTIONS, "providers", "google", "relay", *PROVIDER, *LIMITS, *KEYS_OF_SECTIONS])
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-5, 10**7)
    | st.sampled_from([10**400, -(10**400)])
    | st.floats(allow_nan=True, allow_infinity=True)
    | st.dates()
    | st.datetimes(timezones=st.none() | st.just(dt.UTC))
    | st.binary(max_size=5)
    | st.text(max_size=12)
    | st.sampled_from(["1K", "16:9", "http://127.0.0.1:1/v1", "gemini", "${X}", "${X:-1}", "7d", "2K", "\x1b[31m"])
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS | st.text(max_size=6), inner, max_size=4),
    max_leaves=15,
)
# Mostly right, so that the run gets far; a key stands where keys belong, once as it is and once inside something else.
KEY = st.sampled_from([SECRET, "${KEY}", f" {SECRET} ", f"{SECRET} {SECRET}", [SECRET], {SECRET: 1}, f"{SECRET}\x00"])
PROVIDERS = st.dictionaries(
    st.sampled_from(["google", "laozhang", "relay", "gogle"]) | st.text(max_size=4),
    st.fixed_dictionaries(
        {},
        optional={
            "protocol": st.sampled_from(["gemini", "openai"]) | LEAVES,
            "base_url": st.sampled_from(["http://127.0.0.1:1/v1", f"https://u:{SECRET}@h", f"https://h?key={SECRET}"]),
            "api_key": KEY,
            "tier": st.sampled_from([0, 1, "2", "free"]) | LEAVES,
            "limits": st.dictionaries(st.sampled_from(list(LIMITS)), st.integers(1, 9) | LEAVES, max_size=2),
            "prices": st.dictionaries(st.sampled_from(["1K", "2k"]), st.floats(0, 1) | LEAVES, max_size=2),
            "options": VALUES,
        },
    ),
    max_size=3,
)


def load(content: bytes, **flags: Any) -> Settings | ConfigError | NoProvider:
    """Load a file with this content, or return why that is not possible."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "nanobatch.yaml").write_bytes(content)
        try:
            return load_settings(
                config_path=None,
                flags=flags,
                environ={"GEMINI_API_KEY": SECRET, "KEY": SECRET},
                cwd=Path(folder),
                user_folder=Path(folder) / "user",
            )
        except (ConfigError, NoProvider) as error:
            return error


def is_fit_to_be_shown(found: Settings | ConfigError | NoProvider) -> None:
    """Check that nothing shows a key, and that an error is one printable line."""
    if isinstance(found, Settings):
        event("loaded")
        assert SECRET not in repr(found)
        assert "***" in repr(found)
        with pytest.raises(TypeError, match="not written anywhere"):
            dataclasses.asdict(found)
        return
    event(f"refused: {type(found).__name__}")
    assert found.message.isprintable()
    assert SECRET not in f"{found} {found!r} {found.args}"


@given(values=st.dictionaries(WORDS, VALUES, max_size=4))
def test_any_mapping_loads_or_is_refused(values: dict[str, Any]) -> None:
    """No mapping crashes the loader, and none makes it show a key."""
    is_fit_to_be_shown(load(yaml.safe_dump(values).encode()))


@given(providers=PROVIDERS, named=st.none() | st.lists(st.sampled_from(["google", "relay", "gogle"]), max_size=2))
def test_any_providers_load_or_are_refused(providers: dict[str, Any], named: list[str] | None) -> None:
    """No description of providers crashes the loader; a key in the right place is never shown, whatever surrounds it."""
    is_fit_to_be_shown(load(yaml.safe_dump({"providers": providers}).encode(), providers=named))


@given(text=st.text(max_size=80) | st.text(alphabet="ab:{}[]&*!|>-?#%@`'\"\n \t", max_size=60))
def test_any_text_loads_or_is_refused(text: str) -> None:
    """No text crashes the loader."""
    found = load(text.encode("utf-8", "surrogatepass"))
    assert isinstance(found, Settings) or found.message.startswith("nanobatch.yaml")
    is_fit_to_be_shown(found)


@given(content=st.binary(max_size=40))
def test_any_bytes_load_or_are_refused(content: bytes) -> None:
    """Neither do bytes that are no text."""
    is_fit_to_be_shown(load(content))
