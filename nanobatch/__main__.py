"""The command `nanobatch`, also as `python -m nanobatch`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; answer `--version` before anything slow is imported."""
    if sys.argv[1:] == ["--version"]:
        from nanobatch import __version__  # noqa: PLC0415 - start-up time is a promise

        sys.stdout.write(f"nanobatch {__version__}\n")
        return
    from nanobatch.cli.app import start  # noqa: PLC0415 - typer takes longer to import than all of the above

    sys.exit(start())


if __name__ == "__main__":
    main()
