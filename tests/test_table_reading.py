"""Reading tables: what every format gives, and one clear error for every bad file."""

from __future__ import annotations

import bz2
import codecs
import datetime as dt
import decimal
import gzip
import lzma
import os
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import ipc, parquet

from descenso._errors import DataError, DescensoError, SchemaError, TableError
from descenso.data.column import Table
from descenso.data.table import read_table

CSV = "age,job,height\n31,nurse,1.5\n,clerk,1.75\n40,,NA\n"


@pytest.fixture
def write(tmp_path):
    def write(content: str | bytes, name: str = "table.csv") -> str:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return write


def values(table) -> dict[str, list]:
    return {c.name: [c.example(i) for i in range(len(c))] for c in table.columns.values()}


EXPECTED = {"age": [31, None, 40], "job": ["nurse", "clerk", None], "height": [1.5, 1.75, None]}


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress, bz2.compress])
def test_csv_is_read_plain_and_compressed_whatever_its_name(write, pack):
    assert values(read_table(write(pack(CSV.encode()), "table"))) == EXPECTED


@pytest.mark.parametrize("kind", ["parquet", "arrow", "arrow stream"])
def test_parquet_and_arrow_are_read(tmp_path, kind):
    arrow = pa.table({"age": [31, None, 40], "job": ["nurse", "clerk", None], "height": [1.5, 1.75, None]})
    path = str(tmp_path / "table")
    write_binary(arrow, kind, path)
    assert values(read_table(path)) == EXPECTED


def write_binary(arrow: pa.Table, kind: str, path: str) -> None:
    if kind == "parquet":
        parquet.write_table(arrow, path)
        return
    with (ipc.new_file if kind == "arrow" else ipc.new_stream)(path, arrow.schema) as sink:
        sink.write(arrow)


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + CSV,
        CSV.replace("\n", "\r\n"),
        CSV.rstrip(),
        CSV.replace("\n", "\n\n"),
        CSV.replace(",", ";"),
        CSV.replace(",", "\t"),
        CSV.replace(",", " | ").replace("| NA", "|NA").replace("\n |", "\n|"),
        CSV.replace(",", ";").replace(".", ","),
        CSV.replace("nurse", '"nurse"'),
        CSV.replace("NA", "?").replace(",,", ",null,"),
    ],
    ids=["bom", "crlf", "no end", "blank lines", "semicolon", "tab", "bar", "decimal comma", "quoted", "nulls"],
)
def test_layouts_that_mean_the_same_read_the_same(write, text):
    assert values(read_table(write(text))) == EXPECTED


def test_a_quoted_line_break_and_delimiter_stay_in_the_text(write):
    assert values(read_table(write('a,b\n"x\ny, z",1\nu,2\n')))["a"] == ["x\ny, z", "u"]


def test_one_column_is_a_table(write):
    assert values(read_table(write("a\n1\n2\n"))) == {"a": [1, 2]}


def test_an_integer_column_with_a_late_fraction_is_read_whole(write):
    lines = ["a,b"] + ["1,x"] * 300_000 + ["2.5,x"]
    column = read_table(write("\n".join(lines))).column("a")
    assert (column.kind, column.values[-1], column.values[0]) == ("number", 2.5, 1.0)


def test_arrow_types_become_numbers_texts_and_moments(tmp_path):
    day = dt.date(2024, 2, 29)
    moment = dt.datetime(2024, 2, 29, 13, 30, tzinfo=dt.UTC)
    arrow = pa.table(
        {
            "int8": pa.array([1, None, -3], pa.int8()),
            "bool": [True, None, False],
            "decimal": [decimal.Decimal("1.25"), None, decimal.Decimal("2.00")],
            "date": [day, None, dt.date(1970, 1, 2)],
            "zoned": pa.array([moment, None, moment], pa.timestamp("ns", "Europe/Rome")),
            "clock": [dt.time(1, 0, 1), None, dt.time(0, 0)],
            "span": [dt.timedelta(seconds=90), None, dt.timedelta(0)],
            "category": pa.array(["x", None, "y"]).dictionary_encode(),
            "level": pa.array([7, None, 8]).dictionary_encode(),
            "view": pa.array(["x", None, "y"], pa.string_view()),
            "null": pa.nulls(3),
        }
    )
    path = str(tmp_path / "t.parquet")
    write_binary(arrow, "arrow", path)
    table = read_table(path)
    seconds = moment.timestamp()
    assert {c.name: (c.kind, c.example(0), c.example(2)) for c in table.columns.values()} == {
        "int8": ("number", 1, -3),
        "bool": ("boolean", True, False),
        "decimal": ("number", 1.25, 2),
        "date": ("time", 86400 * (day - dt.date(1970, 1, 1)).days, 86400),
        "zoned": ("time", seconds, seconds),
        "clock": ("clock", 3601, 0),
        "span": ("number", 90, 0),
        "category": ("text", "x", "y"),
        "level": ("number", 7, 8),
        "view": ("text", "x", "y"),
        "null": ("number", None, None),
    }
    assert all(c.example(1) is None and c.missing[1] for c in table.columns.values())


def test_dates_and_times_in_csv_are_moments(write):
    table = read_table(write("d,t,c\n1970-01-02,1970-01-01 00:01:00,00:02\n"))
    assert [(c.kind, c.example(0)) for c in table.columns.values()] == [("time", 86400), ("time", 60), ("clock", 120)]


def test_spaces_around_text_and_names_are_cut_off(write):
    table = read_table(write("a , b\nx , 1\n x, 2\n?, 3\n ?, 4\n"))
    assert values(table) == {"a": ["x", "x", None, None], "b": [1, 2, 3, 4]}


def test_dropped_columns_are_not_even_looked_at(write, tmp_path):
    with pytest.raises(TableError, match="no column is left"):
        read_table(write(CSV), drop=["age", "job", "height"])
    assert values(read_table(write(CSV), drop=["age", "job"])) == {"height": EXPECTED["height"]}
    binary = str(tmp_path / "t.parquet")
    parquet.write_table(pa.table({"a": [1], "b": [[1, 2]]}), binary)
    assert values(read_table(binary, drop=["b"])) == {"a": [1]}


def test_only_the_columns_asked_for_are_read(write):
    path = write(CSV)
    assert list(read_table(path, only=["height", "age"]).columns) == ["age", "height"]
    with pytest.raises(
        SchemaError, match=r"2 columns are missing: 'Job', 'x'(?s:.*)did you mean 'job' for 'Job'"
    ) as caught:
        read_table(path, only=["Job", "age", "x"])
    assert (caught.value.column, caught.value.count) == ("Job", 2)


def test_a_column_asked_for_as_text_is_text(write):
    assert values(read_table(write("a,b\n1,01\n2,2\n"), text={"b"}))["b"] == ["01", "2"]


def test_dropping_a_column_that_is_not_there_names_the_close_one(write):
    with pytest.raises(SchemaError, match=r"no column 'Heigth'(?s:.*)did you mean 'height'") as caught:
        read_table(write(CSV), drop=["Heigth"])
    assert caught.value.column == "Heigth"


BAD_FILES = {
    "empty": (b"", r"the file is empty", {}),
    "blank": (b"\n \n", r"holds no text", {}),
    "header only": (b"a,b\n", r"a header with 2 names, and no rows", {"count": 0}),
    "header without line end": (b"a,b", r"no rows", {"count": 0}),
    "ragged, short": (
        b"a,b\n1,2\n3\n4,5\n6\n7,8\n",
        r"2 rows do not have 2 .* data row 2 with 1: '3'",
        {"row": 2, "count": 2},
    ),
    "ragged, long": (
        b"a,b\n1,2\n4,5,6\n7,8\n",
        r"1 rows do not have 2 .* row 2 with 3",
        {"row": 2, "example": "4,5,6"},
    ),
    "open quote": (b'a,b\n1,2\n1,"2\n3,4\n5,6\n', r"quote is not closed: .* 3 lines at data row 2", {"row": 2}),
    "open quote, then others": (
        b'a,b\n1,"2\n3,"x"\n5,6\n',
        r"quote is not closed: column 'b' has a value of 2 lines",
        {"row": 1},
    ),
    "header split differently": (b"a,b,c\n1;2;3\n4;5;6\n", r"split by a semicolon", {"row": 1, "count": 2}),
    "more names than fields": (b"a,b,c\n1,2\n3,4\n", r"header has 3 fields, but row 1 has 2", {"row": 1, "count": 2}),
    "duplicate names": (b"a,b,a\n1,2,3\n", r"2 columns are called 'a' \(columns 1, 3\)", {"column": "a", "count": 2}),
    "no header": (b"5.1,3.5\n4.9,3.0\n", r"first line holds numbers only", {}),
    "latin-1 in the header": ("a,é\n1,2\n".encode("latin1"), r"byte 0xe9 at offset 2 \(line 1\)", {}),
    "latin-1 in a row": ("a,b\n1,x\n2,é\n".encode("latin1"), r"byte 0xe9 at offset 10 \(line 3\)", {"row": 2}),
    "latin-1 far down": (
        b"a,b\n" + b"1,x\n" * 400_000 + b"1,\xe9\n",
        r"offset 1,600,006 \(line 400,002\)",
        {"row": 400_001},
    ),
    "utf-16": ("a,b\n1,2\n".encode("utf-16"), r"UTF-16", {}),
    "utf-16 without a mark": ("a,b\n1,2\n".encode("utf-16-le"), r"UTF-16", {}),
    "utf-32": (codecs.BOM_UTF32_LE + "a,b\n".encode("utf-32-le"), r"UTF-32", {}),
    "zero byte": (b"a,b\n1,2\n3,\x00\n", r"zero byte stands at offset 10", {}),
    "excel": (b"PK\x03\x04rest", r"zip archive or an Excel workbook", {}),
    "json": (b'[{"a": 1}]', r"this is JSON", {}),
    "html": (b"<html></html>", r"this is HTML", {}),
    "cut gzip": (gzip.compress(CSV.encode() * 999)[:60], r"damaged or cut short", {}),
    "cut xz": (lzma.compress(os.urandom(99_999).hex().encode())[:-9], r"damaged or cut short", {}),
    "flipped gzip": (gzip.compress(CSV.encode())[:-6] + b"\0" * 6, r"damaged or cut short", {}),
    "cut parquet": (b"PAR1" + b"\x15\x04" * 50, r"not a whole parquet file", {}),
    "cut arrow": (b"ARROW1\0\0" + b"\x15\x04" * 50, r"not a whole arrow file", {}),
    "cut arrow stream": (b"\xff\xff\xff\xff\xa8\0\0\0" + b"\x10", r"not a whole arrow stream file", {}),
    "parquet in gzip": (gzip.compress(b"PAR1" + b"\x15" * 50), r"parquet inside gz", {}),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_one_clear_error(write, name):
    content, message, where = BAD_FILES[name]
    path = write(content)
    with pytest.raises(TableError, match=message) as caught:
        read_table(path)
    assert caught.value.file == path
    assert str(caught.value).startswith(path)
    assert {key: getattr(caught.value, key) for key in where} == where


def test_a_bit_flip_in_parquet_written_with_checksums_is_seen(tmp_path):
    path = tmp_path / "t.parquet"
    arrow = pa.table({"a": np.arange(1000.0)})
    parquet.write_table(arrow, path, write_page_checksum=True, compression="none", use_dictionary=False)
    data = bytearray(path.read_bytes())
    data[3000] ^= 1
    path.write_bytes(data)
    with pytest.raises(TableError, match="not a whole parquet file"):
        read_table(str(path))


@pytest.mark.parametrize("kind", ["parquet", "arrow", "arrow stream"])
def test_binary_tables_are_held_to_the_same_rules(tmp_path, kind):
    path = str(tmp_path / "t")
    write_binary(pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]), kind, path)
    with pytest.raises(TableError, match="2 columns are called 'a'"):
        read_table(path)
    write_binary(pa.table({"a": pa.array([], pa.int64())}), kind, path)
    with pytest.raises(TableError, match="no rows"):
        read_table(path)
    write_binary(pa.table({"a": [[1, 2]]}), kind, path)
    with pytest.raises(TableError, match=r"type list<(?s:.*)leave it out of a fit with --drop a") as caught:
        read_table(path)
    assert caught.value.column == "a"
    write_binary(pa.table({"a": [1]}), kind, path)
    with pytest.raises(TableError, match="no column is left"):
        read_table(path, drop=["a"])


def test_paths_that_are_no_file(tmp_path, write):
    os.mkfifo(tmp_path / "pipe")
    for path, message in [("", "there is no file here"), ("none.csv", "no such file"), ("pipe", "device or a pipe")]:
        with pytest.raises(TableError, match=message):
            read_table(str(tmp_path / path))


@pytest.mark.parametrize("name", ["breast-cancer", "diabetes", "digits"])
def test_examples_are_the_raw_tables_of_scikit_learn(name):
    table = read_table(f"example:{name}", drop=[])
    assert list(table.columns)[-1] == "target"
    assert not any(c.missing.any() for c in table.columns.values())
    assert max(np.abs(c.values).max() for c in table.columns.values()) > 10


def test_an_unknown_example_names_those_there_are_and_drop_works():
    with pytest.raises(TableError, match="breast-cancer, diabetes, digits"):
        read_table("example:iris")
    assert "target" not in read_table("example:diabetes", drop=["target"]).columns
    with pytest.raises(SchemaError):
        read_table("example:diabetes", drop=["nothing"])


def test_an_example_without_scikit_learn_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(TableError, match=r"descenso\[sklearn\]"):
        read_table("example:diabetes")


def test_notes_on_leading_zeros_and_large_integers(write):
    table = read_table(write(f"zip,id,x\n01234,{2**40 + 5},1\n94110,7,2\n"))
    zeros, large = table.notes
    assert "'zip' has leading zeros (01234 at row 1)" in zeros
    assert f"'id' holds 1 whole numbers beyond 2^24 ({2**40 + 5} at row 1)" in large
    assert "--drop id" in large


def test_notes_on_a_column_without_name_and_a_decimal_comma(write):
    table = read_table(write(";b\n0;1,5\n1;2,5\n"))
    assert list(table.columns) == ["column 1", "b"]
    assert [n for n in table.notes if "no name" in n]
    assert [n for n in table.notes if "decimal sign" in n]
    assert values(table)["b"] == [1.5, 2.5]


def test_the_data_frame_header_of_counting_numbers_is_a_header(write):
    assert list(read_table(write("0,1,2\n5,6,7\n")).columns) == ["0", "1", "2"]


cells = st.one_of(st.integers(-(2**70), 2**70).map(str), st.floats().map(str), st.text(max_size=6), st.just(""))


def outcome(path: str) -> Table | DescensoError:
    try:
        return read_table(path)
    except DescensoError as error:
        return error


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(cells, min_size=1, max_size=3), min_size=1, max_size=6), st.sampled_from(",;\t"))
def test_any_text_is_a_table_or_a_data_error(write, rows, delimiter):
    text = "\n".join(delimiter.join(row) for row in rows)
    found = outcome(write(text.encode("utf-8", "surrogatepass")))
    assert isinstance(found, DataError) or (found.rows >= 1 and len({len(c) for c in found.columns.values()}) == 1)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(min_size=1, max_size=200),
    st.sampled_from([b"", b"PAR1", b"ARROW1\0\0", b"\xff\xff\xff\xff", b"\x1f\x8b\x08"]),
)
def test_any_bytes_are_a_table_or_a_data_error(write, content, magic):
    assert isinstance(outcome(write(magic + content)), DataError | Table)
