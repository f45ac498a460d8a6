"""Reads YAML with the line of every key, safely. The only door to the YAML library."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from nanobatch.errors import ConfigError

Path = tuple[str, ...]
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
LARGEST_FILE = 1_000_000  # characters; a config is a page, and a bomb of aliases is not
MOST_NODES = 100_000
DEEPEST = 50  # levels; the library's own recursion ends in a crash of the process
_PLAIN_NUMBER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML mapping, and where each of its keys stands."""

    name: str
    values: Mapping[str, Any]
    lines: Mapping[Path, int]  # 1-based

    def where(self, path: Path) -> str:
        """Name the place of a key as a person would look for it: `nanobatch.yaml:12`."""
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.name}:{self.lines[path]}" if path else self.name


def parse(text: str, name: str) -> Document:
    """Parse a document whose top is a mapping; an empty one is an empty mapping.

    Raises:
        ConfigError: It is not YAML, not a mapping, has a key twice, or is absurdly large.
    """
    if len(text) > LARGEST_FILE:
        raise ConfigError(f"{name}: this file is too large for a configuration")
    try:
        _check_depth(text, name)
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        if "nesting depth" in (error.problem or ""):  # newer versions of libyaml have a limit of their own
            raise ConfigError(f"{name}{line}: nested too deeply") from error
        reason = error.problem or error.context
        if error.problem_mark and _begins_with_tab(text, error.problem_mark.line):
            reason = "a tab stands where YAML wants blanks"
        raise ConfigError(f"{name}{line}: this is not valid YAML: {reason}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{name}: this is not valid YAML: {str(error).splitlines()[0]}") from error
    if node is None or (isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"):
        return Document(name, {}, {})
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{name}:{node.start_mark.line + 1}: expected keys such as 'providers:' at the top")
    reader = _Reader(name)
    values = reader.mapping(node, ())
    return Document(name, values, reader.lines)


def _begins_with_tab(text: str, line: int) -> bool:
    lines = text.splitlines()
    return line < len(lines) and "\t" in lines[line][: len(lines[line]) - len(lines[line].lstrip())]


def _check_depth(text: str, name: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST:
                line = f":{event.start_mark.line + 1}" if event.start_mark else ""
                raise ConfigError(f"{name}{line}: nested too deeply")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _is_word(node: yaml.ScalarNode) -> bool:
    """Whether something that YAML 1.1 takes for a number is written like a word: 16:9 (969), 007 (7), 12_34 (1234)."""
    if node.tag not in _NUMBERS:
        return False
    return ":" in node.value or (node.tag == _NUMBERS[0] and not _PLAIN_NUMBER.fullmatch(node.value))


class _Reader:
    """Turns nodes into values while noting lines."""

    def __init__(self, name: str) -> None:
        self.lines: dict[Path, int] = {}
        self._name = name
        self._count = 0
        self._scalars: Any = _Loader("")

    def value(self, node: yaml.Node, path: Path) -> Any:
        self._count += 1
        if self._count > MOST_NODES:
            raise ConfigError(f"{self._name}: too many values; are aliases nested in aliases?")
        if len(path) > DEEPEST:  # an alias may lead back to what holds it
            raise ConfigError(f"{self._name}:{node.start_mark.line + 1}: nested too deeply")
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, str(number))) for number, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and _is_word(node):
            return node.value
        try:
            return self._scalars.construct_object(node, deep=True)
        except (yaml.YAMLError, ValueError, OverflowError, AttributeError, KeyError, TypeError):
            # A tag that does not fit its value makes the library fail in any of these ways. The value may be a key.
            line = node.start_mark.line + 1
            raise ConfigError(f"{self._name}:{line}: this value cannot be read; put it in quotes") from None

    def mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigError(f"{self._name}:{line}: a key must be a word")
            key = key_node.value  # as written: 1K, 512 and on are words here
            here = (*path, key)
            if here in self.lines and key in values:
                raise ConfigError(
                    f"{self._name}:{line}: key {key!r} stands here twice, first on line {self.lines[here]}"
                )
            self.lines[here] = line
            values[key] = self.value(value_node, here)
        return values
