"""The note that a run leaves in its folder when it starts, for whoever asks later how it stands and how to go on."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from nanobatch.stores.local import STATE_FOLDER

NOTE = f"{STATE_FOLDER}/started.json"
RUN_FILE = "run.json"
SECRET_VALUES = {"--notify": "URL"}  # whoever knows such an address may post there
ONCE = frozenset({"--fresh"})  # what going on must not repeat: it would send everything again
RETRYING = frozenset({"--retry-failed"})
CHOOSING = frozenset({"--limit", "--only"})  # with a value each


class RunNote(msgspec.Struct, frozen=True):
    """What a run knew when it started."""

    run_id: str
    started_at: str
    jobs: int
    already_done: int
    sandbox: bool
    folder: str  # the output folder, as an absolute path
    cwd: str
    command: tuple[str, ...] = ()  # what follows `nanobatch`; empty when a program started the run
    inputs: tuple[str, ...] = ()


def encoded(note: RunNote) -> bytes:
    """Return the note as it is written; what a name holds that is no UTF-8 becomes a question mark."""
    text = json.dumps(msgspec.to_builtins(note), indent=2, ensure_ascii=False)
    return text.encode("utf-8", "replace") + b"\n"


def read_note(root: Path) -> RunNote | None:
    """Read the note of the newest run; None for a folder of an older version, or when it is damaged."""
    try:
        return msgspec.json.decode((root / NOTE).read_bytes(), type=RunNote)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def read_summary(root: Path) -> Mapping[str, Any]:
    """Read run.json; empty when no run has ended here."""
    try:
        found = json.loads((root / RUN_FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def without_secrets(arguments: Iterable[str]) -> tuple[str, ...]:
    """Return a command line that may be written down: values that open something are replaced by a word."""
    kept: list[str] = []
    hidden: str | None = None
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        if hidden is not None:
            kept.append(hidden)
            hidden = None
        elif equals and name in SECRET_VALUES:
            kept.append(f"{name}={SECRET_VALUES[name]}")
        else:
            kept.append(argument)
            hidden = SECRET_VALUES.get(argument)
    return tuple(kept)


def command_to_go_on(
    root: Path, *, extra: str | None = None, only_missing: bool = False, anywhere: bool = False
) -> str:
    """Return the line of shell that goes on with a folder's run.

    Args:
        root: The output folder.
        extra: An option to add.
        only_missing: Leave out what makes the run try failed prompts again, or look at a part of the input only.
        anywhere: The line is read elsewhere: it names the folder that it belongs into, also when that is this one.
    """
    note, summary = read_note(root), read_summary(root)
    if note is not None and note.command:
        dropped = ONCE | (RETRYING if only_missing else frozenset())
        arguments = _without(note.command, dropped, CHOOSING if only_missing else frozenset())
    else:
        arguments = _rebuilt(root, note, summary)
    if extra is not None and extra not in arguments:
        arguments.append(extra)
    line = shlex.join(["nanobatch", *arguments])
    if note is None or not note.command or note.cwd in ("" if anywhere else working_folder(), ""):
        return line
    return f"cd {shlex.quote(note.cwd)} && {line}"


def working_folder() -> str:
    """Return where the command was started; nothing when that folder was removed."""
    try:
        return str(Path.cwd())
    except OSError:
        return ""


def _without(arguments: Sequence[str], flags: frozenset[str], with_value: frozenset[str]) -> list[str]:
    kept: list[str] = []
    skip = False
    for argument in arguments:
        name = argument.partition("=")[0]
        if not skip and argument not in flags and name not in with_value:
            kept.append(argument)
        skip = not skip and argument in with_value
    return kept


def _rebuilt(root: Path, note: RunNote | None, summary: Mapping[str, Any]) -> list[str]:
    """Put a command together from what is known of a run that was not started by one."""
    inputs = list((note.inputs if note is not None else summary.get("inputs")) or ["PROMPTS"])
    sandbox = note.sandbox if note is not None else bool(summary.get("sandbox"))
    return ["run", *inputs, "--out", str(root), *(["--sandbox"] if sandbox else [])]
