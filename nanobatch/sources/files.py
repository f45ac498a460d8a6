"""All prompt files of a run as one stream of prompts: checked whole before anything is sent, then read again.

Nothing is kept of a row but a few hashes, so a million rows need no more memory than ten.
"""

from __future__ import annotations

import fnmatch
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import BinaryIO, Protocol, TypeAlias

from nanobatch.errors import InputError
from nanobatch.model import Prompt
from nanobatch.sources.base import Problem, quoted
from nanobatch.sources.lines import STANDARD_INPUT, PromptFile, locate
from nanobatch.sources.names import clash_key
from nanobatch.sources.registry import source_for
from nanobatch.sources.repeats import Repeats
from nanobatch.sources.rows import ReadOptions, RowReader

LISTED = 20  # problems named one by one; the rest are a number
_CLASHES_TRACED = 1_000
_MASK = 0xFFFF_FFFF_FFFF_FFFF

Accept: TypeAlias = Callable[[Prompt], str | None]
"""Says why a prompt cannot be drawn (no provider offers its model), or None."""


class Visitor(Protocol):
    """Looks at the prompts while they are checked."""

    def __call__(self, prompt: Prompt, *, chosen: bool) -> None:
        """See one usable prompt; it may be one that --limit or --only leaves out."""
        ...


@dataclass(frozen=True, slots=True)
class Checked:
    """What the check found."""

    prompts: int  # those chosen, by --limit and --only too
    images: int  # wanted for them
    skipped: tuple[Problem, ...]  # the first few bad rows, left out because of --skip-invalid
    skipped_count: int


@dataclass(slots=True)
class _Tally:
    """What one pass counts."""

    barren: set[str]  # files without a usable row
    rows: int = 0
    prompts: int = 0
    images: int = 0
    problem_count: int = 0
    problems: list[Problem] = field(default_factory=list)


class PromptFiles:
    """The prompt files of a run.

    Args:
        paths: As the user typed them; "-" is standard input. A file that is located already is taken as it is.
        options: How to read them.
        stdin: Standard input; the process's own by default.
        accept: Asked about every chosen prompt, whether some provider can draw it.

    Raises:
        ConfigError: A template of the options is none.
    """

    def __init__(
        self,
        paths: Sequence[str | PromptFile],
        options: ReadOptions | None = None,
        *,
        stdin: BinaryIO | None = None,
        accept: Accept | None = None,
    ) -> None:
        self.options = options or ReadOptions()
        self._paths = list(paths)
        self._stdin = stdin
        self._accept = accept
        self._reader = RowReader(self.options)
        self._is_wanted = re.compile(fnmatch.translate(self.options.only or "*")).match

    @cached_property
    def _files(self) -> list[PromptFile]:
        if not self._paths:
            raise InputError("name a file of prompts, or - for standard input")
        if self._paths.count(STANDARD_INPUT) > 1:
            raise InputError("standard input can be read only once")
        stdin = self._stdin if self._stdin is not None else getattr(sys.stdin, "buffer", None)
        return [path if isinstance(path, PromptFile) else locate(str(path), stdin) for path in self._paths]

    def check(self, each: Visitor | None = None) -> Checked:
        """Read everything once, and find every row that cannot be used.

        Args:
            each: Shown every usable prompt, in order.

        Raises:
            InputError: A file or a row cannot be used, or two rows want the same id or file name.
        """
        tally = _Tally(barren={file.name for file in self._files})
        ids, names = Repeats(), Repeats()
        for item, chosen in self._judged():
            tally.rows += 1
            if isinstance(item, Problem):
                tally.problem_count += 1
                if tally.problem_count <= LISTED:
                    tally.problems.append(item)
                continue
            tally.barren.discard(item.origin.file)
            ids.add(hash(item.id) & _MASK)
            for key in self._name_keys(item):
                names.add(hash(key) & _MASK)
            if chosen:
                tally.prompts += 1
                tally.images += self.images(item)
            if each is not None:
                each(item, chosen=chosen)
        self._judge(tally)
        self._refuse_clashes(ids, names)
        return Checked(tally.prompts, tally.images, tuple(tally.problems), tally.problem_count)

    def images(self, prompt: Prompt) -> int:
        """Return how many images a prompt wants."""
        return prompt.n or self.options.images_per_prompt

    def prompts(self) -> Iterator[Prompt]:
        """Read again, and yield the chosen prompts that are usable.

        Raises:
            InputError: A file has changed since the check.
        """
        return (prompt for prompt, chosen in self.walk() if chosen)

    def walk(self, *, everything: bool = False) -> Iterator[tuple[Prompt, bool]]:
        """Yield every usable prompt up to the last chosen one, and whether it is chosen.

        Args:
            everything: Also the prompts after the last chosen one.

        Raises:
            InputError: A file has changed since the check.
        """
        left = None if everything else self.options.limit
        for item, chosen in self._judged():
            if isinstance(item, Prompt):
                yield item, chosen
            elif not self.options.skip_invalid:
                raise InputError(f"{item}; the file has changed since it was checked")
            if chosen and left is not None:
                left -= 1
                if left <= 0:
                    return

    def _judged(self) -> Iterator[tuple[Prompt | Problem, bool]]:
        """Yield every row, and whether it is chosen."""
        left = self.options.limit
        for item in self._read():
            if isinstance(item, Problem) or left == 0 or not self._is_wanted(item.id):
                yield item, False
            elif self._accept is not None and (reason := self._accept(item)) is not None:
                yield Problem(item.origin, reason), False
            else:
                left = None if left is None else left - 1
                yield item, True

    def _read(self) -> Iterator[Prompt | Problem]:
        index = 0
        for file in self._files:
            for row in source_for(file, self._reader).rows():
                index += 1
                yield row if isinstance(row, Problem) else self._reader.read(row, index, file.folder)

    def _judge(self, tally: _Tally) -> None:
        """Raise for what the pass found."""
        problems = tuple(map(str, tally.problems))
        if tally.problem_count and not self.options.skip_invalid:
            rows = f"{tally.problem_count:,} of {tally.rows:,} row{'s' if tally.rows > 1 else ''}"
            raise InputError(f"{rows} cannot be used; correct them, or leave them out with --skip-invalid", problems)
        if tally.barren:
            names = ", ".join(file.name for file in self._files if file.name in tally.barren)
            raise InputError(f"no prompts in {names}; write each in a row of its own below the header", problems)
        if not tally.prompts:
            raise InputError(f"none of {tally.rows:,} prompts is chosen by --only and --limit", problems)

    def _name_keys(self, prompt: Prompt) -> Iterator[str]:
        """Yield what the names of a prompt's files must not share with any other."""
        yield clash_key(prompt.name)
        for number in range(2, self.images(prompt) + 1):
            yield clash_key(numbered(prompt.name, number))

    def _refuse_clashes(self, ids: Repeats, names: Repeats) -> None:
        """Read once more for the rows whose hashes are equal, and name those that really clash."""
        suspects = set(islice(ids, _CLASHES_TRACED)), set(islice(names, _CLASHES_TRACED))
        if any(suspects) and (clashes := list(islice(self._clashes(*suspects), LISTED))):
            surplus = max(sum(1 for _ in ids), sum(1 for _ in names))
            what = "1 id or file name is" if surplus == 1 else f"{surplus:,} ids or file names are"
            raise InputError(f"{what} wanted twice", tuple(map(str, clashes)))

    def _clashes(self, ids: set[int], names: set[int]) -> Iterator[Problem]:
        first_ids: dict[str, Prompt] = {}
        first_names: dict[str, Prompt] = {}
        for item, _ in self._judged():
            if isinstance(item, Problem):
                continue
            if hash(item.id) & _MASK in ids and (first := first_ids.setdefault(item.id, item)) is not item:
                yield Problem(item.origin, f"the id {quoted(item.id)} is already that of {first.origin}")
                continue
            for key in self._name_keys(item):
                if hash(key) & _MASK in names and (first := first_names.setdefault(key, item)) is not item:
                    hint = "give them names of their own, or add {id} or {index} to --name"
                    yield Problem(item.origin, f"its file {quoted(key)} is already that of {first.origin}; {hint}")
                    break


def numbered(name: str, number: int) -> str:
    """Name the file of a row's first, second, third image: `fox`, `fox-2`, `fox-3`."""
    return name if number == 1 else f"{name}-{number}"
