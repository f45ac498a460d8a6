"""What the shell offers when Tab is pressed behind an option: names from the catalog, with a word about each."""

from __future__ import annotations

from collections.abc import Iterator


def providers(incomplete: str) -> Iterator[tuple[str, str]]:
    """Offer the providers, with what their key is called."""
    from nanobatch.catalog import load_catalog  # noqa: PLC0415 - `--help` must not wait for it

    for entry in load_catalog().providers.values():
        if entry.name.startswith(incomplete.lower()):
            yield entry.name, " or ".join(entry.key_variables)


def models(incomplete: str) -> Iterator[str]:
    """Offer the models that can still be asked for; their other names once something is typed."""
    from nanobatch.catalog import load_catalog  # noqa: PLC0415

    for model in load_catalog().models.values():
        names = (model.id, *model.aliases) if incomplete else (model.id,)
        yield from (name for name in names if name.startswith(incomplete.lower()))


def sizes(incomplete: str) -> list[str]:
    """Offer the sizes."""
    from nanobatch.model import SIZES  # noqa: PLC0415

    return [size for size in SIZES if size.startswith(incomplete.upper())]


def ratios(incomplete: str) -> list[str]:
    """Offer every shape that some model draws, the widest last."""
    from nanobatch.catalog import load_catalog  # noqa: PLC0415

    def width(ratio: str) -> float:
        across, _, down = ratio.partition(":")
        return int(across) / int(down)

    return [ratio for ratio in sorted(load_catalog().ratios, key=width) if ratio.startswith(incomplete)]
