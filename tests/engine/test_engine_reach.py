"""What statements of the engine may reach: no extension ever, and no file where they are off."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from dicomsql.engine.database import Database
from dicomsql.engine.duck import Engine
from dicomsql.errors import DatabaseError, NotSupportedError, OperationalError

EXTENSIONS = (
    "INSTALL httpfs",
    "/* */ INSTALL httpfs",
    "FORCE INSTALL httpfs FROM 'http://127.0.0.1:1/x'",
    "LOAD httpfs",
    "LOAD '{folder}/x.duckdb_extension'",
    "UPDATE EXTENSIONS",
    "SELECT 1; INSTALL httpfs",
)

# Settings that open a door, by every way in which one is set.
SETTINGS = (
    "SET GLOBAL autoinstall_known_extensions = true",
    "PRAGMA autoinstall_known_extensions = true",
    "SET custom_extension_repository = 'http://127.0.0.1:1'",
    "SET extension_directory = '{folder}'",
    "SET temp_directory = '{folder}/t'",
    "SET home_directory = '{folder}'",
    "SET secret_directory = '{folder}'",
    "PRAGMA log_query_path = '{folder}/q'",
    "PRAGMA enable_profiling = 'json'",
    "PRAGMA profiling_output = '{folder}/p'",
    "CALL enable_logging(storage_path => '{folder}/log')",
    "SELECT * FROM enable_logging('QueryLog')",
    "SET allowed_directories = ['/']",
    "SET allowed_paths = ['/etc/hosts']",
    "SET enable_external_access = true",
    "RESET enable_external_access",
    "SET lock_configuration = false",
    "SET default_collation = 'nocase'",
    "SET python_enable_replacements = true",
)

FILES = (
    "SELECT * FROM '{folder}/a.csv'",
    "SELECT * FROM read_csv('{folder}/a.csv')",
    "SELECT * FROM read_csv_auto('{folder}/a.csv')",
    "SELECT * FROM read_text('{folder}/a.csv')",
    "SELECT * FROM read_blob('{folder}/a.csv')",
    "SELECT * FROM read_json('{folder}/a.csv')",
    "SELECT * FROM read_ndjson_objects('{folder}/a.csv')",
    "SELECT * FROM read_parquet('{folder}/a.csv')",
    "SELECT * FROM parquet_metadata('{folder}/a.csv')",
    "SELECT * FROM parquet_schema('{folder}/a.csv')",
    "SELECT * FROM sniff_csv('{folder}/a.csv')",
    "SELECT * FROM glob('{folder}/*')",
    "SELECT * FROM read_duckdb('{folder}/a.csv')",
    "SELECT * FROM sqlite_scan('{folder}/a.csv', 't')",
    "SELECT * FROM read_csv('/dev/stdin')",
    "SELECT * FROM 'http://127.0.0.1:1/a.csv'",
    "SELECT * FROM 's3://bucket/a.csv'",
    "SELECT * FROM query('SELECT * FROM read_csv(''{folder}/a.csv'')')",
    "CREATE VIEW w AS SELECT * FROM read_csv('{folder}/a.csv')",
    "CREATE TABLE w AS FROM read_csv('{folder}/a.csv')",
    "INSERT INTO t FROM '{folder}/a.csv'",
    "PREPARE p AS SELECT * FROM read_csv('{folder}/a.csv')",
    "PREPARE p AS COPY t TO '{spilled}/o.csv'",
    "EXPLAIN ANALYZE COPY t TO '{spilled}/o.csv'",
    "COPY t TO '{folder}/o.csv'",
    "COPY (SELECT 1) TO '{spilled}/o.csv'",
    "COPY t FROM '{folder}/a.csv'",
    # It would take the place of what is not in the database yet.
    "COPY (SELECT 1) TO '{database}.wal'",
    "EXPORT DATABASE '{folder}/e'",
    "IMPORT DATABASE '{folder}/e'",
    "ATTACH '{folder}/y.duckdb' AS y",
    "ATTACH '{spilled}/y.duckdb' AS y",
    "ATTACH 'http://127.0.0.1:1/y.duckdb' AS y",
    "CREATE SECRET s (TYPE s3)",
    "CREATE PERSISTENT SECRET s (TYPE http, BEARER_TOKEN 'x')",
    "SELECT getenv('HOME')",
    # What it has open itself it would read: its database and what is not in there yet.
    "SELECT content FROM read_blob('{database}')",
    "SELECT content FROM Read_Text /* a */ ('{database}.wal')",
    "SELECT content FROM \"read_blob\" ('file://{database}')",
    "SELECT content FROM system.main.read_blob('{database}')",
    "SELECT E'\\'', (SELECT content FROM read_blob('{database}')), ''",
    "SELECT * FROM query('SELECT content FROM read_b' || 'lob(''{database}'')')",
    "SELECT (SELECT count(*) FROM read_csv('{database}', ignore_errors = true))",
    "SELECT * FROM '{database}'",
    "SELECT * FROM glob('{spilled}/*')",
    "CREATE MACRO f(p) AS TABLE SELECT content FROM read_blob(p)",
    "PREPARE p AS SELECT content FROM read_blob('{database}')",
    "EXPLAIN ANALYZE SELECT content FROM read_blob('{database}')",
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file; the home folder is empty."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    made = tmp_path / "files"
    made.mkdir()
    (made / "a.csv").write_text("a\n1\n")
    return made


@pytest.fixture
def opened(folder: Path) -> Iterator[Callable[[bool], Engine]]:
    """Opens an engine on a database with a table, with files or without."""
    engines: list[Engine] = []

    def open_(files: bool) -> Engine:
        engines.append(Engine(str(folder / "own.duckdb"), files=files))
        engines[-1].stream("CREATE TABLE t (a INTEGER)")
        return engines[-1]

    yield open_
    for engine in engines:
        engine.close()


def places(engine: Engine, folder: Path) -> dict[str, object]:
    database = folder / "own.duckdb"
    return {"folder": folder, "database": database, "spilled": engine.database.spilled}


def read(engine: Engine, sql: str) -> list[object]:
    rows = engine.stream(sql)
    return [v for b in rows.batches() for v in b.column(0).to_pylist()] if rows else []


@pytest.mark.parametrize("files", [True, False])
@pytest.mark.parametrize("sql", EXTENSIONS)
def test_no_statement_fetches_or_loads_an_extension(
    opened: Callable[[bool], Engine], folder: Path, sql: str, files: bool
) -> None:
    engine = opened(files)
    with pytest.raises(NotSupportedError, match="never fetched or loaded"):
        engine.stream(sql.format(**places(engine, folder)))
    assert list((folder.parent / "home").iterdir()) == []


@pytest.mark.parametrize("files", [True, False])
@pytest.mark.parametrize("sql", SETTINGS)
def test_no_statement_changes_what_can_be_reached(
    opened: Callable[[bool], Engine], folder: Path, sql: str, files: bool
) -> None:
    engine = opened(files)
    with pytest.raises(DatabaseError):
        read(engine, sql.format(**places(engine, folder)))
    assert read(engine, "SELECT 1") == [1]
    assert {path.name for path in folder.iterdir()} <= {"a.csv", "own.duckdb", "own.duckdb.wal"}


@pytest.mark.parametrize("sql", FILES)
def test_without_files_no_statement_reaches_the_disk_or_the_network(
    opened: Callable[[bool], Engine], folder: Path, sql: str
) -> None:
    engine = opened(False)
    wal = (folder / "own.duckdb.wal").stat().st_size
    with pytest.raises((DatabaseError, NotSupportedError)):
        read(engine, sql.format(**places(engine, folder)))
    assert {path.name for path in folder.iterdir()} == {"a.csv", "own.duckdb", "own.duckdb.wal"}
    assert (folder / "own.duckdb.wal").stat().st_size == wal
    assert list(engine.database.spilled.iterdir()) == []
    assert list((folder.parent / "home").iterdir()) == []
    assert read(engine, "SELECT count(*) FROM t") == [0]


def test_what_was_made_with_files_reaches_nothing_without(
    opened: Callable[[bool], Engine], folder: Path
) -> None:
    database = folder / "own.duckdb"
    with_files = opened(True)
    for sql in (
        "CREATE MACRO f(p) AS TABLE SELECT content FROM read_blob(p)",
        "CREATE MACRO g(p) AS (SELECT count(*) FROM f(p))",
        f"CREATE VIEW w AS SELECT content FROM read_blob('{database}')",
        "CREATE VIEW plain AS SELECT a FROM t",
    ):
        with_files.stream(sql)
    with_files.close()
    engine = Engine(str(database), files=False)
    try:
        for sql in (f"FROM f('{database}')", f"SELECT g('{database}')", 'FROM "W"'):
            with pytest.raises(NotSupportedError, match="switched off"):
                read(engine, sql)
            with pytest.raises(NotSupportedError, match="switched off"):
                engine.rows(sql)
        assert read(engine, "SELECT count(*) FROM plain") == [0]
    finally:
        engine.close()


def test_without_files_a_column_may_be_called_like_a_function(
    opened: Callable[[bool], Engine],
) -> None:
    sql = "SELECT read_text FROM (SELECT range AS read_text FROM range(1)) AS read_blob"
    assert read(opened(False), sql) == [0]


def test_without_files_local_tables_work(opened: Callable[[bool], Engine]) -> None:
    engine = opened(False)
    for sql in (
        "INSERT INTO t SELECT range FROM range(10)",
        "CREATE VIEW w AS FROM t",
        "CREATE TEMP TABLE x AS FROM w",
        "ALTER TABLE t ADD COLUMN b VARCHAR",
        "SET threads = 1",
        "SET TimeZone = 'Europe/Paris'",
        "CHECKPOINT",
        "PREPARE p AS SELECT a FROM t WHERE a > ?",
    ):
        engine.stream(sql)
    assert read(engine, "SELECT count(*) FROM w") == [10]
    assert read(engine, "EXECUTE p(8)") == [9]
    assert read(engine, "SELECT 'INSTALL x; COPY t' AS copy") == ["INSTALL x; COPY t"]


def test_with_files_they_are_read_and_written(
    opened: Callable[[bool], Engine], folder: Path
) -> None:
    engine = opened(True)
    assert read(engine, f"SELECT a FROM '{folder}/a.csv'") == [1]
    engine.stream(f"COPY t FROM '{folder}/a.csv'")
    engine.stream(f"COPY t TO '{folder}/o.csv'")
    assert (folder / "o.csv").read_text() == "a\n1\n"


def test_all_files_of_a_database_are_their_owners_alone(
    opened: Callable[[bool], Engine], folder: Path
) -> None:
    before = os.umask(0o022)
    try:
        engine = opened(True)
        for sql in ("INSERT INTO t VALUES (1)", "CHECKPOINT", "INSERT INTO t VALUES (2)"):
            engine.stream(sql)
            found = {p.name: p for p in folder.iterdir() if "own" in p.name}
            assert {stat.S_IMODE(path.stat().st_mode) for path in found.values()} == {0o600}
        assert set(found) == {"own.duckdb", "own.duckdb.wal"}
        engine.close()
        assert {p.name for p in folder.iterdir()} == {"a.csv", "own.duckdb"}
        again = Engine(str(folder / "own.duckdb"))
        assert read(again, "SELECT count(*) FROM t") == [2]
        again.close()
    finally:
        os.umask(before)


def test_what_others_make_beside_a_query_is_as_open_as_they_want(
    opened: Callable[[bool], Engine], folder: Path
) -> None:
    engine = opened(True)
    umask = os.umask(0o022)

    def touching() -> Iterator[pa.RecordBatch]:
        (folder / "else").write_text("")
        yield pa.record_batch([pa.array([1])], names=["a"])

    try:
        schema = pa.schema([("a", pa.int64())])
        engine.register("s", pa.RecordBatchReader.from_batches(schema, touching()))
        assert read(engine, "SELECT a FROM s") == [1]
        assert stat.S_IMODE((folder / "else").stat().st_mode) == 0o644
    finally:
        os.umask(umask)


def test_a_database_that_is_there_keeps_its_mode(folder: Path) -> None:
    path = folder / "x.duckdb"
    Engine(str(path)).close()
    path.chmod(0o640)
    engine = Engine(str(path))
    engine.stream("CREATE TABLE t AS SELECT 1 AS a")
    assert stat.S_IMODE((folder / "x.duckdb.wal").stat().st_mode) == 0o600
    engine.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_database_stays_where_it_is_when_the_program_goes_elsewhere(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    engine = Engine("x.duckdb")
    monkeypatch.chdir(folder.parent)
    engine.stream("CREATE TABLE t AS SELECT 1 AS a")
    assert {p.name for p in folder.glob("x.*")} == {"x.duckdb", "x.duckdb.wal"}
    engine.close()


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"no database" * 2000, "is no database"), (None, "Is there such a folder")],
)
def test_a_database_that_cannot_be_opened_says_why(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    name = tmp_path / "x.duckdb" if content is not None else tmp_path / "none" / "x.duckdb"
    if content is not None:
        name.write_bytes(content)
    with pytest.raises(OperationalError, match=rf"{re.escape(str(name))} cannot be.*{said}"):
        Database(str(name))
