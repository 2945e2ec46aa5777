"""The command line: `descenso fit`, `descenso resume` and `descenso predict`."""

from __future__ import annotations

import sys


def main() -> None:
    """The entry point of the `descenso` command."""
    try:
        from descenso.cli.app import run

        run()
    except KeyboardInterrupt:  # while what it needs was loaded
        print("error: interrupted before there was a model.", file=sys.stderr)
        sys.exit(130)
