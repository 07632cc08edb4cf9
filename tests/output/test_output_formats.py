"""Each format, byte for byte, over columns of every kind that DuckDB gives."""

from __future__ import annotations

import csv
import gc
import io
import json
from collections.abc import Iterator
from datetime import date
from decimal import Decimal

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dicomsql import output
from dicomsql.cli.arguments import OUTPUT_FORMATS
from dicomsql.errors import InterfaceError
from dicomsql.output import Options, columnar
from dicomsql.result import Result, ResultColumn


def result_of(query: str, copies: int = 1) -> Result:
    relation = duckdb.sql(query)
    columns = tuple(
        ResultColumn(name, str(kind))
        for name, kind in zip(relation.columns, relation.types, strict=True)
    )
    table = relation.to_arrow_table()

    def batches() -> Iterator[pa.RecordBatch]:
        for _ in range(copies):
            yield from table.to_batches()

    return Result(columns, batches(), schema=table.schema)


def written(query: str, form: str, copies: int = 1, **options: object) -> str:
    stream = io.BytesIO()
    output.write(result_of(query, copies), form, stream, Options(**options))  # type: ignore[arg-type]
    return stream.getvalue().decode()


SMALL = """SELECT * FROM (VALUES
    ('a', 1, NULL), ('it''s "x", y', -20, ''), (E'two\\nlines|\\x1b[2J', 3, '<b>')) t(text, n, u)"""

EXPECTED = {
    "table": (
        "text               |   n | u\n"
        "-------------------+-----+-----\n"
        "a                  |   1 | NULL\n"
        'it\'s "x", y        | -20 |\n'
        "two\\nlines|\\x1b[2J |   3 | <b>\n"
    ),
    "box": (
        "┌────────────────────┬─────┬──────┐\n"
        "│ text               │   n │ u    │\n"
        "├────────────────────┼─────┼──────┤\n"
        "│ a                  │   1 │ NULL │\n"
        '│ it\'s "x", y        │ -20 │      │\n'
        "│ two\\nlines|\\x1b[2J │   3 │ <b>  │\n"
        "└────────────────────┴─────┴──────┘\n"
    ),
    "csv": 'text,n,u\na,1,\n"it\'s ""x"", y",-20,""\n"two\nlines|\x1b[2J",3,<b>\n',
    "tsv": 'text\tn\tu\na\t1\t\n"it\'s ""x"", y"\t-20\t""\n"two\nlines|\x1b[2J"\t3\t<b>\n',
    "json": (
        '[{"text":"a","n":1,"u":null},\n'
        '{"text":"it\'s \\"x\\", y","n":-20,"u":""},\n'
        '{"text":"two\\nlines|\\u001b[2J","n":3,"u":"<b>"}]\n'
    ),
    "jsonl": (
        '{"text":"a","n":1,"u":null}\n'
        '{"text":"it\'s \\"x\\", y","n":-20,"u":""}\n'
        '{"text":"two\\nlines|\\u001b[2J","n":3,"u":"<b>"}\n'
    ),
    "markdown": (
        "| text | n | u |\n"
        "| --- | ---: | --- |\n"
        "| a | 1 | NULL |\n"
        '| it\'s "x", y | -20 |  |\n'
        "| two\\\\nlines\\|\\\\x1b\\[2J | 3 | \\<b\\> |\n"
    ),
    "vertical": (
        "-[ row 1 ]\n"
        "text | a\n"
        "n    | 1\n"
        "u    | NULL\n"
        "-[ row 2 ]\n"
        'text | it\'s "x", y\n'
        "n    | -20\n"
        "u    |\n"
        "-[ row 3 ]\n"
        "text | two\\nlines|\\x1b[2J\n"
        "n    | 3\n"
        "u    | <b>\n"
    ),
}


def test_the_command_line_offers_every_format() -> None:
    assert set(output.FORMATS) == set(OUTPUT_FORMATS) >= {*EXPECTED, "parquet", "arrow"}


@pytest.mark.parametrize("form", EXPECTED)
def test_formats(form: str) -> None:
    assert written(SMALL, form) == EXPECTED[form]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("table", "a | b\n--+--\n"),
        ("box", "┌───┬───┐\n│ a │ b │\n├───┼───┤\n└───┴───┘\n"),
        ("csv", "a,b\n"),
        ("tsv", "a\tb\n"),
        ("json", "[]\n"),
        ("jsonl", ""),
        ("markdown", "| a | b |\n| --- | --- |\n"),
        ("vertical", ""),
    ],
)
def test_no_rows(form: str, expected: str) -> None:
    assert written("SELECT 1 a, 2 b WHERE false", form) == expected


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("table", "1 | NULL\n"),
        ("box", "┌───┬──────┐\n│ 1 │ NULL │\n└───┴──────┘\n"),
        ("csv", "1,\n"),
        ("vertical", "-[ row 1 ]\n1\nNULL\n"),
    ],
)
def test_no_headers(form: str, expected: str) -> None:
    assert written("SELECT 1 a, NULL::VARCHAR b", form, headers=False) == expected


@pytest.mark.parametrize("form", output.FORMATS)
def test_a_statement_without_rows_writes_nothing_but_runs(form: str) -> None:
    steps: list[str] = []

    def batches() -> Iterator[pa.RecordBatch]:
        steps.append("ran")
        yield from ()

    stream = io.BytesIO()
    result = Result(None, batches(), close=lambda: steps.append("closed"))
    assert output.write(result, form, stream) is None
    assert (stream.getvalue(), steps) == (b"", ["ran", "closed"])


@pytest.mark.parametrize("form", output.FORMATS)
def test_rows_are_counted_and_the_result_is_closed(form: str) -> None:
    table = pa.table({"a": range(20_000)})
    closed: list[bool] = []
    columns = (ResultColumn("a", "BIGINT"),)
    result = Result(columns, iter(table.to_batches()), close=lambda: closed.append(True))
    assert output.write(result, form, io.BytesIO()) == 20_000
    assert closed == [True]


def test_a_result_is_closed_when_its_reader_goes_away() -> None:
    class Gone(io.BytesIO):
        def write(self, data: object) -> int:
            raise BrokenPipeError

    closed: list[bool] = []
    table = pa.table({"a": [1]})
    columns = (ResultColumn("a", "BIGINT"),)
    result = Result(columns, iter(table.to_batches()), close=lambda: closed.append(True))
    with pytest.raises(BrokenPipeError):
        output.write(result, "jsonl", Gone())
    assert closed == [True]


TYPED = """SELECT 1::HUGEINT h, 170141183460469231731687303715884105727::HUGEINT hh,
    1.50::DECIMAL(5, 2) d, 0.0000001::DECIMAL(18, 10) dd, 1.5::DOUBLE f, 'NaN'::DOUBLE nan, true b,
    DATE '2026-01-31' dt, TIME '10:00:00.5' t, TIMESTAMP '2026-01-31 10:00:00' ts,
    TIMESTAMPTZ '2026-01-31 10:00:00.25+02' tz, TIMESTAMP_NS '2026-01-31 10:00:00.123456789' ns,
    'ab'::BLOB blob, INTERVAL '1 month 2 days 3.5 seconds' i, 'x'::ENUM('x') e,
    '5c1ff7a2-1d5e-4d3e-9a43-000000000001'::UUID u,
    '{"a":  [1.0, "x"]}'::JSON j, ['{"b":1}'::JSON, NULL] js, [1, NULL] l, MAP {'k': 1} m,
    {'a': 1, 'b': [DATE '2026-01-31']} s, NULL n"""


def test_json_keeps_types() -> None:
    (row,) = json.loads(written(TYPED, "json"), parse_float=Decimal)
    assert row == {
        "h": 1,
        "hh": 170141183460469231731687303715884105727,
        "d": Decimal("1.50"),
        "dd": Decimal("1E-7"),
        "f": Decimal("1.5"),
        "nan": "NaN",
        "b": True,
        "dt": "2026-01-31",
        "t": "10:00:00.500000",
        "ts": "2026-01-31T10:00:00",
        "tz": "2026-01-31T08:00:00.250000Z",
        "ns": "2026-01-31T10:00:00.123456789",
        "blob": "YWI=",
        "i": "P1M2DT3.5S",
        "e": "x",
        "u": "5c1ff7a2-1d5e-4d3e-9a43-000000000001",
        "j": {"a": [Decimal("1.0"), "x"]},
        "js": [{"b": 1}, None],
        "l": [1, None],
        "m": {"k": 1},
        "s": {"a": 1, "b": ["2026-01-31"]},
        "n": None,
    }


def test_text_of_types() -> None:
    (row,) = csv.DictReader(io.StringIO(written(TYPED, "csv")))
    assert row == {
        "h": "1",
        "hh": "170141183460469231731687303715884105727",
        "d": "1.50",
        "dd": "0.0000001000",
        "f": "1.5",
        "nan": "nan",
        "b": "true",
        "dt": "2026-01-31",
        "t": "10:00:00.500000",
        "ts": "2026-01-31 10:00:00",
        "tz": "2026-01-31 08:00:00.250000Z",
        "ns": "2026-01-31 10:00:00.123456789",
        "blob": "YWI=",
        "i": "P1M2DT3.5S",
        "e": "x",
        "u": "5c1ff7a2-1d5e-4d3e-9a43-000000000001",
        "j": '{"a":  [1.0, "x"]}',
        "js": '[{"b":1},null]',
        "l": "[1,null]",
        "m": '{"k":1}',
        "s": '{"a":1,"b":["2026-01-31"]}',
        "n": "",
    }


@pytest.mark.parametrize(
    ("array", "kind", "expected"),
    [
        (pa.array([90_000_000], pa.duration("us")), "INTERVAL", "PT90S"),
        (pa.array([0], pa.timestamp("s", "Europe/Berlin")), "X", "1970-01-01T01:00:00+01:00"),
        (pa.array([None, 0], pa.timestamp("s", "Etc/UTC")), "X", "1970-01-01T00:00:00Z"),
        (pa.array(["no json"]), "JSON", "no json"),
        (pa.array([[[("k", None)]]], pa.list_(pa.map_("string", "int8"))), "X", [{"k": None}]),
        (
            pa.array(
                [{"m": [("k", 1)], "n": None}],
                pa.struct({"m": pa.map_("string", "int8"), "n": pa.int8()}),
            ),
            "X",
            {"m": {"k": 1}, "n": None},
        ),
        (pa.array([b"\x00" * 16], pa.uuid()), "X", "00000000-0000-0000-0000-000000000000"),
        (pa.array([b"ab"], pa.opaque(pa.binary(), "bignum", "DuckDB")), "X", "YWI="),
        (pa.array([(0, 0, 0)], pa.month_day_nano_interval()), "X", "PT0S"),
        (pa.array([(-1, 0, -1_500_000_000)], pa.month_day_nano_interval()), "X", "P-1MT-1.5S"),
    ],
)
def test_rare_types(array: pa.Array, kind: str, expected: object) -> None:
    stream = io.BytesIO()
    batch = pa.record_batch([array], names=["a"])
    output.write(Result((ResultColumn("a", kind),), iter([batch])), "jsonl", stream)
    value = json.loads(stream.getvalue().splitlines()[-1])["a"]
    assert value == expected


def test_json_columns_stay_on_their_line() -> None:
    lines = written("SELECT E'{\\n \"a\": 12345678901234567890123.0\\n}'::JSON j", "jsonl")
    assert lines == '{"j":{"a":12345678901234567890123.0}}\n'


def test_json_joins_batches_and_tells_names_apart() -> None:
    text = written("SELECT 1 a, 2 a_1, 3 a", "json", copies=2)
    assert json.loads(text) == [{"a": 1, "a_1": 2, "a_2": 3}] * 2
    assert text.count("\n") == 2


@pytest.mark.parametrize("rows", [1, 99, 300, 20_000])
@pytest.mark.parametrize("form", ["csv", "tsv"])
def test_csv_tells_null_from_an_empty_text(form: str, rows: int) -> None:
    query = f"""SELECT CASE range % 3 WHEN 0 THEN 'x' WHEN 1 THEN NULL ELSE '' END a, range b
        FROM range({rows})"""
    fields = {0: "x", 1: "", 2: '""'}
    between = "," if form == "csv" else "\t"
    lines = [f"{fields[n % 3]}{between}{n}" for n in range(rows)]
    assert written(query, form, headers=False).splitlines() == lines


def test_csv_finds_an_empty_text_in_a_slice() -> None:
    column = pa.array([""] + ["x"] * 200 + [""] + ["x"] * 100 + [None])
    batch = pa.record_batch({"a": column, "b": column})
    columns = (ResultColumn("a", "VARCHAR"), ResultColumn("b", "VARCHAR"))
    expected = {(1, 200): 0, (1, 201): 1, (202, 101): 0, (0, 303): 2}
    for (start, length), count in expected.items():
        stream = io.BytesIO()
        output.write(Result(columns, iter([batch.slice(start, length)])), "csv", stream)
        assert stream.getvalue().count(b'"",""\n') == count


def test_csv_of_one_empty_field_is_no_empty_line() -> None:
    assert written("SELECT '' a", "csv") == 'a\n""\n'
    assert written("SELECT NULL::VARCHAR a", "csv") == 'a\n""\n'


def test_csv_delimiter() -> None:
    assert written("SELECT 'a;b' x, 'a,b' y", "csv", delimiter=";") == 'x;y\n"a;b";a,b\n'


@pytest.mark.parametrize("delimiter", ["", "ab", '"', "\n", "é"])
def test_delimiters_that_cannot_be(delimiter: str) -> None:
    with pytest.raises(InterfaceError, match="delimiter"):
        written("SELECT 1", "csv", delimiter=delimiter)


def test_an_unknown_format_is_named() -> None:
    with pytest.raises(InterfaceError, match="Did you mean json"):
        written("SELECT 1", "jsn")


PLAN = Result(
    (ResultColumn("plan", "JSON"),), iter(()), rows=(('{\n "a": ["b, c", "\x1b"]\n}',), ("end",))
)


def test_a_text_is_written_as_it_is() -> None:
    assert output.is_text(PLAN)
    for escape, code in ((False, "\x1b"), (True, "\\x1b")):
        stream = io.BytesIO()
        output.write_text(PLAN, stream, escape=escape)
        assert stream.getvalue().decode() == f'{{\n "a": ["b, c", "{code}"]\n}}\nend\n'


def test_only_what_is_no_query_is_a_text() -> None:
    assert not output.is_text(result_of("SELECT 'x' AS plan"))
    assert not output.is_text(Result(None, iter(())))
    two = (ResultColumn("plan", "VARCHAR"), ResultColumn("b", "VARCHAR"))
    assert not output.is_text(Result(two, iter(()), rows=(("a", "b"),)))
    name = (ResultColumn("name", "VARCHAR"),)
    assert not output.is_text(Result(name, iter(()), rows=(("a",),)))


def test_a_table_streams_after_what_it_measured() -> None:
    lines = written("SELECT range n FROM range(6000)", "table", copies=3).splitlines()
    assert len(lines) == 2 + 18_000
    assert lines[-1] == "5999"


@pytest.mark.parametrize("form", ["table", "box", "markdown", "vertical"])
def test_names_and_values_cannot_drive_a_terminal(form: str) -> None:
    text = written("SELECT E'a\\x1b]0;x\\x07\\r' || chr(8238) || chr(155) AS \"b\x1b[1m\"", form)
    assert not set(text) & {"\x1b", "\x07", "\r", "\u202e", "\x9b"}
    assert "u202e" in text


@pytest.mark.parametrize("odd", ["plain", 'a "quote"', "a,comma", "a\nline", "a\rreturn", ""])
def test_csv_of_many_rows_reads_back(odd: str) -> None:
    rows = [[odd, "x", ""]] + [[f"v{i}", str(i), "1.5"] for i in range(300)]
    texts, others, numbers = zip(*rows, strict=True)
    batch = pa.record_batch(
        {"a": texts, "b": others, "n": [float(n) if n else None for n in numbers]}
    )
    columns = tuple(ResultColumn(name, "VARCHAR") for name in "abn")
    for form, delimiter in (("csv", ","), ("tsv", "\t")):
        stream = io.BytesIO()
        output.write(Result(columns, iter([batch])), form, stream)
        text = io.StringIO(stream.getvalue().decode(), newline="")
        assert list(csv.reader(text, delimiter=delimiter)) == [["a", "b", "n"], *rows]
        quoted = not odd or any(c in odd for c in f'"\r\n{delimiter}')
        assert (b'"' in stream.getvalue()) == quoted


def parquet(result: Result) -> pa.Table:
    stream = io.BytesIO()
    output.write(result, "parquet", stream)
    return pq.read_table(io.BytesIO(stream.getvalue()))


@pytest.mark.parametrize("condition", ["true", "false"])
def test_parquet_keeps_types_with_rows_and_without(condition: str) -> None:
    table = parquet(result_of(f"SELECT * FROM ({TYPED}) WHERE {condition}"))
    kinds = {field.name: field.type for field in table.schema}
    assert {n: str(kinds[n]) for n in ("d", "dt", "tz", "blob", "i", "e", "j", "m")} == {
        "d": "decimal128(5, 2)", "dt": "date32[day]", "tz": "timestamp[us, tz=Etc/UTC]",
        "blob": "binary", "i": "string", "e": "string", "j": "string",
        "m": "map<string, int32 ('m')>",
    }  # fmt: skip
    assert table.num_rows == (condition == "true")
    for row in table.select(["hh", "dd", "b", "i", "j", "js", "l", "s", "n"]).to_pylist():
        assert row == {
            "hh": 170141183460469231731687303715884105727,
            "dd": Decimal("1E-7"),
            "b": True,
            "i": "P1M2DT3.5S",
            "j": '{"a":  [1.0, "x"]}',
            "js": ['{"b":1}', None],
            "l": [1, None],
            "s": {"a": 1, "b": [date(2026, 1, 31)]},
            "n": None,
        }


def test_parquet_has_each_column_by_a_name_of_its_own() -> None:
    assert parquet(result_of("SELECT 1 a, 2 a")).to_pylist() == [{"a": 1, "a_1": 2}]
    columns = (ResultColumn("name", "VARCHAR"), ResultColumn("kind", "VARCHAR"))
    listed = Result(columns, iter(()), rows=(("a", None),))
    assert parquet(listed).to_pylist() == [{"name": "a", "kind": None}]


def test_parquet_is_written_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columnar, "_GROUP_ROWS", 10_000)
    stream = io.BytesIO()
    output.write(result_of("SELECT i FROM range(12000) t(i)", copies=3), "parquet", stream)
    found = pq.ParquetFile(stream)
    groups = [found.metadata.row_group(i).num_rows for i in range(found.num_row_groups)]
    assert sum(groups) == 36_000
    assert max(groups) < 20_000


def test_parquet_of_a_result_that_fails_cannot_be_read() -> None:
    table = pa.table({"a": range(200_000)})

    def batches() -> Iterator[pa.RecordBatch]:
        yield from table.to_batches()
        raise InterfaceError("The server went away.")

    stream = io.BytesIO()
    with pytest.raises(InterfaceError, match="went away"):
        output.write(Result((ResultColumn("a", "BIGINT"),), batches()), "parquet", stream)
    gc.collect()
    assert stream.tell() > 1000
    with pytest.raises(pa.ArrowInvalid):
        pq.read_table(stream)
