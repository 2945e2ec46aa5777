"""What makes a table unfit to learn from, and what is only worth a note."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from descenso._errors import ArgumentError, DataError, ModelError, SchemaError
from descenso.data import split
from descenso.data.checks import check_to_fit
from descenso.data.column import BOOLEAN, NUMBER, TEXT, TIME, Column, Table
from descenso.data.moments import Moments, Together
from descenso.data.split import hold_out
from descenso.data.target import Classes, Regression, target_from_json
from descenso.data.task import fit_target, infer_task


def number(name: str, *values: float | None) -> Column:
    return Column(name, NUMBER, np.array(values, float))


def text(name: str, *values: str | None) -> Column:
    levels = tuple(dict.fromkeys(v for v in values if v is not None))
    return Column(name, TEXT, np.array([-1 if v is None else levels.index(v) for v in values], np.int32), levels)


def table(*columns: Column) -> Table:
    return Table("t.csv", {c.name: c for c in columns})


Y = number("y", 1, 2, 3, 4)
HUNDRED = [str(i) for i in range(99)]

UNFIT = {
    "no target": (table(number("x", 1, 2, 3, 4)), SchemaError, "no column 'y'", {"column": "y"}),
    "one row": (table(number("x", 1), number("y", 1)), DataError, "there is 1 data row", {"count": 1}),
    "only the target": (table(Y), DataError, "'y' is the only column", {"column": "y"}),
    "inf": (
        table(number("x", 1, np.inf, -np.inf, 0), Y),
        DataError,
        "holds inf at data row 2 ",
        {"column": "x", "row": 2, "count": 2, "example": np.inf},
    ),
    "inf in the target": (table(number("x", 1, 2), number("y", 1, np.inf)), DataError, "'y' holds inf", {"row": 2}),
    "no values": (
        table(number("x", None, None, None, None), Y),
        DataError,
        "no value in any of the 4 rows(?s:.*)--drop x",
        {"column": "x", "count": 4},
    ),
    "no values in the target": (table(number("x", 1, 2), number("y", None, None)), DataError, "choose another --t", {}),
    "text among numbers": (
        table(text("x", *HUNDRED, "foo"), number("y", *range(100))),
        DataError,
        "numbers in 99 rows and text in 1; the first is 'foo' at data row 100",
        {"column": "x", "row": 100, "count": 1, "example": "foo"},
    ),
    "a thousands separator": (
        table(text("x", *HUNDRED, "1,234"), number("y", *range(100))),
        DataError,
        "without a thousands separator",
        {"example": "1,234"},
    ),
    "text in the target": (
        table(number("x", *range(100)), text("y", *HUNDRED, "12%")),
        DataError,
        "'y' holds numbers(?s:.*)without a percent sign$",
        {"column": "y"},
    ),
    "the target twice": (
        table(number("a b", 1, 2, 3, 4), Y),
        DataError,
        "'a b' equals the target 'y'(?s:.*)--drop 'a b'",
        {"column": "a b"},
    ),
    "the text target twice": (
        table(text("x", "b", "a", "b"), text("y", "b", "a", "b")),
        DataError,
        "equals the target",
        {"column": "x", "count": 3, "example": "b"},
    ),
}


@pytest.mark.parametrize("name", UNFIT)
def test_an_unfit_table_is_refused_with_the_place(name):
    unfit, error, message, where = UNFIT[name]
    with pytest.raises(error, match=message) as caught:
        check_to_fit(unfit, "y")
    assert {key: getattr(caught.value, key) for key in where} == where


def test_the_same_text_in_another_order_of_levels_is_still_the_target():
    x = Column("x", TEXT, np.array([0, 1], np.int32), ("a", "b"))
    y = Column("y", TEXT, np.array([1, 0], np.int32), ("b", "a"))
    with pytest.raises(DataError, match="equals the target"):
        check_to_fit(table(x, y), "y")


def test_a_category_with_some_numbers_is_no_error():
    few = text("children", *(["0", "1", "2", "3+"] * 10))
    mostly_text = text("ticket", *HUNDRED[:40], *(f"A/{i}" for i in range(40)))
    y = number("y", *range(40))
    assert check_to_fit(table(few, y), "y") == []
    assert check_to_fit(table(mostly_text, number("y", *range(80))), "y") == []


def test_numbers_in_disguise_get_a_note():
    notes = check_to_fit(table(text("price", "1,200", "3,400", "950,000", None), Y), "y")
    assert len(notes) == 1
    assert "a thousands separator" in notes[0]


@pytest.mark.parametrize(("slope", "noted"), [(2.0, True), (-1e200, True), (0.0, False)])
def test_the_target_in_other_units_gets_a_note(slope, noted):
    y = np.random.default_rng(0).normal(size=50)
    x = slope * y + 3 if slope else np.random.default_rng(1).normal(size=50) + 0.9 * y
    notes = check_to_fit(table(number("x", *x), number("y", *y)), "y")
    assert bool(notes) == noted


TASKS = [
    (text("y", "a", "b"), "classification"),
    (Column("y", BOOLEAN, np.array([0.0, 1.0])), "classification"),
    (number("y", 0, 1, 1), "classification"),
    (number("y", 1.0, 2.0, None), "classification"),
    (number("y", *[i % 10 for i in range(50)]), "classification"),
    (number("y", *[i % 10 for i in range(49)]), "regression"),
    (number("y", *range(500)), "regression"),
    (number("y", 0.5, 1.5, 0.5), "regression"),
    (Column("y", TIME, np.array([0.0, 1.0])), "regression"),
]


@pytest.mark.parametrize(("column", "task"), TASKS)
def test_the_task_is_told_from_the_target(column, task):
    told, why = infer_task(column)
    assert told == task
    assert "'y'" in why


def test_a_regression_target_is_standardised_and_comes_back():
    column = number("y", 10.0, 20.0, 40.0)
    target = fit_target("t.csv", column, "regression")
    y = target.encode("t.csv", column)
    np.testing.assert_allclose([y.mean(), y.std()], [0, 1], atol=1e-6)
    assert isinstance(target, Regression)
    np.testing.assert_allclose(target.decode(y), [10, 20, 40], rtol=1e-6)
    assert np.isnan(target.encode("t.csv", number("y", 1, None))).tolist() == [False, True]


@pytest.mark.parametrize(
    ("column", "labels", "codes"),
    [
        (text("y", "b", "a", None, "b"), ("a", "b"), [1, 0, -1, 1]),
        (number("y", 7, 3.0, None, 7), (3, 7), [1, 0, -1, 1]),
        (Column("y", BOOLEAN, np.array([1, 0, np.nan, 1], np.float32)), (False, True), [1, 0, -1, 1]),
    ],
)
def test_classes_are_sorted_labels(column, labels, codes):
    target = fit_target("t.csv", column.take(~column.missing), "classification")
    assert isinstance(target, Classes)
    assert target.labels == labels
    assert [type(label) for label in target.labels] == [type(label) for label in labels]
    assert target.encode("t.csv", column).tolist() == codes


def test_outputs_are_one_for_two_classes_and_for_a_number():
    assert Classes("y", ("a", "b")).outputs == 1
    assert Classes("y", ("a", "b", "c")).outputs == 3
    assert Regression("y", 0.0, 1.0).outputs == 1


@pytest.mark.parametrize("target", [Classes("y", ("a", "b")), Classes("y", (1, 2.5)), Regression("y", 0.1, 1 / 3)])
def test_a_target_survives_json(target):
    assert target_from_json(target.to_json()) == target


@pytest.mark.parametrize("value", [{}, {"task": "regression", "name": "y"}, {"task": "x", "name": "y"}])
def test_a_broken_target_is_a_model_error(value):
    with pytest.raises(ModelError):
        target_from_json(value)


BAD_TARGETS = {
    "constant": (number("y", 3, 3, 3), "regression", "is 3 in all 3 rows", {"column": "y", "count": 3, "example": 3}),
    "hardly different": (
        number("y", *(2.0**63 + 2048 * i for i in range(8))),
        "regression",
        "differs by no more than 64-bit floats round off",
        {"column": "y", "count": 8},
    ),
    "one class": (text("y", "a", "a"), "classification", "is 'a' in all 2 rows", {"example": "a"}),
    "text": (text("y", "a", "b"), "regression", "is text .'a' at data row 1", {"row": 1, "count": 2, "example": "a"}),
    "an identifier": (text("y", *HUNDRED), "classification", "99 different values in 99 rows", {"count": 99}),
    "a moment": (Column("y", TIME, np.array([0.0, 9.0])), "regression", "is time", {"column": "y"}),
}


@pytest.mark.parametrize("name", BAD_TARGETS)
def test_a_target_that_cannot_be_learned_is_refused(name):
    column, task, message, where = BAD_TARGETS[name]
    with pytest.raises(DataError, match=message) as caught:
        fit_target("t.csv", column, task)
    assert {key: getattr(caught.value, key) for key in where} == where


def test_an_unknown_task_is_an_argument_error():
    with pytest.raises(ArgumentError, match="must be 'regression' or 'classification'"):
        fit_target("t.csv", Y, "ranking")


def test_a_label_that_was_not_there_to_learn_from_is_refused():
    target = Classes("y", ("a", "b"))
    with pytest.raises(DataError, match="'c' at data row 3 ") as caught:
        target.encode("new.csv", text("y", "a", None, "c", "c"))
    assert (caught.value.file, caught.value.row, caught.value.count) == ("new.csv", 3, 2)


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
def test_moments_neither_overflow_nor_underflow(scale):
    values = np.array([1.0, 2.0, np.nan, 6.0]) * scale
    np.testing.assert_allclose(Moments.of(values).mean_and_deviation, (3.0 * scale, np.sqrt(14 / 3) * scale))


@pytest.mark.parametrize("values", [[0.1, 0.1, 0.1], [np.nan, np.nan], [], [1e300, 1e300], [0.1 + 0.2, 0.3]])
def test_values_that_differ_by_rounding_alone_do_not_differ(values):
    assert Moments.of(np.array(values, float)).mean_and_deviation[1] == 0.0


@pytest.mark.parametrize(("rows", "share", "held"), [(2, 0.2, 1), (10, 0.2, 2), (569, 0.2, 114), (5, 0.99, 4)])
def test_hold_out_holds_out_the_share(rows, share, held):
    assert hold_out(rows, share, 0, purpose="test").sum() == held


def test_hold_out_is_a_function_of_the_seed_and_the_purpose():
    a, b, c, d = (hold_out(100, 0.5, seed, purpose=p) for seed, p in [(0, "x"), (0, "x"), (1, "x"), (0, "y")])
    assert (a == b).all()
    assert (a != c).any()
    assert (a != d).any()


def test_hold_out_takes_the_same_share_of_every_class():
    groups = np.repeat([0, 1, 2], [500, 40, 60])
    held = hold_out(600, 0.2, 3, groups=groups, purpose="test")
    assert np.bincount(groups[held]).tolist() == [100, 8, 12]


def test_a_long_table_is_split_block_by_block(monkeypatch):
    whole = hold_out(1000, 0.2, 3, purpose="test")
    monkeypatch.setattr(split, "BLOCK_ROWS", 1000)
    groups = np.arange(2501) % 3 == 0
    held = hold_out(2501, 0.2, 3, groups=groups, purpose="test")
    assert (hold_out(2501, 0.2, 3, purpose="test")[:1000] == whole).all()
    assert [int(held[i : i + 1000].sum()) for i in (0, 1000, 2000)] == [200, 200, 100]
    assert abs(groups[held].mean() - groups.mean()) < 0.005
    assert (held[:500] != held[1000:1500]).any()


@given(
    st.lists(st.floats(-1e3, 1e3, width=32) | st.just(np.nan), min_size=1, max_size=60),
    st.lists(st.integers(0, 60), max_size=4),
    st.sampled_from([1e-30, 1.0, 1e300]),
)
def test_moments_in_pieces_are_those_of_the_whole(values, cuts, scale):
    whole, pieces = np.array(values) * scale, Moments()
    together = Together()
    for part in np.split(whole, sorted(min(c, len(values)) for c in cuts)):
        pieces = pieces.with_more(Moments.of(part))
        known = part[~np.isnan(part)]
        together.add(known, -known / 2)
    mean, deviation = Moments.of(whole).mean_and_deviation
    size = np.nanmax(np.abs(whole), initial=0.0)
    np.testing.assert_allclose(pieces.mean_and_deviation, (mean, deviation), rtol=1e-9, atol=1e-12 * size)
    if deviation > 1e-3 * size:
        assert together.correlation == pytest.approx(-1, abs=1e-9)
