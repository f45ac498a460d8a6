"""How a protocol is found by its name: ours first, then those of other packages."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nanobatch import providers
from nanobatch.errors import ConfigError

WHOLE = "def exchange(order): yield\ndef fault(response): return None\n"

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a package of one module, with an entry point for a protocol."""
    before = set(sys.modules)

    def installed(module: str, code: str = WHOLE, *, protocol: str = "atelier", value: str | None = None) -> None:
        site = tmp_path / module
        metadata = site / f"{module}-1.0.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[nanobatch.providers]\n{protocol} = {value or module}\n")
        (site / f"{module}.py").write_text(code)
        monkeypatch.syspath_prepend(site)

    yield installed
    for name in set(sys.modules) - before:
        if name.startswith("plugin_"):
            del sys.modules[name]


def test_ours_are_known_without_any_package() -> None:
    """The names are a tuple in a fixed order, which help and errors show."""
    assert providers.known() == providers.PROTOCOLS
    assert len(set(providers.PROTOCOLS)) == len(providers.PROTOCOLS)


@pytest.mark.parametrize("protocol", ["gemini", "vertex", "openai"])
def test_ours_are_modules(protocol: str) -> None:
    """The protocol's name is the module's."""
    provider = providers.load(protocol)
    assert getattr(provider, "__name__", None) == f"nanobatch.providers.{protocol}"


@pytest.mark.parametrize("protocol", ["", "base", "reading", "Gemini", "..errors", "gemini_body", "openai_chat"])
def test_a_module_that_is_no_protocol_is_not_loaded(protocol: str) -> None:
    """Only names of the list lead to a module, and the error shows the list."""
    with pytest.raises(ConfigError, match="known are gemini, vertex, openai"):
        providers.load(protocol)


def test_a_package_brings_a_protocol(install: Install) -> None:
    """Its name is known next to ours, and its module is the provider."""
    install("plugin_a")
    assert providers.known()[-1] == "atelier"
    assert getattr(providers.load("atelier"), "__name__", None) == "plugin_a"


def test_a_provider_may_be_an_object(install: Install) -> None:
    """Whatever has the two functions is a provider."""
    code = "class Format:\n    def exchange(self, order): yield\n    def fault(self, response): return None\nformat = Format()"
    install("plugin_b", code, value="plugin_b:format")
    assert type(providers.load("atelier")).__name__ == "Format"


def test_names_of_ours_cannot_be_taken(install: Install) -> None:
    """A package that calls itself gemini does not see the key that belongs to Gemini."""
    install("plugin_c", "raise AssertionError('imported')", protocol="gemini")
    assert getattr(providers.load("gemini"), "__name__", None) == "nanobatch.providers.gemini"
    assert providers.known() == providers.PROTOCOLS


def test_naming_the_known_imports_nothing(install: Install) -> None:
    """A broken package harms nobody who does not use it."""
    install("plugin_d", "raise AssertionError('imported')")
    assert "atelier" in providers.known()
    assert "plugin_d" not in sys.modules


@pytest.mark.parametrize(
    ("code", "value", "says"),
    [
        ("import a_package_that_is_missing", None, "ModuleNotFoundError: No module named 'a_package_that_is_missing'"),
        ("def exchange(:", None, "SyntaxError: invalid syntax"),
        ("raise RuntimeError('no\\x1b[31m luck')", None, "RuntimeError: no[31m luck"),
        ("raise RuntimeError", None, "RuntimeError"),
        ("", None, "has no function exchange and no function fault"),
        ("exchange = 1\ndef fault(response): ...", None, "has no function exchange"),
        ("def exchange(order): yield", None, "has no function fault"),
        (WHOLE, "plugin_e:missing", "AttributeError"),
        (WHOLE, "plugin_f", "ModuleNotFoundError"),
    ],
)
def test_a_broken_package_is_named(install: Install, code: str, value: str | None, says: str) -> None:
    """The user learns which package to repair or remove, and why, in one line."""
    install("plugin_e", code, value=value)
    with pytest.raises(ConfigError) as raised:
        providers.load("atelier")
    assert raised.value.message.startswith("protocol 'atelier' of the package plugin_e cannot be used: ")
    assert says in raised.value.message
    assert raised.value.message.isprintable()


def test_two_packages_for_one_name_are_an_error(install: Install) -> None:
    """Which of them gets the key is not left to the order of folders."""
    install("plugin_g")
    install("plugin_h")
    with pytest.raises(ConfigError, match="plugin_g and plugin_h; remove all but one"):
        providers.load("atelier")
    assert providers.known().count("atelier") == 1


def test_importing_the_registry_imports_no_format() -> None:
    """`--help` does not pay for formats, nor for packages."""
    code = (
        "import sys, nanobatch.providers as p\n"
        "ours = {name.replace('-', '_') for name in p.PROTOCOLS}\n"
        "assert not [m for m in sys.modules if m.startswith('nanobatch.providers.') and m[20:] in ours]\n"
        "p.load('vertex')\n"
        "assert 'nanobatch.providers.vertex' in sys.modules and 'nanobatch.providers.openai' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
