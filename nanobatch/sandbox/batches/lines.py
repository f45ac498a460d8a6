"""Reads a file of rows, and turns one row of it into one line of results: drawn, refused, or spoiled by a fault."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from nanobatch.sandbox.batches.records import Batch
from nanobatch.sandbox.creation import Studio, drawn_for
from nanobatch.sandbox.dialects.base import Answer, MalformedError, Order, parsed
from nanobatch.sandbox.dialects.batch_base import BatchDialect, BatchOrder, Line, Row, RowError
from nanobatch.sandbox.faults import FAULTS, NOT_IN_ROWS, ROW

_STRAY = "nobody-has-sent-this-key"


@dataclass(frozen=True, slots=True)
class Scan:
    """What a file of rows holds.

    Args:
        places: Where each row begins, in bytes.
        tokens: What they take from the limit on enqueued tokens.
        flaw: The vendor's sentence and word for what is wrong with the file, or None.
    """

    places: Sequence[int]
    tokens: int
    flaw: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What a row came to.

    Args:
        data: Its lines in the file.
        is_bad: Whether it is an error.
        order: What was drawn, or None.
        hashes: Of the images.
        fault: What went wrong.
    """

    data: bytes
    is_bad: bool
    order: Order | None
    hashes: Sequence[str]
    fault: str | None


def scan(path: Path, dialect: BatchDialect, order: BatchOrder | Batch) -> Scan:
    """Read a file of rows; blocks."""
    places: list[int] = []
    keys: set[str] = set()
    tokens = 0
    for place, line in _lines(path):
        try:
            row = dialect.row(parsed(line), order)
        except MalformedError:
            return Scan((), 0, (f"Line {len(places) + 1} of the input file is not valid JSON.", "invalid_json_line"))
        except RowError as error:
            return Scan((), 0, (f"Line {len(places) + 1}: {error}", error.code))
        if isinstance(row.key, str) and order.endpoint:
            if row.key in keys:
                return Scan((), 0, (f"The custom_id '{row.key}' is used more than once.", "duplicate_custom_id"))
            keys.add(row.key)
        places.append(place)
        read = row.dialect.read(row.asked)
        tokens += dialect.tokens_of(read) if isinstance(read, Order) else 0
    if not places:
        return Scan((), 0, ("The input file is empty.", "empty_file"))
    if dialect.MOST_ROWS is not None and len(places) > dialect.MOST_ROWS:
        return Scan((), 0, (f"The input file has more than {dialect.MOST_ROWS} requests.", "too_many_tasks"))
    return Scan(places, tokens)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    place = 0
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                yield place, line
            place += len(line)


async def drawn(studio: Studio, dialect: BatchDialect, batch: Batch, line: bytes) -> Result:
    """Turn a row into its line."""
    row = dialect.row(parsed(line), batch)
    order = row.dialect.read(row.asked)
    if isinstance(order, Answer):
        found = dialect.line(row.key, order, batch.done)
        return Result(_encoded(found.content), found.is_bad, None, (), None)
    throw = studio.dice.throw(order.drawing.prompt)
    fault = studio.mishap(throw, dialect.NAME, ROW, but=NOT_IN_ROWS)
    return await studio.work(_drawn, studio, dialect, row, order, fault, batch.done)


def _drawn(studio: Studio, dialect: BatchDialect, row: Row, order: Order, fault: str | None, number: int) -> Result:
    """Draw a row, for a thread."""
    if fault is not None and not FAULTS[fault].billed:
        made = dialect.line(row.key, row.dialect.failed(order, fault, studio.wish), number)
        return Result(_encoded(made.content), made.is_bad, None, (), fault)
    images = drawn_for(order, fault, studio)
    answer = row.dialect.answer(order, images.made, fault)
    made = dialect.line(row.key, answer, number)
    bills = order.images * (FAULTS[fault].bills if fault else 1)
    hashes = images.hashes[len(images.hashes) - bills :]
    return Result(_spoiled(made, dialect, answer, number, fault), made.is_bad, order, hashes, fault)


def _spoiled(made: Line, dialect: BatchDialect, answer: Answer, number: int, fault: str | None) -> bytes:
    """Write a line as a fault spoils it."""
    data = _encoded(made.content)
    match fault:
        case "rowmissing":
            return b""
        case "rowtwice":
            return data + data
        case "rowstray":
            return _encoded(dialect.line(_STRAY, answer, number).content)
        case "rowtorn":
            return data[: len(data) // 2] + b"\n"
        case _:
            return data


def _encoded(content: Mapping[str, object]) -> bytes:
    return msgspec.json.encode(content) + b"\n"
