"""Turns what typer says about a command line into one sentence that says what to do."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any

import typer

# typer re-exports only the most special of these; what stands above it is the error of every wrong command line
CommandLineError: type[Exception] = next(
    base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException"
)
PROMPT_FILES = (".csv", ".tsv", ".jsonl", ".ndjson", ".txt")
_AS_OPTIONS = {
    "help": "--help",
    "version": "--version",
    "-V": "--version",
    "--usage": "--help",
}  # what other programs have
_WORDING = (  # what the libraries below write, and what we do
    (re.compile(r"^Invalid value for '?([^ ':]+)[^:]*: "), r"\1: "),
    (re.compile(r"^Invalid value: "), ""),
    (re.compile(r"^Option '(.+?)' requires an argument"), r"\1 needs a value"),
    (re.compile(r"^Option '(.+?)' does not take a value"), r"\1 takes no value"),
    (re.compile(r"^Got unexpected extra arguments?(?:\(s\))? \((.*)\)"), r"\1 is more than this command takes"),
    (re.compile(r"Value error, "), ""),
    (re.compile(r"Input should be a valid number,? ?.*"), "must be a number"),
    (re.compile(r"Input should be a valid integer,? ?.*"), "must be a whole number"),
    (re.compile(r"Input should be greater than or equal to (\S+)"), r"must be \1 or more"),
    (re.compile(r"Input should be less than or equal to (\S+)"), r"must be \1 or less"),
    (re.compile(r"\.$"), ""),
)


def is_only_help(error: Any) -> bool:
    """Whether somebody typed the bare command, and gets its help."""
    return type(error).__name__ == "NoArgsIsHelpError"


def sentence(error: Any) -> str:
    """Say what is wrong with a command line, and what to type instead."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "nanobatch"
    match type(error).__name__:
        case "MissingParameter":
            return f"{path} needs {_metavar(error)}, such as: {example(context)}"
        case "NoSuchOption":
            name = error.option_name
            near = [_AS_OPTIONS[name]] if name in _AS_OPTIONS else difflib.get_close_matches(name, _options(context), 1)
            return f"{path} has no option {name}{f'; did you mean {near[0]}?' if near else f'; see {path} --help'}"
    message = error.format_message()
    if (unknown := re.match(r"No such command '(.*?)'", message)) is not None:
        return _unknown_command(unknown[1], message)
    for pattern, ours in _WORDING:
        message = pattern.sub(ours, message)
    return f"{message}; see {path} --help"


def example(context: Any) -> str:
    """Return the example of a command's help."""
    found = re.search(r"^\s*Example: (.+)$", context.command.help or "", flags=re.MULTILINE) if context else None
    return found[1] if found is not None else "nanobatch run prompts.csv"


def _metavar(error: Any) -> str:
    parameter = error.param
    return str(parameter.metavar or parameter.name.upper()) if parameter is not None else "something more"


def _options(context: Any) -> list[str]:
    return [name for parameter in context.command.params for name in parameter.opts if name.startswith("-")]


def _unknown_command(name: str, message: str) -> str:
    if name.lower().endswith(PROMPT_FILES) or Path(name).is_file():
        return f"{name} is no command; did you mean: nanobatch run {name}"
    if name in _AS_OPTIONS:
        return f"there is no command {name!r}; type: nanobatch {_AS_OPTIONS[name]}"
    near = re.search(r"Did you mean '(.*?)'", message)
    return f"there is no command {name!r}; " + (f"did you mean {near[1]!r}?" if near else "see nanobatch --help")
