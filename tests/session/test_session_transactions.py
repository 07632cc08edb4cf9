"""Transactions of local tables: begun, seen, kept, taken back, and ended by an error."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from session_server import STORE, STUDIES, Server, execute, opened, rows, rows_of, serving

from dicomsql.errors import (
    ApiError,
    DatabaseError,
    OperationalError,
    ProgrammingError,
)
from dicomsql.session import Session

COUNT = "SELECT count(*) FROM t"


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


@pytest.fixture
def session(server: Server) -> Iterator[Session]:
    with opened(server, autocommit=False) as made:
        rows(made, "CREATE TABLE t (a INTEGER PRIMARY KEY)")
        made.commit()
        assert not made.in_transaction
        yield made


WRITES = [
    "INSERT INTO t VALUES (1)",
    "CREATE TABLE u AS SELECT 1 AS a",
    "CREATE TEMP TABLE u AS SELECT 1 AS a",
    "CREATE VIEW u AS SELECT 1 AS a",
    "ALTER TABLE t ADD COLUMN b INTEGER",
    "DROP TABLE t",
]


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("way", ["methods", "text"])
def test_the_first_write_begins_what_a_rollback_takes_back(
    session: Session, write: str, way: str
) -> None:
    rows(session, "SELECT 1")
    rows(session, f"SELECT count(*) FROM {STUDIES}")
    assert not session.in_transaction
    rows(session, write)
    assert session.in_transaction
    session.rollback() if way == "methods" else rows(session, "ROLLBACK")
    assert not session.in_transaction
    assert rows(session, COUNT) == [0]
    with pytest.raises(DatabaseError):
        rows(session, "SELECT * FROM u")
    with pytest.raises(DatabaseError):
        rows(session, "SELECT b FROM t")


@pytest.mark.parametrize("way", ["methods", "text"])
def test_what_is_committed_stays(session: Session, way: str) -> None:
    rows(session, "INSERT INTO t VALUES (1)")
    session.commit() if way == "methods" else rows(session, "COMMIT")
    rows(session, "INSERT INTO t VALUES (2)")
    session.rollback()
    session.rollback()
    session.commit()
    assert rows(session, "SELECT a FROM t") == [1]


def test_with_autocommit_only_begin_begins_one(server: Server) -> None:
    with opened(server) as session:
        rows(session, "CREATE TABLE t AS SELECT 1 AS a")
        assert not session.in_transaction
        session.begin()
        with pytest.raises(ProgrammingError, match="open already"):
            session.begin()
        rows(session, "INSERT INTO t VALUES (2)")
        rows(session, "ROLLBACK")
        rows(session, "BEGIN")
        rows(session, "INSERT INTO t VALUES (3)")
        session.commit()
        assert rows(session, "SELECT a FROM t ORDER BY a") == [1, 3]
        session.autocommit = False
        rows(session, "DELETE FROM t")
        session.rollback()
        assert rows(session, COUNT) == [2]


def test_all_threads_are_in_it(session: Session) -> None:
    rows(session, "INSERT INTO t VALUES (1)")
    rows(session, f"CREATE TABLE seen AS SELECT StudyInstanceUID AS uid FROM {STUDIES}")
    joined = f"SELECT count(*) FROM seen JOIN {STUDIES} ON uid = StudyInstanceUID"
    with ThreadPoolExecutor(3) as pool:
        assert pool.submit(rows, session, COUNT).result() == [1]
        assert pool.submit(rows, session, joined).result() == [3]
        # What needs none of it runs beside it.
        assert pool.submit(rows, session, f"SELECT count(*) FROM {STUDIES}").result() == [3]
    session.rollback()
    assert rows(session, COUNT) == [0]


def test_a_result_that_was_read_in_part_survives_the_transaction(session: Session) -> None:
    rows(session, "INSERT INTO t SELECT range FROM range(100000)")
    batches = execute(session, "SELECT a FROM t").batches()
    found = next(batches).num_rows
    session.rollback()
    assert found + sum(batch.num_rows for batch in batches) == 100_000


ERRORS = [
    ("INSERT INTO t VALUES (1)", "constraint violation"),
    ("INSERT INTO t SELECT nope FROM t", "There is no column nope"),
    ("DROP TABLE nope", "nope"),
    ("SELECT error('x') FROM t", "The engine stopped"),
]


@pytest.mark.parametrize("way", ["commit", "roll back"])
@pytest.mark.parametrize(("wrong", "said"), ERRORS)
def test_an_error_ends_it_and_says_how_to_go_on(
    session: Session, wrong: str, said: str, way: str
) -> None:
    rows(session, "INSERT INTO t VALUES (1)")
    with pytest.raises(DatabaseError, match=said):
        rows(session, wrong)
    assert session.in_transaction
    for text in (COUNT, "INSERT INTO t VALUES (2)", "CREATE TABLE u AS SELECT 1 AS a"):
        with pytest.raises(OperationalError, match=r"ROLLBACK"):
            rows(session, text)
    # What has nothing to do with local tables goes on.
    assert rows(session, f"SELECT count(*) FROM {STUDIES}") == [3]
    if way == "commit":
        with pytest.raises(OperationalError, match="all of it has been rolled back"):
            session.commit()
    else:
        rows(session, "ROLLBACK")
    assert not session.in_transaction
    assert rows(session, COUNT) == [0]


def test_a_query_that_is_wrong_as_it_stands_ends_none(session: Session) -> None:
    rows(session, "INSERT INTO t VALUES (1)")
    with pytest.raises(DatabaseError, match="There is no column nope"):
        rows(session, "SELECT nope FROM t")
    assert rows(session, COUNT) == [1]


def test_the_write_that_would_have_begun_one_leaves_none(session: Session) -> None:
    with pytest.raises(DatabaseError):
        rows(session, "INSERT INTO t SELECT nope FROM t")
    assert not session.in_transaction
    assert rows(session, COUNT) == [0]


def test_planning_ends_no_transaction(session: Session) -> None:
    """It asks the engine for types and values, and some questions have no answer."""
    rows(session, "INSERT INTO t VALUES (1)")
    rows(session, "CREATE TABLE u AS SELECT 'p' AS patient, 1 AS n")
    searched = (
        f"SELECT count(*) FROM {STUDIES} AS s, u WHERE s.PatientID = u.patient "
        "AND s.PatientID < concat('q', TRY_CAST('nothing' AS DATE))"
    )
    assert rows(session, searched) == [3]
    with pytest.raises((DatabaseError, ProgrammingError)):
        session.plan(session.parse(f"SELECT * FROM {STUDIES} WHERE PatientID = nope(1)")[0])
        rows(session, f"SELECT * FROM {STUDIES} WHERE PatientID = nope(1)")
    assert rows(session, COUNT) == [1]
    session.commit()


def test_a_search_that_fails_ends_none(server: Server, session: Session) -> None:
    rows(session, "INSERT INTO t VALUES (1)")
    rows(session, "SET max_calls = 1")
    with pytest.raises(DatabaseError):
        rows(session, f"SELECT * FROM {STUDIES} WHERE PatientID IN ('a', 'b', 'c')")
    session.commit()
    assert rows(session, COUNT) == [1]


def test_calls_are_counted_that_no_rollback_takes_back(server: Server) -> None:
    with opened(server, autocommit=False, yes=True) as session:
        rows(session, f"SELECT count(*) FROM {STUDIES}")
        assert session.calls_since_commit == 0
        rows(session, f"DELETE FROM {STORE} WHERE StudyInstanceUID = '1.2.0'")
        assert session.calls_since_commit == 1
        session.rollback()
        assert session.calls_since_commit == 0


def test_close_rolls_it_back(server: Server, tmp_path: Path) -> None:
    name = tmp_path / "kept.duckdb"
    for _ in range(2):
        with opened(server, autocommit=False, database=name) as session:
            rows(session, "CREATE TABLE IF NOT EXISTS t AS SELECT 1 AS a")
            session.commit()
            rows(session, "INSERT INTO t VALUES (2)")
    assert name.stat().st_mode & 0o777 == 0o600
    with opened(server, database=name) as session:
        assert rows(session, "SELECT a FROM t") == [1]


def test_threads_that_write_at_a_time_lose_nothing(session: Session) -> None:
    session.autocommit = True
    start = threading.Barrier(4)

    def work(number: int) -> None:
        start.wait()
        for n in range(10):
            rows(session, "INSERT INTO t VALUES (?)", [number * 10 + n])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert rows(session, COUNT) == [40]


def test_an_error_of_a_server_is_its_own(server: Server, session: Session) -> None:
    del server.studies
    rows(session, "INSERT INTO t VALUES (1)")
    result = None
    with pytest.raises((ApiError, OperationalError)):
        result = execute(session, f"SELECT * FROM {STUDIES}")
    assert result is None or rows_of(result) == []
    assert rows(session, COUNT) == [1]
