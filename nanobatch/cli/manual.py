"""Writes docs/cli.md from the commands themselves: `python -m nanobatch.cli.manual > docs/cli.md`."""

from __future__ import annotations

import ast
import dataclasses
import enum
import inspect
import re
import sys
import textwrap
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import typer
from typer.models import ArgumentInfo, OptionInfo

from nanobatch.catalog import load_catalog
from nanobatch.cli.app import app
from nanobatch.cli.manual_texts import AFTER, BEFORE
from nanobatch.lookup import ENVIRONMENT
from nanobatch.schema import SECTIONS
from nanobatch.settings import CacheSettings, Defaults, OutputSettings, RunSettings

SETTINGS = {"defaults": Defaults(), "run": RunSettings(), "output": OutputSettings(), "cache": CacheSettings()}


@dataclasses.dataclass(frozen=True, slots=True)
class Command:
    """One command, as its function tells it."""

    name: str  # with the group it belongs to: "cache stats"
    function: Callable[..., Any]

    @property
    def paragraphs(self) -> list[str]:
        """What `--help` says, without the example."""
        text = inspect.getdoc(self.function) or ""
        return [part for part in re.split(r"\n\n+", text) if not part.startswith("Example")]

    @property
    def examples(self) -> list[str]:
        """The command lines of its examples."""
        return re.findall(r"^\s*Example: (.+)$", inspect.getdoc(self.function) or "", flags=re.MULTILINE)


@dataclasses.dataclass(frozen=True, slots=True)
class Parameter:
    """One option or argument."""

    name: str
    info: OptionInfo | ArgumentInfo
    annotation: Any
    default: Any

    @property
    def is_option(self) -> bool:
        """Whether it begins with a dash."""
        return isinstance(self.info, OptionInfo)

    @property
    def spelled(self) -> list[str]:
        """The option's names, the long one first."""
        first = self.info.default  # typer takes the first name for a default, and sorts that out later
        names = [first] if isinstance(first, str) and first.startswith("-") else []
        return [*names, *(self.info.param_decls or ())] or [f"--{self.name.replace('_', '-')}"]

    @property
    def value(self) -> str:
        """What stands for the value; nothing for a switch."""
        if self.info.metavar is not None:
            return self.info.metavar
        kind = _innermost(self.annotation)
        if kind is bool:
            return ""
        return "|".join(kind) if isinstance(kind, enum.EnumType) else self.name.upper()


def commands(group: typer.Typer = app, prefix: str = "") -> Iterator[Command]:
    """Yield all commands in the order of `--help`."""
    for found in group.registered_commands:
        assert found.callback is not None
        yield Command(prefix + (found.name or found.callback.__name__.replace("_", "-")), found.callback)
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        yield from commands(inner.typer_instance, f"{prefix}{inner.name} ")


def parameters(function: Callable[..., Any]) -> Iterator[Parameter]:
    """Yield what a command takes."""
    hints = typing.get_type_hints(function, include_extras=True)
    for name, found in inspect.signature(function).parameters.items():
        annotation, *extras = typing.get_args(hints[name])
        info = next(extra for extra in extras if isinstance(extra, OptionInfo | ArgumentInfo))
        yield Parameter(name, info, annotation, found.default)


def settings_of(function: Callable[..., Any]) -> Mapping[str, str]:
    """Return which parameter stands for which setting, as the function's own table of flags has it."""
    found: dict[str, str] = {}
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(value, ast.Name) and "." in str(key.value):
                    found[value.id] = str(key.value)
    return found


def manual() -> str:
    """Return docs/cli.md."""
    found = list(commands())
    lines = [BEFORE, "| command | what it does |", "|---|---|"]
    lines += [
        f"| [`{each.name}`](#nanobatch-{each.name.replace(' ', '-')}) | {_line(each.paragraphs[0])} |" for each in found
    ]
    for each in found:
        lines += ["", *_section(each)]
    return "\n".join([*lines, "", AFTER.replace("{variables}", "\n".join(_variables())), ""])


def _section(command: Command) -> Iterator[str]:
    takes = list(parameters(command.function))
    arguments = [each for each in takes if not each.is_option]
    usage = " ".join(["nanobatch", command.name, "[OPTIONS]", *(_argument(each) for each in arguments)])
    yield from [f"## nanobatch {command.name}", "", "```", usage, "```", ""]
    for paragraph in command.paragraphs:
        yield from [_line(paragraph), ""]
    if arguments:
        yield from ["| argument | |", "|---|---|"]
        yield from [f"| `{_cell(_argument(each))}` | {_cell(each.info.help or '')} |" for each in arguments]
        yield ""
    settings = settings_of(command.function)
    for panel, options in _panels(takes):
        yield from [f"| {panel} | | default | or |", "|---|---|---|---|"]
        yield from [_row(each, settings.get(each.name)) for each in options]
        yield ""
    yield from ["```sh", *command.examples, "```"]


def _panels(takes: list[Parameter]) -> Iterator[tuple[str, list[Parameter]]]:
    options = [each for each in takes if each.is_option and not each.info.hidden]
    for panel in dict.fromkeys(each.info.rich_help_panel for each in options):
        yield panel or "option", [each for each in options if each.info.rich_help_panel == panel]


def _argument(parameter: Parameter) -> str:
    metavar = parameter.value
    several = typing.get_origin(parameter.annotation) is list
    return metavar if metavar.startswith("[") else f"{metavar}..." if several else metavar


def _row(option: Parameter, setting: str | None) -> str:
    names = ", ".join(option.spelled)
    spelled = f"{names} {option.value}".rstrip()
    settable = "config" if option.name == "config" else setting if _is_setting(setting) else None
    variable = f"`{ENVIRONMENT}{settable.replace('.', '_').upper()}`" if settable is not None else ""
    return f"| `{_cell(spelled)}` | {_cell(option.info.help or '')} | {_default(option, setting)} | {variable} |"


def _is_setting(dotted: str | None) -> bool:
    section, _, key = (dotted or "").partition(".")
    return key in SECTIONS.get(section, {})


def _default(option: Parameter, setting: str | None) -> str:
    value = option.default
    if value is None and _is_setting(setting) and setting is not None:
        section, _, key = setting.partition(".")
        value = getattr(SETTINGS[section], key)
    if value is None or value is False or value is inspect.Parameter.empty:
        return ""
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _innermost(annotation: Any) -> Any:
    """Return what is inside of `list[...]` and `... | None`."""
    inner = [each for each in typing.get_args(annotation) if each is not types.NoneType]
    return _innermost(inner[0]) if inner else annotation


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _line(paragraph: str) -> str:
    return " ".join(paragraph.split())


def _variables() -> Iterator[str]:
    names: dict[tuple[str, ...], list[str]] = {}  # one account may have several addresses
    for entry in load_catalog().providers.values():
        if entry.key_variables:
            names.setdefault(tuple(entry.key_variables), []).append(entry.name)
    for variables, providers in names.items():
        yield f"| `{'`, `'.join(variables)}` | the key of {' and '.join(providers)} |"


if __name__ == "__main__":
    sys.stdout.write(manual())
