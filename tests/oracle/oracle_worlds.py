"""The worlds that have to agree: the product over a server, and DuckDB over the same datasets."""

from __future__ import annotations

import os
import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import httpx
from hypothesis import HealthCheck, settings
from oracle_queries import Order, Query
from oracle_reading import Rows

from dicomsql.session import Session
from dicomsql.transport.asgi import open_local

PLACE = {"project": "p", "location": "us-central1", "dataset": "oracle", "dicom_store": "s"}

# `make conformance` asks for more of all. Orthanc reads files to answer a search, so it gets less.
INSTANCES = int(os.environ.get("DICOMSQL_ORACLE_INSTANCES", "1000"))
QUERIES = int(os.environ.get("DICOMSQL_ORACLE_QUERIES", "250"))
ORTHANC_INSTANCES = int(os.environ.get("DICOMSQL_ORACLE_ORTHANC_INSTANCES", "200"))
ORTHANC_QUERIES = int(os.environ.get("DICOMSQL_ORACLE_ORTHANC_QUERIES", "50"))

# The same queries in every run; what fails shrinks, and is not kept for the next.
PROFILE = settings(
    derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)

_AT_A_TIME = 100
_SHOWN = 10

_Row = tuple[Any, ...]


@dataclass
class World:
    """The product on one server, beside the tables of the oracle."""

    session: Session
    oracle: duckdb.DuckDBPyConnection

    def check(self, query: Query) -> None:
        """Run a query in both and compare.

        Raises:
            AssertionError: they differ; its text has both queries, the plan and the rows.
        """
        expected = plain_rows(self.oracle, query.whole or query.plain)
        try:
            found = rows_of(self.session, query.ours)
        except Exception as error:
            error.add_note(self._told(query))
            raise
        if query.order is Order.SOME:
            number = len(plain_rows(self.oracle, query.plain))
            fine = len(found) == number and not Counter(found) - Counter(expected)
        elif query.order is Order.TOTAL:
            fine = found == expected
        else:
            fine = Counter(found) == Counter(expected)
        if not fine:
            raise AssertionError(self._told(query) + "\n" + _difference(found, expected))

    def columns(self, sql: str) -> list[tuple[str, str]]:
        """The names and types of a query's columns."""
        (statement,) = self.session.parse(sql)
        result = self.session.execute(statement)
        assert result.columns is not None
        result.close()
        return [(column.name, column.type) for column in result.columns]

    def _told(self, query: Query) -> str:
        try:
            plan = "\n".join(str(row[0]) for row in rows_of(self.session, "EXPLAIN " + query.ours))
        except Exception as error:  # noqa: BLE001 - it is shown
            plan = f"{type(error).__name__}: {error}"
        return f"\ndicomsql: {query.ours}\nDuckDB:   {query.plain}\n{plan}"


def rows_of(session: Session, sql: str) -> list[_Row]:
    """All rows of a statement, each value in a form that both worlds write alike."""
    (statement,) = session.parse(sql)
    rows: list[_Row] = []
    for batch in session.execute(statement).batches():
        columns = [column.to_pylist() for column in batch.columns]
        rows += ([_plain(v) for v in row] for row in zip(*columns, strict=True))  # type: ignore[misc]
    return [tuple(row) for row in rows]


def plain_rows(connection: duckdb.DuckDBPyConnection, sql: str) -> list[_Row]:
    """All rows of a query over the oracle's tables."""
    return [tuple(map(_plain, row)) for row in connection.sql(sql).fetchall()]


def _plain(value: Any) -> Any:
    """A value that can be counted; a float without the digits that its text in JSON may lack."""
    if isinstance(value, list):
        return tuple(map(_plain, value))
    if isinstance(value, float):
        return f"{value + 0.0:.12g}"
    return value


def _difference(found: list[_Row], expected: list[_Row]) -> str:
    lines = [f"{len(found):,} rows, {len(expected):,} expected"]
    for title, rows in (
        ("only in dicomsql's", Counter(found) - Counter(expected)),
        ("only in DuckDB's", Counter(expected) - Counter(found)),
    ):
        listed = sorted(map(repr, rows.elements()))
        lines += [f"{title} ({len(listed):,}):", *(f"  {row}" for row in listed[:_SHOWN])]
    return "\n".join(lines)


def tables(rows: Rows) -> duckdb.DuckDBPyConnection:
    """The oracle: an engine with nothing but the rows."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    rows.tables(connection)
    return connection


def fill_emulator(root: Path, files: Iterable[bytes]) -> int:
    """Make a store on the emulator's folder and store the files; gives their number."""
    dataset = f"/v1/projects/{PLACE['project']}/locations/{PLACE['location']}/datasets"
    store = f"{dataset}/{PLACE['dataset']}/dicomStores"
    stored = 0
    with httpx.Client(transport=open_local(root), base_url="http://emulator") as client:
        client.post(dataset, params={"datasetId": PLACE["dataset"]}).raise_for_status()
        client.post(store, params={"dicomStoreId": PLACE["dicom_store"]}).raise_for_status()
        path = f"{store}/{PLACE['dicom_store']}/dicomWeb/studies"
        left = list(files)
        while left:
            some, left = left[:_AT_A_TIME], left[_AT_A_TIME:]
            boundary = uuid.uuid4().hex
            head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
            body = b"".join(head + file + b"\r\n" for file in some) + f"--{boundary}--".encode()
            kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
            answer = client.post(path, content=body, headers={"Content-Type": kind}, timeout=120)
            answer.raise_for_status()
            stored += len(some)
    return stored
