"""The semantic cache where somebody asks for it, and a sentence where its packages are missing."""

from __future__ import annotations

from typing import Any

import pytest

from nanobatch.errors import ConfigError
from nanobatch.optional_meaning import import_semantic

SENTENCE = r"cache\.semantic needs other packages: pip install 'nanobatch\[semantic\]'"


def without(package: str) -> Any:
    def importer(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)

    return importer


def test_it_comes_when_its_packages_are_there() -> None:
    """With all of them, it is the module that looks up by meaning."""
    assert import_semantic().__name__ == "nanobatch.caches.semantic"


@pytest.mark.parametrize("package", ["numpy", "tokenizers", "safetensors.numpy"])
def test_a_missing_package_is_a_sentence(package: str) -> None:
    """It names the setting that asks for it, and what to install."""
    with pytest.raises(ConfigError, match=SENTENCE) as caught:
        import_semantic(importer=without(package))
    assert caught.value.exit_code == 2


def test_a_missing_model_is_the_same_sentence() -> None:
    """The package with the weights is never imported, so it is looked for."""
    with pytest.raises(ConfigError, match=SENTENCE):
        import_semantic(find=lambda _: None)


def test_other_missing_modules_are_bugs() -> None:
    """A module of ours that is not there is no matter of installing something."""
    with pytest.raises(ModuleNotFoundError):
        import_semantic(importer=without("nanobatch.caches.semantic"))
