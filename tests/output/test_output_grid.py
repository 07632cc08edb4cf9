"""Tables: what fits, what is wrapped, what has no room; wide letters, NULL, JSON, colors, types."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pytest

from dicomsql import output
from dicomsql.output import Options
from dicomsql.output.cells import type_text, width_of, wrapped
from dicomsql.output.grid import fitting, type_name
from dicomsql.output.table import FRAME
from dicomsql.result import Result, ResultColumn

UID = "1.2.840.113619.2.55.3.604688119.971.1449836723.798.12345678901234"


def result_of(*pieces: dict[str, Sequence[object]], types: str = "") -> Result:
    batches = [pa.RecordBatch.from_pydict(dict(piece)) for piece in pieces]
    names = batches[0].schema.names
    given = types.split(",") if types else ["VARCHAR"] * len(names)
    columns = tuple(ResultColumn(n, t) for n, t in zip(names, given, strict=True))
    return Result(columns, iter(batches))


def lines(result: Result, form: str = "table", **options: object) -> list[str]:
    stream = io.BytesIO()
    output.write(result, form, stream, Options(**options))  # type: ignore[arg-type]
    return stream.getvalue().decode().splitlines()


def test_wide_letters_and_marks_are_counted() -> None:
    assert lines(result_of({"name": ["山田", "e\u0301", "abcd"]})) == [
        *("name", "----", "山田", "e\u0301", "abcd")
    ]
    padded = lines(result_of({"a": ["山", "abc"], "n": [1, 22]}))
    assert padded == ["a   |  n", "----+---", "山  |  1", "abc | 22"]


def test_a_uid_that_has_no_room_is_wrapped_and_whole() -> None:
    shown = lines(result_of({"n": [12], "uid": [UID], "b": ["山" * 20]}), width=60)
    assert all(width_of(line) <= 60 for line in shown)
    assert shown[0].split(" | ")[0] == " n"
    rows = [re.split(r" [|:] ", line) for line in shown[2:]]
    assert "".join(row[1].strip(" :") for row in rows if len(row) > 1) == UID
    assert "".join(row[2].strip() for row in rows if len(row) > 2) == "山" * 20
    # Lines that go on are told from rows.
    assert [line.count("|") for line in shown[2:]] == [2, *[0] * (len(shown) - 3)]


@pytest.mark.parametrize(
    ("width", "head", "left_out"),
    [
        (100, ["StudyInstanceUID | SeriesInstanceUID |  n | StudyDate"], []),
        (
            40,
            ["StudyInstanceUID | SeriesInstance |  n", " " * 16 + " | UID            |"],
            ["StudyDate"],
        ),
        (32, ["StudyInstance | Series     |  n", "UID           | InstanceUID |"], ["StudyDate"]),
        (20, ["StudyInstanceUID"], ["SeriesInstanceUID", "n", "StudyDate"]),
        (9, ["Study", "Instance", "UID"], ["SeriesInstanceUID", "n", "StudyDate"]),
    ],
)
def test_columns_without_room_are_left_out_and_told(
    width: int, head: list[str], left_out: list[str]
) -> None:
    row: dict[str, Sequence[object]] = {
        "StudyInstanceUID": ["1"],
        "SeriesInstanceUID": ["2"],
        "n": [10],
        "StudyDate": ["20260101"],
    }
    for copies in (1, 120):
        told: list[str] = []
        shown = lines(result_of(*[row] * copies), width=width, left_out=told.extend)
        assert told == left_out
        assert all(width_of(line) <= width for line in shown)
        rule = next(i for i, line in enumerate(shown) if set(line) <= set("-+"))
        names = " ".join(line for line in shown[:rule])
        expected = [n for n in row if n not in left_out]
        assert [n for n in row if _is_in(n, names)] == expected, names


def _is_in(name: str, text: str) -> bool:
    parts = re.findall(r"[A-Z]+[a-z]*|n", name)
    return all(part in text for part in parts) and (name != "n" or " n" in text)


def test_long_text_is_parted_at_blanks_and_cut_after_three_lines() -> None:
    text = "the quick brown fox jumps over the lazy dog and goes on and on " * 3
    shown = lines(result_of({"n": [1], "text": [text]}), width=40)
    assert len(shown) == 2 + 3
    assert shown[-1].endswith("…")
    assert "the quick" in shown[2]
    assert not any(re.search(r"\w-$", line) for line in shown)


def test_later_cells_that_are_wider_shift_nothing() -> None:
    first: dict[str, Sequence[object]] = {"a": ["x" * 30], "b": ["y"]}
    then: dict[str, Sequence[object]] = {"a": [UID], "b": ["z"]}
    shown = lines(result_of(first, then), width=40)
    assert {line.index("|") for line in (shown[0], shown[2], shown[3])} == {31}
    assert "".join(line[:31].strip() for line in shown[3:]) == UID


@pytest.mark.parametrize("whole", [True, False])
def test_cells_that_are_far_wider_get_a_head_of_their_own(whole: bool) -> None:
    shown = lines(result_of({"a": ["x"]}, {"a": [UID]}, {"a": ["y"]}), width=80, whole=whole)
    rule = "-" * len(UID)
    assert shown == ["a", "-", "x", rule, "a", rule, UID, "y"]
    boxed = lines(result_of({"a": ["x"]}, {"a": [UID]}), "box", width=80)
    assert [line[0] for line in boxed] == list("┌│├│└┌│├│└")


def test_the_first_rows_are_written_before_the_next_are_fetched() -> None:
    stream = io.BytesIO()
    seen: list[bytes] = []

    def batches() -> Iterator[pa.RecordBatch]:
        yield pa.RecordBatch.from_pydict({"a": [1, 2]})
        seen.append(stream.getvalue())
        yield pa.RecordBatch.from_pydict({"a": [3]})

    for form in ("table", "box", "vertical"):
        result = Result((ResultColumn("a", "BIGINT"),), batches())
        output.write(result, form, stream, Options(width=80))
        assert b"2" in seen[-1]


def test_a_table_without_bounds_streams_after_what_it_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dicomsql.output.grid._MEASURED_ROWS", 2)
    shown = lines(result_of({"a": [1, 2]}, {"a": [333333]}))
    assert shown == ["a", "-", "1", "2", "333333"]


def test_rows_that_are_scrolled_sideways_are_whole() -> None:
    told: list[str] = []
    columns: dict[str, Sequence[object]] = {f"column{i}": [UID] for i in range(20)}
    shown = lines(result_of(columns), width=80, whole=True, left_out=told.extend)
    assert shown[2].count(UID) == 20
    assert told == []


def test_null_is_told_from_the_text() -> None:
    rows: dict[str, Sequence[object]] = {"a": [None, "NULL", ""], "b": [1, 2, 3]}
    assert lines(result_of(rows))[2:] == ["NULL   | 1", "'NULL' | 2", "       | 3"]
    assert lines(result_of(rows), null="∅")[2:] == ["∅    | 1", "NULL | 2", "     | 3"]
    colored = lines(result_of(rows), color=True)
    assert "\x1b[2;3mNULL\x1b[0m" in colored[2]
    assert "\x1b" not in colored[3].replace("\x1b[2m | \x1b[0m", "")
    assert lines(result_of(rows), "vertical")[1::3] == ["a | NULL", "a | 'NULL'", "a |"]
    assert "'NULL'" in lines(result_of(rows), "markdown")[3]


def test_colors_change_no_width() -> None:
    rows: dict[str, Sequence[object]] = {"name": ["山田", None], "n": [1, 22]}
    for form in ("table", "box", "vertical"):
        for width in (20, 80, None):
            plain = lines(result_of(rows), form, width=width, types=True)
            colored = lines(result_of(rows), form, width=width, types=True, color=True)
            bare = [re.sub("\x1b\\[[0-9;]*m", "", line).rstrip() for line in colored]
            assert bare == [line.rstrip() for line in plain]
            assert colored != plain


def test_values_cannot_set_colors() -> None:
    shown = lines(result_of({"a": ["\x1b[31mred"]}), color=False)
    assert shown[2] == "\\x1b[31mred"


@pytest.mark.parametrize(
    ("sql_type", "name"),
    [
        ("VARCHAR", "varchar"),
        ("TIMESTAMP WITH TIME ZONE", "timestamptz"),
        ("DECIMAL(18,3)", "decimal(18,3)"),
        ("STRUCT(a INTEGER, b VARCHAR)", "struct"),
        ("STRUCT(a INTEGER)[]", "struct[]"),
        ("MAP(VARCHAR, INTEGER)", "map"),
        ("ENUM('a', 'b')", "enum"),
    ],
)
def test_types_in_a_word(sql_type: str, name: str) -> None:
    assert type_name(sql_type) == name


def test_the_type_of_a_null_alone_has_no_quotes() -> None:
    assert type_name('"NULL"') == "null"
    assert type_name('"NULL"[]') == "null[]"
    assert type_text('STRUCT("NULL" INTEGER, a "NULL")') == 'STRUCT("NULL" INTEGER, a NULL)'


def test_types_stand_under_names() -> None:
    shown = lines(result_of({"a": ["x"], "n": [1]}, types="VARCHAR,BIGINT"), types=True)
    assert shown == ["a       |      n", "varchar | bigint", "--------+-------", "x       |      1"]


JSON = '{"a":[1,2],"b":"\\u001b[2J"}'


def test_json_is_compact_or_in_lines() -> None:
    rows: dict[str, Sequence[object]] = {"n": [1], "j": [JSON]}
    compact = lines(result_of(rows, types="BIGINT,JSON"))
    assert compact[2] == f"1 | {JSON}"
    pretty = lines(result_of(rows, types="BIGINT,JSON"), json="pretty")
    assert pretty[2:5] == ["1 | {", '  :   "a": [', "  :     1,"]
    vertical = lines(result_of(rows, types="BIGINT,JSON"), "vertical", json="pretty")
    assert vertical[2:4] == ["j | {", '  :   "a": [']
    multi = lines(result_of({"j": ['{\n "a": 1}']}, types="JSON"))
    assert multi[2] == '{"a":1}'
    broken = lines(result_of({"j": ["{\n"]}, types="JSON"), json="pretty")
    assert broken[2] == "{\\n"


def test_values_stand_below_names_on_a_narrow_terminal() -> None:
    rows: dict[str, Sequence[object]] = {"StudyInstanceUID": ["1.2"], "n": [None]}
    assert lines(result_of(rows), "vertical", width=20) == [
        *("-[ row 1 ]--------", "StudyInstanceUID", "  1.2", "n", "  NULL")
    ]


def test_fitting_takes_from_the_widest_first() -> None:
    assert fitting([10, 50, 10], 60, FRAME) == [10, 34, 10]
    assert fitting([64, 64], 60, FRAME) == [28, 28]
    assert fitting([64, 64, 64], 60, FRAME) == [28, 28]
    assert fitting([500], 20, FRAME) == [20]


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("", 3, [""]),
        ("abc", 3, ["abc"]),
        ("abcd", 3, ["abc", "d"]),
        ("ab cd", 3, ["ab", "cd"]),
        ("a bc d", 4, ["a bc", "d"]),
        ("山山山", 4, ["山山", "山"]),
        ("山", 1, ["山"]),
        ("e\u0301e\u0301", 1, ["e\u0301", "e\u0301"]),
        ("    x", 2, ["  ", "  ", "x"]),
    ],
)
def test_wrapping(text: str, width: int, expected: list[str]) -> None:
    assert list(wrapped(text, width)) == expected
