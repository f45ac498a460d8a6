"""Whatever stands in a configuration file: it loads, or it is refused with a sentence."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from nanobatch.config import load_settings
from nanobatch.errors import ConfigError, NoProvider
from nanobatch.schema import LIMITS, PROVIDER, SECTIONS

SECRET = "sk-hypothesis-0123456789"
WORDS = st.sampled_from(
    [
        *SECTIONS,
        "providers",
        "google",
        "relay",
        *PROVIDER,
        *LIMITS,
        *(key for keys in SECTIONS.values() for key in keys),
    ]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-5, 10**7)
    | st.floats(allow_nan=True, allow_infinity=True)
    | st.text(max_size=12)
    | st.sampled_from([SECRET, "1K", "16:9", "http://127.0.0.1:1/v1", "gemini", "${X}", "${X:-1}", "7d", "2K"])
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS | st.text(max_size=6), inner, max_size=4),
    max_leaves=15,
)


@given(values=st.dictionaries(WORDS, VALUES, max_size=4))
def test_any_mapping_loads_or_is_refused(values: dict[str, Any]) -> None:
    """No mapping crashes the loader, and none makes it show a key."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "nanobatch.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
        try:
            settings = load_settings(
                config_path=None,
                flags={},
                environ={"GEMINI_API_KEY": SECRET},
                cwd=Path(folder),
                user_folder=Path(folder) / "user",
            )
        except (ConfigError, NoProvider) as error:
            assert error.message
        else:
            assert "SECRET" not in repr(settings.providers)
            assert all(SECRET not in repr(provider.api_key) for provider in settings.providers)


@given(text=st.text(max_size=80))
def test_any_text_loads_or_is_refused(text: str) -> None:
    """No text crashes the loader."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "nanobatch.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            load_settings(
                config_path=None,
                flags={},
                environ={"GEMINI_API_KEY": SECRET},
                cwd=Path(folder),
                user_folder=Path(folder) / "user",
            )
        except ConfigError as error:
            assert error.message.startswith("nanobatch.yaml")
