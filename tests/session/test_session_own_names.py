"""Tables of a statement's own are never taken for the user's, nor the user's for resources."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import dicomsql

STUDIES = "google.healthcare.studies"


@pytest.fixture
def connection(filled_root: Path) -> Iterator[Any]:
    place = {"project": "p", "location": "us-central1", "dataset": "d", "dicom_store": "s"}
    with dicomsql.connect(local=str(filled_root), autocommit=True, **place) as made:
        yield made


@pytest.mark.parametrize(
    ("query", "mine"),
    [
        (f"SELECT {{0}}.PatientID FROM {{0}}, {STUDIES} s", ["mine"] * 5),
        (f"SELECT s.PatientID FROM {{0}}, {STUDIES} s, {STUDIES} r WHERE s.PatientID < 'a'", None),
        (f"SELECT PatientID FROM {STUDIES} WHERE PatientID IN (SELECT PatientID FROM {{0}})", []),
        (
            f"WITH {{0}} AS (SELECT 'mine' AS PatientID) SELECT q.* FROM {{0}} q, {STUDIES}",
            ["mine"] * 5,
        ),
    ],
)
@pytest.mark.parametrize("name", ["scan_1", "SCAN_2", "bound_1"])
def test_a_table_may_have_the_name_of_one_of_ours(
    connection: Any, name: str, query: str, mine: list[str] | None
) -> None:
    connection.execute(f"CREATE TABLE {name} AS SELECT 'mine' AS PatientID")
    found = [row[0] for row in connection.execute(query.format(name)).fetchall()]
    if mine is None:
        assert found
        assert "mine" not in found
    else:
        assert found == mine


def test_a_name_with_a_dot_in_it_is_no_resource(connection: Any) -> None:
    connection.execute(f'CREATE TABLE "{STUDIES}" AS SELECT 7 AS a')
    assert connection.execute(f"SELECT count(*) FROM {STUDIES}").fetchall() == [(5,)]
    assert connection.execute(f'SELECT * FROM "{STUDIES}"').fetchall() == [(7,)]
    connection.execute(f'INSERT INTO main."{STUDIES}" VALUES (8)')
    assert len(connection.execute(f'SELECT a FROM memory.main."{STUDIES}"').fetchall()) == 2
    connection.execute('CREATE VIEW "a.b" AS SELECT PatientID FROM google.healthcare.studies')
    connection.execute("CREATE SCHEMA a; CREATE TABLE a.b AS SELECT 9 AS c")
    assert connection.execute("SELECT * FROM a.b").fetchall() == [(9,)]
    assert len(connection.execute('SELECT * FROM "a.b"').fetchall()) == 5


@pytest.mark.parametrize("mode", ["create", "create_append"])
def test_any_name_can_be_ingested_into(connection: Any, mode: str) -> None:
    cursor = connection.cursor()
    assert cursor.adbc_ingest("dicomsql_ingested", pa.table({"a": [1, 2]}), mode) == 2
    assert cursor.execute("FROM dicomsql_ingested").fetchall() == [(1,), (2,)]
