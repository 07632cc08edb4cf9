"""Rows as Arrow: whole, as they come, in the buffers that they came in, and for other packages."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import dicomsql
from dicomsql.dbapi.stream import Stream
from dicomsql.result import Result, ResultColumn
from dicomsql.session.turns import Turn

MANY = "SELECT i AS n, 'row ' || i AS t FROM range(50000) AS r(i) ORDER BY i"
MIXED = """SELECT 1 AS n, 'x' AS t, DATE '2024-01-02' AS d, [1.5] AS l, '{}'::JSON AS j,
    1::HUGEINT AS h, 'a'::ENUM('a') AS e, {'k': 'v'} AS s, NULL AS nothing"""


@pytest.fixture(scope="module")
def connection() -> Iterator[dicomsql.Connection]:
    with dicomsql.connect() as connection:
        yield connection


def addresses(array: pa.Array) -> list[int]:
    return [b.address for b in array.buffers() if b is not None]


def values_of(batches: list[pa.RecordBatch]) -> set[int]:
    return {addresses(batch.column(0))[-1] for batch in batches}


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[pa.RecordBatch]:
    """The batches that the session gives from here on."""
    seen: list[pa.RecordBatch] = []
    real = Result.batches

    def watched(self: Result) -> Iterator[pa.RecordBatch]:
        for batch in real(self):
            seen.append(batch)
            yield batch

    monkeypatch.setattr(Result, "batches", watched)
    return seen


@pytest.mark.parametrize("method", ["fetch_arrow_table", "to_arrow_table"])
def test_a_table_is_made_of_the_buffers_that_came(
    connection: dicomsql.Connection, given: list[pa.RecordBatch], method: str
) -> None:
    table = getattr(connection.execute(MANY), method)()
    assert table.num_rows == 50_000
    assert table.schema.names == ["n", "t"]
    for name in table.schema.names:
        chunks = table.column(name).chunks
        came = [addresses(batch.column(name)) for batch in given]
        assert len(chunks) > 1
        assert all(addresses(chunk) in came for chunk in chunks)


def test_other_packages_take_the_buffers_that_came(
    connection: dicomsql.Connection, given: list[pa.RecordBatch]
) -> None:
    sql = "SELECT i AS n FROM range(1000) AS r(i)"
    frame = connection.execute(sql).pl()
    assert addresses(frame["n"].to_arrow())[-1] in values_of(given)
    taken = pa.table(connection.execute(sql))
    assert addresses(taken.column("n").chunk(0))[-1] in values_of(given)


def test_pandas_is_given_the_buffers_that_came(
    connection: dicomsql.Connection,
    given: list[pa.RecordBatch],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: list[pa.Table] = []
    monkeypatch.setattr("dicomsql.dbapi.cursor.to_pandas", lambda table, _: taken.append(table))
    connection.execute("SELECT i AS n FROM range(1000) AS r(i)").fetchdf()
    assert addresses(taken[0].column("n").chunk(0))[-1] in values_of(given)


def test_a_reader_gives_the_first_rows_before_the_last_are_made(
    connection: dicomsql.Connection, given: list[pa.RecordBatch]
) -> None:
    cursor = connection.execute("SELECT i FROM range(10000000) AS r(i)")
    reader = cursor.fetch_record_batch()
    first = reader.read_next_batch()
    assert first.column(0)[0].as_py() == 0
    assert len(given) <= 2
    assert cursor.rownumber == first.num_rows


def test_a_reader_in_batches_of_a_size(connection: dicomsql.Connection) -> None:
    sizes = [b.num_rows for b in connection.execute(MANY).to_arrow_reader(3_000)]
    assert sum(sizes) == 50_000
    assert max(sizes) == 3_000
    assert sum(b.num_rows for b in connection.execute(MANY).to_arrow_reader()) == 50_000
    with pytest.raises(dicomsql.ProgrammingError, match="at least one row"):
        connection.execute(MANY).to_arrow_reader(0)


def test_tuples_and_arrow_take_turns_and_no_row_is_lost(connection: dicomsql.Connection) -> None:
    cursor = connection.execute(MANY)
    assert cursor.fetchone() == (0, "row 0")
    assert len(cursor.fetchmany(9)) == 10 - 1
    reader = cursor.fetch_record_batch()
    batch = reader.read_next_batch()
    assert batch.column("n")[0].as_py() == 10
    after = 10 + batch.num_rows
    assert cursor.rownumber == after
    assert cursor.fetchone() == (after, f"row {after}")
    rest = cursor.fetch_arrow_table()
    assert rest.column("n")[0].as_py() == after + 1
    assert after + 1 + rest.num_rows == 50_000
    assert cursor.fetchall() == []
    assert cursor.fetchone() is None


def test_an_empty_result_has_its_columns_with_their_types(connection: dicomsql.Connection) -> None:
    full = connection.execute(MIXED).fetch_arrow_table()
    empty = connection.execute(f"SELECT * FROM ({MIXED}) WHERE n > 1").fetch_arrow_table()
    assert empty.num_rows == 0
    assert empty.schema.names == full.schema.names
    assert empty.schema.types == full.schema.types
    assert list(connection.execute(f"SELECT * FROM ({MIXED}) LIMIT 0").fetchdf().columns) == (
        full.schema.names
    )


def test_what_came_without_arrow_is_arrow_too(connection: dicomsql.Connection) -> None:
    table = connection.execute("SHOW PROVIDERS").fetch_arrow_table()
    assert "google" in table.column(0).to_pylist()


def test_duckdb_polars_and_pandas_take_a_cursor(connection: dicomsql.Connection) -> None:
    cursor = connection.execute(MANY)  # noqa: F841 - DuckDB finds it by its name
    assert duckdb.sql("SELECT count(*), max(n) FROM cursor").fetchall() == [(50_000, 49_999)]
    frame = pl.DataFrame(connection.execute(MANY))
    assert frame.shape == (50_000, 2)
    assert len(pd.DataFrame.from_arrow(connection.execute(MANY))) == 50_000
    assert len(connection.execute(MANY).fetchdf()) == 50_000


@pytest.mark.parametrize(("package", "method"), [("pandas", "fetchdf"), ("polars", "pl")])
def test_a_package_that_is_not_there(
    connection: dicomsql.Connection, monkeypatch: pytest.MonkeyPatch, package: str, method: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    cursor = connection.execute("SELECT 1 AS x")
    with pytest.raises(dicomsql.InterfaceError, match=f"pip install {package}"):
        getattr(cursor, method)()
    assert cursor.fetchall() == [(1,)]


@pytest.mark.parametrize("then", ["execute", "executemany", "close", "connection"])
def test_a_reader_whose_rows_are_gone_says_so(then: str) -> None:
    with dicomsql.connect() as connection:
        cursor = connection.execute(MANY)
        reader = cursor.fetch_record_batch()
        assert reader.read_next_batch().num_rows
        if then == "execute":
            cursor.execute("SELECT 1")
        elif then == "executemany":
            cursor.executemany("SET projectsId = ?", [])
        elif then == "close":
            cursor.close()
        else:
            connection.close()
        with pytest.raises(dicomsql.InterfaceError, match=r"gone|closed"):
            reader.read_all()


def test_a_reader_that_was_read_whole_ends_as_it_should(connection: dicomsql.Connection) -> None:
    cursor = connection.execute("SELECT 1 AS x")
    reader = cursor.fetch_record_batch()
    assert reader.read_next_batch().num_rows == 1
    with pytest.raises(StopIteration):
        reader.read_next_batch()
    cursor.execute("SELECT 2")
    with pytest.raises(StopIteration):
        reader.read_next_batch()


class Broken(Exception):
    """Of a library, say."""


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (dicomsql.OperationalError("The server is gone."), dicomsql.OperationalError),
        (KeyboardInterrupt(), dicomsql.InterfaceError),
        (Broken(), dicomsql.InterfaceError),
    ],
)
def test_rows_that_broke_off_are_never_taken_for_all(
    error: BaseException, again: type[Exception]
) -> None:

    def batches() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"x": [1, 2]})
        raise error

    result: Any = Result((ResultColumn("x", "BIGINT"),), batches())
    stream = Stream(result, Turn())
    assert stream.take(2, None) == [(1,), (2,)]
    with pytest.raises(type(error)):
        stream.take(None, None)
    for _ in range(2):
        with pytest.raises(again):
            stream.one(None)


# What Arrow has no type for, or DuckDB gives it wrongly; nested as well.
CARRIED: list[tuple[str, object]] = [
    ("TIMETZ '10:00:00.5+02'", "10:00:00.5+02"),
    ("'0101010101'::BIT", "0101010101"),
    ("1::UHUGEINT", Decimal(1)),
    ("(-5)::BIGNUM", "-5"),
    ("[1::UHUGEINT]", [Decimal(1)]),
    ("{'a b': ['101'::BIT], c: 1}", {"a b": ["101"], "c": 1}),
    ("MAP {1: TIMETZ '10:00:00+02'}", [(1, "10:00:00+02")]),
    ("array_value('1'::BIT, '10'::BIT)", ["1", "10"]),
    ("union_value(a := '101'::BIT)", "101"),
    ("INTERVAL '2562046 hours'", pa.MonthDayNano([0, 0, 2562046 * 3600 * 10**9])),
]


@pytest.mark.parametrize(("sql", "value"), CARRIED)
def test_what_arrow_would_lose_is_carried_whole(
    connection: dicomsql.Connection, sql: str, value: object
) -> None:
    table = connection.execute(f"SELECT 1 AS x, {sql} AS x").fetch_arrow_table()
    assert table.column_names == ["x", "x"]
    assert table.column(1).to_pylist() == [value]
    none = connection.execute(f"SELECT 1 AS x, {sql} AS x WHERE false").fetch_arrow_table()
    assert none.schema == table.schema


@pytest.mark.parametrize(
    ("sql", "error", "said"),
    [
        ("170141183460469231731687303715884105727::HUGEINT", dicomsql.DataError, "38 digits"),
        ("{'a': -170141183460469231731687303715884105727}", dicomsql.DataError, "38 digits"),
        ("340282366920938463463374607431768211455::UHUGEINT", dicomsql.DataError, "DECIMAL"),
        ("INTERVAL '2562048 hours'", dicomsql.ProgrammingError, "292 years: cast it to VARCHAR"),
        ("INTERVAL '-2562048 hours'", dicomsql.ProgrammingError, "292 years"),
        ("'{}'::JSON::VARIANT", dicomsql.NotSupportedError, "Column x is a VARIANT.* cast it"),
        ("[1::VARIANT]", dicomsql.NotSupportedError, "cast it"),
    ],
)
def test_what_nothing_carries_is_an_error(
    connection: dicomsql.Connection, sql: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        connection.execute(f"SELECT {sql} AS x").fetchall()
    cast = connection.execute(f"SELECT CAST({sql} AS VARCHAR) AS x").fetch_arrow_table()
    assert cast.num_rows == 1
