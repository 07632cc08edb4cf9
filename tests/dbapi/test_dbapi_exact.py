"""Values in and out by Python's other packages: exact, or an error of PEP 249 that loses no row."""

from __future__ import annotations

import datetime
import enum
import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import dicomsql

BIG = 2**53 + 1


class Text(str, enum.Enum):  # noqa: UP042  StrEnum shows itself as its text
    """Shows itself as no text of its own."""

    A = "a"


class Number(enum.IntEnum):
    ONE = 1


@pytest.fixture
def connection() -> Iterator[Any]:
    with dicomsql.connect(autocommit=True) as made:
        yield made


# -- parameters ----------------------------------------------------------------------------------

KEPT: list[tuple[object, object]] = [
    (Text.A, "a"),
    ([Text.A], ["a"]),
    ({"k": Text.A}, {"k": "a"}),
    (Number.ONE, 1),
    (Decimal("1" * 38), Decimal("1" * 38)),
    (Decimal("-1E-37"), Decimal("-1E-37")),
    ([Decimal("1.5"), Decimal("1.25"), 100000], [Decimal("1.5"), Decimal("1.25"), 100000]),
    ([Decimal("0.1"), 0.5, 2**53], [0.1, 0.5, 2.0**53]),
    (2**64, 2**64),
    (pd.Timestamp("2000-01-01 00:00:00.123456"), datetime.datetime(2000, 1, 1, 0, 0, 0, 123456)),
    (np.datetime64("2000-01-02"), datetime.date(2000, 1, 2)),
    (np.datetime64("2000-01-02T00:00:00.000001000"), datetime.datetime(2000, 1, 2, 0, 0, 0, 1)),
    (np.datetime64("NaT"), None),
    (np.timedelta64("NaT"), None),
    (np.array(["2000-01-02"], dtype="M8[ns]"), [datetime.datetime(2000, 1, 2)]),
    (np.longdouble(1.5), 1.5),
]


@pytest.mark.parametrize(("value", "expected"), KEPT, ids=repr)
def test_a_parameter_stays_what_it_is(connection: Any, value: object, expected: object) -> None:
    assert connection.execute("SELECT ?", [value]).fetchone() == (expected,)


def _nested(levels: int) -> object:
    made: object = 1
    for _ in range(levels):
        made = [made]
    return made


IN_ITSELF: list[object] = []
IN_ITSELF.append(IN_ITSELF)

REFUSED: list[tuple[object, type[dicomsql.Error], str]] = [
    (Decimal("12345678901234567890123456789.0123456789"), dicomsql.DataError, "38 digits"),
    (Decimal("1E-50"), dicomsql.DataError, "38 digits"),
    (Decimal("1E-38"), dicomsql.DataError, "38 digits"),
    (Decimal("1E+38"), dicomsql.DataError, "38 digits"),
    ([Decimal("1.123456789"), Decimal("1" * 32)], dicomsql.DataError, "38 digits"),
    ({"a": [{"b": Decimal("1E-30")}, {"b": 10**20}]}, dicomsql.DataError, "38 digits"),
    ([BIG, 1.5], dicomsql.DataError, "floating-point"),
    ([[BIG], [1.5]], dicomsql.DataError, "floating-point"),
    ([{"a": BIG}, {"A": 1.5}], dicomsql.DataError, "floating-point"),
    (10**50, dicomsql.DataError, "128 bits"),
    ([2**127, -1], dicomsql.DataError, "128 bits"),
    (pd.Timestamp("2000-01-01 00:00:00.000000001"), dicomsql.DataError, "nanoseconds"),
    (pd.Timedelta(1, "ns"), dicomsql.DataError, "nanoseconds"),
    (np.datetime64("2000-01-01T00:00:00.000000001"), dicomsql.DataError, "nanoseconds"),
    (np.array([1], dtype="m8[ns]"), dicomsql.DataError, "nanoseconds"),
    (np.datetime64("20000-01-01"), dicomsql.DataError, "beyond"),
    (IN_ITSELF, dicomsql.ProgrammingError, "holds itself"),
    (_nested(5_000), dicomsql.ProgrammingError, "64 levels"),
    ({1: "a", "1": "b"}, dicomsql.ProgrammingError, "two keys"),
]


@pytest.mark.parametrize(("value", "error", "said"), REFUSED, ids=[r[2] for r in REFUSED])
def test_a_parameter_that_would_become_another_is_refused(
    connection: Any, value: object, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=f"^Parameter 1 .*{said}"):
        connection.execute("SELECT ?", [value])
    with pytest.raises(error, match=f"^Set 2: Parameter 1 .*{said}"):
        connection.cursor().executemany("SELECT ?", [[1], [value]])


@pytest.mark.parametrize(
    ("condition", "members", "found"),
    [
        ("NOT IN ?", [1, None], []),
        ("NOT IN /* of them */ ?", [3, None], []),
        ("NOT IN ?", [1, *[7] * 1_000, None], []),
        ("NOT IN ?", [1, *[7] * 1_000], [2]),
        ("IN ?", [1, None], [1]),
        ("NOT IN ?", [1], [2]),
        ("NOT IN ?", [], [1, 2]),
        ("IN ?", [], []),
        ("= [x + 1 FOR x IN ?][1]", [1], [2]),
    ],
)
def test_a_list_behind_in_means_what_its_members_mean(
    connection: Any, condition: str, members: list[object], found: list[int]
) -> None:
    sql = f"SELECT a FROM (VALUES (1), (2)) AS t(a) WHERE a {condition}"
    assert [a for (a,) in connection.execute(sql, [members])] == found
    named = sql.replace("?", ":m")
    assert [a for (a,) in connection.execute(named, {"m": members})] == found


def test_lists_of_several_lengths_in_many_sets(connection: Any) -> None:
    connection.execute("CREATE TABLE t AS SELECT i FROM range(6) AS r(i)")
    sets = [[[0, 1, 2, 3, 4]], [[1, None]], [[1, 2, 3]]]
    assert connection.cursor().executemany("DELETE FROM t WHERE i NOT IN ?", sets).rowcount == 3


@pytest.mark.parametrize(
    ("sql", "parameters", "said"),
    [
        ("SELECT ?1", [1], r"is \$1, not \?1"),
        ("SELECT :a", [1], "mapping"),
        ("SELECT ?", {"a": 1}, "list or tuple"),
        ("SELECT 1", [1], "1 parameter was given"),
    ],
)
def test_placeholders_and_parameters_that_do_not_go_together(
    connection: Any, sql: str, parameters: Any, said: str
) -> None:
    with pytest.raises(dicomsql.ProgrammingError, match=said):
        connection.execute(sql, parameters)


# -- fetching ------------------------------------------------------------------------------------


@pytest.mark.parametrize("fetch", ["fetchone", "__next__"])
def test_a_row_that_cannot_be_made_is_not_taken(connection: Any, fetch: str) -> None:
    def make(row: tuple[int]) -> tuple[int]:
        if row[0] == 5:
            raise ValueError
        return row

    cursor = connection.cursor(row_factory=lambda _: make).execute("SELECT i FROM range(9) AS r(i)")
    assert len(cursor.fetchmany(5)) == cursor.rownumber == 5
    for _ in range(2):
        with pytest.raises(ValueError):
            getattr(cursor, fetch)()
    assert cursor.rownumber == 5
    cursor.row_factory = dicomsql.tuple_row
    assert cursor.fetchall() == [(5,), (6,), (7,), (8,)]


@pytest.mark.parametrize(
    ("fetch", "column", "error"),
    [
        ("fetchdf", "DATE '10000-01-01'", dicomsql.DataError),
        ("fetchdf", "TIME_NS '10:00:00.123456789'", dicomsql.DataError),
        ("fetchdf", "union_value(a := 1)", dicomsql.NotSupportedError),
        ("pl", "INTERVAL 1 DAY", dicomsql.NotSupportedError),
        ("pl", "union_value(a := 1)", dicomsql.NotSupportedError),
    ],
)
def test_a_frame_that_cannot_be_made_takes_no_row(
    connection: Any, fetch: str, column: str, error: type[Exception]
) -> None:
    cursor = connection.execute(f"SELECT i, {column} AS d FROM range(20000) AS r(i)")
    assert len(cursor.fetchmany(3)) == 3 if "INTERVAL" in column else True
    before = cursor.rownumber
    with pytest.raises(error, match=r"Column d .*fetch_arrow_table"):
        getattr(cursor, fetch)()
    assert cursor.rownumber == before
    assert cursor.fetch_arrow_table().num_rows == 20_000 - before


def test_polars_and_two_columns_of_a_name(connection: Any) -> None:
    with pytest.raises(dicomsql.ProgrammingError, match="called a"):
        connection.execute("SELECT 1 AS a, 2 AS a").pl()


def test_scroll_makes_no_values(connection: Any) -> None:
    cursor = connection.execute("SELECT DATE '10000-01-01' FROM range(20000)")
    cursor.scroll(19_999)
    assert cursor.rownumber == 19_999
    assert cursor.fetch_arrow_table().num_rows == 1


def test_integers_beside_null_stay_integers_in_pandas(connection: Any) -> None:
    columns = {
        "plain": "i",
        "whole": f"CASE WHEN i = 0 THEN {BIG} END",
        "small": "CASE WHEN i = 0 THEN 5::UTINYINT END",
        "flag": "CASE WHEN i = 0 THEN true END",
        "list": f"[{BIG}, NULL]",
        "array": f"[{BIG}, NULL]::BIGINT[2]",
        "struct": f"{{'a': {BIG}, 'b': NULL::BIGINT}}",
        "map": f"MAP {{'a': {BIG}, 'b': NULL}}",
        "deep": f"[[{BIG}], [NULL]]",
    }
    listed = ", ".join(f'{sql} AS "{name}"' for name, sql in columns.items())
    frame = connection.execute(f"SELECT {listed}, i AS plain FROM range(2) AS r(i)").fetchdf()
    assert list(frame.columns) == [*columns, "plain"]
    assert [str(kind) for kind in frame.dtypes] == [
        *("int64", "Int64", "UInt8", "boolean"),
        *("object",) * 5,
        "int64",
    ]
    assert frame["whole"][0] == BIG
    assert frame["whole"][1] is pd.NA
    assert frame.iloc[0, 4:9].tolist() == [
        [BIG, None],
        [BIG, None],
        {"a": BIG, "b": None},
        [("a", BIG), ("b", None)],
        [[BIG], [None]],
    ]


def test_a_stream_that_was_read_is_not_handed_over_again(connection: Any) -> None:
    cursor = connection.execute("SELECT i FROM range(10) AS r(i)")
    with duckdb.connect() as other:
        other.register("taken", cursor)
        assert len(other.sql("FROM taken LIMIT 2").fetchall()) == 2
        with pytest.raises(duckdb.Error, match="read once"):
            other.sql("FROM taken").fetchall()
    with pytest.raises(dicomsql.InterfaceError, match="read once"):
        pa.table(cursor)


@pytest.mark.parametrize("factory", [5, dict, list])
def test_what_is_no_row_factory(connection: Any, factory: Any) -> None:
    with pytest.raises(dicomsql.InterfaceError, match="row factory"):
        connection.cursor(row_factory=factory)
    with pytest.raises(dicomsql.InterfaceError, match="row factory"):
        dicomsql.connect(row_factory=factory)
    with pytest.raises(dicomsql.InterfaceError, match="row factory"):
        connection.cursor().row_factory = factory


def test_factories_of_classes(connection: Any) -> None:
    class Rows:
        def __init__(self, cursor: Any) -> None:
            self.names = [name for name, *_ in cursor.description]

        def __call__(self, row: tuple[Any, ...]) -> list[tuple[str, Any]]:
            return list(zip(self.names, row, strict=True))

    cursor = connection.cursor(row_factory=Rows).execute("SELECT 1 AS a")
    assert cursor.fetchone() == [("a", 1)]
    cursor = connection.cursor(row_factory=dicomsql.class_row(dict)).execute("SELECT 1 AS a")
    assert cursor.fetchone() == {"a": 1}
    cursor = connection.cursor(row_factory=lambda _: 5).execute("SELECT 1 AS a")
    with pytest.raises(dicomsql.ProgrammingError, match="no function"):
        cursor.fetchone()
    with pytest.raises(dicomsql.InterfaceError, match="takes a class"):
        dicomsql.class_row(5)  # type: ignore[arg-type]


# -- tables --------------------------------------------------------------------------------------


def _failing() -> pa.RecordBatchReader:
    def batches() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"a": [1]})
        raise KeyError("of the user's own")

    return pa.RecordBatchReader.from_batches(pa.schema([("a", pa.int64())]), batches())


NO_TABLES: list[tuple[Callable[[], object], type[dicomsql.Error], str]] = [
    (lambda: pd.Series([1]), dicomsql.ProgrammingError, r"Series is one column.*to_frame"),
    (lambda: pl.Series([1]), dicomsql.ProgrammingError, r"Series is one column.*to_frame"),
    (lambda: pd.DataFrame({"x": [1, "a"]}), dicomsql.ProgrammingError, "column x"),
    (lambda: pd.DataFrame([[1, 2]], columns=["a", "a"]), dicomsql.ProgrammingError, "one name"),
    (
        lambda: pl.DataFrame({"a": pl.Series([1], dtype=pl.Int128)}),
        dicomsql.ProgrammingError,
        "Arrow has none",
    ),
    (
        lambda: pl.DataFrame({"a": pl.Series([object()], dtype=pl.Object)}),
        dicomsql.ProgrammingError,
        "objects of Python",
    ),
    (lambda: pd.DataFrame({"d": [pd.Timedelta(1, "ns")]}), dicomsql.DataError, "Column d .*nanos"),
    (
        lambda: pa.table({"d": pa.array([[1]], pa.list_(pa.duration("ns")))}),
        dicomsql.DataError,
        "Column d .*nanos",
    ),
    (_failing, dicomsql.OperationalError, "none of them was loaded"),
]


@pytest.mark.parametrize(("table", "error", "said"), NO_TABLES)
def test_what_cannot_be_loaded_whole_is_refused(
    connection: Any, table: Callable[[], object], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        connection.cursor().adbc_ingest("t", table())
    assert connection.execute("SHOW TABLES").fetchall() == []


def test_what_a_reader_raised_is_the_cause(connection: Any) -> None:
    with pytest.raises(dicomsql.OperationalError) as raised:
        connection.cursor().adbc_ingest("t", _failing())
    assert isinstance(raised.value.__cause__, KeyError)


@pytest.mark.parametrize(
    ("array", "kind", "values"),
    [
        (pa.nulls(1), "VARCHAR", [None]),
        (pa.array([[None]]), "VARCHAR[]", [[None]]),
        (pa.array([np.float16(1.5)], pa.float16()), "FLOAT", [1.5]),
        (pa.array([86_400_000_000_000], pa.duration("ns")), "INTERVAL", [(0, 0, 86400 * 10**9)]),
    ],
)
def test_types_that_the_engine_has_not(
    connection: Any, array: pa.Array, kind: str, values: list[object]
) -> None:
    connection.cursor().adbc_ingest("t", pa.table({"a": array}))
    cursor = connection.execute("FROM t")
    assert cursor.description[0][1] == kind
    assert [value for (value,) in cursor] == values


def test_a_column_without_values_takes_some_later(connection: Any) -> None:
    cursor = connection.cursor()
    cursor.adbc_ingest("t", pd.DataFrame({"a": [None]}))
    cursor.adbc_ingest("t", pd.DataFrame({"a": ["x"]}), "append")
    assert connection.execute("FROM t").fetchall() == [(None,), ("x",)]


# -- the rest ------------------------------------------------------------------------------------


def test_what_is_closed_is_not_entered_and_shows_itself(connection: Any) -> None:
    assert repr(connection) == "<dicomsql.Connection: open>"
    cursor = connection.cursor()
    cursor.close()
    connection.close()
    assert repr(connection) == "<dicomsql.Connection: closed>"
    for closed in (cursor, connection):
        with pytest.raises(dicomsql.InterfaceError, match="closed"):
            closed.__enter__()


COLLECTED = """
import gc
import dicomsql

gc.disable()

def leave():
    connection = dicomsql.connect(autocommit=True)
    connection.execute("CREATE TABLE t AS SELECT i FROM range(100000) AS r(i)")
    cursor = connection.execute("FROM t")
    cursor.fetchone()
    cycle = [connection, cursor]
    cycle.append(cycle)

leave()
gc.collect()
print("over")
"""


def test_a_half_read_result_that_is_collected_with_its_engine_waits_for_nothing() -> None:
    run = subprocess.run(
        [sys.executable, "-c", COLLECTED], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.stdout.strip() == "over", run.stderr
