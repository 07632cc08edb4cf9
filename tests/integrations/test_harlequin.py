"""The adapter for Harlequin, by the calls that Harlequin makes; no terminal is needed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harlequin import HarlequinAdapter
from harlequin.catalog import CatalogItem
from harlequin.exception import (
    HarlequinConfigError,
    HarlequinConnectionError,
    HarlequinQueryError,
)
from harlequin.query import RowLimit, execute, fetch
from harlequin.statements import Statement

from dicomsql.integrations.harlequin import Adapter
from dicomsql.integrations.harlequin.adapter import Connection, Cursor
from dicomsql.integrations.harlequin.labels import short


@pytest.fixture
def connection(filled_root: Path) -> Iterator[Connection]:
    connection = Adapter(["p/us-central1/d/s"], local=filled_root, theme="nord").connect()
    yield connection
    connection.close()


def inside(connection: Connection, *path: str) -> list[CatalogItem]:
    """The items below a path of the catalog, unfolded as Harlequin does."""
    items = connection.get_catalog().items
    for label in path:
        found = next(item for item in items if item.label == label)
        items = list(found.fetch_children())  # type: ignore[attr-defined]
    return items


def rows_of(cursor: Cursor) -> list[dict[str, Any]]:
    found = cursor.fetchall()
    assert found is not None
    rows: list[dict[str, Any]] = found.to_pylist()
    return rows


def named(items: list[CatalogItem]) -> list[str]:
    return [item.label for item in items]


def test_it_is_an_adapter_whose_options_are_those_of_a_connection() -> None:
    assert issubclass(Adapter, HarlequinAdapter)
    names = [option.name for option in Adapter.ADAPTER_OPTIONS]
    assert len(names) == len(set(names))
    assert "password" not in names
    assert "token" not in names
    for option in Adapter.ADAPTER_OPTIONS:
        assert callable(option.to_click())


@pytest.mark.parametrize(
    ("conn_str", "options"),
    [
        (["p/l/d/s/more"], {}),
        (["p", "q"], {}),
        (["http://127.0.0.1:8042"], {}),
        (["p"], {"project": "q"}),
    ],
)
def test_what_is_no_place_is_refused(conn_str: list[str], options: dict[str, Any]) -> None:
    with pytest.raises(HarlequinConfigError):
        Adapter(conn_str, **options)


def test_an_option_that_does_not_fit_is_told() -> None:
    with pytest.raises(HarlequinConnectionError, match="URL"):
        Adapter([], endpoint="ftp://nowhere").connect()


def test_statements_are_run_as_harlequin_runs_them(connection: Connection) -> None:
    texts = [
        "SELECT PatientID, StudyDate, NumberOfStudyRelatedInstances, ModalitiesInStudy "
        "FROM google.healthcare.studies ORDER BY PatientID",
        "CREATE TABLE kept AS SELECT 5 AS a",
        "SELECT a FROM kept WHERE a > 5",
        "SELECT nope FROM google.healthcare.studies",
    ]
    statements = [Statement(t, i) for i, t in enumerate(texts)]
    limit = RowLimit(max_rows=2)
    run = execute(connection, statements, limit)
    found = next(run)
    rows = fetch(found, limit)
    assert rows.columns == [
        *(("PatientID", "s"), ("StudyDate", "d")),
        *(("NumberOfStudyRelatedInstances", "##"), ("ModalitiesInStudy", "[]")),
    ]
    assert rows.fetched_row_count == 2
    made, empty, wrong = run
    assert made.cursor is None
    assert made.error is None
    none = fetch(empty)
    assert (none.columns, none.fetched_row_count) == ([("a", "##")], 0)
    assert isinstance(wrong.error, HarlequinQueryError)
    assert "nope" in wrong.error.msg


def test_a_limit_is_not_passed(connection: Connection) -> None:
    for limit in (0, 1, 7):
        cursor = connection.execute("SELECT i FROM range(300000) AS r(i)")
        assert cursor is not None
        assert rows_of(cursor.set_limit(limit)) == [{"i": i} for i in range(limit)]


def test_a_failure_among_the_rows_is_told(connection: Connection) -> None:
    cursor = connection.execute(
        "SELECT CASE WHEN i < 299999 THEN i ELSE error('no') END FROM range(300000) AS r(i)"
    )
    assert cursor is not None
    with pytest.raises(HarlequinQueryError):
        cursor.fetchall()


def test_a_statement_is_cancelled_and_the_connection_goes_on(connection: Connection) -> None:
    endless = "SELECT count(*) FROM range(1000000000000) AS a(i), range(1000) AS b(j) WHERE i <> j"
    given: list[object] = []
    begun = threading.Event()

    def work() -> None:
        begun.set()
        cursor = connection.execute(endless)
        given.append(cursor.fetchall() if cursor is not None else None)

    thread = threading.Thread(target=work)
    thread.start()
    begun.wait()
    while thread.is_alive():
        connection.cancel()
        thread.join(0.02)
    # Harlequin says by itself that it was cancelled.
    assert given == [None]
    cursor = connection.execute("SELECT 5 AS a")
    assert cursor is not None
    assert rows_of(cursor) == [{"a": 5}]


def test_modes_of_transactions(connection: Connection) -> None:
    assert connection.transaction_mode.label == "Auto"
    connection.execute("CREATE TABLE kept AS SELECT 1 AS a")
    mode = connection.toggle_transaction_mode()
    assert mode.label == "Manual"
    assert mode.commit is not None
    assert mode.rollback is not None
    connection.execute("INSERT INTO kept VALUES (2)")
    mode.rollback()
    connection.execute("INSERT INTO kept VALUES (3)")
    assert connection.toggle_transaction_mode().label == "Auto"
    cursor = connection.execute("SELECT a FROM kept ORDER BY a")
    assert cursor is not None
    assert rows_of(cursor) == [{"a": 1}, {"a": 3}]


def test_the_catalog_is_unfolded_by_documents(connection: Connection) -> None:
    assert {"google", "dicomweb", "local"} <= set(named(inside(connection)))
    assert "healthcare" in named(inside(connection, "google"))
    # A service without stores has resources alone.
    assert "studies" in named(inside(connection, "dicomweb", "orthanc"))
    assert "p" not in named(inside(connection, "google", "storage"))
    columns = inside(connection, "google", "healthcare", "studies")
    about = {item.label: (item.type_label, item.type_name) for item in columns}
    assert about["StudyDate"] == ("d", "DATE")
    assert about["PatientName"] == ("s", "VARCHAR")


def test_the_catalog_stays_in_its_order(connection: Connection) -> None:
    items = inside(connection, "google", "healthcare", "studies")
    assert named(items) == sorted(named(items))
    # What gives no rows has no columns, which is no error.
    assert inside(connection, "google", "healthcare", "fhir") == []


def test_functions_and_columns_are_completed(connection: Connection) -> None:
    found = {c.value: c.type_label for c in connection.get_completions()}
    assert (found["StudyDate"], found["SOPInstanceUID"]) == ("d", "s")
    assert (found["string_agg"], found["read_dicom"]) == ("agg", "tbl")
    assert all(name.replace("_", "").isalnum() for name in found)


def test_the_catalog_lists_projects_datasets_and_stores(connection: Connection) -> None:
    at = ("google", "healthcare", "p")
    assert named(inside(connection, *at)) == ["d"]
    (store,) = inside(connection, *at, "d")
    assert store.label == "s"
    assert store.query_name == (
        "projectsId = 'p' AND locationsId = 'us-central1' AND datasetsId = 'd' "
        "AND dicomStoresId = 's'"
    )
    tables = inside(connection, *at, "d", "s")
    assert {"studies", "series", "instances", "dicom_store_metrics"} <= set(named(tables))
    # What needs more than the store to be asked is not offered.
    assert {"instances_rendered", "dicom_stores"}.isdisjoint(named(tables))
    studies = next(item for item in tables if item.label == "studies")
    cursor = connection.execute(f"SELECT count(*) AS n FROM {studies.query_name}")
    assert cursor is not None
    assert rows_of(cursor) == [{"n": 5}]
    assert "StudyDate" in named(inside(connection, *at, "d", "s", "studies"))


def test_without_a_location_the_locations_are_listed(filled_root: Path) -> None:
    connection = Adapter(["p"], local=filled_root).connect()
    at = ("google", "healthcare", "p")
    assert "us-central1" in named(inside(connection, *at))
    assert named(inside(connection, *at, "us-central1")) == ["d"]
    assert inside(connection, *at, "europe-west4") == []
    connection.close()


def test_unfolding_asks_a_server_only_for_places(connection: Connection) -> None:
    # A project of another name has nothing that could be listed: only its own level fails.
    bad = Adapter(["p/us-central1"], endpoint="http://127.0.0.1:9").connect()
    assert "studies" in named(inside(bad, "google", "healthcare"))
    assert "StudyDate" in named(inside(bad, "google", "healthcare", "studies"))
    with pytest.raises(HarlequinQueryError):
        inside(bad, "google", "healthcare", "p")
    bad.close()


def test_local_tables_are_in_the_catalog(connection: Connection) -> None:
    connection.execute('CREATE TABLE "my cohort" AS SELECT 1 AS a, [1.5] AS "b c"')
    (table,) = inside(connection, "local")
    assert (table.query_name, table.type_label) == ('main."my cohort"', "t")
    columns = inside(connection, "local", "my cohort")
    assert [(c.query_name, c.type_label) for c in columns] == [("a", "##"), ('"b c"', "[]")]


def test_names_are_quoted_in_conditions(filled_root: Path) -> None:
    connection = Adapter(["it's/us-central1"], local=filled_root).connect()
    project = next(i for i in inside(connection, "google", "healthcare") if i.label == "it's")
    assert project.query_name.startswith("projectsId = 'it''s'")
    connection.close()


@pytest.mark.parametrize(
    ("type_name", "label"),
    [
        ("VARCHAR[]", "[]"),
        ("DECIMAL(18,3)", "#.#"),
        ("STRUCT(a INTEGER)", "{}"),
        ("MAP(VARCHAR, INTEGER)", "{m}"),
        ("TIMESTAMP WITH TIME ZONE", "tz"),
        ("SOMETHING", "?"),
    ],
)
def test_types_have_short_labels(type_name: str, label: str) -> None:
    assert short(type_name) == label
