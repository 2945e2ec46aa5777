"""Every Python example of the README and of docs/ runs, every command parses, every link leads somewhere.

An example stands alone: it is run in a namespace of its own, in an empty folder. What a page takes for granted (a loss,
a file of the reader's) is made by a comment of the page that begins with `<!-- setup`, which is run before.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

import compiling
from descenso.cli.app import app

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("**/*.md")])
NAMES = [str(p.relative_to(ROOT)) for p in PAGES]

FENCED = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.M | re.S)
SETUP = re.compile(r"^<!-- setup\n(.*?)^-->", re.M | re.S)
INDENTED = re.compile(r"(?:^    [^\n]*\n)+", re.M)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")

RUN = """
import json, sys, traceback
setup, examples = json.load(sys.stdin)
for line, code in examples:
    space = {"__name__": "__main__"}
    for text, where in ((setup, "setup"), (code, f"line {line}")):
        try:
            exec(compile(text, where, "exec"), space)
        except BaseException:
            print(where, traceback.format_exc())
            sys.exit(1)
"""


def python_examples(text: str) -> list[tuple[int, str]]:
    """The line at which each example begins, and its code."""
    return [(text[: m.start()].count("\n") + 2, m[2]) for m in FENCED.finditer(text) if m[1] == "python"]


def commands(text: str) -> list[str]:
    """Every line of a shell example that calls descenso, its continuation lines joined."""
    blocks = [m[2] for m in FENCED.finditer(text) if m[1] in ("sh", "bash", "console", "text")]
    blocks += [m[0] for m in INDENTED.finditer(FENCED.sub("", text))]
    lines = [line.strip().removeprefix("$ ") for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line.startswith("descenso ")]


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_example_runs(page, tmp_path):
    text = page.read_text()
    setup = "\n".join(m[1] for m in SETUP.finditer(text))
    # files of its own, but not compiled code of its own
    compiled = {
        "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".pytest_cache" / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
    }
    environment = compiling.as_users() | compiled | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "MPLBACKEND": "Agg"}
    (tmp_path / "here").mkdir()
    examples = python_examples(text)
    if examples:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", RUN],
            input=json.dumps([setup, examples]),
            cwd=tmp_path / "here",
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_command_parses(page):
    group = get_command(app)
    for line in commands(page.read_text()):
        name, *rest = shlex.split(line, comments=True)[1:]
        if name.startswith("-"):
            group.make_context("descenso", [name, *rest])
            continue
        assert name in group.commands, line
        # parses the arguments and asks their types, and runs nothing
        assert group.commands[name].make_context(name, list(rest)).params, line


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_leads_somewhere(page):
    targets = LINK.findall(FENCED.sub("", page.read_text()))
    missing = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert not missing


def test_what_counts_as_an_example():
    """The three ways of finding things, on a page whose content is known."""
    shell = "```sh\ndescenso fit a.csv \\\n  --target y  # why\nls\n```\n"
    text = f"# x\n\n```python\na = 1\n```\n\n{shell}\n    descenso -h\n"
    assert python_examples(text) == [(4, "a = 1\n")]
    assert [shlex.split(c, comments=True) for c in commands(text)] == [
        ["descenso", "fit", "a.csv", "--target", "y"],
        ["descenso", "-h"],
    ]
    assert SETUP.findall("<!-- setup\nb = 2\n-->\n") == ["b = 2\n"]
    assert LINK.findall("[a](b.md#c) [d](https://e)") == ["b.md", "https://e"]
    assert python_examples((ROOT / "README.md").read_text())
