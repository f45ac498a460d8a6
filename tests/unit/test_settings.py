"""Settings are typed and frozen, and a key never shows itself."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle

import pytest

from nanobatch.errors import ConfigError
from nanobatch.settings import Defaults, OutputSettings, RunSettings, Secret, Settings
from tests.harness import settings

KEY = "sk-abcdefghijklmnop"


def test_a_secret_shows_itself_only_when_asked() -> None:
    """repr, str, format, dumps and pickles hold no key."""
    secret = Secret(f"  {KEY}\n")
    assert secret.reveal() == KEY
    assert KEY not in f"{secret!r} {secret} {[secret]} {vars(Defaults)}"
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        copy.copy(secret)
    with pytest.raises(TypeError):
        json.dumps(secret)
    assert secret == Secret(KEY)
    assert len({secret, Secret(KEY)}) == 1


@pytest.mark.parametrize("value", ["", "  ", "two words", "sk-\x00", "schlüssel", "a\nb"])
def test_what_is_no_key_is_refused_without_being_shown(value: str) -> None:
    """A key copied with too much or too little around it is named as such, never repeated."""
    with pytest.raises(ConfigError) as caught:
        Secret(value)
    assert not value.strip() or value not in caught.value.message


def test_settings_do_not_show_keys() -> None:
    """The repr of everything is safe to log."""
    everything = Settings(Defaults(), RunSettings(), OutputSettings(), (settings("relay"),))
    assert "secret-of-relay" not in repr(everything)
    assert everything.origin("run.retries") == "default"
    with pytest.raises(TypeError, match="a key is not written anywhere"):
        dataclasses.asdict(everything)
    with pytest.raises(dataclasses.FrozenInstanceError):
        everything.sandbox = True  # type: ignore[misc]
