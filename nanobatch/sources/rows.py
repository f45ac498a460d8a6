"""One row of a file becomes one prompt: checked, normalised, named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from nanobatch.errors import InputError
from nanobatch.model import NO_COLUMNS, Prompt
from nanobatch.sources.base import BadRow, Problem, Row
from nanobatch.sources.cells import (
    IMAGES_MAX,
    SEED_MAX,
    parse_aspect_ratio,
    parse_references,
    parse_size,
    parse_whole,
    parse_word,
)
from nanobatch.sources.layout import PLAIN_FIELDS, PROMPT, PROMPT_NAMES, Layout, describe_missing, fold, lay_out
from nanobatch.sources.names import clean_component, clean_path, slug
from nanobatch.sources.template import Lookup, Template, as_text

DEFAULT_NAME = "{id}"
_NAME_FIELDS = ("index", "id", "slug")  # what a name template may use beside the columns
_SEPARATORS = str.maketrans("/\\", "--")
_LAYOUTS = 1_000  # rows of a JSONL file may differ in their keys; more kinds than this are not remembered

_Parser: TypeAlias = Callable[[Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """How the user wants the input read."""

    prompt_column: str | None = None
    template: str | None = None
    name: str = DEFAULT_NAME
    limit: int | None = None  # the first so many prompts
    only: str | None = None  # a glob over ids
    skip_invalid: bool = False
    aspect_ratios: frozenset[str] = frozenset()  # those that some provider draws; empty: any
    images_per_prompt: int = 1  # for rows without an `n`


@dataclass(frozen=True, slots=True)
class _Plan:
    """A layout, and what to do with each of its columns."""

    layout: Layout
    parsers: tuple[tuple[str, str, _Parser], ...]  # field, column, how to read it
    lacking: str | None  # why rows of this layout cannot be used


class RowReader:
    """Reads rows as the options say. It also judges headers, for the sources.

    Raises:
        ConfigError: A template of the options is none.
    """

    def __init__(self, options: ReadOptions) -> None:
        self._options = options
        self._template = Template(options.template, option="--template") if options.template is not None else None
        self._name = Template(options.name, option="--name") if options.name != DEFAULT_NAME else None
        self._plans: dict[tuple[str, ...], _Plan] = {}
        self._parsers: Mapping[str, _Parser] = {
            "model": partial(parse_word, what="model"),
            "provider": partial(parse_word, what="provider"),
            "size": parse_size,
            "aspect_ratio": partial(parse_aspect_ratio, allowed=options.aspect_ratios),
            "seed": partial(parse_whole, what="seed", low=0, high=SEED_MAX),
            "n": partial(parse_whole, what="n", low=1, high=IMAGES_MAX),
        }

    def check_header(self, file: str, header: Sequence[str]) -> None:
        """Refuse a file whose columns cannot give prompts.

        Raises:
            InputError: The message names the column that is missing and the nearest that is there.
        """
        if (lacking := self._plan(tuple(header)).lacking) is not None:
            raise InputError(f"{file}: {lacking}")

    def gives_prompts(self, header: Sequence[str]) -> bool:
        """Whether these columns can give prompts."""
        return self._plan(tuple(header)).lacking is None

    def is_known(self, column: str) -> bool:
        """Whether nanobatch or the options name this column."""
        fields = (self._template.fields if self._template else ()) + (self._options.prompt_column or "",)
        return fold(column) in {*PROMPT_NAMES, *PLAIN_FIELDS, *map(fold, fields)}

    def _plan(self, names: tuple[str, ...]) -> _Plan:
        if (plan := self._plans.get(names)) is None:
            if len(self._plans) >= _LAYOUTS:
                self._plans.clear()
            layout = lay_out(names, prompt_column=self._options.prompt_column)
            parsers = tuple(
                (field, layout.known[field], p) for field, p in self._parsers.items() if field in layout.known
            )
            plan = self._plans[names] = _Plan(layout, parsers, self._lacking(layout))
        return plan

    def _lacking(self, layout: Layout) -> str | None:
        if self._name and (lacking := layout.lacking(f for f in self._name.fields if f.strip() not in _NAME_FIELDS)):
            return f"--name: {lacking}"
        if self._template:
            lacking = layout.lacking(self._template.fields)
            return lacking and f"--template: {lacking}"
        if PROMPT in layout.known:
            return None
        if self._options.prompt_column is not None:
            return f"--prompt-column: {describe_missing(self._options.prompt_column, layout.names)}"
        hint = "--prompt-column names another, --template makes prompts of several"
        return f"{describe_missing(PROMPT, layout.names)}; {hint}"

    def read(self, row: Row, index: int, folder: Path) -> Prompt | Problem:
        """Turn a row into a prompt, or say what is wrong with it.

        Args:
            row: As the source gave it.
            index: 1-based place among all rows of the run.
            folder: Where relative references begin.
        """
        try:
            return self._read(row, index, folder)
        except BadRow as fault:
            return Problem(row.origin, str(fault))

    def _read(self, row: Row, index: int, folder: Path) -> Prompt:
        values = row.values
        plan = self._plan(tuple(values))
        if plan.lacking is not None:
            raise BadRow(plan.lacking)
        known = plan.layout.known
        text = self._text(plan.layout, values)
        id_ = as_text(values[known["id"]], what="id") if "id" in known else ""
        id_ = id_ or _made_id(text, index)
        fields = {field: parse(values[column]) for field, column, parse in plan.parsers}
        if "references" in known:
            fields["references"] = parse_references(values[known["references"]], folder)
        return Prompt(
            index=index,
            text=text,
            origin=row.origin,
            id=id_,
            name=self._named(plan.layout, values, index=index, id_=id_, text=text),
            columns={column: values[column] for column in plan.layout.others} if plan.layout.others else NO_COLUMNS,
            **fields,
        )

    def _text(self, layout: Layout, values: Mapping[str, Any]) -> str:
        if self._template is None:
            text = as_text(values[layout.known[PROMPT]], what=PROMPT)
        else:
            text = self._template.render(lambda name: values[layout.find(name) or name]).strip()
        if not text:
            raise BadRow("the prompt is empty")
        return text

    def _named(self, layout: Layout, values: Mapping[str, Any], *, index: int, id_: str, text: str) -> str:
        own = as_text(values[layout.known["name"]], what="name") if "name" in layout.known else ""
        if own or self._name is None:
            name = clean_component(own or id_)
        else:
            name = clean_path(self._name.render(_name_lookup(layout, values, index=index, id_=id_, text=text)))
        return name or f"{index:04d}"


def _made_id(text: str, index: int) -> str:
    words = slug(text)
    return f"{index:04d}-{words}" if words else f"{index:04d}"


def _name_lookup(layout: Layout, values: Mapping[str, Any], *, index: int, id_: str, text: str) -> Lookup:
    """Give a name template its values; only the template's own `/` may make folders."""

    def look_up(name: str) -> Any:
        match name.strip():
            case "index":
                return index
            case "id":
                value: Any = id_
            case "slug":
                value = slug(text)
            case _:
                value = values[layout.find(name) or name]
        return value.translate(_SEPARATORS) if isinstance(value, str) else value

    return look_up
