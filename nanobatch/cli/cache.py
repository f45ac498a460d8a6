"""`nanobatch cache`: what the cache of images holds, what can go, and all of it away."""

from __future__ import annotations

from typing import Annotated

import typer

from nanobatch.cli.providers import ReportFormat

cache = typer.Typer(
    help="The cache: images of earlier runs, found again instead of bought again.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
Config = Annotated[str | None, typer.Option("--config", "-c", metavar="FILE", help="Instead of ./nanobatch.yaml.")]
Output = Annotated[ReportFormat, typer.Option("--output", "-O", help="For people or programs.")]


@cache.command(short_help="Tell what is in the cache, and what it saved.")
def stats(*, config: Config = None, output: Output = ReportFormat.TEXT) -> None:
    """Tell what is in the cache, and what it has saved so far.

    Example: nanobatch cache stats
    """
    from nanobatch.cli.cache_upkeep import tell  # noqa: PLC0415 - `--help` must not wait for it

    raise typer.Exit(tell(config, as_json=output is ReportFormat.JSON))


@cache.command(short_help="Drop what is too old or leads nowhere.")
def prune(
    *,
    older_than: Annotated[
        str | None, typer.Option(metavar="TIME", help="Also what is older than 3d, however long it is good for.")
    ] = None,
    config: Config = None,
    output: Output = ReportFormat.TEXT,
) -> None:
    """Drop what is too old, or leads nowhere any more; images in output folders stay.

    Example: nanobatch cache prune --older-than 3d
    """
    from nanobatch.cli.cache_upkeep import drop_useless  # noqa: PLC0415 - `--help` must not wait for it

    raise typer.Exit(drop_useless(config, older_than=older_than, as_json=output is ReportFormat.JSON))


@cache.command(short_help="Drop everything; output folders stay as they are.")
def clear(
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    config: Config = None,
    output: Output = ReportFormat.TEXT,
) -> None:
    """Drop everything that the cache has; images in output folders stay.

    Example: nanobatch cache clear --yes
    """
    from nanobatch.cli.cache_upkeep import drop_all  # noqa: PLC0415 - `--help` must not wait for it

    raise typer.Exit(drop_all(config, yes=yes, as_json=output is ReportFormat.JSON))
