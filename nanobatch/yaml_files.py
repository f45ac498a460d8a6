"""Reads YAML with the line of every key, safely. The only door to the YAML library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from nanobatch.errors import ConfigError

Path = tuple[str, ...]
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
LARGEST_FILE = 1_000_000  # characters; a config is a page, and a bomb of aliases is not
MOST_NODES = 100_000


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
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{name}{line}: this is not valid YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{name}: this is not valid YAML: {str(error).splitlines()[0]}") from error
    if node is None or (isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"):
        return Document(name, {}, {})
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{name}:{node.start_mark.line + 1}: expected keys such as 'providers:' at the top")
    reader = _Reader(name)
    values = reader.mapping(node, ())
    return Document(name, values, reader.lines)


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
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, str(number))) for number, item in enumerate(node.value)]
        try:
            return self._scalars.construct_object(node, deep=True)
        except (yaml.YAMLError, ValueError, OverflowError, AttributeError, KeyError, TypeError) as error:
            # A tag that does not fit its value makes the library fail in any of these ways.
            line = node.start_mark.line + 1
            raise ConfigError(f"{self._name}:{line}: this value cannot be read: {node.value!r:.60}") from error

    def mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        if len(path) > 50:
            raise ConfigError(f"{self._name}:{node.start_mark.line + 1}: nested too deeply")
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
