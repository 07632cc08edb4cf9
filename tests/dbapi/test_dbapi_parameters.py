"""Parameters are values: what is none is refused at once, with what to do instead."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import dicomsql
from dicomsql.config import Settings
from dicomsql.dbapi.arguments import ConnectArguments

FRAME = {"a": [1, 2]}


@pytest.fixture(scope="module")
def connection() -> Iterator[dicomsql.Connection]:
    with dicomsql.connect() as connection:
        yield connection


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, -3, 2**100, 1.5, Decimal("1.50"), "it's; -- ?", b"\x00\xff", "\u00e9:name"),
        *(datetime.date(2024, 2, 29), datetime.time(1, 2, 3), datetime.datetime(2024, 2, 29, 1)),
        *([1, 2], ["a", None], {"k": [1]}),
    ],
    ids=repr,
)
def test_values_come_back_as_they_went(connection: dicomsql.Connection, value: object) -> None:
    cursor = connection.execute("SELECT ? AS x", [value])
    assert cursor.fetchall() == [(value,)]
    assert connection.execute("SELECT :v AS x", {"v": value}).fetchall() == [(value,)]


@pytest.mark.parametrize(
    ("sql", "parameters", "row"),
    [
        ("SELECT ?,?", (1, 2), (1, 2)),
        ("SELECT :a,:b", {"a": 1, "b": 2}, (1, 2)),
        ("SELECT $a,$b,$a,$b", {"a": 1, "b": 2}, (1, 2, 1, 2)),
        ("SELECT $1,$2,$1", (1, 2), (1, 2, 1)),
        ("SELECT ?+?", (1, 2), (3,)),
        ("SELECT (?),(?)", (1, 2), (1, 2)),
        ("SELECT ?::VARCHAR,[?,?][?]", (1, 2, 3, 2), ("1", 3)),
        ("SELECT :a,'x$',:b", {"a": 1, "b": 2}, (1, "x$", 2)),
        ("SELECT ?||$$x,$$||?", ("a", "b"), ("ax,b",)),
        ("SELECT $t$ $a,$b $t$,$a", {"a": 1}, (" $a,$b ", 1)),
        ("SELECT $a,$$x$$,$b", {"a": 1, "b": 2}, (1, "x", 2)),
        ("SELECT '$a,$b','?,?',?", (1,), ("$a,$b", "?,?", 1)),
        ('SELECT a$b,"a$b",$a FROM (SELECT 3 AS a$b)', {"a": 1}, (3, 3, 1)),
    ],
)
def test_placeholders_with_nothing_between(
    connection: dicomsql.Connection, sql: str, parameters: Any, row: tuple[object, ...]
) -> None:
    assert connection.execute(sql, parameters).fetchone() == row


def test_placeholders_with_nothing_between_in_a_write(connection: dicomsql.Connection) -> None:
    cursor = connection.execute("CREATE OR REPLACE TABLE joined (a INTEGER, b VARCHAR)")
    cursor.executemany("insert into joined(a,b) values(?,?)", [(1, "x"), (2, "y")])
    assert cursor.execute("SELECT * FROM joined ORDER BY a").fetchall() == [(1, "x"), (2, "y")]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.int64(3), 3),
        (np.float32(1.5), 1.5),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.array([1, 2]), [1, 2]),
        (pd.Timestamp("2024-02-29 01:00"), datetime.datetime(2024, 2, 29, 1)),
        (pd.NA, None),
        (pd.NaT, None),
        (Path("a/b"), "a/b"),
        ((1, 2), [1, 2]),
        (bytearray(b"x"), b"x"),
        (memoryview(b"x"), b"x"),
        (uuid.UUID(int=1), str(uuid.UUID(int=1))),
    ],
)
def test_values_of_other_classes(
    connection: dicomsql.Connection, value: object, expected: object
) -> None:
    assert connection.execute("SELECT ? AS x", [value]).fetchone() == (expected,)


@pytest.mark.parametrize(
    "table",
    [pd.DataFrame(FRAME), pl.DataFrame(FRAME), pa.table(FRAME), pa.record_batch(FRAME)],
    ids=lambda t: type(t).__module__,
)
def test_a_table_is_no_value(connection: dicomsql.Connection, table: object) -> None:
    with pytest.raises(dicomsql.ProgrammingError, match=r"Parameter 1 is a table.*adbc_ingest"):
        connection.execute("INSERT INTO t SELECT * FROM ?", [table])
    with pytest.raises(dicomsql.ProgrammingError, match=r"Parameter :t is a table.*adbc_ingest"):
        connection.execute("INSERT INTO t SELECT * FROM :t", {"t": table})
    for method in ("execute", "executemany"):
        with pytest.raises(dicomsql.ProgrammingError, match=r"A table is no set.*adbc_ingest"):
            getattr(connection.cursor(), method)("INSERT INTO t VALUES (?, ?)", table)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ("text", "list or tuple"),
        (b"bytes", "list or tuple"),
        ({1, 2}, "are of the class set"),
        (3, "are of the class int"),
        ([object()], "Parameter 1 is of the class object"),
        ([{"a": [object()]}], "Parameter 1 is of the class object"),
        ({"x": 1j}, "Parameter :x is of the class complex"),
        ({1: 2}, "names of parameters are texts"),
        (["\ud800"], "a character that is none"),
        ([np.timedelta64(2, "Y")], "NumPy's timedelta64"),
        ([], "1 placeholder"),
        ([1, 2], "2 parameters were given"),
    ],
)
def test_what_is_no_parameter(
    connection: dicomsql.Connection, parameters: object, said: str
) -> None:
    with pytest.raises(dicomsql.ProgrammingError, match=said):
        connection.cursor().execute("SELECT ?", parameters)  # type: ignore[arg-type]


def test_no_message_repeats_a_value(connection: dicomsql.Connection) -> None:
    class Patient:
        def __repr__(self) -> str:
            return "Doe^Jane"

        __str__ = __repr__

    for value in (Patient(), [Patient()], "Doe^Jane\ud800"):
        with pytest.raises(dicomsql.ProgrammingError) as raised:
            connection.execute("SELECT ?", [value])
        assert "Doe" not in str(raised.value)


def test_a_statement_is_a_text(connection: dicomsql.Connection) -> None:
    for operation in (None, b"SELECT 1", 3):
        with pytest.raises(dicomsql.ProgrammingError, match="A statement is a text"):
            connection.execute(operation)  # type: ignore[arg-type]


def test_an_argument_that_connect_does_not_have() -> None:
    with pytest.raises(dicomsql.InterfaceError, match=r"endpont.*endpoint"):
        dicomsql.connect(endpont="http://127.0.0.1:1")  # type: ignore[call-overload]


def test_connect_takes_every_setting() -> None:
    # What the command line has for itself, and what is read from the file of connections.
    others = {"log_http", "connections"}
    assert set(ConnectArguments.__annotations__) == (
        set(Settings.__dataclass_fields__) - others | {"consent"}
    )
