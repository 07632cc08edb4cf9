"""executemany: sets are checked first, calls go side by side, local tables get all or none."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dicomsql
from dicomsql.transport.client import Client

PLACE = {"project": "p", "location": "us-central1", "dataset": "d", "dicom_store": "s"}
INSERT = "INSERT INTO google.healthcare.dicom_stores (dicomStoreId) VALUES (?)"
DELETE = "DELETE FROM google.healthcare.dicom_stores WHERE dicomStoresId = ?"
STORES = "SELECT dicomStoresId FROM google.healthcare.dicom_stores ORDER BY 1"


@pytest.fixture
def connection(filled_root: Path, tmp_path: Path) -> Iterator[dicomsql.Connection]:
    root = tmp_path / "emulator"
    shutil.copytree(filled_root, root)
    with dicomsql.connect(local=root, **PLACE) as connection:
        yield connection


def stores(connection: dicomsql.Connection) -> list[str]:
    return [name for (name,) in connection.execute(STORES).fetchall()]


def test_calls_go_side_by_side(
    connection: dicomsql.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = threading.Barrier(3, timeout=20)
    real = Client.send

    def send(self: Client, request: object, **named: object) -> object:
        if getattr(request, "method", "") == "POST":
            together.wait()
        return real(self, request, **named)  # type: ignore[arg-type]

    connection.execute(STORES).fetchall()
    monkeypatch.setattr(Client, "send", send)
    cursor = connection.cursor().executemany(INSERT, [["a"], ["b"], ("c",)])
    assert cursor.rowcount == 3
    assert cursor.description is None
    assert stores(connection) == ["a", "b", "c", "s"]


def test_no_call_is_sent_where_one_set_does_not_fit(connection: dicomsql.Connection) -> None:
    cursor = connection.cursor()
    with pytest.raises(dicomsql.ProgrammingError, match=r"Set 2: .*placeholder"):
        cursor.executemany(INSERT, [["a"], ["b", "c"]])
    with pytest.raises(dicomsql.ProgrammingError, match="Set 3: Parameter 1 is of the class"):
        cursor.executemany(INSERT, [["a"], ["b"], [object()]])
    update = "UPDATE google.healthcare.dicom_stores SET labels.x = ? WHERE dicomStoresId = 's'"
    with pytest.raises(dicomsql.ProgrammingError, match=r"Set 2: .* at most 63 fit"):
        cursor.executemany(update, [["a"], ["!" * 80]])
    assert connection.execute("SELECT labels FROM google.healthcare.dicom_stores").fetchone() == (
        '{"env":"test"}',
    )
    assert stores(connection) == ["s"]


def test_where_one_fails_the_others_are_done_and_the_error_says_so(
    connection: dicomsql.Connection,
) -> None:
    with pytest.raises(dicomsql.OperationalError) as raised:
        connection.cursor().executemany(INSERT, [["a"], ["s"], ["b"]])
    said = str(raised.value)
    assert "2 of 3 rows were created and stay so, 1 failed" in said
    assert "set 2" in said
    assert stores(connection) == ["a", "b", "s"]


def test_calls_on_the_same_thing_are_made_in_turn(connection: dicomsql.Connection) -> None:
    update = "UPDATE google.healthcare.dicom_stores SET labels.x = ? WHERE dicomStoresId = ?"
    sets = [[str(n), "s"] for n in range(20)]
    assert connection.cursor().executemany(update, sets).rowcount == 20
    label = "SELECT labels->>'x' FROM google.healthcare.dicom_stores WHERE dicomStoresId = 's'"
    assert connection.execute(label).fetchone() == ("19",)
    with pytest.raises(dicomsql.OperationalError, match=r"1 of 3 rows .* 1 were not tried"):
        connection.cursor().executemany(update, [["a", "s"], ["b", "none"], ["c", "s"]])
    assert connection.execute(label).fetchone() == ("a",)


def test_consent_is_asked_once_for_all(filled_root: Path, tmp_path: Path) -> None:
    root = tmp_path / "emulator"
    shutil.copytree(filled_root, root)
    asked: list[str] = []

    def consent(sentence: str) -> bool:
        asked.append(sentence)
        return False

    studies = "SELECT StudyInstanceUID FROM google.healthcare.studies"
    delete = "DELETE FROM google.healthcare.studies WHERE StudyInstanceUID = ?"
    with dicomsql.connect(local=root, consent=consent, **PLACE) as connection:
        uids = connection.execute(studies).fetchall()
        with pytest.raises(dicomsql.ProgrammingError, match="not allowed"):
            connection.cursor().executemany(delete, uids)
        assert len(asked) == 1
        assert f"{len(uids)} studies" in asked[0]
        assert len(connection.execute(studies).fetchall()) == len(uids)
    with dicomsql.connect(local=root, yes=True, **PLACE) as connection:
        assert connection.cursor().executemany(delete, uids).rowcount == len(uids)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT ?",
        "SHOW PROVIDERS",
        "EXPLAIN SELECT ?",
        f"{INSERT} RETURNING dicomStoreId",
        "EXEC google.healthcare.datasets.get @datasetsId = ?",
        "SELECT 1; SELECT ?",
    ],
)
def test_statements_that_give_rows(connection: dicomsql.Connection, statement: str) -> None:
    sets = [["a"]] if "?" in statement else [[]]
    with pytest.raises(dicomsql.ProgrammingError, match=r"no rows|One statement"):
        connection.cursor().executemany(statement, sets)
    assert stores(connection) == ["s"]


@pytest.mark.parametrize("autocommit", [True, False])
def test_local_tables_get_all_sets_or_none(autocommit: bool) -> None:
    with dicomsql.connect(autocommit=autocommit) as connection:
        cursor = connection.execute("CREATE TABLE t (n INTEGER CHECK (n < 3))")
        connection.commit()
        assert cursor.executemany("INSERT INTO t VALUES (?)", [[1], [2]]).rowcount == 2
        connection.commit()
        with pytest.raises(dicomsql.IntegrityError):
            cursor.executemany("INSERT INTO t VALUES (:n)", [{"n": 0}, {"n": 9}])
        assert not connection.in_transaction
        assert cursor.execute("SELECT n FROM t ORDER BY n").fetchall() == [(1,), (2,)]


@pytest.mark.parametrize("sets", ["abc", b"abc", {"a": 1}, 3, None])
def test_what_is_no_sequence_of_sets(connection: dicomsql.Connection, sets: object) -> None:
    with pytest.raises(dicomsql.ProgrammingError, match="sequence of sets"):
        connection.cursor().executemany(INSERT, sets)  # type: ignore[arg-type]


def test_no_sets_at_all_and_sets_of_a_generator(connection: dicomsql.Connection) -> None:
    cursor = connection.cursor()
    assert cursor.executemany(INSERT, []).rowcount == 0
    assert cursor.executemany(INSERT, ([name] for name in "ab")).rowcount == 2


LOCAL: list[tuple[str, list[Any], int]] = [
    ("INSERT INTO t VALUES (?, ?)", [(7, "a"), (8, None), (9, "b")], 3),
    ("INSERT INTO t VALUES (?, ?), (0, 'z')", [(7, "a"), (8, "b")], 4),
    # Values of other types than the first set has.
    ("INSERT INTO t VALUES (?, ?)", [(7, "a"), ("8", 5), (None, None)], 3),
    ("INSERT INTO t (b) VALUES (:b)", [{"b": "x"}, {"b": "y", "c": 1}], 2),
    ("INSERT INTO t SELECT ?, b FROM t WHERE a < ?", [(7, 2), (8, 0), (9, 3)], 1 + 0 + 2),
    ("UPDATE t SET b = ? WHERE a <= ?", [("x", 3), ("y", 1), ("z", 0)], 3 + 1 + 0),
    ("DELETE FROM t WHERE a = ?", [(1,), (1,), (2,)], 2),
]


@pytest.mark.parametrize(("sql", "sets", "rows"), LOCAL)
def test_local_tables_get_what_single_statements_would_write(
    sql: str, sets: list[Any], rows: int
) -> None:
    made = "CREATE TABLE t AS SELECT a, 'b' AS b FROM range(1, 4) t(a)"
    found = []
    for many in (True, False):
        with dicomsql.connect(anonymous=True, autocommit=True) as connection:
            cursor = connection.execute(made)
            if many:
                assert cursor.executemany(sql, sets).rowcount == rows
            else:
                for one in sets:
                    cursor.execute(sql, one)
            found.append(cursor.execute("SELECT * FROM t ORDER BY ALL").fetchall())
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("sql", "sets", "said"),
    [
        ("INSERT INTO t VALUES (?)", [(1,), (2,), (5,), (3,), (4,)], "Set 3: CHECK"),
        ("INSERT INTO t VALUES (?)", [(5,), (1,)], "Set 1: CHECK"),
        ("INSERT INTO t VALUES (?)", [(1,), ("x",)], "Set 2: Could not convert"),
        ("INSERT INTO t VALUES (?)", [(1,), (1, 2)], "Set 2: .* 2 parameters"),
        ("INSERT INTO t VALUES (:a)", [{"a": 1}, {"b": 1}], "Set 2: .*:a has no value"),
        ("UPDATE t SET a = ?", [(1,), (2,), (5,)], "Set 3: CHECK"),
        ("INSERT INTO t SELECT ?", [(1,), (5,)], "Set 2: CHECK"),
    ],
)
def test_an_error_tells_the_set_and_takes_all_back(sql: str, sets: list[Any], said: str) -> None:
    with dicomsql.connect(anonymous=True, autocommit=True) as connection:
        cursor = connection.execute("CREATE TABLE t (a INTEGER CHECK (a <> 5))")
        cursor.execute("INSERT INTO t VALUES (0)")
        with pytest.raises(dicomsql.DatabaseError, match=said):
            cursor.executemany(sql, sets)
        assert cursor.execute("SELECT a FROM t").fetchall() == [(0,)]
