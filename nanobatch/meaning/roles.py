"""What a word of a prompt does."""

from __future__ import annotations

import enum
from dataclasses import dataclass

VERBAL = "~"  # after a verb, which is no noun of the same letters


class Role(enum.Enum):
    """What a word does."""

    THING = "thing"  # also whatever we do not know
    ADJECTIVE = "adjective"
    VERB = "verb"
    RELATION = "relation"  # nothing moves across it
    ARTICLE = "article"
    NUMBER = "number"
    PAUSE = "pause"


@dataclass(frozen=True, slots=True)
class Word:
    """A word as it counts."""

    text: str
    role: Role = Role.THING
    is_plural: bool = False
    is_name: bool = False
    spelled: str = ""  # with its ending

    @property
    def key(self) -> str:
        """What must be equal on both sides."""
        return f"{self.text}+" if self.is_plural else self.text
