"""Tables of Python's go into local tables as they come."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import dicomsql

ROWS = {"PatientID": ["a", "b"], "arm": [1, 2]}
ALL = "SELECT PatientID, arm FROM cohort ORDER BY ALL"


@pytest.fixture
def connection() -> Iterator[dicomsql.Connection]:
    with dicomsql.connect() as connection:
        yield connection


@pytest.mark.parametrize(
    "data",
    [
        *(pd.DataFrame(ROWS), pl.DataFrame(ROWS), pa.table(ROWS), pa.record_batch(ROWS)),
        pa.table(ROWS).to_reader(),
    ],
    ids=lambda d: f"{type(d).__module__}.{type(d).__name__}",
)
def test_every_kind_of_table(connection: dicomsql.Connection, data: object) -> None:
    cursor = connection.cursor()
    assert cursor.adbc_ingest("cohort", data) == 2
    assert cursor.execute(ALL).fetchall() == [("a", 1), ("b", 2)]
    joined = "SELECT i FROM range(5) AS r(i) JOIN cohort ON i = arm ORDER BY 1"
    assert cursor.execute(joined).fetchall() == [(1,), (2,)]


def test_rows_of_another_connection_and_of_the_same(connection: dicomsql.Connection) -> None:
    with dicomsql.connect() as other:
        there = other.execute("SELECT i::VARCHAR AS PatientID, i AS arm FROM range(9) AS r(i)")
        assert connection.cursor().adbc_ingest("cohort", there) == 9
    here = connection.execute("SELECT * FROM cohort")
    assert connection.cursor().adbc_ingest("again", here) == 9
    assert connection.execute("SELECT count(*) FROM again").fetchone() == (9,)


def test_modes(connection: dicomsql.Connection) -> None:
    cursor, table = connection.cursor(), pa.table(ROWS)
    swapped = pa.table({"arm": [3], "PatientID": ["c"]})
    assert cursor.adbc_ingest("cohort", table, mode="create_append") == 2
    assert cursor.adbc_ingest("cohort", swapped, mode="create_append") == 1
    assert cursor.adbc_ingest("cohort", swapped, mode="append") == 1
    assert cursor.execute(ALL).fetchall() == [("a", 1), ("b", 2), ("c", 3), ("c", 3)]
    connection.commit()
    with pytest.raises(dicomsql.ProgrammingError, match="already exists"):
        cursor.adbc_ingest("cohort", table)
    connection.rollback()
    assert cursor.adbc_ingest("cohort", swapped, mode="replace") == 1
    assert cursor.execute(ALL).fetchall() == [("c", 3)]
    assert cursor.adbc_ingest('odd "name; --', table, temporary=True) == 2
    assert cursor.execute('SELECT count(*) FROM "odd ""name; --"').fetchone() == (2,)


def test_what_fails_on_its_way_leaves_nothing(connection: dicomsql.Connection) -> None:
    def broken() -> Iterator[pa.RecordBatch]:
        for _ in range(100):
            yield pa.record_batch(ROWS)
        raise ValueError("Doe^Jane")

    reader = pa.RecordBatchReader.from_batches(pa.record_batch(ROWS).schema, broken())
    cursor = connection.cursor()
    with pytest.raises(dicomsql.Error) as raised:
        cursor.adbc_ingest("cohort", reader)
    assert "Doe" not in str(raised.value)
    with pytest.raises(dicomsql.ProgrammingError, match="cohort"):
        cursor.execute(ALL)


def test_a_million_rows_are_not_held() -> None:
    batch = pa.record_batch({"n": list(range(10_000))})
    before = pa.total_allocated_bytes()
    most = 0

    def batches() -> Iterator[pa.RecordBatch]:
        nonlocal most
        for _ in range(100):
            most = max(most, pa.total_allocated_bytes() - before)
            yield pa.record_batch([pa.concat_arrays([batch.column(0)])], names=["n"])

    with dicomsql.connect() as connection:
        reader = pa.RecordBatchReader.from_batches(batch.schema, batches())
        assert connection.cursor().adbc_ingest("numbers", reader) == 1_000_000
    assert most < 4_000_000


@pytest.mark.parametrize(
    ("name", "data", "mode", "said"),
    [
        ("cohort", [1, 2], "create", "A list is no table"),
        ("cohort", pa.table(ROWS), "upsert", "The mode is one of create, append"),
        ("", pa.table(ROWS), "create", "the name of a local table"),
        ("missing", pa.table(ROWS), "append", "missing"),
    ],
)
def test_what_does_not_fit(
    connection: dicomsql.Connection, name: str, data: object, mode: str, said: str
) -> None:
    with pytest.raises(dicomsql.ProgrammingError, match=said):
        connection.cursor().adbc_ingest(name, data, mode=mode)  # type: ignore[arg-type]
