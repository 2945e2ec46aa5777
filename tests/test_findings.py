"""Runs that were made to go wrong say so: the examples of docs/findings.md, word for word but for the numbers."""

from __future__ import annotations

import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pytest

PAGE = (Path(__file__).parent.parent / "docs" / "findings.md").read_text()
SETUP = re.search(r"^<!-- setup\n(.*?)^-->", PAGE, re.M | re.S)[1]
SECTIONS = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S))
EXAMPLE = re.compile(r"^```python\n([^`]*)^```\n\n```text\n([^`]*)^```", re.M)
EXAMPLES = [(name, *example) for name, text in SECTIONS.items() for example in EXAMPLE.findall(text)]


def told(code: str) -> tuple[str, list]:
    """What an example prints, and its results."""
    space: dict = {}
    exec(compile(SETUP, "setup", "exec"), space)
    results, tell, printed = [], space["tell"], StringIO()
    space["tell"] = lambda result: (results.append(result), tell(result))
    with redirect_stdout(printed):
        exec(compile(code, "example", "exec"), space)
    return printed.getvalue(), results


def words(text: str) -> str:
    """The text without its numbers, whose last digits differ from machine to machine."""
    return re.sub(r"-?\d[\d.,e+-]*", "#", text)


# where the last digits of a float decide what is seen after the first recovery, so that machines differ
CHAOTIC = {"It crawls, then oscillates"}


def common(lines: list[str], name: str) -> list[str]:
    """The lines that are the same on every machine."""
    if name not in CHAOTIC:
        return lines
    first = next(i for i, line in enumerate(lines) if line.startswith("recovered"))
    return [*lines[: first + 1], lines[-1]]


def kinds(result) -> list[str]:
    return [finding.kind for finding in result.findings]


def oscillates(result):
    (found,) = result.findings
    assert found.kind == "recovered"
    assert result.loss < 0.5


def meets_a_spike(result):
    assert kinds(result) == ["recovered"]
    assert 0 < result.findings[0].step < result.steps == 500
    # what the other rows ask for, and not what the one does
    np.testing.assert_allclose(result.params, np.arange(1.0, 6.0), atol=1.0)


def crawls(result):
    messages = [finding.message for finding in result.findings]
    assert any("doubled" in message for message in messages)
    assert set(kinds(result)) == {"rate", "recovered"}
    assert result.loss < 0.003


def overfits(result):
    best = np.nanmin(result.history.validation)
    assert result.validation_loss == pytest.approx(best, rel=1e-6)
    assert result.history.validation[-1] > 1.1 * best


def reaches_its_floor(result):
    assert result.loss < 0.27  # at the minimum .25


def meets_hard_batches(result):
    assert kinds(result) == ["rate", "batches"]
    assert result.steps == 1500
    rate, batches = (finding.message for finding in result.findings)
    chosen = re.search("learning rate ([^ ]+) chosen", rate)[1]
    assert batches.endswith(f"scale {chosen} again")
    assert result.loss < 2.73  # at the minimum 2.716


def takes_more_rows(result):
    assert kinds(result) == ["batch_size", *["rate"] * 4, "batch_size"]
    assert result.loss < 0.256  # at the minimum over these rows .2555


CHECKS = {
    ("It takes more rows", "converged"): takes_more_rows,
    ("It meets hard batches", "budget"): meets_hard_batches,
    ("It oscillates", "budget"): oscillates,
    ("It meets a spike", "budget"): meets_a_spike,
    ("It crawls, then oscillates", "noise_floor"): crawls,
    ("It overfits", "validation"): overfits,
    ("It reaches its floor", "noise_floor"): reaches_its_floor,
    ("It reaches its floor", "plateau"): lambda result: None,
}


@pytest.mark.parametrize(("name", "code", "printed"), EXAMPLES, ids=[name for name, *_ in EXAMPLES])
def test_a_run_says_what_the_page_says(name, code, printed):
    said, (result,) = told(code)
    assert common(words(said).splitlines(), name) == common(words(printed).splitlines(), name)
    CHECKS[name, str(result.reason)](result)
