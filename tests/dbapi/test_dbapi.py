"""The DB-API module: what PEP 249 asks of connections, cursors and type objects."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import dicomsql

PLACE = {"project": "p", "location": "us-central1", "dataset": "d", "dicom_store": "s"}


@pytest.fixture
def connection(filled_root: Path) -> Iterator[dicomsql.Connection]:
    with dicomsql.connect(local=filled_root, **PLACE) as connection:
        yield connection


def test_the_module_says_what_it_is() -> None:
    assert dicomsql.apilevel == "2.0"
    assert dicomsql.threadsafety == 2
    assert dicomsql.paramstyle == "qmark"
    assert issubclass(dicomsql.InterfaceError, dicomsql.Error)
    assert issubclass(dicomsql.OperationalError, dicomsql.DatabaseError)
    assert dicomsql.Connection.DataError is dicomsql.DataError


def test_rows_come_as_tuples_with_python_values(connection: dicomsql.Connection) -> None:
    cursor = connection.cursor()
    cursor.execute(
        "SELECT PatientID, StudyDate, NumberOfStudyRelatedInstances, ModalitiesInStudy "
        "FROM google.healthcare.studies WHERE PatientID = ?",
        ["4MR1"],
    )
    assert cursor.fetchall() == [("4MR1", datetime.date(2004, 8, 26), 1, ["MR"])]
    assert cursor.description is not None
    assert [d[0] for d in cursor.description] == [
        "PatientID",
        "StudyDate",
        "NumberOfStudyRelatedInstances",
        "ModalitiesInStudy",
    ]
    codes = [d[1] for d in cursor.description]
    assert codes[0] == dicomsql.STRING
    assert codes[1] == dicomsql.DATETIME
    assert codes[2] == dicomsql.NUMBER
    assert cursor.rowcount == -1
    assert cursor.statistics is not None
    assert cursor.statistics.requests >= 1


def test_sums_of_integers_are_integers(connection: dicomsql.Connection) -> None:
    cursor = connection.execute("SELECT sum(i * 2), NULL::HUGEINT FROM range(4) AS r(i)")
    (row,) = cursor.fetchall()
    assert row == (12, None)
    assert type(row[0]) is int


def test_named_parameters(connection: dicomsql.Connection) -> None:
    cursor = connection.execute(
        "SELECT PatientID FROM google.healthcare.studies WHERE PatientID = :id AND :id = '1CT1'",
        {"id": "1CT1"},
    )
    assert cursor.fetchone() == ("1CT1",)
    assert cursor.fetchone() is None


def test_fetchmany_and_iteration(connection: dicomsql.Connection) -> None:
    cursor = connection.execute("SELECT * FROM range(5) AS r(i)")
    assert cursor.rownumber == 0
    assert cursor.fetchmany() == [(0,)]
    assert cursor.fetchmany(2) == [(1,), (2,)]
    assert cursor.rownumber == 3
    assert [row[0] for row in cursor] == [3, 4]
    assert cursor.fetchmany(2) == []


def test_several_statements_are_sets(connection: dicomsql.Connection) -> None:
    cursor = connection.execute("SELECT 1 AS a; SELECT 2 AS b, 3 AS c")
    assert cursor.fetchall() == [(1,)]
    assert cursor.nextset()
    assert cursor.fetchall() == [(2, 3)]
    assert cursor.nextset() is None


def test_a_half_read_result_survives_the_next_statement(connection: dicomsql.Connection) -> None:
    first = connection.execute("SELECT * FROM range(100000) AS r(i)")
    assert first.fetchone() == (0,)
    second = connection.execute("SELECT count(*) FROM google.healthcare.studies")
    assert second.fetchone() == (5,)
    assert first.fetchone() == (1,)
    assert len(first.fetchall()) == 99998


def test_writes_count_their_rows(own_root: Path) -> None:
    with dicomsql.connect(local=own_root, **PLACE) as connection:
        cursor = connection.cursor()
        cursor.executemany(
            "INSERT INTO google.healthcare.dicom_stores (dicomStoreId) VALUES (?)",
            [["a"], ["b"]],
        )
        assert cursor.rowcount == 2
        assert cursor.description is None
        cursor.execute("SELECT dicomStoresId FROM google.healthcare.dicom_stores ORDER BY 1")
        assert cursor.fetchall() == [("a",), ("b",), ("s",)]
        cursor.execute(
            "UPDATE google.healthcare.dicom_stores SET labels.x = ? WHERE dicomStoresId IN (?, ?) "
            "RETURNING dicomStoresId, labels->>'x'",
            ["1", "a", "b"],
        )
        assert sorted(cursor.fetchall()) == [("a", "1"), ("b", "1")]


def test_consent_is_asked_with_the_sentence(own_root: Path) -> None:
    asked: list[str] = []

    def consent(question: str) -> bool:
        asked.append(question)
        return False

    statement = (
        "DELETE FROM google.healthcare.dicom_stores WHERE projectsId = 'p' AND "
        "locationsId = 'us-central1' AND datasetsId = 'd' AND dicomStoresId = 's'"
    )
    with dicomsql.connect(local=own_root, consent=consent) as connection:
        with pytest.raises(dicomsql.ProgrammingError, match="not allowed"):
            connection.execute(statement)
        assert len(asked) == 1
        assert "5 studies" in asked[0]
    with dicomsql.connect(local=own_root, yes=True) as connection:
        assert connection.execute(statement).rowcount == 1


@pytest.mark.parametrize(
    ("sql", "parameters", "message"),
    [
        ("SELECT ?", [], "1 placeholder"),
        ("SELECT ?", [1, 2], "2 parameters were given"),
        ("SELECT 1", "text", "list or tuple"),
        ("", None, "no statement"),
        ("SELECT 1; SELECT ?", [1], "one statement"),
    ],
)
def test_parameters_that_do_not_fit(
    connection: dicomsql.Connection, sql: str, parameters: object, message: str
) -> None:
    with pytest.raises(dicomsql.ProgrammingError, match=message):
        connection.cursor().execute(sql, parameters)


def test_use_after_close_and_before_execute(filled_root: Path) -> None:
    connection = dicomsql.connect(local=filled_root, **PLACE)
    cursor = connection.cursor()
    with pytest.raises(dicomsql.InterfaceError, match="Nothing was executed"):
        cursor.fetchone()
    cursor.execute("SET projectsId = 'p'")
    with pytest.raises(dicomsql.InterfaceError, match="no rows"):
        cursor.fetchall()
    cursor.close()
    with pytest.raises(dicomsql.InterfaceError, match="cursor is closed"):
        cursor.execute("SELECT 1")
    other = connection.cursor()
    connection.close()
    connection.close()
    assert connection.closed
    with pytest.raises(dicomsql.InterfaceError, match="closed"):
        connection.cursor()
    with pytest.raises(dicomsql.InterfaceError, match="closed"):
        other.execute("SELECT 1")


def test_no_thread_is_left_after_close(filled_root: Path) -> None:
    before = set(threading.enumerate())
    with dicomsql.connect(local=filled_root, **PLACE) as connection:
        cursor = connection.execute("SELECT StudyInstanceUID FROM google.healthcare.studies")
        cursor.fetchone()
        started = set(threading.enumerate()) - before
    for thread in started:
        thread.join(timeout=5)
    assert not [t.name for t in started if t.is_alive()]


def test_optional_sizes_do_nothing(connection: dicomsql.Connection) -> None:
    with connection.cursor() as cursor:
        cursor.setinputsizes([1])
        cursor.setoutputsize(1)
        assert cursor.lastrowid is None
        assert cursor.description is None
        assert cursor.rowcount == -1


def test_type_objects_and_constructors() -> None:
    assert dicomsql.STRING == "VARCHAR"
    assert dicomsql.NUMBER == "DECIMAL(18,3)"
    assert dicomsql.STRING != dicomsql.NUMBER
    assert dicomsql.STRING == dicomsql.STRING
    assert repr(dicomsql.BINARY) == "BINARY"
    assert len({dicomsql.STRING, dicomsql.NUMBER, dicomsql.DATETIME, dicomsql.ROWID}) == 4
    assert dicomsql.Date(2026, 1, 31) == datetime.date(2026, 1, 31)
    moment = datetime.datetime(2026, 1, 31, 12, 30, 15).timestamp()
    assert dicomsql.DateFromTicks(moment) == datetime.date(2026, 1, 31)
    assert dicomsql.TimeFromTicks(moment) == datetime.time(12, 30, 15)
    assert dicomsql.TimestampFromTicks(moment) == datetime.datetime(2026, 1, 31, 12, 30, 15)
    assert dicomsql.Binary(b"x") == b"x"


def test_the_exports_are_exactly_these() -> None:
    assert dir(dicomsql) == sorted(dicomsql.__all__)
    for name in dicomsql.__all__:
        assert getattr(dicomsql, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = dicomsql.nothing


def test_a_copy_of_which_rows_failed_raises_and_has_its_rows(
    own_root: Path, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("no DICOM")
    with dicomsql.connect(local=own_root, **PLACE) as connection:
        cursor = connection.cursor()
        copy = "COPY google.healthcare.instances FROM ? RETURNING status, bytes"
        with pytest.raises(dicomsql.OperationalError, match="1 of 1 instance failed"):
            cursor.execute(copy, [str(tmp_path / "in")])
        assert cursor.fetchall() == [("failed", 8)]
        assert cursor.rowcount == 0
        with pytest.raises(dicomsql.OperationalError):
            cursor.execute(f"SELECT 1; {copy.replace('?', repr(str(tmp_path / 'in')))}; SELECT 2")
        assert cursor.fetchall() == [(1,)]
        assert cursor.nextset()
        assert cursor.fetchall() == [("failed", 8)]
        assert cursor.nextset() is None
