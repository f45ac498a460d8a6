"""`nanobatch run`: a prompt file in, images and a manifest out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from nanobatch.cli import completion
from nanobatch.cli.choices import EMBED_HELP, DataFormat, OnQuota, OnUnknown, Progress, Spill, Strategy

INPUT = "Input"
IMAGE = "Image"
RUN = "Run"
SCREEN = "Screen and files"
HOOKS = "Other programs"


def run(  # noqa: PLR0913 - one parameter per option
    prompts: Annotated[
        list[str],
        typer.Argument(metavar="PROMPTS", help="Files: .csv .tsv .jsonl .ndjson .txt, or - for standard input."),
    ],
    *,
    out: Annotated[
        str | None, typer.Option("--out", "-o", metavar="DIR", help="Output folder.", rich_help_panel=INPUT)
    ] = None,
    config: Annotated[
        str | None,
        typer.Option("--config", "-c", metavar="FILE", help="Instead of ./nanobatch.yaml.", rich_help_panel=INPUT),
    ] = None,
    prompt_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="The column that holds the prompts.", rich_help_panel=INPUT)
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(
            "--template",
            "-t",
            metavar="TEMPLATE",
            help="Prompt from columns: 'Photo of {product} on {background}'.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="TEMPLATE", help="File names: '{index:04d}-{slug}'.", rich_help_panel=INPUT)
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Only the first N prompts.", rich_help_panel=INPUT)
    ] = None,
    only: Annotated[
        str | None, typer.Option(metavar="GLOB", help="Only prompts whose id matches.", rich_help_panel=INPUT)
    ] = None,
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="Leave bad rows out instead of stopping.", rich_help_panel=INPUT)
    ] = False,
    provider: Annotated[
        list[str] | None,
        typer.Option(
            "--provider",
            "-p",
            metavar="NAME",
            help="Repeatable, in the order in which they are tried.",
            autocompletion=completion.providers,
            rich_help_panel=IMAGE,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME",
            help="Such as nano-banana-pro.",
            autocompletion=completion.models,
            rich_help_panel=IMAGE,
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="512|1K|2K|4K", help="Of the images.", autocompletion=completion.sizes, rich_help_panel=IMAGE
        ),
    ] = None,
    aspect_ratio: Annotated[
        str | None,
        typer.Option(metavar="W:H", help="Such as 16:9.", autocompletion=completion.ratios, rich_help_panel=IMAGE),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="For models that take one.", rich_help_panel=IMAGE)
    ] = None,
    images_per_prompt: Annotated[
        int | None,
        typer.Option("--images-per-prompt", "-n", metavar="N", help="Variants of each prompt.", rich_help_panel=IMAGE),
    ] = None,
    embed: Annotated[str | None, typer.Option(metavar="prompt,params", help=EMBED_HELP, rich_help_panel=IMAGE)] = None,
    strategy: Annotated[
        Strategy | None, typer.Option(help="Which provider takes which job.", rich_help_panel=RUN)
    ] = None,
    budget: Annotated[
        float | None, typer.Option(metavar="USD", help="Never spend more in this run.", rich_help_panel=RUN)
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(metavar="N", help="Requests at once, per provider.", rich_help_panel=RUN)
    ] = None,
    rpm: Annotated[
        int | None, typer.Option(metavar="N", help="Requests per minute, per provider.", rich_help_panel=RUN)
    ] = None,
    retries: Annotated[
        int | None, typer.Option(metavar="N", help="Repeats of a job after failures.", rich_help_panel=RUN)
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="For one whole answer.", rich_help_panel=RUN)
    ] = None,
    on_quota: Annotated[
        OnQuota | None, typer.Option(help="When every daily quota is spent.", rich_help_panel=RUN)
    ] = None,
    on_unknown: Annotated[
        OnUnknown | None, typer.Option(help="When nobody knows whether a request was billed.", rich_help_panel=RUN)
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Send refused and failed prompts again.", rich_help_panel=RUN)
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Send everything again; earlier images are kept aside.", rich_help_panel=RUN)
    ] = False,
    cache: Annotated[
        bool | None,
        typer.Option(
            "--cache/--no-cache", help="Use images of earlier runs, and remember new ones.", rich_help_panel=RUN
        ),
    ] = None,
    dedupe: Annotated[
        bool,
        typer.Option("--dedupe", help="Equal rows share their images, instead of variants.", rich_help_panel=RUN),
    ] = False,
    batch: Annotated[
        bool,
        typer.Option("--batch", help="Order in batches, at half the price and within a day.", rich_help_panel=RUN),
    ] = False,
    spill: Annotated[
        Spill | None,
        typer.Option(help="With --batch: send rows that a batch gives back at the full price.", rich_help_panel=RUN),
    ] = None,
    deadline: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Be done in 26h, 90m or 2d, or do not begin; with --strategy cheapest by the cheapest mix of lanes.",
            rich_help_panel=RUN,
        ),
    ] = None,
    sandbox: Annotated[
        bool,
        typer.Option("--sandbox", help="Use local doubles of the providers: no key, no cost.", rich_help_panel=RUN),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan and its price; send nothing.", rich_help_panel=RUN)
    ] = False,
    yes: Annotated[
        bool,
        typer.Option(
            "--yes", "-y", help="Do not ask before an expensive run, nor stop at a late one.", rich_help_panel=RUN
        ),
    ] = False,
    output: Annotated[
        DataFormat,
        typer.Option(
            "--output",
            "-O",
            help="Standard output: a summary, a record per job, or a path per image.",
            rich_help_panel=SCREEN,
        ),
    ] = DataFormat.TEXT,
    progress: Annotated[Progress, typer.Option(help="On standard error.", rich_help_panel=SCREEN)] = Progress.AUTO,
    events: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write every event as a JSON line.", rich_help_panel=SCREEN)
    ] = None,
    log_file: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a log.", rich_help_panel=SCREEN)] = None,
    exec_command: Annotated[
        str | None,
        typer.Option(
            "--exec",
            metavar="COMMAND",
            help="For each new image: 'cp {file} /srv/{id}.jpg'; also {prompt}, {sha256}. No shell.",
            rich_help_panel=HOOKS,
        ),
    ] = None,
    notify: Annotated[
        str | None, typer.Option(metavar="URL", help="Post the summary as JSON at the end.", rich_help_panel=HOOKS)
    ] = None,
    metrics: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keep figures for Prometheus (node_exporter) there.", rich_help_panel=HOOKS),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Errors only.", rich_help_panel=SCREEN)] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log to standard error too.", rich_help_panel=SCREEN)
    ] = False,
) -> None:
    """Generate an image for every prompt that has none yet.

    Run the same command again after an interruption: it sends only what is missing.

    Example: nanobatch run prompts.csv -o images --size 2K --budget 25
    """
    from nanobatch.cli.running import Screen, perform, seconds_of  # noqa: PLC0415
    from nanobatch.preparation import Request  # noqa: PLC0415 - `--help` must not wait for it

    if not batch and spill:
        raise typer.BadParameter("--spill belongs to --batch")
    flags: dict[str, Any] = {
        "providers": provider,
        "output.dir": out,
        "output.name": name,
        "output.embed": embed,
        "defaults.model": model,
        "defaults.size": size,
        "defaults.aspect_ratio": aspect_ratio,
        "defaults.seed": seed,
        "defaults.images_per_prompt": images_per_prompt,
        "cache.enabled": cache,
        "run.strategy": strategy,
        "run.budget_usd": budget,
        "run.retries": retries,
        "run.timeout_seconds": timeout,
        "run.on_quota": on_quota,
        "run.on_unknown": on_unknown,
        "limits.concurrency": concurrency,
        "limits.rpm": rpm,
    }
    request = Request(
        inputs=tuple(prompts),
        prompt_column=prompt_column,
        template=template,
        limit=limit,
        only=only,
        skip_invalid=skip_invalid,
        retry_failed=retry_failed,
        fresh=fresh,
        dedupe=dedupe,
        command=tuple(sys.argv[1:]),
        batch="run" if batch else None,
        spill=spill is not None,
        deadline_seconds=seconds_of(deadline),
    )
    screen = Screen(
        output=output.value,
        progress=progress.value,
        events=events,
        log_file=log_file,
        quiet=quiet,
        verbose=verbose,
        yes=yes,
        exec_command=exec_command,
        notify=notify,
        metrics=metrics,
    )
    raise typer.Exit(perform(request, flags=flags, config_path=config, screen=screen, sandbox=sandbox, dry_run=dry_run))
