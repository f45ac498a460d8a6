"""nanobatch turns a file of prompts into images, through whichever provider's quota allows it.

The names below come from `nanobatch.library`, which is imported when one of them is used for the first time: the
command line must answer before all of that is loaded.
"""

__version__ = "0.5.0"

TYPE_CHECKING = False  # type checkers know the name; importing `typing` would take longer than all of `--version`
if TYPE_CHECKING:
    from nanobatch.library import Options, Prompts, Record, Result, aestimate, arun, estimate, run

__all__ = ["Options", "Prompts", "Record", "Result", "__version__", "aestimate", "arun", "estimate", "run"]


if not TYPE_CHECKING:  # else type checkers would believe in any name

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module 'nanobatch' has no attribute {name!r}")
        from nanobatch import library  # noqa: PLC0415 - see above

        return getattr(library, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
