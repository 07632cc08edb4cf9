"""The DB-API awaited: the same surface, a loop that goes on, tasks that are cancelled."""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

import dicomsql
from dicomsql import aio
from dicomsql.aio.threads import Workers

STUDIES = "SELECT PatientID FROM dicomweb.standard.studies"
HELD = 2_500


class Pacs:
    """A server of studies that answers, after its first pages, once it is let.

    Attributes:
        asked: set by a call that waits.
        free: lets calls go on.
    """

    def __init__(self, first_pages: int) -> None:
        self.asked, self.free = threading.Event(), threading.Event()
        self.first_pages = first_pages

    def page(self, target: str) -> list[dict[str, Any]]:
        query = parse_qs(urlsplit(target).query)
        offset, size = int(query.get("offset", ["0"])[0]), int(query["limit"][0])
        if offset >= self.first_pages:
            self.asked.set()
            self.free.wait(30)
        return [
            {
                "0020000D": {"vr": "UI", "Value": [f"1.2.{n}"]},
                "00100020": {"vr": "LO", "Value": [f"p{n}"]},
            }
            for n in range(offset, min(offset + size, HELD))
        ]


@contextmanager
def serving(pacs: Pacs) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            body = json.dumps(pacs.page(self.path)).encode()
            self.send_response(200)
            self.send_header("content-type", "application/dicom+json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # calls are broken off
    serves = threading.Thread(target=server.serve_forever)
    serves.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        pacs.free.set()
        server.shutdown()
        server.server_close()
        serves.join()


def own_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("dicomsql")]


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)
    assert own_threads() == []


def surface(of: type) -> set[str]:
    return {name for name in dir(of) if not name.startswith("_")}


def test_the_surface_is_that_of_the_blocking_module() -> None:
    # How many rows need no waiting is what the awaited cursor asks the other for.
    assert surface(dicomsql.Cursor) - surface(aio.AsyncCursor) == {"rows_at_hand"}
    assert surface(dicomsql.Connection) <= surface(aio.AsyncConnection) | {"row_factory"}
    for blocking, awaited in (
        (dicomsql.Cursor, aio.AsyncCursor),
        (dicomsql.Connection, aio.AsyncConnection),
    ):
        for name in surface(awaited) & surface(blocking):
            method = getattr(blocking, name)
            if inspect.isfunction(method):
                taken = list(inspect.signature(getattr(awaited, name)).parameters)
                assert taken == list(inspect.signature(method).parameters), name


def test_rows_are_fetched_in_every_way(tmp_path: Path) -> None:
    async def main() -> None:
        async with aio.connect(local=tmp_path) as connection:
            cursor = await connection.execute("SELECT i FROM range(?) AS r(i)", [1_000])
            assert await cursor.fetchone() == (0,)
            assert cursor.rownumber == 1
            assert await cursor.fetchmany(2) == [(1,), (2,)]
            await cursor.scroll(2)
            assert [row async for row in cursor] == [(i,) for i in range(5, 1_000)]
            await cursor.execute("SELECT 1 AS a; SELECT 2 AS b")
            assert await cursor.fetchall() == [(1,)]
            assert await cursor.nextset()
            assert cursor.description is not None
            assert cursor.description[0][:2] == ("b", "INTEGER")
            await cursor.execute("SELECT i FROM range(5) AS r(i)")
            batches = await cursor.to_arrow_reader(2)
            assert batches.schema.names == ["i"]
            assert [batch.num_rows async for batch in batches] == [2, 2, 1]
            await cursor.execute("SELECT 7 AS a")
            assert (await cursor.fetch_arrow_table()).to_pylist() == [{"a": 7}]
            async with connection.cursor(row_factory=dicomsql.dict_row) as named:
                assert await (await named.execute("SELECT 7 AS a")).fetchone() == {"a": 7}
            assert named.closed
            with pytest.raises(dicomsql.InterfaceError, match="closed"):
                await named.fetchone()
        assert connection.closed
        await connection.close()
        with pytest.raises(dicomsql.InterfaceError, match="closed"):
            await cursor.execute("SELECT 1")

    run(main())


def test_writes_and_methods_are_called(own_root: Path) -> None:
    async def main() -> None:
        async with aio.connect(local=own_root, project="p", location="us-central1") as connection:
            cursor = connection.cursor()
            await cursor.executemany(
                "INSERT INTO google.healthcare.datasets (datasetId) VALUES (?)", [["a"], ["b"]]
            )
            assert cursor.rowcount == 2
            await cursor.callproc("google.healthcare.datasets.list")
            names = [row[0].rpartition("/")[2] for row in await cursor.fetchall()]
            assert {"a", "b"} <= set(names)

    run(main())


def test_a_block_commits_unless_it_fails(tmp_path: Path) -> None:
    database = tmp_path / "cohort.duckdb"

    async def main() -> None:
        async with aio.connect(database=database) as connection:
            await connection.execute("CREATE TABLE kept AS SELECT 1 AS a")
            assert connection.in_transaction
        with pytest.raises(ZeroDivisionError):
            async with aio.connect(database=database) as connection:
                await connection.execute("INSERT INTO kept VALUES (2)")
                raise ZeroDivisionError
        async with aio.connect(database=database, autocommit=True) as connection:
            assert connection.autocommit
            assert await (await connection.execute("FROM kept")).fetchall() == [(1,)]
            connection.autocommit = False
            await connection.execute("DELETE FROM kept")
            await connection.rollback()
            assert await (await connection.execute("FROM kept")).fetchall() == [(1,)]

    run(main())


def test_an_argument_that_does_not_fit_leaves_nothing_open() -> None:
    async def main() -> None:
        with pytest.raises(dicomsql.InterfaceError):
            await aio.connect(endpoint="ftp://nowhere")

    run(main())


def test_the_first_rows_come_before_the_last_page_and_the_loop_goes_on() -> None:
    pacs = Pacs(first_pages=1)

    async def main(endpoint: str) -> None:
        async with aio.connect(endpoint=endpoint) as connection:
            cursor = await connection.execute(STUDIES)
            assert await cursor.fetchone() == ("p0",)
            rest = asyncio.create_task(cursor.fetchall())
            await asyncio.to_thread(pacs.asked.wait, 30)
            # Another cursor is asked meanwhile, and another task frees the server.
            assert await (await connection.execute("SELECT 5")).fetchone() == (5,)
            assert not rest.done()
            with pytest.raises(dicomsql.InterfaceError, match="task"):
                await cursor.fetchone()
            pacs.free.set()
            assert len(await rest) == HELD - 1

    with serving(pacs) as endpoint:
        run(main(endpoint))


@pytest.mark.parametrize("pages", [0, 1], ids=["before the first row", "between rows"])
def test_a_cancelled_task_stops_its_statement(pages: int) -> None:
    pacs = Pacs(first_pages=pages)

    async def main(endpoint: str) -> None:
        async with aio.connect(endpoint=endpoint) as connection:
            cursor = connection.cursor()

            async def work() -> None:
                await cursor.execute(STUDIES)
                await cursor.fetchall()

            task = asyncio.create_task(work())
            await asyncio.to_thread(pacs.asked.wait, 30)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not pacs.free.is_set()
            with pytest.raises(dicomsql.InterfaceError, match="cancelled"):
                await cursor.fetchone()
            # The others, and the cursor itself, can be used.
            assert await (await connection.execute("SELECT 5")).fetchone() == (5,)
            await cursor.execute("SELECT 6")
            assert await cursor.fetchone() == (6,)

    with serving(pacs) as endpoint:
        run(main(endpoint))


def test_a_timeout_stops_what_the_engine_computes(tmp_path: Path) -> None:
    endless = "SELECT count(*) FROM range(1000000000000) AS a(i), range(1000) AS b(j) WHERE i <> j"

    async def main() -> None:
        async with aio.connect(local=tmp_path) as connection:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await (await connection.execute(endless)).fetchall()
            assert await (await connection.execute("SELECT 5")).fetchone() == (5,)

    run(main())


@pytest.mark.parametrize("end", ["cancel", "close"])
def test_another_task_ends_the_statement(end: str) -> None:
    pacs = Pacs(first_pages=0)

    async def main(endpoint: str) -> None:
        async with aio.connect(endpoint=endpoint) as connection:

            async def work() -> None:
                async with connection.execute(STUDIES) as cursor:
                    await cursor.fetchall()

            task = asyncio.create_task(work())
            await asyncio.to_thread(pacs.asked.wait, 30)
            if end == "cancel":
                connection.cancel()
            else:
                await asyncio.gather(connection.close(), connection.close())
            with pytest.raises((dicomsql.OperationalError, dicomsql.InterfaceError)):
                await task
            assert not pacs.free.is_set()
            assert connection.closed == (end == "close")

    with serving(pacs) as endpoint:
        run(main(endpoint))


def test_what_failed_while_a_task_was_cancelled_is_told() -> None:
    begun, stopped = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        stopped.wait(30)
        raise ValueError("two of three rows were written")

    async def main() -> None:
        workers = Workers()
        task = asyncio.create_task(workers.run(work, stopped.set))
        await asyncio.to_thread(begun.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await task
        assert isinstance(cancelled.value.__cause__, ValueError)
        await workers.finish(lambda: None, lambda: None)

    run(main())


def test_importing_the_module_imports_nothing_of_asyncio() -> None:
    import subprocess
    import sys

    program = "import sys, dicomsql; assert 'asyncio' not in sys.modules; dicomsql.aio.connect"
    subprocess.run([sys.executable, "-c", program], check=True)
