"""The command line: `descenso fit`, `descenso resume` and `descenso predict`."""

from __future__ import annotations


def main() -> None:
    """The entry point of the `descenso` command."""
    from descenso.cli.app import run

    run()
