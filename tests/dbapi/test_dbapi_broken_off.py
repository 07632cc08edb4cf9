"""Fetches that fail, are interrupted, or whose connection is closed: never a part for the whole."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import dicomsql

MANY = "SELECT i, CASE WHEN i = 150000 THEN DATE '10000-01-01' END AS d FROM range(200000) t(i)"


@pytest.fixture
def connection() -> Any:
    with dicomsql.connect() as made:
        yield made


@pytest.mark.parametrize("fetch", ["fetchall", "fetchmany"])
def test_a_value_that_python_has_not_takes_no_row(connection: Any, fetch: str) -> None:
    cursor = connection.execute(MANY)
    assert len(cursor.fetchmany(3)) == 3
    with pytest.raises(dicomsql.DataError, match="fetch_arrow_table"):
        getattr(cursor, fetch)(*([199_000] if fetch == "fetchmany" else []))
    assert cursor.rownumber == 3
    assert cursor.fetch_arrow_table()["i"].to_pylist() == list(range(3, 200_000))


class Interrupts:
    """Makes rows until one, at which it raises."""

    def __init__(self, raised: BaseException) -> None:
        self.raised = raised

    def __call__(self, cursor: Any) -> Any:
        def make(row: tuple[Any, ...]) -> tuple[Any, ...]:
            if row[0] == 10_000:
                raise self.raised
            return row

        return make


def test_a_row_factory_that_fails_takes_no_row(connection: Any) -> None:
    cursor = connection.cursor(row_factory=Interrupts(ValueError("no")))
    cursor.execute("SELECT i FROM range(20000) t(i)")
    with pytest.raises(ValueError, match="no"):
        cursor.fetchall()
    assert cursor.fetch_arrow_table().num_rows == 20_000


def test_after_ctrl_c_the_rest_does_not_pass_for_all(connection: Any) -> None:
    cursor = connection.cursor(row_factory=Interrupts(KeyboardInterrupt()))
    cursor.execute("SELECT i FROM range(20000) t(i)")
    with pytest.raises(KeyboardInterrupt):
        cursor.fetchall()
    for fetch in (cursor.fetchall, cursor.fetchone, cursor.fetch_arrow_table):
        with pytest.raises(dicomsql.InterfaceError, match="broken off"):
            fetch()


def test_a_reader_whose_connection_another_closes_is_told() -> None:
    connection = dicomsql.connect()
    reader = connection.execute("SELECT i FROM range(500000) t(i)").fetch_record_batch()
    reader.read_next_batch()
    connection.close()
    with pytest.raises(Exception, match=r"closed|cancelled"):
        reader.read_all()


# The end has begun when the session is asked to close; what was registered last is called first.
LEFT_TO_A_THREAD = """
import threading
import dicomsql

cursor = dicomsql.connect().execute("SELECT i FROM range(500000) t(i)")
first, ending = threading.Event(), threading.Event()
threading._register_atexit(ending.set)

def read():
    reader = cursor.fetch_record_batch()
    count = reader.read_next_batch().num_rows
    first.set()
    ending.wait()
    print(count + sum(batch.num_rows for batch in reader))

threading.Thread(target=read).start()
first.wait()
"""

# Either would wait for ever for the other.
WAITS_FOR_MAIN = """
import threading
import dicomsql

connection = dicomsql.connect()
first = threading.Event()

def ask():
    connection.execute("SELECT 1").fetchall()
    first.set()
    threading.main_thread().join()
    print("over")

threading.Thread(target=ask).start()
first.wait()
"""

FIRST_AFTER_THE_END = """
import threading
import dicomsql

connection = dicomsql.connect()

def ask():
    threading.main_thread().join()
    try:
        connection.execute("SELECT 1 + 1").fetchall()
    except dicomsql.InterfaceError:
        print("refused")

threading.Thread(target=ask).start()
"""

CLOSED_IN_A_CHILD = """
import os
import threading
import warnings
import dicomsql

warnings.simplefilter("ignore")
held, over = threading.Event(), threading.Event()

def make(row):
    held.set()
    over.wait()
    return row

connection = dicomsql.connect()
cursor = connection.cursor(row_factory=lambda _: make).execute("SELECT 1")
reads = threading.Thread(target=cursor.fetchall)
reads.start()
held.wait()
child = os.fork()
if child == 0:
    connection.close()
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
over.set()
reads.join()
"""


@pytest.mark.parametrize(
    ("script", "said"),
    [
        pytest.param(LEFT_TO_A_THREAD, "500000", id="a thread reads on after the main one"),
        pytest.param(FIRST_AFTER_THE_END, "refused", id="a thread begins after the main one"),
        pytest.param(WAITS_FOR_MAIN, "over", id="a thread waits for the main one"),
        pytest.param(
            CLOSED_IN_A_CHILD,
            "7",
            id="a forked child closes",
            marks=pytest.mark.skipif(sys.platform == "win32", reason="there is no fork"),
        ),
    ],
)
def test_processes(script: str, said: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.stdout.strip() == said, run.stderr


class CtrlC:
    """Comes as the first call of that name returns, as a signal would."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.came = False

    def __call__(self, frame: Any, event: str, _: object) -> Any:
        frame.f_trace_lines = False
        if event == "return" and frame.f_code.co_name == self.name and not self.came:
            self.came = True
            raise KeyboardInterrupt
        return self


@pytest.mark.parametrize("name", ["is_mine", "_check", "_readable"])
def test_ctrl_c_leaves_no_cursor_in_use(connection: Any, name: str) -> None:
    cursor = connection.execute("SELECT i FROM range(20000) t(i)")
    came, before = CtrlC(name), sys.gettrace()
    sys.settrace(came)
    try:
        with pytest.raises(KeyboardInterrupt):
            cursor.fetchall()
    finally:
        sys.settrace(before)
    assert came.came
    assert cursor.execute("SELECT 7").fetchall() == [(7,)]
    cursor.close()


def test_what_makes_rows_cannot_fetch_or_close_within(connection: Any) -> None:
    cursor = connection.cursor(row_factory=lambda c: lambda row: c.fetchall())
    cursor.execute("SELECT 1")
    with pytest.raises(dicomsql.InterfaceError, match="used already"):
        cursor.fetchall()


def test_a_row_at_hand_is_not_taken_from_under_another_fetch(connection: Any) -> None:
    held, over = threading.Event(), threading.Event()

    def make(row: tuple[Any, ...]) -> tuple[Any, ...]:
        held.set()
        assert over.wait(20)
        return row

    cursor = connection.execute("SELECT i FROM range(10) t(i)")
    cursor.fetchone()
    with ThreadPoolExecutor(1) as other:
        rest = other.submit(cursor._stream.take, None, make)
        assert held.wait(20)
        with pytest.raises(dicomsql.InterfaceError, match="Another thread"):
            cursor.fetchone()
        over.set()
        assert len(rest.result(timeout=20)) == 9
