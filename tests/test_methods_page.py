"""docs/methods.md is what its generator writes now."""

from __future__ import annotations

import subprocess
import sys
from importlib import util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts" / "methods_table.py"


def script():
    spec = util.spec_from_file_location("methods_table", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_current():
    done = subprocess.run([sys.executable, str(SCRIPT), "--check"], check=False)
    assert done.returncode == 0, "run python scripts/methods_table.py"


def test_every_slot_and_name_has_a_row():
    table = script()
    text = table.page()
    for room in table.ROOMS:
        for cls in table.slots(room):
            assert text.count(f"\n| `{cls.__name__}` |") == 1
    assert all(f"\n| `{name}` |" in text for name in table.METHODS)


def test_a_docstring_without_a_part_is_refused():
    class Bare:
        """A method.

            x_{t+1} = x_t

        State: none. Memory: 0.
        """

    with pytest.raises(ValueError, match="Bare has no Use, Source"):
        script().row(Bare)
