"""How a run starts, from the command line and from a program alike: settings, checks, the sandbox on request."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nanobatch.batches.terms import for_batches
from nanobatch.config import load_settings
from nanobatch.errors import ConfigError, StoreError
from nanobatch.journal import KEPT, as_store_error
from nanobatch.preparation import Prepared, Request, is_mixed, prepare
from nanobatch.settings import Settings
from nanobatch.sources.lines import PromptFile

NOWHERE = "http://127.0.0.1:9"  # the discard port: stands for the sandbox until that runs
SANDBOX_BOOKS = ".nanobatch/sandbox-books.jsonl"
SANDBOX_BATCHES = ".nanobatch/sandbox-batches"  # they outlive the process, as a vendor's do


@dataclass(frozen=True, slots=True)
class Ready:
    """A checked run, and what is needed to load its settings again. Whoever asks for it closes its references."""

    prepared: Prepared
    settings: Settings  # as the user has them; those of `prepared` may be cut down to what sells batches
    flags: Mapping[str, Any]
    config_path: str | None


def check(
    request: Request,
    flags: Mapping[str, Any],
    config_path: str | None,
    *,
    sandbox: bool,
    without_keys: bool = False,
    rows: PromptFile | None = None,
) -> Ready:
    """Load the settings and check the whole input against them. Nothing is written or sent.

    Args:
        request: What is asked for.
        flags: Dotted keys ("run.retries") and "providers".
        config_path: Instead of ./nanobatch.yaml.
        sandbox: Whether local doubles take the providers' places.
        without_keys: Where no provider has a key, plan with all of them.
        rows: The prompts, where they are in no file of the user's.

    Raises:
        UsageFault: Something is wrong with them.
        NoProvider: No provider has a key.
    """
    _check_names((*request.inputs, flags.get("output.dir") or ""))
    settings = load_from_surroundings(flags, config_path, NOWHERE if sandbox else None, without_keys=without_keys)
    prepared = prepare(request, _fit_for(request, settings), rows=rows)
    if prepared.root.exists() and not prepared.root.is_dir():
        prepared.references.close()
        raise ConfigError(f"{prepared.root} is a file; choose a folder with --out")
    return Ready(prepared, settings, flags, config_path)


@contextlib.contextmanager
def served(ready: Ready) -> Iterator[Ready]:
    """Yield a run that can reach its providers; those of the sandbox work as long as this lasts."""
    if not ready.settings.sandbox:
        yield ready
        return
    request = ready.prepared.request
    with_batches = request.batch is not None or is_mixed(request, ready.settings)
    with sandbox_beside(ready.prepared.root, with_batches=with_batches) as url:
        settings = load_from_surroundings(ready.flags, ready.config_path, url)
        prepared = _served_by(ready.prepared, _fit_for(ready.prepared.request, settings))
        yield dataclasses.replace(ready, prepared=prepared, settings=settings)


def _fit_for(request: Request, settings: Settings) -> Settings:
    return settings if request.batch is None else for_batches(settings)


def _check_names(names: Iterable[str]) -> None:
    """Refuse names that the manifest and the summary could not hold, before anything is paid."""
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise ConfigError(f"{name}: file names must be valid UTF-8") from None


def load_from_surroundings(
    flags: Mapping[str, Any], config_path: str | None, sandbox_url: str | None, *, without_keys: bool = False
) -> Settings:
    """Load the settings from flags, environment and files, as they are here.

    Raises:
        ConfigError: Something in them is wrong.
        NoProvider: No provider has a key.
    """
    folder = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return load_settings(
        config_path=config_path,
        flags=flags,
        environ=os.environ,
        cwd=Path(),
        user_folder=Path(folder) / "nanobatch",
        sandbox_url=sandbox_url,
        without_keys=without_keys,
    )


@contextlib.contextmanager
def sandbox_beside(root: Path, *, with_batches: bool) -> Iterator[str]:
    """Start the sandbox as a process of its own and yield its address; it ends with this process, however that ends.

    Args:
        root: The output folder, where its books are.
        with_batches: Whether its batches are there, too, so that a later run can collect them.

    Raises:
        ConfigError: It does not start, or its books cannot be kept.
    """
    books = root / SANDBOX_BOOKS
    try:
        books.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise nothing_sent(as_store_error(error, books.parent)) from error
    command = [sys.executable, "-m", "nanobatch.sandbox", "--port", "0", "--stop-with-stdin", "--books", str(books)]
    if with_batches:
        command += ["--batches", str(root / SANDBOX_BATCHES)]
    # A session of its own: Ctrl-C is for the run, which still needs its provider while it finishes.
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise ConfigError("the sandbox did not start; see the lines above")
        yield json.loads(line)["url"]
    finally:
        process.terminate()
        process.communicate()  # waits, and closes its pipes


def _served_by(prepared: Prepared, settings: Settings) -> Prepared:
    """Give a checked run the address that became known after its input was found good."""
    pairs = zip(prepared.sellers, settings.providers, strict=True)
    sellers = [dataclasses.replace(seller, settings=provider) for seller, provider in pairs]
    return dataclasses.replace(prepared, settings=settings, sellers=sellers)


def nothing_sent(error: StoreError) -> ConfigError:
    """Say that a place cannot be written, before a run: running again would not help."""
    return ConfigError(f"{error.message.removesuffix(KEPT)}; nothing was sent: name another place")
