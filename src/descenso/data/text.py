"""How a delimited text file is laid out, seen from its first bytes: encoding, delimiter, header, decimal sign."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from descenso._errors import TableError

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
NULLS = ("", "NA", "N/A", "n/a", "#N/A", "#NA", "NaN", "nan", "-nan", "-NaN", "NULL", "null", "?", "<NA>", "NaT")
NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")

_SAMPLE_RECORDS = 2000
_LEADING_ZERO = re.compile(r"\s*0\d+\s*")
_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+(,\d+)?\s*")
_SVMLIGHT = re.compile(rb"[+-]?[\d.]+([eE][+-]?\d+)?(\s+qid:\d+)?(\s+\d+:[^\s:]+)+\s*(#.*)?")
_UTF16_OR_32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True)
class Layout:
    """Attributes:
    delimiter: one of `DELIMITERS`.
    decimal: "." or ",".
    header: the names as they stand in the file.
    names: the same, trimmed, with a name for every column.
    notes: sentences about what was decided.
    """

    delimiter: str
    decimal: str
    header: tuple[str, ...]
    names: tuple[str, ...]
    notes: tuple[str, ...]


def layout(head: bytes, complete: bool, file: str) -> Layout:
    """Find the layout of a text file.

    Args:
        head: the first bytes of the file.
        complete: whether that is all of it.
        file: for messages.

    Raises:
        TableError: not UTF-8, no header, no rows, header and rows split differently, repeated names.
    """
    text = decode(head, complete, file)
    if not text.strip():
        raise TableError(f"{file}: the file holds no text. It must hold a header and rows.", file=file)
    delimiter = _delimiter(text, complete, file)
    header, *rows = _records(text, delimiter, complete, _SAMPLE_RECORDS)
    if not rows and complete:
        raise TableError(
            f"{file}: there is a header with {len(header)} names, and no rows below it.",
            hint="was the export cut short, or did a filter leave nothing?",
            file=file,
            count=0,
        )
    names, notes = _names(header, file)
    values = {name: [r[i] for r in rows if len(r) > i] for i, name in enumerate(names)}
    decimal = "," if delimiter != "," and _has_decimal_comma(values) else "."
    if decimal == ",":
        notes.append("a comma is read as the decimal sign")
    notes += _leading_zeros(values)
    return Layout(delimiter, decimal, tuple(header), tuple(names), tuple(notes))


def is_svmlight(head: bytes) -> bool:
    """Whether the first line that is no comment is a target and `place:value` pairs."""
    lines = (line.strip() for line in head[: 1 << 16].splitlines())
    first = next((line for line in lines if line and not line.startswith(b"#")), b"")
    return _SVMLIGHT.fullmatch(first) is not None


def decode(head: bytes, complete: bool, file: str) -> str:
    """The head as text, without a byte-order mark.

    Raises:
        TableError: it is not UTF-8.
    """
    if head.startswith(_UTF16_OR_32) or (b"\0" in head[:4096] and head[:4096].count(b"\0") >= len(head[:4096]) // 4):
        raise TableError(
            f"{file}: this is UTF-16 or UTF-32 text. It must be UTF-8.",
            hint="convert it: iconv -f UTF-16 -t UTF-8 < old.csv > new.csv",
            file=file,
        )
    if b"\0" in head:
        raise TableError(
            f"{file}: a zero byte stands at offset {head.index(0)}. This is no text, or the file is damaged.", file=file
        )
    try:
        return codecs.getincrementaldecoder("utf-8-sig")().decode(head, final=complete)
    except UnicodeDecodeError as error:
        raise not_utf8(file, error.object[error.start], error.start, error.object[: error.start]) from None


def not_utf8(file: str, byte: int, offset: int, before: bytes) -> TableError:
    """The error for a byte that is not UTF-8."""
    line = before.count(b"\n") + 1
    return TableError(
        f"{file}: byte 0x{byte:02x} at offset {offset:,} (line {line:,}) is not UTF-8.",
        hint="convert it: iconv -f latin1 -t UTF-8 < old.csv > new.csv",
        file=file,
        row=max(line - 1, 0) or None,
        example=bytes([byte]),
    )


def _records(text: str, delimiter: str, complete: bool, limit: int) -> list[list[str]]:
    """The first records that are not blank; the last one of an incomplete head is left out, for it may be cut."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    records = []
    with suppress(csv.Error):  # a field beyond csv's limit: an open quote, or no delimited text at all
        records = list(islice((r for r in reader if r), limit + 1))
    if len(records) <= limit and not complete and len(records) > 1:
        records.pop()
    return records[:limit] or [[text.splitlines()[0]]]


def _delimiter(text: str, complete: bool, file: str) -> str:
    """The delimiter under which most rows have as many fields as the header, and more than one."""
    tried = {d: _records(text, d, complete, 200) for d in DELIMITERS}
    scores = {d: (_agreement(r), len(r[0])) for d, r in tried.items() if len(r[0]) > 1}
    if not scores:
        return ","
    best = max(scores, key=lambda d: scores[d])
    if scores[best][0] < 0.5:
        raise _split_differently(tried, best, file)
    return best


def _agreement(records: list[list[str]]) -> float:
    header, *rows = records
    return sum(len(r) == len(header) for r in rows) / len(rows) if rows else 1.0


def _split_differently(tried: dict[str, list[list[str]]], best: str, file: str) -> TableError:
    header, *rows = tried[best]
    first = next(i for i, r in enumerate(rows) if len(r) != len(header))
    widths = {d: Counter(len(r) for r in records[1:]).most_common(1)[0] for d, records in tried.items()}
    other = max(widths, key=lambda d: (widths[d][0] > 1, widths[d][1], widths[d][0]))
    hint = f"the rows seem to be split by a {DELIMITERS[other]}: write the header the same way"
    return TableError(
        f"{file}: split by a {DELIMITERS[best]} the header has {len(header)} fields, but row {first + 1} has "
        f"{len(rows[first])}. Both must have the same number.",
        hint=hint if other != best and widths[other][0] > 1 else "is a name missing in the header, or one too many?",
        file=file,
        row=first + 1,
        count=sum(len(r) != len(header) for r in rows),
    )


def _names(header: list[str], file: str) -> tuple[list[str], list[str]]:
    trimmed = [h.strip() for h in header]
    if all(NUMBER.fullmatch(h) for h in trimmed) and not _counts_up(trimmed):
        raise TableError(
            f"{file}: the first line holds numbers only ({', '.join(trimmed[:5])}, ...). It must hold names.",
            hint="put a line with the names of the columns at the top",
            file=file,
        )
    notes = [f"column {i} has no name in the header; it is called 'column {i}' here" for i, h in _unnamed(trimmed)]
    names = [h or f"column {i}" for i, h in enumerate(trimmed, 1)]
    check_names(names, file)
    return names, notes


def _unnamed(names: list[str]) -> list[tuple[int, str]]:
    return [(i, h) for i, h in enumerate(names, 1) if not h]


def _counts_up(header: list[str]) -> bool:
    return header in ([str(i) for i in range(len(header))], [str(i + 1) for i in range(len(header))])


def check_names(names: list[str], file: str) -> None:
    """Refuse two columns of the same name."""
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        places = [str(i) for i, n in enumerate(names, 1) if n == name]
        raise TableError(
            f"{file}: {count} columns are called {name!r} (columns {', '.join(places)}). Every name must be different.",
            hint="rename them",
            file=file,
            column=name,
            count=count,
        )


def _has_decimal_comma(values: dict[str, list[str]]) -> bool:
    columns = [[v for v in column if v.strip() not in NULLS] for column in values.values()]
    commas = any(c and any("," in v for v in c) and all(_DECIMAL_COMMA.fullmatch(v) for v in c) for c in columns)
    points = any(c and any("." in v for v in c) and all(NUMBER.fullmatch(v) for v in c) for c in columns)
    return commas and not points


def _leading_zeros(values: dict[str, list[str]]) -> list[str]:
    notes = []
    for name, column in values.items():
        rows = [i for i, v in enumerate(column) if _LEADING_ZERO.fullmatch(v)]
        if rows and all(NUMBER.fullmatch(v) for v in column if v.strip() not in NULLS):
            notes.append(
                f"column {name!r} has leading zeros ({column[rows[0]].strip()} at row {rows[0] + 1}) and is read as "
                "numbers: if it holds codes, put a letter before them or store it as text in Parquet"
            )
    return notes
