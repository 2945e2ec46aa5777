"""What a person sees: the table that was read, the run while it runs, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from descenso.data.target import Classes

if TYPE_CHECKING:
    from descenso.cli.fit import Report
    from descenso.cli.rows import Learnable
    from descenso.result import Progress

_NAMES = {"accuracy": "accuracy", "log_loss": "log loss", "auc": "AUC", "rmse": "RMSE", "mae": "MAE", "r2": "R²"}


def show_read(console: Console, learned: Learnable) -> None:
    """The size of what was read, and the notes."""
    console.print(
        f"{len(learned.train):,} rows to learn from, {len(learned.encoding.columns)} columns as "
        f"{len(learned.encoding.inputs)} inputs",
        highlight=False,
    )
    for note in learned.notes:
        console.print(Text(f"note: {note}", style="dim"))


@contextmanager
def bar(console: Console) -> Iterator[Callable[[Progress], None]]:
    """A live view of the run, gone when it ends; to be called with each `Progress`."""
    with Live(
        Text("compiling the first step ...", style="dim"), console=console, transient=True, redirect_stdout=False
    ) as live:
        yield lambda progress: live.update(_live(progress))


def _live(p: Progress) -> Group:
    parts = [f"step {p.step:,}", f"epoch {p.epoch:.1f}", f"loss {p.loss:.5g}"]
    parts += [f"validation {p.validation:.5g}"] if p.validation is not None else []
    parts += [f"learning rate {p.step_size:.2g}", f"{_rate(p.rows_per_second)} rows/s", f"{p.seconds:.0f} s"]
    parts += [f"{p.seconds_left:.0f} s left"] if p.seconds_left is not None else []
    lines: list[Text | ProgressBar] = [Text("  ".join(parts))]
    if p.note:
        lines.append(Text(p.note, style="dim"))
    if p.fraction is not None:
        lines.append(ProgressBar(total=1.0, completed=p.fraction, width=60))
    return Group(*lines)


def _rate(rows: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if rows >= size:
            return f"{rows / size:.1f}{letter}"
    return f"{rows:.0f}"


def show_ending(console: Console, report: Report) -> None:
    """The metrics, the reason, and where the model lies."""
    learned, result = report.learned, report.result
    console.print(_title(report), highlight=False)
    console.print(_metrics(report))
    facts = Table.grid(padding=(0, 2))
    facts.add_column(justify="right", style="bold")
    facts.add_column(overflow="fold")
    for name, value in (
        ("measured on", f"{learned.held_from}; the model never saw them"),
        ("learned from", _learned_from(learned)),
        ("ended", Text(f"{result.reason}: {result.message}", style="" if result.usable else "red")),
        (
            "spent",
            f"{result.steps:,} steps, {result.epochs:,.4g} epochs, {result.gradients:,.4g} gradients, "
            f"{result.seconds:.1f} s",
        ),
        *(("found", f"step {f.step:,}: {f.message}") for f in result.findings),
        ("model", str(report.request.out) if report.saved else Text("not saved: it is not usable", style="red")),
    ):
        facts.add_row(name, value if isinstance(value, Text) else Text(value))
    console.print(facts)


def _title(report: Report) -> Text:
    target = report.learned.target
    kind = f"one of {len(target.labels)} classes" if isinstance(target, Classes) else "a number"
    words = {"linear": "a linear model", "mlp": "a multilayer perceptron"}[report.request.model]
    return Text.assemble(
        "\n", (f"{target.name}", "bold"), f", {kind}, from {_called(report.request.table)} by {words}\n"
    )


def _called(table: tuple[str, ...]) -> str:
    return table[0] if len(table) == 1 else f"{table[0]} and {len(table) - 1} more"


def _metrics(report: Report) -> Table:
    table = Table(box=None, padding=(0, 2), pad_edge=False)
    table.add_column("")
    table.add_column("model", justify="right", style="bold")
    table.add_column("guessing", justify="right", style="dim")
    for name, value in report.metrics.items():
        table.add_row(_NAMES[name], _number(value), _number(report.guess[name]))
    return table


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.4f}" if abs(value) < 10 else f"{value:,.6g}"


def _learned_from(learned: Learnable) -> str:
    rows = f"{len(learned.train):,} rows"
    return rows if learned.stop is None else f"{rows}, and {len(learned.stop):,} more chose where to stop"
