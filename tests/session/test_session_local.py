"""A session whole, on the emulator in this process: settings, defaults, the way of a statement."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dicomsql import config
from dicomsql.errors import (
    ConsentError,
    InterfaceError,
    LanguageError,
    NotFoundError,
    PlanningError,
)
from dicomsql.result import Result
from dicomsql.session import Session

STORES = "google.healthcare.dicom_stores"
SETUP = """
    INSERT /*+ AWAIT */ INTO google.healthcare.datasets (projectsId, locationsId, datasetId)
    VALUES ('p', 'us-central1', 'd'), ('p', 'us-central1', 'e');
    INSERT INTO google.healthcare.dicom_stores (datasetsId, dicomStoreId, labels)
    VALUES ('d', 'a', '{"env": "test"}'), ('d', 'b', NULL), ('e', 'c', NULL)
"""


class Local:
    """A session with an emulator of its own."""

    def __init__(self, root: Path, **options: Any) -> None:
        given = {"local": root, "project": "p", "location": "us-central1", **options}
        self.session = Session(config.settings({}, **given))

    def open(self, sql: str, parameters: Any = None, **options: Any) -> Result:
        result = None
        for statement in self.session.parse(sql):
            result = self.session.execute(statement, parameters, **options)
        assert result is not None
        return result

    def rows(self, sql: str, parameters: Any = None, **options: Any) -> list[tuple[Any, ...]]:
        return [
            row
            for batch in self.open(sql, parameters, **options).batches()
            for row in zip(*(c.to_pylist() for c in batch.columns), strict=True)
        ]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("emulator")
    local = Local(folder)
    local.open(SETUP)
    local.session.close()
    return folder


@pytest.fixture
def local(root: Path) -> Iterator[Local]:
    made = Local(root, dataset="d")
    yield made
    made.session.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("dicomsql-")]


def test_the_settings_are_defaults_and_the_statement_wins(local: Local) -> None:
    assert local.rows(f"SELECT dicomStoresId FROM {STORES}") == [("a",), ("b",)]
    assert local.rows(f"SELECT dicomStoresId FROM {STORES} WHERE datasetsId = 'e'") == [("c",)]


def test_set_and_reset_of_defaults(local: Local) -> None:
    sql = f"SELECT dicomStoresId FROM {STORES}"
    assert local.rows(f"SET DATASETSID = 'e'; {sql}") == [("c",)]
    assert local.rows(f"RESET datasetsId; {sql}") == [("a",), ("b",)]
    local.open("SET dicomStoresId = 'b'; RESET dicomStoresId")
    for value in ("''", "7"):
        with pytest.raises(PlanningError, match="datasetsId takes a text"):
            local.open(f"SET datasetsId = {value}")


def test_use_shortens_names(local: Local) -> None:
    assert local.rows("USE google.healthcare; SELECT count(*) FROM dicom_stores") == [(2,)]
    with pytest.raises(PlanningError):
        local.open("USE google.healthcar")


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SET max_page = 1", "no setting max_page. Did you mean max_pages?"),
        ("SET memory_limt = '1GB'", "Did you mean memory_limit?"),
        ("SET enable_external_access = true", "no setting enable_external_access"),
        ("SET approximate_counts = 'perhaps'", "SET approximate_counts takes true or false"),
        ("SET on_error = 'ignore'", "SET on_error takes fail or skip"),
        ("SET max_pages = 0", "max_pages takes a whole number from 1 on"),
        ("SET max_calls = 'many'", "max_calls takes a whole number"),
        ("SET allow_writes = true", "allow_writes takes a whole number from 0 on"),
        ("SET await = 'perhaps'", "SET await takes true or false"),
        ("RESET no_such_thing", "no setting no_such_thing"),
    ],
)
def test_settings_that_are_wrong(local: Local, sql: str, said: str) -> None:
    with pytest.raises(PlanningError, match=said):
        local.open(sql)


def test_settings_of_the_engine(local: Local) -> None:
    assert local.rows("SET threads = 1; SELECT current_setting('threads')") == [(1,)]
    moscow = "SELECT CAST(TIMESTAMPTZ '2026-01-01 00:00:00Z' AS VARCHAR)"
    assert local.rows(f"SET TimeZone = 'Europe/Moscow'; {moscow}") == [("2026-01-01 03:00:00+03",)]
    assert local.rows("SET memory_limit = '1GB'; RESET threads; SELECT 1") == [(1,)]


def test_await_and_its_reset(local: Local) -> None:
    plan = "INSERT INTO google.healthcare.datasets (projectsId, locationsId, datasetId) "
    plan += "VALUES ('p', 'us-central1', '{}')"
    assert local.open(f"SET await = on; {plan.format('f1')}").columns is not None
    assert local.open(f"RESET await; {plan.format('f2')}").message.startswith("1 operation started")


def test_tables_of_the_engine(local: Local) -> None:
    result = local.open(f"CREATE TABLE kept AS SELECT dicomStoresId AS id FROM {STORES}")
    assert result.columns is None
    assert local.rows("SELECT id FROM kept ORDER BY id") == [("a",), ("b",)]
    assert local.open("INSERT INTO kept VALUES ('z')").columns is None
    found = f"SELECT labels->>'env' FROM {STORES} WHERE dicomStoresId IN (SELECT id FROM kept)"
    assert sorted(local.rows(found), key=str) == [("test",), (None,)]
    local.open("DROP TABLE kept")


def test_parameters(local: Local) -> None:
    sql = f"SELECT dicomStoresId FROM {STORES} WHERE datasetsId = ?"
    assert local.rows(sql, ["e"]) == [("c",)]
    assert local.rows(sql.replace("?", ":d"), {"d": "e"}) == [("c",)]


def test_show_and_describe(local: Local) -> None:
    result = local.open("SHOW PROVIDERS")
    assert result.rows is not None
    assert [row[0] for row in result.rows] == ["dicomweb", "google"]
    assert len(local.rows("SHOW RESOURCES IN google.healthcare LIKE 'dicom%'")) > 1
    verbs = local.rows(f"SHOW METHODS IN {STORES} WHERE SQLVerb = 'SELECT'")
    assert {row[-1] for row in verbs} == {"SELECT"}
    with pytest.raises(Exception, match="nope"):
        local.open(f"SHOW METHODS IN {STORES} WHERE nope = 1")
    assert ("name", "VARCHAR") in [row[:2] for row in local.rows(f"DESCRIBE {STORES}")]


def test_explain_analyze_runs_what_it_explains(local: Local) -> None:
    lines = [line for (line,) in local.rows(f"EXPLAIN ANALYZE SELECT count(*) FROM {STORES}")]
    assert any(line.startswith("RAN  1 row in") for line in lines)
    assert "  requests  1" in lines
    shown = local.open(f"EXPLAIN (FORMAT json) SELECT count(*) FROM {STORES}")
    assert shown.columns is not None
    assert shown.columns[0].type == "JSON"


def test_a_dry_run_shows_the_plan(local: Local) -> None:
    (first, *_rest) = local.rows(f"SELECT name FROM {STORES}", dry_run=True)
    assert first == (f"READ  {STORES}",)
    assert local.rows("SET max_calls = 5; SHOW PROVIDERS", dry_run=True)


def test_the_statistics_tell_the_cost(local: Local) -> None:
    result = local.open(f"SELECT name FROM {STORES}")
    assert sum(batch.num_rows for batch in result.batches()) == 2
    assert result.statistics.requests == result.statistics.pages == 1
    assert result.statistics.bytes_received > 0
    assert result.statistics.seconds > 0


def test_a_missing_store_is_an_error(local: Local) -> None:
    with pytest.raises(NotFoundError):
        local.rows("SELECT * FROM google.healthcare.studies WHERE dicomStoresId = 'nope'")


def test_an_error_in_the_text_has_its_place(local: Local) -> None:
    with pytest.raises(LanguageError, match="line 2"):
        local.open("SELECT 1;\nSELECT FROM WHERE")


def test_a_session_is_a_context_that_closes(root: Path) -> None:
    with Local(root).session as session:
        assert not session.closed
    assert session.closed
    with pytest.raises(InterfaceError):
        session.execute(session.parse("SHOW PROVIDERS")[0])


@pytest.mark.parametrize(
    ("sql", "absent"),
    [
        ("SHOW PROVIDERS", {"sqlglot", "pyarrow", "duckdb", "httpx", "yaml", "pydicom", "numpy"}),
        ("DESCRIBE google.healthcare.studies", {"sqlglot", "pyarrow", "duckdb", "httpx", "yaml"}),
        ("SET max_calls = 5", {"pyarrow", "duckdb", "httpx", "yaml"}),
    ],
)
@pytest.mark.parametrize("form", ["table", "csv", "json", "vertical"])
def test_what_needs_no_engine_does_not_wait_for_it(sql: str, form: str, absent: set[str]) -> None:
    code = (
        "import sys; from dicomsql.cli import main; "
        f"code = main(['exec', '-o', {form!r}, {sql!r}]); "
        f"print(sorted({absent!r} & set(sys.modules)), file=sys.stderr); sys.exit(code)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stderr.strip().endswith("[]")


def test_another_thread_at_the_same_time_is_served(root: Path) -> None:
    found: list[object] = []
    local = Local(root, dataset="d")

    def meanwhile(_said: str) -> bool:
        for work in (lambda: local.rows("SELECT 1"), lambda: next(batches).num_rows):
            thread = threading.Thread(target=lambda work=work: found.append(work()))
            thread.start()
            thread.join()
        return False

    local.session = Session(local.session.settings, consent=meanwhile)
    unread = local.open("SELECT range FROM range(100000)")
    batches = unread.batches()
    with pytest.raises(ConsentError):
        local.open(
            "DELETE FROM google.healthcare.datasets WHERE projectsId = 'p' "
            "AND locationsId = 'us-central1' AND datasetsId = 'd'"
        )
    assert found[0] == [(1,)]
    assert found[1] + sum(batch.num_rows for batch in batches) == 100_000
    local.session.close()


@pytest.mark.parametrize(
    "endpoint",
    ["http://user:hunter2@host", "https://hunter2@host:80/p", "user:hunter2@host", "hunter2@host"],
)
def test_an_endpoint_with_a_password_is_refused_without_it(endpoint: str) -> None:
    with pytest.raises(InterfaceError, match="user or a password before its host") as caught:
        config.settings({}, endpoint=endpoint)
    assert "hunter2" not in str(caught.value)
    assert config.settings({}, endpoint="http://host/a@b").endpoint == "http://host/a@b"


@pytest.mark.parametrize(
    "sql",
    [
        "SET default_collation = 'NOCASE'",
        "PRAGMA default_collation = NOCASE",
        "CREATE TABLE t (a VARCHAR COLLATE NOCASE)",
        "CREATE MACRO year(d) AS 2023",
    ],
)
def test_what_equality_and_functions_mean_stays(tmp_path: Path, sql: str) -> None:
    local = Local(tmp_path)
    with local.session, pytest.raises(PlanningError, match=r"COLLATE|another name"):
        local.open(sql)
