"""Commit and rollback: local tables are transactional, and what calls did stays, and is told."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import dicomsql

PLACE = {"project": "p", "location": "us-central1", "dataset": "d", "dicom_store": "s"}
INSERT = "INSERT INTO google.healthcare.dicom_stores (dicomStoreId) VALUES ('made')"
COUNT = "SELECT count(*) FROM t"


@pytest.fixture
def connection(filled_root: Path, tmp_path: Path) -> Iterator[dicomsql.Connection]:
    root = tmp_path / "emulator"
    shutil.copytree(filled_root, root)
    with dicomsql.connect(local=root, **PLACE) as connection:
        connection.execute("CREATE TABLE t (n INTEGER)")
        connection.commit()
        yield connection


def test_what_was_not_committed_is_rolled_back(connection: dicomsql.Connection) -> None:
    assert not connection.in_transaction
    connection.execute("INSERT INTO t VALUES (1)")
    assert connection.in_transaction
    assert connection.execute(COUNT).fetchone() == (1,)
    connection.rollback()
    assert not connection.in_transaction
    assert connection.execute(COUNT).fetchone() == (0,)
    connection.execute("INSERT INTO t VALUES (1)")
    connection.commit()
    connection.rollback()
    assert connection.execute(COUNT).fetchone() == (1,)


def test_a_rollback_after_calls_undoes_what_is_local_and_says_what_stays(
    connection: dicomsql.Connection,
) -> None:
    connection.execute("INSERT INTO t VALUES (1)")
    connection.execute(INSERT)
    with pytest.raises(dicomsql.NotSupportedError, match=r"1 call .* cannot be rolled back: .*it"):
        connection.rollback()
    assert connection.execute(COUNT).fetchone() == (0,)
    stores = "SELECT dicomStoresId FROM google.healthcare.dicom_stores ORDER BY 1"
    assert connection.execute(stores).fetchall() == [("made",), ("s",)]
    # It is told once.
    connection.rollback()


def test_a_rollback_after_calls_that_were_committed_or_only_read(
    connection: dicomsql.Connection,
) -> None:
    connection.execute(INSERT)
    connection.commit()
    connection.execute("SELECT * FROM google.healthcare.dicom_stores").fetchall()
    connection.rollback()


def test_cursors_of_a_connection_see_one_transaction(connection: dicomsql.Connection) -> None:
    first, second = connection.cursor(), connection.cursor()
    first.execute("INSERT INTO t VALUES (1)")
    assert second.execute(COUNT).fetchone() == (1,)
    second.execute("INSERT INTO t VALUES (2)")
    assert first.execute(COUNT).fetchone() == (2,)


def test_autocommit_is_switched_between_transactions(connection: dicomsql.Connection) -> None:
    assert connection.autocommit is False
    connection.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(dicomsql.ProgrammingError, match="A transaction is open"):
        connection.autocommit = True
    connection.commit()
    connection.autocommit = True
    connection.execute("INSERT INTO t VALUES (2)")
    assert not connection.in_transaction
    connection.rollback()
    assert connection.execute(COUNT).fetchone() == (2,)


@pytest.mark.parametrize("ending", ["with", "error", "close", "commit"])
def test_what_a_file_holds_after_each_ending(tmp_path: Path, ending: str) -> None:
    file = tmp_path / "local.duckdb"
    connection = dicomsql.connect(database=file)
    if ending == "with":
        with connection:
            connection.execute("CREATE TABLE kept (n INTEGER)")
    elif ending == "error":
        with pytest.raises(ZeroDivisionError), connection:
            connection.execute("CREATE TABLE kept (n INTEGER)")
            _ = 1 / 0
    else:
        connection.execute("CREATE TABLE kept (n INTEGER)")
        if ending == "commit":
            connection.commit()
        connection.close()
    assert connection.closed
    with dicomsql.connect(database=file) as again:
        if ending in {"with", "commit"}:
            assert again.execute("SELECT count(*) FROM kept").fetchone() == (0,)
        else:
            with pytest.raises(dicomsql.ProgrammingError, match="kept"):
                again.execute("SELECT count(*) FROM kept")


def test_a_closed_connection_commits_nothing(connection: dicomsql.Connection) -> None:
    connection.close()
    assert not connection.in_transaction
    for method in (connection.commit, connection.rollback):
        with pytest.raises(dicomsql.InterfaceError, match="closed"):
            method()
    with pytest.raises(dicomsql.InterfaceError, match="closed"):
        connection.autocommit = True
