"""`nanobatch batch`: half-price images, ordered tonight and collected by any later process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nanobatch.cli.choices import EMBED_HELP, DataFormat, Progress
from nanobatch.cli.providers import ReportFormat

if TYPE_CHECKING:
    from nanobatch.cli.running import Screen

batch = typer.Typer(
    no_args_is_help=True,
    help="Order images in batches, at half the price and within a day; collect them from any later process.",
)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The output folder.")]
Config = Annotated[str | None, typer.Option("--config", "-c", metavar="FILE", help="Instead of ./nanobatch.yaml.")]
Output = Annotated[
    DataFormat, typer.Option("--output", "-O", help="Standard output: a summary, a record per job, or paths.")
]
Shown = Annotated[Progress, typer.Option(help="On standard error.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Errors only.")]
Events = Annotated[Path | None, typer.Option(metavar="FILE", help="Write every event as a JSON line.")]


@batch.command(short_help="Order what is missing and not ordered yet.")
def submit(  # noqa: PLR0913 - one parameter per option
    prompts: Annotated[
        list[str],
        typer.Argument(metavar="PROMPTS", help="Files: .csv .tsv .jsonl .ndjson .txt, or - for standard input."),
    ],
    *,
    out: Annotated[str | None, typer.Option("--out", "-o", metavar="DIR", help="Output folder.")] = None,
    config: Config = None,
    prompt_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="The column that holds the prompts.")
    ] = None,
    template: Annotated[
        str | None, typer.Option("--template", "-t", metavar="TEMPLATE", help="Prompt from columns: 'Photo of {a}'.")
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="TEMPLATE", help="File names: '{index:04d}-{slug}'.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Only the first N prompts.")] = None,
    only: Annotated[str | None, typer.Option(metavar="GLOB", help="Only prompts whose id matches.")] = None,
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="Leave bad rows out instead of stopping.")
    ] = False,
    provider: Annotated[
        list[str] | None, typer.Option("--provider", "-p", metavar="NAME", help="google or openai; repeatable.")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", metavar="NAME", help="Such as nano-banana-pro.")] = None,
    size: Annotated[str | None, typer.Option(metavar="512|1K|2K|4K", help="Of the images.")] = None,
    aspect_ratio: Annotated[str | None, typer.Option(metavar="W:H", help="Such as 16:9.")] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="For models that take one.")] = None,
    images_per_prompt: Annotated[
        int | None, typer.Option("--images-per-prompt", "-n", metavar="N", help="Variants of each prompt.")
    ] = None,
    budget: Annotated[float | None, typer.Option(metavar="USD", help="Never order for more in this call.")] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Order refused and failed prompts again.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and its price; order nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before an expensive order.")] = False,
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="Order from a local sandbox: no key, no cost, real files.")
    ] = False,
    output: Output = DataFormat.TEXT,
    progress: Shown = Progress.AUTO,
    events: Events = None,
    quiet: Quiet = False,
) -> None:
    """Order an image for every prompt that has none and is not ordered yet.

    Ends with 0 when all of them are ordered, with 5 when the account's limits have no room for the rest now.

    Example: nanobatch batch submit prompts.csv -o images --size 2K
    """
    from nanobatch.cli.running import perform  # noqa: PLC0415
    from nanobatch.preparation import Request  # noqa: PLC0415 - `--help` must not wait for it

    flags: dict[str, Any] = {
        "providers": provider,
        "output.dir": out,
        "output.name": name,
        "defaults.model": model,
        "defaults.size": size,
        "defaults.aspect_ratio": aspect_ratio,
        "defaults.seed": seed,
        "defaults.images_per_prompt": images_per_prompt,
        "run.budget_usd": budget,
    }
    request = Request(
        inputs=tuple(prompts),
        prompt_column=prompt_column,
        template=template,
        limit=limit,
        only=only,
        skip_invalid=skip_invalid,
        retry_failed=retry_failed,
        batch="submit",
    )
    screen = _screen(output, progress, events, quiet=quiet, yes=yes)
    raise typer.Exit(perform(request, flags=flags, config_path=config, screen=screen, sandbox=sandbox, dry_run=dry_run))


@batch.command(short_help="Look once, and fetch what is done.")
def collect(
    folder: Folder,
    *,
    embed: Annotated[str | None, typer.Option(metavar="prompt,params", help=EMBED_HELP)] = None,
    config: Config = None,
    output: Output = DataFormat.TEXT,
    progress: Shown = Progress.AUTO,
    events: Events = None,
    quiet: Quiet = False,
) -> None:
    """Look once how the batches of a folder stand, and fetch the images of those that are over.

    Needs the folder and a key, not the file of prompts. Ends with 5 while something is still being drawn.

    Example: nanobatch batch collect images
    """
    from nanobatch.cli import running  # noqa: PLC0415 - `--help` must not wait for it
    from nanobatch.engines.batch import Mode  # noqa: PLC0415

    screen = _screen(output, progress, events, quiet=quiet)
    flags = {"output.embed": embed}
    raise typer.Exit(running.collect(folder, Mode.COLLECT, flags=flags, config_path=config, screen=screen))


@batch.command(short_help="End open batches; collect fetches the rest.")
def cancel(
    folder: Folder,
    *,
    config: Config = None,
    output: Output = DataFormat.TEXT,
    progress: Shown = Progress.AUTO,
    events: Events = None,
    quiet: Quiet = False,
) -> None:
    """Ask the vendor to end the open batches of a folder; collect afterwards what was drawn before.

    Example: nanobatch batch cancel images
    """
    from nanobatch.cli import running  # noqa: PLC0415 - `--help` must not wait for it
    from nanobatch.engines.batch import Mode  # noqa: PLC0415

    screen = _screen(output, progress, events, quiet=quiet)
    raise typer.Exit(running.collect(folder, Mode.CANCEL, flags={}, config_path=config, screen=screen))


@batch.command(short_help="Tell what is known, without asking anybody.")
def status(
    folder: Folder,
    *,
    output: Annotated[
        ReportFormat, typer.Option("--output", "-O", help="For people or for programs.")
    ] = ReportFormat.TEXT,
    as_json: Annotated[bool, typer.Option("--json", hidden=True, help="As -O json, which came later.")] = False,
) -> None:
    """Tell what is known of the batches of a folder, without asking anybody.

    Example: nanobatch batch status images -O json
    """
    from nanobatch.cli.batch_status import show  # noqa: PLC0415 - `--help` must not wait for it

    raise typer.Exit(show(folder, as_json=as_json or output is ReportFormat.JSON))


def _screen(output: DataFormat, progress: Progress, events: Path | None, *, quiet: bool, yes: bool = False) -> Screen:
    from nanobatch.cli.running import Screen  # noqa: PLC0415 - `--help` must not wait for it

    return Screen(output=output.value, progress=progress.value, events=events, quiet=quiet, yes=yes)
