"""`nanobatch sandbox`: the local providers, as a server of their own."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer


def sandbox(  # noqa: PLR0913 - one parameter per option
    *,
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="N", help="Port on 127.0.0.1; 0 picks a free one.")
    ] = 8787,
    books: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write every billable creation to this file.")
    ] = None,
    rpm: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Requests in any rolling minute; more get a 429.")
    ] = None,
    rpd: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Requests in all; more get the 429 of a spent day.")
    ] = None,
    ipm: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Images in any rolling minute; more get a 429.")
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Requests at once; more get a 429.")
    ] = None,
    latency: Annotated[
        str, typer.Option(metavar="SECONDS", help="Seconds an image takes: '1.5' or '0.2-0.6'.")
    ] = "0.2-0.6",
    fault: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND=PROBABILITY", help="Such as 503=0.1; repeatable. '--fault help' lists the kinds."),
    ] = None,
    retry_after: Annotated[
        float | None, typer.Option(min=0, metavar="SECONDS", help="Seconds that a 429 asks to wait.")
    ] = None,
    image_bytes: Annotated[
        int | None, typer.Option(min=1, metavar="BYTES", help="Pad each image to this length.")
    ] = None,
    first: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND=N", help="Let the first N requests meet a fault, such as orderlost=2; repeatable."),
    ] = None,
    batch_wait: Annotated[
        float | None, typer.Option(min=0, metavar="SECONDS", help="Seconds until a batch starts; 0.2 by default.")
    ] = None,
    batch_run: Annotated[
        float | None, typer.Option(min=0, metavar="SECONDS", help="Seconds a batch runs at least; 0.4 by default.")
    ] = None,
    enqueued_tokens: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Tokens in all open batches of a model; more are refused.")
    ] = None,
    open_batches: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Batches at once; more get a 429.")
    ] = None,
    batches: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep batches and files here, for the next sandbox.")
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Makes latencies and faults repeatable.")] = None,
) -> None:
    """Speak the providers' wire formats on 127.0.0.1, without a key and without cost.

    Example: nanobatch sandbox --rpm 60 --fault 503=0.1
    """
    options = {
        "--port": port,
        "--books": books,
        "--rpm": rpm,
        "--rpd": rpd,
        "--ipm": ipm,
        "--concurrency": concurrency,
        "--retry-after": retry_after,
        "--image-bytes": image_bytes,
        "--latency": latency,
        "--batch-wait": batch_wait,
        "--batch-run": batch_run,
        "--enqueued-tokens": enqueued_tokens,
        "--open-batches": open_batches,
        "--batches": batches,
        "--seed": seed,
    }
    arguments = [text for name, value in options.items() if value is not None for text in (name, str(value))]
    arguments += [text for kind in fault or () for text in ("--fault", kind)]
    arguments += [text for kind in first or () for text in ("--first", kind)]
    os.execv(sys.executable, [sys.executable, "-m", "nanobatch.sandbox", *arguments])  # noqa: S606 - no shell is wanted
