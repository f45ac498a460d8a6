"""Names for files, made from data that nobody has checked: they stay below the output folder, on every system."""

from __future__ import annotations

import hashlib
import re
import unicodedata

COMPONENT_BYTES = 120  # UTF-8, per folder or file name; leaves room for "-2" and an extension on every file system
SLUG_CHARACTERS = 50
SLUG_BYTES = 100
_SLUG_SOURCE = 120  # characters of a prompt that are looked at

_ASCII_WORDS = {code: chr(code).lower() if chr(code).isalnum() else " " for code in range(128)}
_CLEAN = re.compile(r"[0-9][0-9A-Za-z_.-]{0,118}[0-9A-Za-z_-]")  # begins with a digit, so it is no reserved name
_RESERVED = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³])\s*", re.IGNORECASE)
_SEPARATORS = str.maketrans(dict.fromkeys('/\\<>:"|?*', "-"))
_SPACES = ("Zs", "Zl", "Zp")
_KEPT_FORMATS = "\u200c\u200d"  # joiners: parts of words in Persian and Hindi, and of emoji


def slug(text: str) -> str:
    """Make the beginning of a prompt into words for a file name: lower case, ASCII, joined with `-`.

    Letters of other scripts are kept where nothing else remains; a prompt without letters gives "".

    Example:
        >>> slug("A café, at Night!")
        'a-cafe-at-night'
    """
    text = text[:_SLUG_SOURCE]
    folded = text if text.isascii() else unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    words = "-".join(folded.translate(_ASCII_WORDS).split())
    return _cut_words(words or _unicode_words(text))


def _unicode_words(text: str) -> str:
    letters = (c if unicodedata.category(c)[0] in "LMN" else " " for c in unicodedata.normalize("NFC", text).lower())
    joined = "-".join("".join(letters).split())
    return joined.encode()[:SLUG_BYTES].decode(errors="ignore").rstrip("-")


def _cut_words(words: str) -> str:
    if len(words) <= SLUG_CHARACTERS:
        return words
    whole = words.rfind("-", 0, SLUG_CHARACTERS + 1)
    return words[: whole if whole > 0 else SLUG_CHARACTERS]


def clean_path(text: str) -> str:
    """Clean a relative path whose `/` make folders; components that come to nothing are left out."""
    return "/".join(filter(None, map(clean_component, text.split("/"))))


def clean_component(text: str) -> str:
    """Make any text one name of a file or a folder; "" when nothing usable is in it.

    Separators and the characters that Windows forbids become `-`; control, invisible and bidirectional
    characters go; no dot begins it, no dot or blank ends it, no device of Windows is named so. A name that
    is too long is cut, and ends in a hash of the whole, so that two long names stay two.
    """
    if _CLEAN.fullmatch(text):
        return text
    text = unicodedata.normalize("NFC", "".join(map(_clean_character, text.translate(_SEPARATORS))))
    text = text.strip(" ").lstrip(". ").rstrip(". ")
    stem, dot, rest = text.partition(".")
    if _RESERVED.fullmatch(stem):
        text = f"{stem}_{dot}{rest}"
    return _cut(text)


def _clean_character(character: str) -> str:
    category = unicodedata.category(character)
    if category in _SPACES or character in "\t\n\r\v\f\x85":
        return " "
    if category in ("Cc", "Cs") or (category == "Cf" and character not in _KEPT_FORMATS):
        return ""
    return character


def _cut(text: str) -> str:
    whole = text.encode()
    if len(whole) <= COMPONENT_BYTES:
        return text
    digest = hashlib.blake2b(whole, digest_size=4).hexdigest()
    return f"{whole[: COMPONENT_BYTES - len(digest) - 1].decode(errors='ignore')}-{digest}"


def clash_key(name: str) -> str:
    """Return what two names have in common when a file system takes them for one: case and composition."""
    return name.lower() if name.isascii() else unicodedata.normalize("NFC", name.casefold())
