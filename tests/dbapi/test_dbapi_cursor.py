"""Cursors beyond executing and fetching: callproc, scroll, messages, threads, cancelling."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import dicomsql
from dicomsql.errors import CancelledError
from dicomsql.result import Result

PLACE = {"project": "p", "location": "us-central1", "dataset": "d", "dicom_store": "s"}
SEARCH = "google.healthcare.dicom_stores.search_for_studies"
ENDLESS = "SELECT count(*) FROM range(1000000) AS a, range(1000000) AS b WHERE a.range < b.range"


@pytest.fixture
def connection(filled_root: Path) -> Iterator[dicomsql.Connection]:
    with dicomsql.connect(local=filled_root, **PLACE) as connection:
        yield connection


def test_callproc_calls_a_method(connection: dicomsql.Connection) -> None:
    cursor = connection.cursor(row_factory=dicomsql.dict_row)
    given = {"PatientID": "4MR1", "dicomStoresId": "s"}
    assert cursor.callproc(SEARCH, given) == given
    executed = connection.execute(f"EXEC {SEARCH} @PatientID = '4MR1', @dicomStoresId = 's'")
    assert [tuple(row.values()) for row in cursor.fetchall()] == executed.fetchall()
    assert cursor.description == executed.description
    assert cursor.callproc("google.healthcare.datasets.get", {"@datasetsId": "d"})
    assert len(cursor.fetchall()) == 1


@pytest.mark.parametrize(
    ("name", "parameters", "said"),
    [
        (SEARCH, ["4MR1"], "Parameters of a method have names"),
        (SEARCH, "4MR1", "Parameters of a method have names"),
        (SEARCH, {"PatientID = 'x' --": 1}, "is no name of a parameter"),
        (SEARCH, {"dicomStoresId": object()}, "is of the class object"),
        (f"{SEARCH} @a = 1", {}, "takes the name of a method"),
        (3, {}, "takes the name of a method"),
        ("google.healthcare.datasets.nothing", {}, "nothing"),
        ("google.healthcare.datasets.get", {"dataset": "d"}, "no parameter dataset"),
    ],
)
def test_what_callproc_refuses(
    connection: dicomsql.Connection, name: Any, parameters: Any, said: str
) -> None:
    with pytest.raises(dicomsql.ProgrammingError, match=said):
        connection.cursor().callproc(name, parameters)


def test_scroll_goes_forward(connection: dicomsql.Connection) -> None:
    cursor = connection.execute("SELECT i FROM range(30000) AS r(i)")
    cursor.scroll(2)
    assert cursor.fetchone() == (2,)
    cursor.scroll(20_000, mode="absolute")
    assert cursor.rownumber == 20_000
    assert cursor.fetchone() == (20_000,)
    cursor.scroll(0)
    for value, mode in ((-1, "relative"), (5, "absolute")):
        with pytest.raises(dicomsql.NotSupportedError, match="only goes forward"):
            cursor.scroll(value, mode)
    assert cursor.fetchone() == (20_001,)
    with pytest.raises(dicomsql.ProgrammingError, match="'relative' or 'absolute'"):
        cursor.scroll(1, "backward")
    with pytest.raises(IndexError):
        cursor.scroll(20_000)
    with pytest.raises(dicomsql.ProgrammingError, match="from 0 on"):
        cursor.fetchmany(-1)


def test_messages_are_those_of_the_last_statement(
    connection: dicomsql.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    cursor = connection.execute("SELECT 1")
    assert cursor.messages == []
    assert cursor.statistics is not None
    cursor.statistics.notes.append("One was skipped.")
    ((kind, warning),) = cursor.messages
    assert (kind, str(warning)) == (dicomsql.Warning, "One was skipped.")
    cursor.statistics.notes.append("Another one was.")
    assert [str(w) for _, w in cursor.messages] == ["One was skipped.", "Another one was."]
    del cursor.messages[:]
    assert cursor.messages == []
    cursor.statistics.notes.append("A third.")
    assert cursor.execute("SELECT 2").messages == []


def test_each_thread_with_a_cursor_of_its_own(connection: dicomsql.Connection) -> None:
    connection.execute("CREATE TABLE wanted AS SELECT '4MR1' AS PatientID")
    sql = """SELECT s.PatientID, ? FROM google.healthcare.studies AS s
             JOIN wanted USING (PatientID)"""

    def work(number: int) -> list[tuple[Any, ...]]:
        return connection.cursor().execute(sql, [number]).fetchall()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(24))) == [[("4MR1", n)] for n in range(24)]


def test_a_cursor_that_another_thread_uses(connection: dicomsql.Connection) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def batches(self: Result) -> Iterator[pa.RecordBatch]:
        inside.set()
        assert go_on.wait(20)
        yield pa.record_batch({"x": [1]})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Result, "batches", batches)
        cursor = connection.execute("SELECT 1 AS x")
    with ThreadPoolExecutor(1) as pool:
        fetched = pool.submit(cursor.fetchall)
        assert inside.wait(20)
        for use in (
            cursor.fetchone,
            cursor.fetchall,
            cursor.fetch_arrow_table,
            cursor.nextset,
            lambda: cursor.scroll(1),
            lambda: cursor.execute("SELECT 2"),
            lambda: cursor.executemany("SET projectsId = ?", [["p"]]),
            lambda: cursor.callproc(SEARCH),
        ):
            with pytest.raises(dicomsql.InterfaceError, match="Another thread uses this cursor"):
                use()
        go_on.set()
        assert fetched.result() == [(1,)]
    assert cursor.execute("SELECT 2").fetchall() == [(2,)]


@pytest.mark.parametrize("what", ["cursor", "connection"])
def test_cancel_from_another_thread(connection: dicomsql.Connection, what: str) -> None:
    cursor = connection.cursor()
    kept = connection.execute("SELECT i FROM range(50000) AS r(i)")
    assert kept.fetchone() == (0,)
    started = threading.Event()
    real = connection._session.execute

    def execute(*given: Any, **named: Any) -> Result:
        started.set()
        return real(*given, **named)

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as pool:
        patch.setattr(connection._session, "execute", execute)
        running = pool.submit(cursor.execute, ENDLESS)
        assert started.wait(20)
        while not running.done():
            (cursor if what == "cursor" else connection).cancel()
        with pytest.raises(CancelledError):
            running.result()
    assert cursor.execute("SELECT 1").fetchall() == [(1,)]
    if what == "cursor":
        assert len(kept.fetchall()) == 49_999
    else:
        with pytest.raises(CancelledError):
            kept.fetchall()


@pytest.mark.parametrize("what", ["cursor", "connection"])
def test_close_from_another_thread_stops_what_runs(filled_root: Path, what: str) -> None:
    connection = dicomsql.connect(local=filled_root, **PLACE)
    cursor = connection.execute("SELECT i FROM range(100000000) AS r(i)")
    assert cursor.fetchone() == (0,)
    with ThreadPoolExecutor(1) as pool:
        fetching = pool.submit(cursor.fetchall)
        (cursor if what == "cursor" else connection).close()
        with pytest.raises(dicomsql.Error):
            fetching.result()
    assert cursor.closed
    connection.close()


def test_a_factory_that_asks_the_cursor_while_it_runs(connection: dicomsql.Connection) -> None:
    def factory(cursor: dicomsql.Cursor[Any], /) -> Any:
        assert cursor.description is not None
        names = [column[0] for column in cursor.description]
        return lambda values: (names, cursor.rownumber, values)

    cursor = connection.cursor(row_factory=factory).execute("SELECT 1 AS a")
    assert cursor.fetchone() == (["a"], 1, (1,))
