"""The commands, as typer reads them."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from descenso import __version__
from descenso._errors import ArgumentError, DescensoError

if TYPE_CHECKING:
    from descenso.cli.rows import Request

UNUSABLE, MISTAKE, INTERRUPTED = 1, 2, 130

app = typer.Typer(
    name="descenso",
    help="Gradient descent that needs no tuning and says how it ended.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class ModelKind(StrEnum):
    linear = "linear"
    mlp = "mlp"


class Task(StrEnum):
    regression = "regression"
    classification = "classification"


Memory = Annotated[
    str | None,
    typer.Option(
        help="The most the rows may take, such as 2GB; a table that needs more is read as it goes.",
        show_default="a quarter of what is free",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print the ending alone.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one line of JSON and nothing else.")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"descenso {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Gradient descent that needs no tuning and says how it ended."""


@app.command("fit")
def fit_command(
    table: Annotated[
        list[str],
        typer.Argument(
            metavar="TABLE...",
            help="Files, folders or patterns of CSV (plain, .gz, .xz, .zst), Parquet, ORC, Arrow or svmlight; or "
            "example:breast-cancer and the like.",
        ),
    ],
    *,
    target: Annotated[str, typer.Option(help="The column to predict.")],
    model: Annotated[ModelKind, typer.Option(help="An affine map, or two hidden layers.")] = ModelKind.linear,
    out: Annotated[
        Path | None, typer.Option(help="The folder to save the model in.", show_default="NAME-OF-TABLE.model")
    ] = None,
    valid: Annotated[str | None, typer.Option(help="A table to measure the model on.")] = None,
    valid_fraction: Annotated[
        float | None,
        typer.Option(help="The share of the rows to hold out and measure the model on.", show_default="0.2"),
    ] = None,
    drop: Annotated[list[str] | None, typer.Option(help="A column to leave out. Can be given many times.")] = None,
    task: Annotated[Task | None, typer.Option(help="Where it should not be told from the target.")] = None,
    seed: Annotated[int, typer.Option(help="Of the held-out rows, the order of the rows and the start.")] = 0,
    budget_seconds: Annotated[float | None, typer.Option(help="The most the descent may take.")] = None,
    budget_epochs: Annotated[float | None, typer.Option(help="The most passes over the rows.")] = None,
    batch_size: Annotated[str, typer.Option(help="Rows of a batch: auto, all or a number.")] = "auto",
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="A folder to write the run to as it goes: the same command, or `resume`, goes on from there."
        ),
    ] = None,
    every: Annotated[str, typer.Option(help="How often: 30s, 5m, 1h.")] = "30s",
    memory: Memory = None,
    cache: Annotated[
        Path | None,
        typer.Option(help="The folder to keep the rows of such a table in.", show_default="~/.cache/descenso/rows"),
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Learn to predict a column of a table, measure it on rows never trained on, and save the model."""
    from descenso.cli.resume import seconds
    from descenso.cli.rows import Request
    from descenso.data.memory import as_bytes
    from descenso.watch.limits import Budget

    with _mistakes():
        if valid is not None and valid_fraction is not None:
            raise ArgumentError("--valid and --valid-fraction were both given. One of them says what to measure on.")
        request = Request(
            table=tuple(table),
            target=target,
            model=str(model),
            out=out or _default_out(table[0]),
            valid=valid,
            valid_fraction=_share(valid_fraction),
            drop=tuple(drop or ()),
            task=None if task is None else str(task),
            seed=seed,
            budget=Budget(seconds=budget_seconds, epochs=budget_epochs),
            batch_size=_batch_size(batch_size),
            checkpoint=checkpoint,
            every=seconds(every),
            memory=None if memory is None else as_bytes(memory),
            cache=cache,
        )
        usable = _fit(request, quiet=quiet, as_json=as_json)
    raise typer.Exit(0 if usable else UNUSABLE)


def _fit(request: Request, *, quiet: bool, as_json: bool) -> bool:
    """Fit and show; whether the model is usable."""
    from descenso.cli.resume import remember
    from descenso.cli.rows import read_rows
    from descenso.cli.saved import check_place

    check_place(request.out)
    request = remember(request)
    learned = read_rows(request)
    from descenso.cli.fit import learn  # JAX is loaded only for a table that can be learned from
    from descenso.cli.screen import bar, show_ending, show_read

    console, screen = Console(highlight=False), Console(stderr=True, highlight=False)
    if not (quiet or as_json):
        show_read(console, learned)
    with bar(screen) if screen.is_terminal and not (quiet or as_json) else nullcontext() as progress:
        try:
            report = learn(request, learned, progress)
        except SystemExit:  # SIGTERM
            typer.echo(f"stopped: `descenso resume {request.checkpoint}` goes on", err=True)
            raise
    if as_json:
        typer.echo(json.dumps(report.line(), allow_nan=False))
    else:
        show_ending(console, report)
    return report.result.usable


@app.command("resume")
def resume_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder that was given to `fit --checkpoint`.")],
    *,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Go on with a fit that was stopped, by whatever, and end as it would have."""
    from descenso.cli.resume import recall

    with _mistakes():
        usable = _fit(recall(folder), quiet=quiet, as_json=as_json)
    raise typer.Exit(0 if usable else UNUSABLE)


@app.command("predict")
def predict_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder that `fit` saved the model in.")],
    table: Annotated[
        list[str],
        typer.Argument(
            metavar="TABLE...",
            help="Files, folders or patterns to predict, as for `fit`, with the columns that were learned from.",
        ),
    ],
    *,
    out: Annotated[Path, typer.Option(help="The file to write: .csv, .csv.gz, .parquet or .arrow.")],
    memory: Memory = None,
) -> None:
    """Predict every row of a table with a saved model."""
    from descenso.cli.predict import predict
    from descenso.data.memory import as_bytes

    with _mistakes():
        rows = predict(folder, table, out, None if memory is None else as_bytes(memory))
    typer.echo(f"{rows:,} predictions written to {out}")


@contextmanager
def _mistakes() -> Iterator[None]:
    """Print a mistake of the caller's or the data's as one message, and leave with its exit status."""
    try:
        yield
    except DescensoError as error:
        _complain(str(error))
        raise typer.Exit(MISTAKE) from error
    except OSError as error:
        _complain(f"{error.filename or 'a file'}: {error.strerror or error}.")
        raise typer.Exit(UNUSABLE) from error
    except KeyboardInterrupt as error:
        _complain("interrupted before there was a model.")
        raise typer.Exit(INTERRUPTED) from error


def _complain(message: str) -> None:
    first, _, rest = message.partition("\n")
    Console(stderr=True, highlight=False, soft_wrap=True).print(
        Text.assemble(("error: ", "bold red"), first + ("\n" + rest if rest else ""))
    )


def _default_out(table: str) -> Path:
    name = Path(table.removeprefix("example:")).name
    stem = re.split(r"[.*?\[]", name)[0].strip("-_") or "table"
    return Path(f"{stem}.model")


def _share(fraction: float | None) -> float | None:
    if fraction is not None and not 0 < fraction < 1:
        raise ArgumentError(f"--valid-fraction is {fraction!r}. It must lie between 0 and 1.")
    return fraction


def _batch_size(asked: str) -> int | str:
    if asked in ("auto", "all"):
        return asked
    if not asked.isascii() or not asked.isdigit() or int(asked) < 1:
        raise ArgumentError(f"--batch-size is {asked!r}. It must be auto, all or a number from 1.")
    return int(asked)


def run() -> None:
    """Run the command line of this process."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that cannot show a letter shows ?
            stream.reconfigure(errors="replace")
    try:
        app()
    except BrokenPipeError:  # `descenso ... | head`
        sys.stderr.close()
        sys.exit(UNUSABLE)
