"""A database that several sessions share: memory with a name, and a file."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import dicomsql
from dicomsql.engine import shared
from dicomsql.errors import Error, OperationalError, ProgrammingError

Connect = Callable[..., "dicomsql.Connection[Any]"]


@pytest.fixture(params=["memory", "file"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return ":memory:shared" if request.param == "memory" else str(tmp_path / "own.duckdb")


@pytest.fixture
def connect(database: str) -> Iterator[Connect]:
    made: list[dicomsql.Connection[Any]] = []

    def open_(**arguments: Any) -> dicomsql.Connection[Any]:
        place = {"project": "p", "location": "l", "dataset": "d", "dicom_store": "s"}
        given = {"database": database, "autocommit": True, **place, **arguments}
        made.append(dicomsql.connect(**given))
        return made[-1]

    yield open_
    for connection in made:
        connection.close()
    assert shared._entries == {}


def test_one_finds_what_another_has_made_and_committed(connect: Connect) -> None:
    first, second = connect(autocommit=False), connect()
    first.execute("CREATE TABLE t AS SELECT 1 AS a")
    with pytest.raises(ProgrammingError):
        second.execute("SELECT * FROM t")
    first.commit()
    assert second.execute("SELECT * FROM t").fetchall() == [(1,)]
    second.execute("INSERT INTO t VALUES (2)")
    second.execute("CREATE MACRO twice(x) AS 2 * x")
    second.execute("CREATE VIEW v AS SELECT PatientID FROM google.healthcare.studies")
    assert first.execute("SELECT sum(twice(a)) FROM t").fetchall() == [(6,)]
    assert "the view v reads it" in str(first.execute("EXPLAIN SELECT * FROM v").fetchall())
    second.execute("DROP TABLE t")
    with pytest.raises(ProgrammingError):
        first.execute("SELECT * FROM t")


def test_temp_tables_stay_their_connections(connect: Connect) -> None:
    first, second = connect(), connect()
    first.execute("CREATE TEMP TABLE t AS SELECT 1 AS a")
    with pytest.raises(ProgrammingError):
        second.execute("SELECT * FROM t")


def test_writers_of_the_same_rows_conflict(connect: Connect) -> None:
    first, second = connect(autocommit=False), connect()
    first.execute("CREATE TABLE t AS SELECT 1 AS a")
    first.commit()
    first.execute("UPDATE t SET a = 2")
    with pytest.raises(Error):
        second.execute("UPDATE t SET a = 3")
    first.commit()
    assert second.execute("SELECT * FROM t").fetchall() == [(2,)]


def test_threads_write_together(connect: Connect) -> None:
    reader = connect()
    reader.execute("CREATE TABLE t (a INTEGER)")
    failed: list[Error] = []

    def write(number: int) -> None:
        try:
            with connect() as connection:
                for offset in range(5):
                    connection.execute("INSERT INTO t VALUES (?)", (number * 5 + offset,))
        except Error as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert reader.execute("SELECT count(*), sum(a) FROM t").fetchall() == [(20, 190)]


def test_it_has_to_be_allowed_the_same(connect: Connect) -> None:
    connect().execute("CREATE TABLE t (a INTEGER)")
    with pytest.raises(OperationalError, match="have to agree"):
        connect(files="off").execute("FROM t")


def test_memory_ends_with_the_last_connection() -> None:
    def opened() -> dicomsql.Connection[Any]:
        return dicomsql.connect(database=":memory:last", autocommit=True)

    first, unused = opened(), opened()
    first.execute("CREATE TABLE t AS SELECT 1 AS a")
    first.close()
    # Kept by a connection that has not looked at it yet.
    assert unused.execute("SELECT * FROM t").fetchall() == [(1,)]
    unused.close()
    with opened() as anew, pytest.raises(ProgrammingError):
        anew.execute("SELECT * FROM t")


def test_connections_that_nobody_has_any_more_let_go() -> None:
    connection = dicomsql.connect(database=":memory:dropped", autocommit=True)
    connection.execute("CREATE TABLE t AS SELECT 1 AS a")
    del connection
    gc.collect()
    assert shared._entries == {}


@pytest.mark.parametrize("other", [":memory:b", ":memory:", None])
def test_other_names_are_other_databases(other: str | None) -> None:
    with (
        dicomsql.connect(database=":memory:a", autocommit=True) as first,
        dicomsql.connect(database=other) as second,
    ):
        first.execute("CREATE TABLE t AS SELECT 1 AS a")
        with pytest.raises(ProgrammingError):
            second.execute("SELECT * FROM t")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_has_its_own() -> None:
    with dicomsql.connect(database=":memory:forked", autocommit=True) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS a")
        child = os.fork()
        if child == 0:
            status = 1
            try:
                with dicomsql.connect(database=":memory:forked") as mine:
                    mine.execute("CREATE TABLE t AS SELECT 2 AS a")
                    status = 0 if mine.execute("FROM t").fetchall() == [(2,)] else 2
            finally:
                os._exit(status)
        _, ended = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(ended) == 0
        assert connection.execute("FROM t").fetchall() == [(1,)]
