"""Starts the sandbox as a process: python -m nanobatch.sandbox --help.

The first line of its output is one JSON object with the address; then it is silent until it is told to end, by
SIGTERM, by Ctrl-C, or with --stop-with-stdin when its standard input closes, as it does when the parent is killed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from nanobatch.sandbox import faults, plan
from nanobatch.sandbox.plan import Plan, PlanError

EXIT_USAGE = 2


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one sentence, without the whole usage."""
        self.exit(EXIT_USAGE, f"nanobatch: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sandbox and return the process's exit code."""
    options = _parser().parse_args(arguments)
    if "help" in options.fault:
        sys.stdout.write(faults.table() + "\n")
        return 0
    from nanobatch.sandbox.books import BooksError  # noqa: PLC0415 - a wrong option should not wait for the server

    try:
        asyncio.run(_run(_plan(options), options))
    except (PlanError, BooksError) as error:
        return _sorry(str(error))
    except OSError as error:
        return _sorry(f"cannot listen on port {options.port}: {error.strerror}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m nanobatch.sandbox",
        description="Speak the providers' wire formats on 127.0.0.1: no key, no cost, limits and faults on demand.",
        epilog="Example: python -m nanobatch.sandbox --rpm 60 --fault 503=0.1 --books books.jsonl",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--port", type=int, default=0, help="port; 0 picks a free one")
    add("--books", type=Path, metavar="FILE", help="append every billed image to this file")
    add("--rpm", type=int, metavar="N", help="requests in any rolling window")
    add("--rpd", type=int, metavar="N", help="requests a day, which ends at midnight Pacific")
    add("--ipm", type=int, metavar="N", help="images in any rolling window")
    add("--concurrency", type=int, metavar="N", help="requests at once")
    add("--window", type=float, default=60.0, metavar="SECONDS", help="length of the rolling window (default 60)")
    add("--latency", default="0.2-0.6", metavar="SECONDS", help="what an image takes: 1.5 or 0.2-0.6 (the default)")
    add("--fault", action="append", default=[], metavar="KIND=PROBABILITY", help="repeatable; 'help' lists the kinds")
    add("--first", action="append", default=[], metavar="KIND=N", help="let the first N that can meet this fault")
    add("--batch-wait", type=float, default=0.2, metavar="SECONDS", help="until a batch starts (default 0.2)")
    add("--batch-run", type=float, default=0.4, metavar="SECONDS", help="that a batch runs at least (default 0.4)")
    add("--enqueued-tokens", type=int, metavar="N", help="tokens in all open batches of a model")
    add("--open-batches", type=int, metavar="N", help="batches at once")
    add("--batches", type=Path, metavar="DIR", help="keep batches and their files here; without it they end with this")
    add("--seed", type=int, metavar="N", help="make latencies and faults repeatable")
    add("--retry-after", type=float, metavar="SECONDS", help="what a 429 wishes (default: the truth)")
    add("--drip", type=float, default=10.0, metavar="SECONDS", help="how long the fault slowdrip takes (default 10)")
    add("--image-bytes", type=int, metavar="N", help="pad every image to at least this size")
    add("--stop-with-stdin", action="store_true", help="end when standard input closes")
    return parser


def _plan(options: argparse.Namespace) -> Plan:
    if not 0 <= options.port <= 65535:
        raise PlanError(f"a port is between 0 and 65535, not {options.port}")
    return Plan(
        rpm=options.rpm,
        rpd=options.rpd,
        ipm=options.ipm,
        concurrency=options.concurrency,
        latency=plan.latency(options.latency),
        faults=plan.faults(options.fault),
        seed=options.seed,
        retry_after=options.retry_after,
        image_bytes=options.image_bytes,
        window=options.window,
        drip=options.drip,
        first=plan.first(options.first),
        batch_wait=options.batch_wait,
        batch_run=options.batch_run,
        enqueued_tokens=options.enqueued_tokens,
        open_batches=options.open_batches,
    )


async def _run(wanted: Plan, options: argparse.Namespace) -> None:
    from nanobatch.sandbox.server import serve  # noqa: PLC0415 - see main

    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with serve(wanted, port=options.port, books=options.books, batches=options.batches) as sandbox:
        books = str(options.books) if options.books is not None else None
        sys.stdout.write(json.dumps({"url": sandbox.url, "books": books, "pid": os.getpid()}) + "\n")
        sys.stdout.flush()
        if options.stop_with_stdin:
            threading.Thread(target=_watch_stdin, args=(loop, stop), daemon=True).start()
        await stop.wait()


def _watch_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Wait for the end of standard input. Reads the descriptor: a buffered reader would hold a lock at exit."""
    while os.read(0, 65536):
        pass
    loop.call_soon_threadsafe(stop.set)


def _sorry(sentence: str) -> int:
    sys.stderr.write(f"nanobatch: {sentence}\n")
    return EXIT_USAGE


if __name__ == "__main__":
    sys.exit(main())
