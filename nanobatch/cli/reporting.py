"""Writes what a command found to standard output: JSON for programs, or what a person reads."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console

from nanobatch.reporters.wording import safe


def answer(found: Mapping[str, Any], *, as_json: bool, render: Callable[[Any], Any]) -> None:
    """Write a finding. JSON goes out as it is; for people `render` makes something that rich can draw.

    Raises:
        BrokenPipeError: The reader has seen enough.
    """
    if as_json:
        shown = {key: value for key, value in found.items() if key != "detailed"}
        sys.stdout.write(json.dumps(shown, indent=2, ensure_ascii=False) + "\n")
        return
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a name that the terminal cannot show must not end the command
    console = Console(markup=False, highlight=False, soft_wrap=not sys.stdout.isatty())
    console.print(render(found))


def answer_with_command(found: Mapping[str, Any], *, as_json: bool, render: Callable[[Any], Any]) -> None:
    """Write a finding, and below it the command that helps now, on a line of its own that can be copied whole."""
    answer(found, as_json=as_json, render=render)
    if not as_json:
        following = found["next"]
        sys.stdout.write(f"\nnext: {safe(following['why'], 300)}\n  {safe(following['command'], 4000)}\n")
