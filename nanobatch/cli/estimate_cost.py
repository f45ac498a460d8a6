"""`nanobatch estimate-cost`: what would it cost and how long would it take, at every provider and as planned."""

from __future__ import annotations

import enum
from typing import Annotated

import typer

from nanobatch.cli import completion
from nanobatch.cli.choices import Strategy
from nanobatch.cli.providers import ReportFormat


class Period(enum.StrEnum):
    """How often the whole is generated."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


def estimate_cost(  # noqa: PLR0913 - the options of the command
    prompts: Annotated[
        list[str] | None, typer.Argument(metavar="[PROMPTS]...", help="Files, or - for standard input.")
    ] = None,
    *,
    count: Annotated[int | None, typer.Option(min=1, metavar="N", help="So many images, instead of files.")] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="prototype, ecommerce, enterprise-4k, frontend or china: whom to use, and why."
        ),
    ] = None,
    prompt_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="The column that holds the prompts.")
    ] = None,
    template: Annotated[
        str | None,
        typer.Option("--template", "-t", metavar="TEMPLATE", help="Prompt from columns: 'Photo of {product}'."),
    ] = None,
    images_per_prompt: Annotated[
        int | None,
        typer.Option("--images-per-prompt", "-n", min=1, metavar="N", help="Variants of each prompt of a file."),
    ] = None,
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="Leave bad rows out instead of stopping.")
    ] = False,
    size: Annotated[
        str | None, typer.Option(metavar="512|1K|2K|4K", help="Of the images.", autocompletion=completion.sizes)
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", metavar="NAME", help="Such as nano-banana-pro.", autocompletion=completion.models
        ),
    ] = None,
    provider: Annotated[
        list[str] | None,
        typer.Option(
            "--provider",
            "-p",
            metavar="NAME",
            help="Plan with these; repeatable.",
            autocompletion=completion.providers,
        ),
    ] = None,
    strategy: Annotated[Strategy | None, typer.Option(help="Which provider takes which job.")] = None,
    deadline: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Plan to be done in 26h, 90m or 2d; exit code 4 where that cannot be."),
    ] = None,
    budget: Annotated[
        float | None, typer.Option(metavar="USD", help="Exit code 4 where the plan is expected to cost more.")
    ] = None,
    config: Annotated[
        str | None, typer.Option("--config", "-c", metavar="FILE", help="Instead of nanobatch.yaml.")
    ] = None,
    out: Annotated[
        str | None, typer.Option("--out", "-o", metavar="DIR", help="What is there already is not counted.")
    ] = None,
    prices: Annotated[str, typer.Option(metavar="TABLE", help="newest, or a snapshot such as 2025-12.")] = "newest",
    tier: Annotated[
        list[str] | None, typer.Option(metavar="PROVIDER=TIER", help="Such as google=2; repeatable.")
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Compare yearly sums with this one's.", autocompletion=completion.providers),
    ] = None,
    latency: Annotated[
        float | None, typer.Option(min=0.001, metavar="SECONDS", help="Of every answer, instead of typical ones.")
    ] = None,
    per: Annotated[Period | None, typer.Option(help="How often the whole is generated.")] = None,
    output: Annotated[ReportFormat, typer.Option("--output", "-O", help="For people or programs.")] = ReportFormat.TEXT,
) -> None:
    """Tell price and time at every provider, and what the plan comes to. Nothing is sent, and no key is needed.

    Example: nanobatch estimate-cost --count 10000 --size 2K --per month --baseline google
    """
    from nanobatch.cli.costing import Ask, perform  # noqa: PLC0415 - `--help` must not wait for it
    from nanobatch.cli.running import seconds_of  # noqa: PLC0415

    ask = Ask(
        prompts=tuple(prompts or ()),
        count=count,
        flags={
            "defaults.size": size, "defaults.model": model, "providers": provider, "run.strategy": strategy,
            "output.dir": out, "run.budget_usd": budget, "defaults.images_per_prompt": images_per_prompt,
        },
        config=config,
        prices=prices,
        tiers=tuple(tier or ()),
        baseline=baseline,
        latency_seconds=latency,
        per=per,
        as_json=output is ReportFormat.JSON,
        profile=profile,
        deadline_seconds=seconds_of(deadline),
        prompt_column=prompt_column,
        template=template,
        skip_invalid=skip_invalid,
    )  # fmt: skip
    raise typer.Exit(perform(ask))
