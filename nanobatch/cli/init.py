"""`nanobatch init`: a prompt file and a configuration to start from."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

STARTER = Path(__file__).parent / "starter"  # the examples of the project's first page, not copies of them
FILES = ("prompts.csv", "nanobatch.yaml")


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="Where to; it is made when it is not there.")
    ] = Path(),
    *,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files of the same names.")] = False,
) -> None:
    """Write prompts.csv and nanobatch.yaml to start from. What is there already is left as it is.

    Example: nanobatch init my-shop
    """
    from nanobatch.cli.running import complain  # noqa: PLC0415 - `--help` must not wait for it
    from nanobatch.errors import NanobatchError  # noqa: PLC0415

    try:
        written = [name for name in FILES if write(folder, name, force=force)]
    except NanobatchError as error:
        complain(error)
        raise typer.Exit(error.exit_code) from error
    typer.echo("\n".join(_told(folder, written)))


def write(folder: Path, name: str, *, force: bool) -> bool:
    """Write one file; return whether it was written.

    Raises:
        ConfigError: It cannot be written there.
    """
    from nanobatch.errors import ConfigError  # noqa: PLC0415

    target = folder / name
    data = (STARTER / name).read_bytes()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with target.open("wb" if force else "xb") as file:
            file.write(data)
    except FileExistsError:
        if folder.is_dir():
            return False
        raise ConfigError(f"{folder} is a file; name a folder, or none for this one") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"{target} cannot be written: {reason}; name a folder of yours") from error
    return True


def _told(folder: Path, written: list[str]) -> list[str]:
    lines = [f"wrote {folder / name}" for name in written]
    lines += [f"left {folder / name} as it is; --force overwrites it" for name in FILES if name not in written]
    there = "" if folder == Path() else f"cd {shlex.quote(str(folder))} && "
    return [
        *lines,
        "",
        "next, a rehearsal without a key and without cost, then the plan and its price with yours:",
        f"  {there}nanobatch run prompts.csv --sandbox",
        "  GEMINI_API_KEY=... nanobatch run prompts.csv --dry-run",
    ]
