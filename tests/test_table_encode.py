"""The encoding: learned from training rows alone, the same after JSON, refused where a table does not fit."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import event, given, note, settings
from hypothesis import strategies as st
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from descenso._errors import DataError, ModelError, SchemaError
from descenso.data.column import BOOLEAN, CLOCK, NUMBER, TEXT, TIME, Column, Table
from descenso.data.encode import encoding_from_json, fit_encoding
from descenso.data.features import MOST_LEVELS


def number(name: str, *values: float | None) -> Column:
    return Column(name, NUMBER, np.array(values, float))


def text(name: str, *values: str | None) -> Column:
    levels = tuple(dict.fromkeys(v for v in values if v is not None))
    return Column(name, TEXT, np.array([-1 if v is None else levels.index(v) for v in values], np.int32), levels)


def table(*columns: Column) -> Table:
    return Table("t.csv", {c.name: c for c in columns})


def encoded(column: Column, new: Column | None = None) -> dict[str, list[float]]:
    """The inputs of a column (or of a new one, by the encoding of the first), by name."""
    encoding = fit_encoding(table(column))
    return dict(zip(encoding.inputs, encoding.apply(table(new or column)).T.tolist(), strict=True))


def test_numbers_are_standardised_and_missing_ones_are_the_mean_with_a_flag():
    rng = np.random.default_rng(0)
    values = rng.lognormal(3, 2, 500)
    values[rng.random(500) < 0.1] = np.nan
    got = encoded(number("x", *values))
    imputed = SimpleImputer(add_indicator=True).fit_transform(values[:, None])
    scaled = (imputed[:, 0] - np.nanmean(values)) / np.nanstd(values)
    np.testing.assert_allclose(got["x"], scaled, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(got["x is missing"], imputed[:, 1])


def test_without_gaps_it_is_scikit_learns_standard_scaler():
    values = np.random.default_rng(1).normal(7e8, 3, 200)
    np.testing.assert_allclose(
        encoded(number("x", *values))["x"], StandardScaler().fit_transform(values[:, None])[:, 0], rtol=1e-4, atol=1e-6
    )


def test_categories_are_one_hot_with_a_bucket_for_the_rare():
    rng = np.random.default_rng(2)
    values = rng.choice(["a", "b", "c", "rare", "rarer"], 2000, p=[0.5, 0.3, 0.197, 0.002, 0.001])
    got = encoded(text("x", *values))
    theirs = OneHotEncoder(min_frequency=10, sparse_output=False).fit_transform(values[:, None])
    assert list(got) == ["x = a", "x = b", "x = c", "x is another"]
    np.testing.assert_array_equal(np.array(list(got.values())).T, theirs)


def test_a_new_level_is_rare_and_a_new_gap_too():
    known = text("x", *(["a"] * 50 + ["b"] * 50 + ["rare"]))
    got = encoded(known, text("x", "a", "new", None))
    assert got == {"x = a": [1, 0, 0], "x = b": [0, 0, 0], "x is another": [0, 1, 1]}
    assert encoded(text("x", *("ab" * 50)), text("x", "new", None, "b")) == {"x = a": [0, 0, 0], "x = b": [0, 0, 1]}


def test_missing_is_a_level_of_its_own():
    got = encoded(text("x", *(["a"] * 5 + [None] * 5)))
    assert got == {"x = a": [1] * 5 + [0] * 5, "x is missing": [0] * 5 + [1] * 5}


def test_the_number_of_levels_is_capped_and_the_frequent_ones_stay():
    values = [f"level {i:03}" for i in range(300) for _ in range(20 + i % 2)]
    encoding = fit_encoding(table(text("x", *values)))
    assert len(encoding.inputs) == MOST_LEVELS + 1
    assert {f"x = level {i:03}" for i in range(1, 300, 2)} < set(encoding.inputs)
    assert f"the {MOST_LEVELS} most frequent" in encoding.notes()[0]


def test_booleans_are_numbers():
    got = encoded(Column("x", BOOLEAN, np.array([0, 1, 1, np.nan], np.float32)))
    np.testing.assert_allclose(got["x"], [-np.sqrt(2), np.sqrt(0.5), np.sqrt(0.5), 0], rtol=1e-6)
    assert got["x is missing"] == [0, 0, 0, 1]


def test_moments_are_elapsed_time_and_cycles():
    day = 86400.0
    got = encoded(Column("t", TIME, np.array([0.25, 0.75, 7.25, np.nan]) * day))
    np.testing.assert_allclose(got["t in the day, sine"], [1, -1, 1, 0], atol=1e-6)
    np.testing.assert_allclose(got["t in the week, sine"][0], got["t in the week, sine"][2], atol=1e-6)
    assert got["t is missing"] == [0, 0, 0, 1]
    np.testing.assert_allclose(np.mean(got["t"][:3]), 0, atol=1e-6)


def test_cycles_in_which_nothing_turns_are_left_out():
    daily = encoded(Column("t", TIME, np.arange(10) * 86400.0))
    assert not any("day," in name for name in daily)
    assert any("week," in name for name in daily)
    assert "t in the week, sine" not in encoded(Column("t", CLOCK, np.array([0.0, 60.0, 120.0])))


def test_columns_with_nothing_to_learn_from_are_left_out_and_named():
    identifier = text("id", *(f"u{i}" for i in range(100)))
    encoding = fit_encoding(
        table(
            number("one", *[2011] * 100),
            text("level", *["same"] * 100),
            number("gone", *[None] * 100),
            identifier,
            number("x", *range(100)),
        )
    )
    assert encoding.inputs == ["x"]
    assert [(n, w.split()[-3:]) for n, w in encoding.dropped] == [
        ("one", ["every", "training", "row"]),
        ("level", ["every", "training", "row"]),
        ("gone", ["the", "training", "rows"]),
        ("id", ["a", "free", "text"]),
    ]
    assert len(encoding.notes()) == 4


@pytest.mark.parametrize(
    ("first", "step", "why"),
    [
        (1e25, 1, "it is 1e+25 in every training row, as far as 64-bit floats can tell"),
        (2.0**63, 2048, "its values differ by no more than 64-bit floats round off"),
        (4.0, 0, "it is 4 in every training row"),
    ],
)
def test_large_numbers_that_floats_hardly_tell_apart_are_not_called_equal(first, step, why):
    numbers = Column("id", NUMBER, first + step * np.arange(8.0))
    assert fit_encoding(table(numbers, number("x", *range(8)))).dropped == (("id", why),)


def test_nothing_left_to_learn_from_is_an_error():
    with pytest.raises(DataError, match=r"no column is left to learn from \('x': it is 1 in every"):
        fit_encoding(table(number("x", 1, 1, 1)))


def test_only_the_rows_it_was_fitted_on_count():
    train = number("x", 0.0, 1.0, 2.0)
    got = encoded(train, number("x", 1.0, 1e6))
    np.testing.assert_allclose(got["x"], [0, (1e6 - 1) / np.sqrt(2 / 3)], rtol=1e-6)


def test_the_matrix_is_row_major_float32():
    matrix = fit_encoding(table(number("x", 1, 2), text("t", *"ab"))).apply(table(number("x", 1, 2), text("t", *"ab")))
    assert matrix.dtype == np.float32
    assert matrix.flags.c_contiguous


EVERY = table(
    number("x", *range(48), None, 1e30),
    text("t", *(["a", "b", None, "c", "ü"] * 10)),
    Column("d", TIME, np.linspace(0, 9e7, 50)),
    Column("c", CLOCK, np.linspace(0, 9e3, 50)),
    Column("b", BOOLEAN, np.arange(50) % 2.0),
    number("k", *[1] * 50),
)


def test_an_encoding_is_the_same_after_json():
    encoding = fit_encoding(EVERY)
    back = encoding_from_json(json.loads(json.dumps(encoding.to_json(), allow_nan=False)))
    assert back == encoding
    np.testing.assert_array_equal(back.apply(EVERY), encoding.apply(EVERY))


@pytest.mark.parametrize("spoil", ["features", "kind", "name", "scale", "levels"])
def test_a_broken_encoding_is_a_model_error(spoil):
    value = fit_encoding(EVERY).to_json()
    if spoil == "features":
        del value["features"]
    else:
        value["features"][1 if spoil == "levels" else 0].pop(spoil)
    with pytest.raises(ModelError, match="not readable"):
        encoding_from_json(value)


@pytest.mark.parametrize("value", [{"features": [3], "dropped": []}, {"features": [], "dropped": [1]}, {"features": 1}])
def test_json_of_another_shape_is_a_model_error(value):
    with pytest.raises(ModelError):
        encoding_from_json(value)


def test_missing_columns_are_named_and_extra_ones_are_let_be():
    encoding = fit_encoding(table(number("age", 1, 2), number("size", 1, 2)))
    assert encoding.apply(table(number("size", 1), number("more", 5), number("age", 2))).shape == (1, 2)
    with pytest.raises(SchemaError, match=r"no column 'size'(?s:.*)did you mean 'sizes'") as caught:
        encoding.apply(table(number("age", 1), number("sizes", 1)))
    assert caught.value.column == "size"
    with pytest.raises(SchemaError, match="2 columns are missing: 'age', 'size'"):
        encoding.apply(table(number("other", 1)))


WRONG_KINDS = [
    (number("x", 1, 2), text("x", "a"), "is text .'a' at data row 1"),
    (
        number("x", 1, 2),
        text("x", *(str(i) for i in range(30)), "foo"),
        "numbers in 30 rows and text in 1(?s:.*)field$",
    ),
    (number("x", 1, 2), Column("x", TIME, np.array([5.0])), "is time"),
    (Column("x", TIME, np.array([5.0, 6])), number("x", None, 2), "is number .2 at data row 2"),
    (text("x", *"abab"), Column("x", CLOCK, np.array([5.0])), "is clock"),
    (number("x", 1, 2), number("x", np.inf), "holds inf"),
    (number("x", 1, 2), number("x", None, 3, -1e38, 5e30), "holds -1e.38 at data row 3 .2 such values"),
]


@pytest.mark.parametrize(("learned", "new", "message"), WRONG_KINDS)
def test_a_column_of_another_kind_is_refused(learned, new, message):
    with pytest.raises(DataError, match=message) as caught:
        encoded(learned, new)
    assert caught.value.column == "x"


def test_numbers_stand_for_categories_that_look_like_them():
    got = encoded(text("x", *(["1", "2", "true", "0.5"] * 5)), number("x", 1, 0.5, None))
    assert got == {"x = 0.5": [0, 1, 0], "x = 1": [1, 0, 0], "x = 2": [0, 0, 0], "x = true": [0, 0, 0]}
    assert encoded(text("x", *(["1", "true"] * 5)), Column("x", BOOLEAN, np.array([1.0])))["x = true"] == [1]


@pytest.mark.parametrize("column", EVERY.without(["k"]).columns.values(), ids=lambda c: c.kind)
def test_a_column_without_any_value_fits_every_kind(column):
    encoding = fit_encoding(table(column))
    empty = Column(column.name, NUMBER, np.full(3, np.nan, np.float32))
    assert np.isfinite(encoding.apply(table(empty))).all()


kinds = st.sampled_from([NUMBER, BOOLEAN, TIME, CLOCK, TEXT])


@settings(max_examples=100, deadline=None)
@given(kinds, st.lists(st.one_of(st.none(), st.floats(-1e300, 1e300)), min_size=1, max_size=30))
def test_any_column_gives_finite_inputs_or_one_error(kind, values):
    if kind == TEXT:
        column = text("x", *(None if v is None else f"{v:.0e}" for v in values))
    else:
        seconds = np.array([np.nan if v is None else v for v in values])
        column = Column("x", kind, seconds % 2 if kind == BOOLEAN else seconds)
    finite = True
    try:
        finite = bool(np.isfinite(fit_encoding(table(column)).apply(table(column))).all())
    except DataError as error:
        note(str(error))
        event("nothing to learn from")
    assert finite
