"""`descenso fit --checkpoint` and `descenso resume`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from descenso._errors import ArgumentError
from descenso.checkpoint.store import Store
from descenso.cli import app as app_module
from descenso.cli import fit, main
from descenso.cli.app import app
from descenso.cli.resume import seconds

_FIT = ("fit", "example:digits", "--target", "target", "--model", "mlp", "--budget-epochs", "6", "--json")


class KilledError(BaseException):
    """What stands for the end of the process."""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def line(done: Result) -> dict:
    """What a run must say again however often it was stopped."""
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    return {name: value for name, value in found.items() if name not in ("seconds", "out")}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict:
    return line(run(*_FIT, "--out", tmp_path_factory.mktemp("whole") / "m"))


def test_a_fit_that_was_killed_is_gone_on_with_from_its_folder_alone(tmp_path, monkeypatch, undisturbed):
    save, left = Store.save, 3

    def killed(self, arrays, body):
        nonlocal left
        path = save(self, arrays, body)
        left -= 1
        if left == 0:
            raise KilledError
        return path

    with monkeypatch.context() as patch:
        patch.setattr(Store, "save", killed)
        patch.chdir(tmp_path)
        with pytest.raises(KilledError):
            run(*_FIT, "--out", "m", "--checkpoint", "ck", "--every", "0.0001s")
    assert not (tmp_path / "m").exists()
    assert line(run("resume", tmp_path / "ck", "--json")) == undisturbed
    assert (tmp_path / "m" / "model.safetensors").exists()
    findings = json.loads((tmp_path / "m" / "run.json").read_text())["findings"]
    assert any(f["kind"] == "resumed" for f in findings)


def test_the_same_command_again_ends_the_same(tmp_path, undisturbed):
    whole = (*_FIT, "--out", tmp_path / "m", "--checkpoint", tmp_path / "ck")
    assert line(run(*whole)) == undisturbed
    assert line(run(*whole, "--budget-seconds", 1e6)) == undisturbed
    other = run(*whole, "--seed", 1, "--budget-epochs", 7)
    assert other.exit_code == 2
    assert "seed: 0, now 1" in other.stderr
    assert "budget epochs: 6.0, now 7.0" in other.stderr


def test_mistakes_are_named(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("")
    (tmp_path / "hurt").mkdir()
    (tmp_path / "hurt" / "request.json").write_text("{}")
    for arguments, words in [
        (("resume", tmp_path / "none"), "no fit to go on with"),
        (("resume", tmp_path / "hurt"), "cannot be read"),
        ((*_FIT, "--out", tmp_path / "m", "--checkpoint", tmp_path / "full"), "other things than a fit"),
        ((*_FIT, "--out", tmp_path / "m", "--checkpoint", tmp_path / "ck", "--every", "soon"), "--every is 'soon'"),
    ]:
        done = run(*arguments)
        assert done.exit_code == 2
        assert words in done.stderr
    assert not Path(tmp_path / "m").exists()


def test_times():
    assert [seconds(text) for text in ("30", "30s", "0.5 s", "5m", "2min", "1h")] == [30, 30, 0.5, 300, 120, 3600]
    for text in ("", "0", "-1s", "1d", "s", "1e3s"):
        with pytest.raises(ArgumentError):
            seconds(text)


def test_what_stops_a_command_early_is_one_line(tmp_path, monkeypatch, capsys):
    def stopped(status):
        def end(*_):
            raise status

        return end

    monkeypatch.setattr(fit, "learn", stopped(SystemExit(143)))
    done = run(*_FIT, "--out", tmp_path / "m", "--checkpoint", tmp_path / "ck")
    assert done.exit_code == 143
    assert done.stderr == f"stopped: `descenso resume {tmp_path / 'ck'}` goes on\n"
    monkeypatch.setattr(app_module, "run", stopped(KeyboardInterrupt()))
    with pytest.raises(SystemExit, match="130"):
        main()
    assert capsys.readouterr().err == "error: interrupted before there was a model.\n"
