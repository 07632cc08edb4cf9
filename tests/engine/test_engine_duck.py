"""The engine: streams, settings, errors without values, and an end at any time."""

from __future__ import annotations

import os
import signal
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from dicomsql.engine import duck
from dicomsql.engine.duck import Engine
from dicomsql.engine.failures import translated
from dicomsql.engine.guards import check_statement
from dicomsql.errors import (
    CancelledError,
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    PlanningError,
    ProgrammingError,
)
from dicomsql.result import ResultColumn

LONG = "SELECT sum(a.range * b.range) FROM range(300000) a, range(300000) b"


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = Engine()
    yield made
    made.close()


def test_values_rows_and_tables(engine: Engine) -> None:
    assert engine.value("SELECT $a + 1", {"a": 41}) == 42
    assert engine.value("SELECT 1 WHERE false") is None
    assert engine.rows("CREATE TABLE t AS SELECT 1 AS a") in ([], [(1,)])
    assert engine.local_tables() == {"t"}
    assert engine.table("FROM t").to_pylist() == [{"a": 1}]


def test_a_reader_is_pulled_as_the_rows_are(engine: Engine) -> None:
    made = []

    def batches() -> Iterator[pa.RecordBatch]:
        for number in range(5000):
            made.append(number)
            yield pa.record_batch({"n": [number] * 1000})

    reader = pa.RecordBatchReader.from_batches(pa.schema([("n", pa.int64())]), batches())
    engine.register("r", reader)
    rows = engine.stream("SELECT * FROM r")
    assert rows is not None
    assert [(c.name, c.type) for c in rows.columns] == [("n", "BIGINT")]
    assert next(rows.batches()).num_rows
    assert len(made) < 2500
    rows.close()
    rows.close()
    assert list(rows.batches()) == []
    engine.unregister("r")
    assert engine.local_tables() == frozenset()


def test_a_statement_without_rows_gives_none(engine: Engine) -> None:
    for sql, changed in (
        ("CREATE TABLE t (a INT)", -1),
        ("INSERT INTO t VALUES (1), (2)", 2),
        ("UPDATE t SET a = 3 WHERE a = 2", 1),
        ("CREATE VIEW v AS FROM t", -1),
        ("BEGIN", -1),
        ("ROLLBACK", -1),
        ("DELETE FROM t", 2),
        ("DROP TABLE t CASCADE", -1),
    ):
        assert engine.stream(sql) is None, sql
        assert engine.changed == changed, sql


@pytest.mark.parametrize(
    ("sql", "column"),
    [
        ("INSERT INTO t VALUES (1) RETURNING a AS Count", "Count"),
        ("SELECT count(*) AS Count FROM t", "Count"),
        ("PRAGMA version", "library_version"),
    ],
)
def test_a_statement_with_rows_gives_them(engine: Engine, sql: str, column: str) -> None:
    engine.rows("CREATE TABLE t (a INT)")
    rows = engine.stream(sql)
    assert rows is not None
    assert rows.columns[0].name == column
    assert sum(batch.num_rows for batch in rows.batches()) == 1


def test_times_are_in_utc_and_json_is_read_as_stackql_does(engine: Engine) -> None:
    assert engine.value("SELECT CAST(TIMESTAMPTZ '2026-01-01 00:00:00+02' AS VARCHAR)") == (
        "2025-12-31 22:00:00+00"
    )


def test_files_can_be_read(engine: Engine, tmp_path: Path) -> None:
    engine.rows(f"COPY (SELECT 7 AS a) TO '{tmp_path}/x.parquet'")
    (tmp_path / "x.csv").write_text("a\n8\n")
    assert engine.value(f"SELECT a FROM '{tmp_path}/x.parquet'") == 7
    assert engine.value(f"SELECT a FROM '{tmp_path}/x.csv'") == 8


def test_settings(engine: Engine) -> None:
    engine.set("threads", 1)
    assert engine.value("SELECT current_setting('threads')") == 1
    engine.set("memory_limit", "100MB")
    engine.set("preserve_insertion_order", False)
    engine.set("threads", None)
    assert engine.value("SELECT current_setting('preserve_insertion_order')") is False
    with pytest.raises(DatabaseError):
        engine.set("default_order", "'; DROP TABLE t; --")


@pytest.mark.parametrize(
    "name",
    ["enable_external_access", "allow_unsigned_extensions", "autoinstall_known_extensions",
     "python_enable_replacements", "secret_directory", "errors_as_json", "no_such_setting"],
)  # fmt: skip
def test_what_guards_the_engine_is_not_set(engine: Engine, name: str) -> None:
    assert name not in engine.settings()
    with pytest.raises(PlanningError, match=f"{name} cannot be changed"):
        engine.set(name, True)


SAYS_A_VALUE = [
    ("SELECT CAST(x AS INT) FROM (VALUES ('Doe')) t(x)", DataError),
    ("SELECT CAST(x AS TINYINT) FROM (VALUES (77123)) t(x)", DataError),
    ("SELECT 9223372036854775807::BIGINT * x FROM (VALUES (77123::BIGINT)) t(x)", DataError),
    ("SELECT json_extract(x, '$.a') FROM (VALUES ('{Doe')) t(x)", ProgrammingError),
    ("SELECT strptime(x, '%Y') FROM (VALUES ('Doe')) t(x)", ProgrammingError),
    ("INSERT INTO k SELECT 'Doe' FROM range(2)", IntegrityError),
]


@pytest.mark.parametrize(("sql", "kind"), SAYS_A_VALUE)
def test_errors_about_values_show_none(engine: Engine, sql: str, kind: type[DatabaseError]) -> None:
    engine.rows("CREATE TABLE k (a VARCHAR PRIMARY KEY)")
    with pytest.raises(kind) as caught:
        engine.rows(sql)
    assert type(caught.value) is kind
    assert "Doe" not in str(caught.value)
    assert "77123" not in str(caught.value)


RUNS_INTO_A_VALUE = [
    "SELECT regexp_matches('a', '(' || id) FROM p",
    "SELECT regexp_replace('a', '(' || id, 'b') FROM p",
    "SELECT regexp_extract('a', '(' || id) FROM p",
    "SELECT 'a' SIMILAR TO '(' || id FROM p",
    "SELECT format('{' || id || '}', 1) FROM p",
    "SELECT TIMESTAMPTZ '2020-01-01' AT TIME ZONE id FROM p",
    "SELECT CAST('2020-01-01 00:00:00 ' || id AS TIMESTAMPTZ) FROM p",
    "SELECT error(id) FROM p",
    "SELECT error('x SECRET is text and is compared' || id) FROM p",
    "SELECT error(E'a\\n\\nLINE 1: ' || id) FROM p",
    "SELECT CAST(name AS INT) FROM p",
    "SELECT CAST(E'\\'a\\n\\nLINE 1: ' || id AS INT) FROM p",
    "SELECT CAST('\\x' || id AS BLOB) FROM p",
    "SELECT CAST('x' AS of_values)",
    "SELECT x::of_values = 1 FROM (SELECT id AS x FROM p)",
    "FROM query(getvariable('v'))",
    "FROM query_table(getvariable('v'))",
    "SELECT nope FROM (PIVOT (SELECT id FROM p) ON id)",
    "SELECT TIMESTAMPTZ '2020-01-01' AT TIME ZONE getvariable('v')",
    "COPY p TO '{folder}' (FORMAT csv, PARTITION_BY (id))",
]


@pytest.mark.parametrize("sql", RUNS_INTO_A_VALUE)
def test_no_way_into_an_error_shows_a_value(engine: Engine, sql: str, tmp_path: Path) -> None:
    # A file where the folder of the one value belongs.
    (tmp_path / "id=SECRET").touch()
    engine.rows("CREATE TABLE p AS SELECT 'SECRET' AS id, E'O\\'Neil\\nO\\'SECRET' AS name")
    engine.rows("SET VARIABLE v = (SELECT id FROM p)")
    if "of_values" in sql:
        engine.rows("CREATE TYPE of_values AS ENUM (SELECT id FROM p)")
    with pytest.raises(DatabaseError) as caught:
        rows = engine.stream(sql.replace("{folder}", str(tmp_path)))
        list(rows.batches() if rows is not None else ())
    said = str(caught.value).replace("x SECRET is text", "")
    assert "SECRET" not in said
    assert "Neil" not in said


def test_what_is_made_of_values_keeps_them_from_later_errors(engine: Engine) -> None:
    engine.rows("CREATE TABLE p AS SELECT 'SECRET' AS id")
    engine.rows("CREATE TABLE wide AS FROM (PIVOT p ON id USING count(*))")
    with pytest.raises(ProgrammingError) as caught:
        engine.rows("SELECT nope FROM wide")
    assert "SECRET" not in str(caught.value)
    assert "--show-phi" in str(caught.value)


@pytest.mark.parametrize(
    "made",
    [
        "CREATE TYPE kinds AS ENUM ('a', 'b')",
        "CREATE TABLE kinds (kind ENUM ( 'a'))",
        "CREATE TABLE kept AS SELECT getvariable('v') AS kept",
        "CREATE OR REPLACE TEMP TABLE \"kept\" AS SELECT getvariable('v') AS kept",
    ],
)
def test_what_is_made_of_words_hides_nothing_of_later_errors(engine: Engine, made: str) -> None:
    engine.rows("CREATE TABLE p AS SELECT 'SECRET' AS id")
    engine.rows("SET VARIABLE v = (SELECT id FROM p)")
    engine.rows(made)
    with pytest.raises(ProgrammingError, match="There is no column nope here"):
        engine.rows("SELECT nope FROM p")


@pytest.mark.parametrize(
    "made",
    [
        "CREATE TYPE kinds AS ENUM (SELECT id FROM p)",
        "CREATE TABLE kept (a INT DEFAULT getvariable('v'))",
        "CREATE MACRO kept() AS getvariable('v')",
        "CREATE TABLE kept AS FROM query('SELECT 1')",
    ],
)
def test_what_may_be_made_of_values_does(engine: Engine, made: str) -> None:
    engine.rows("CREATE TABLE p AS SELECT 'SECRET' AS id")
    engine.rows("SET VARIABLE v = (SELECT length(id) FROM p)")
    engine.rows(made)
    with pytest.raises(ProgrammingError, match="--show-phi"):
        engine.rows("SELECT nope FROM p")


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT regexp_matches('a', '(x')", r"missing \)"),
        ("DROP TABLE nope", r"There is no table nope here\.$"),
        ("SELECT * FROM pp", r"There is no table pp here\. Did you mean p\?"),
        ("SELECT idd FROM p", r"There is no column idd here\. Did you mean id\?"),
        ("SELECT zzz FROM p", r"There is no column zzz here\. Among those there: id\."),
        ("SELECT p.ids FROM p", r"p has no column ids\. Did you mean id\?"),
        ("FROM read_dicm('x')", r"no table function read_dicm\. Did you mean read_dicom\?"),
        ("FROM read_cvs('x')", r"no table function read_cvs\. Did you mean read_csv\?"),
        ("SELECT cuont(*) FROM p", r"There is no function cuont\. Did you mean count\?"),
        ("SELECT read_dicom('x')", "read_dicom gives a table: it stands in FROM"),
        ("CREATE TABLE p AS SELECT 1", 'Table with name "p" already exists'),
        ("DETACH nope", 'database with name "nope"'),
        ("ALTER TABLE p DROP COLUMN nope", 'column with name "nope"'),
        ("COPY p TO '/dev/null/x.csv'", "/dev/null/x.csv"),
        ("SET nope = 1", "Cannot change configuration option …. Settings that decide"),
        ("SELECT (SELECT id FROM p)", "More than one row returned by a subquery"),
        ("SELECT dicomsql_total(nullif(id, 'SECRET')::INT, 'NumberOfStudyRelatedSeries') FROM p",
         "without their NumberOfStudyRelatedSeries, so that .* one by one"),
        ("SELECT dicomsql_total(length(id) - 6, 'NumberOfStudyRelatedSeries') FROM p",
         "without their NumberOfStudyRelatedSeries, so that .* one by one"),
        ("SELECT dicomsql_as_text(length(id), 'PatientID') FROM p", "PatientID is text and is"),
        ("SELECT error(id) FROM p", r"of the kind 'invalid input'.*--show-phi"),
    ],
)  # fmt: skip
def test_what_errors_still_say(engine: Engine, sql: str, said: str) -> None:
    engine.rows("CREATE TABLE p AS SELECT 'SECRET' AS id FROM range(2)")
    with pytest.raises(DatabaseError, match=said):
        engine.rows(sql)


BUILT_IN = frozenset({"year", "~~"})


@pytest.mark.parametrize(
    "sql",
    [
        "PRAGMA default_collation = NOCASE",
        "/* so */ SET GLOBAL default_collation = 'NOCASE'",
        "CREATE TABLE t (a VARCHAR COLLATE NOCASE)",
        "ALTER TABLE t ALTER a TYPE VARCHAR COLLATE NOCASE",
        "CREATE MACRO year(d) AS 2023",
        "-- so\nCREATE OR REPLACE TEMP/**/MACRO year (d) AS 2023",
        'CREATE FUNCTION IF NOT EXISTS memory.main."year"(d) AS 2023',
        'CREATE MACRO "~~"(a, b) AS true',
    ],
)
def test_meanings_that_are_not_changed(sql: str) -> None:
    with pytest.raises(PlanningError):
        check_statement(sql, BUILT_IN.__contains__)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT a COLLATE NOCASE FROM t",
        "CREATE TABLE t AS SELECT 'COLLATE' AS a -- COLLATE",
        "CREATE MACRO my_year(d) AS year(d)",
        "SET VARIABLE v = 'default_collation'",
    ],
)
def test_meanings_that_stay(sql: str) -> None:
    check_statement(sql, BUILT_IN.__contains__)


def test_functions_of_the_engine(engine: Engine) -> None:
    engine.rows("CREATE MACRO mine(a) AS a")
    names = ("YEAR", "~~", "date_part", "dicomsql_total", "mine", "nope")
    assert [engine.has_function(n) for n in names] == [True, True, True, True, False, False]


def test_an_error_in_the_middle_of_a_stream_is_translated(engine: Engine) -> None:
    rows = engine.stream(
        "SELECT CAST(CASE WHEN range = 900000 THEN 'Doe' ELSE '1' END AS INT) FROM range(1000000)"
    )
    assert rows is not None
    with pytest.raises(DataError, match=r"^Could not convert string … to INT32$"):
        list(rows.batches())


def test_values_are_shown_where_that_is_wanted() -> None:
    engine = Engine(show_values=True)
    with pytest.raises(DataError, match=r"Doe"):
        engine.rows(SAYS_A_VALUE[0][0])
    engine.close()


@pytest.mark.parametrize(
    ("sql", "kind", "said"),
    [
        ("SELEC 1", ProgrammingError, "syntax error.*\nLINE 1: SELEC 1"),
        ("SELECT nope FROM range(1)", ProgrammingError, "no column nope here"),
        ("SELECT * FROM nope", ProgrammingError, "no table nope here"),
        ("SELECT * FROM 'nope.csv'", OperationalError, "nope.csv"),
    ],
)
def test_errors_about_the_statement(
    engine: Engine, sql: str, kind: type[DatabaseError], said: str
) -> None:
    with pytest.raises(kind, match=f"(?s){said}"):
        engine.rows(sql)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            'Conversion Error: Casting value "123.4" to type DECIMAL(5,2) failed: value is out of '
            "range!",
            "Casting value … to type DECIMAL(5,2) failed: value is out of range!",
        ),
        (
            'Constraint Error: CHECK constraint failed on table "p" with expression CHECK((d > 1))',
            'CHECK constraint failed on table "p".',
        ),
        (
            'Constraint Error: Duplicate key "id: 1" violates primary key constraint.',
            "Duplicate key … violates primary key constraint.",
        ),
        (
            'Constraint Error: Violates foreign key constraint because key "id: Doe" does not '
            "exist in the referenced table",
            "Violates foreign key constraint because key … does not exist in the referenced table",
        ),
    ],
)
def test_what_is_wrong_is_said_without_the_value(text: str, said: str) -> None:
    assert str(translated(OSError(text), show_values=False)) == said


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("INTERRUPT Error: Interrupted!", CancelledError),
        ("Not implemented Error: no", NotSupportedError),
        ("Strange Error: 12 of 'x'", OperationalError),
        ("no kind at all", OperationalError),
    ],
)
def test_kinds_are_read_from_the_text(text: str, kind: type[DatabaseError]) -> None:
    assert type(translated(OSError(text), show_values=False)) is kind


def test_a_reader_s_own_error_is_not_repeated(engine: Engine) -> None:
    def broken() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"n": [1]})
        raise ValueError("Jane Doe")

    schema = pa.schema([("n", pa.int64())])
    engine.register("r", pa.RecordBatchReader.from_batches(schema, broken()))
    with pytest.raises(DatabaseError) as caught:
        engine.rows("SELECT * FROM r")
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize("way", ["interrupt", "ctrl-c"])
def test_a_computation_is_stopped_quickly(engine: Engine, way: str) -> None:
    stop = engine.interrupt if way == "interrupt" else lambda: os.kill(os.getpid(), signal.SIGINT)
    threading.Timer(0.2, stop).start()
    begun = time.monotonic()
    with pytest.raises((CancelledError, KeyboardInterrupt)):
        engine.rows(LONG)
    assert time.monotonic() - begun < 2
    assert engine.value("SELECT 1") == 1


def test_a_closed_engine_takes_nothing(engine: Engine) -> None:
    rows = engine.stream("SELECT * FROM range(1000000)")
    assert rows is not None
    engine.close()
    engine.close()
    rows.close()
    with pytest.raises(InterfaceError, match=r"closed"):
        engine.value("SELECT 1")


def test_a_database_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("this is no database" * 1000)
    with pytest.raises(OperationalError):
        Engine(str(tmp_path / "x.db"))
    assert not [t for t in threading.enumerate() if t.name.startswith("dicomsql-engine")]


def test_what_spills_is_private_and_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    engine = Engine()
    folder = Path(str(engine.value("SELECT current_setting('temp_directory')")))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    engine.set("memory_limit", "40MB")
    engine.set("threads", 1)
    engine.rows(
        "CREATE TABLE t AS SELECT range AS n, hash(range)::VARCHAR AS s FROM range(2000000)"
    )
    assert list(folder.iterdir())
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(PlanningError):
        engine.set("temp_directory", None)
    engine.close()
    assert not folder.exists()


def test_ctrl_c_while_connecting_is_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def interrupted(*_arguments: object, **_named: object) -> None:
        raise KeyboardInterrupt

    # Raised in the engine's thread it reaches the caller just as a signal in the wait does.
    monkeypatch.setattr("dicomsql.engine.database._locked", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Engine()
    assert list(tmp_path.iterdir()) == []
    assert not [t for t in threading.enumerate() if t.name.startswith("dicomsql-engine")]


def reader(rows: int = 3, *, name: str = "a") -> pa.RecordBatchReader:
    batch = pa.record_batch([pa.array(range(rows), pa.int64())], names=[name])
    return pa.RecordBatchReader.from_batches(batch.schema, iter([batch]))


def read_once(engine: Engine, data: pa.RecordBatchReader, sql: str) -> list[object]:
    engine.register("scan_1", data)
    try:
        return [value for (value,) in engine.rows(sql)]
    finally:
        engine.unregister("scan_1")


@pytest.mark.parametrize("of_pool", [True, False])
def test_readers_of_a_name_follow_each_other(of_pool: bool) -> None:
    main = Engine()
    engine = main.sibling() if of_pool else main
    try:
        for rows in (3, 0, 5):
            assert read_once(engine, reader(rows), "SELECT count(*) FROM scan_1") == [rows]
        # Other columns under the same name.
        assert read_once(engine, reader(2, name="b"), "SELECT b FROM scan_1") == [0, 1]
        with pytest.raises(ProgrammingError):
            read_once(engine, reader(2, name="b"), "SELECT a FROM scan_1")
        assert read_once(engine, reader(1), "SELECT a FROM scan_1") == [0]
        # Statements that have none of them find none.
        listed = "SELECT count(*) FROM duckdb_views() WHERE NOT internal"
        assert engine.rows(listed) == [(0,)]
        with pytest.raises(ProgrammingError):
            engine.rows("SELECT * FROM scan_1")
    finally:
        engine.close()
        main.close()


def test_a_reader_that_is_read_twice_is_an_error(engine: Engine) -> None:
    sql = "SELECT count(*) FROM (FROM scan_1 UNION ALL FROM scan_1)"
    with pytest.raises(InternalError, match="scan_1 twice"):
        read_once(engine, reader(), sql)
    assert read_once(engine, reader(), "SELECT count(*) FROM scan_1") == [3]


def test_an_error_of_a_reader_is_the_statements_and_the_next_one_is_right() -> None:
    main = Engine()
    engine = main.sibling()

    def failing() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch([pa.array([1], pa.int64())], names=["a"])
        raise ValueError("1.2.3")

    schema = pa.schema([("a", pa.int64())])
    try:
        data = pa.RecordBatchReader.from_batches(schema, failing())
        with pytest.raises(DatabaseError) as caught:
            read_once(engine, data, "SELECT a FROM scan_1")
        assert "1.2.3" not in str(caught.value)
        assert read_once(engine, reader(), "SELECT count(*) FROM scan_1") == [3]
    finally:
        engine.close()
        main.close()


def test_rows_that_are_there_do_not_wait_for_the_next(engine: Engine) -> None:
    first_seen, waited = threading.Event(), []

    def batches() -> Iterator[pa.RecordBatch]:
        yield pa.RecordBatch.from_pydict({"a": list(range(2_048))})
        waited.append(first_seen.wait(20))
        yield pa.RecordBatch.from_pydict({"a": [2_048]})

    # Several threads ask for some batches ahead before the first is given.
    engine.rows("SET threads = 1")
    schema = pa.schema([("a", pa.int64())])
    engine.register("t", pa.RecordBatchReader.from_batches(schema, batches()))
    rows = engine.stream("SELECT a + 1 AS a FROM t WHERE a >= 0", at_once=True)
    assert rows is not None
    found = []
    for batch in rows.batches():
        first_seen.set()
        found += batch.column(0).to_pylist()
    assert waited == [True]
    assert found == list(range(1, 2_050))


@pytest.mark.parametrize("given", ["", ", $x AS x"])
@pytest.mark.parametrize("kind", ["VARCHAR", "BIT"])
def test_a_table_that_is_replaced_while_a_query_begins_is_read_as_one(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, given: str, kind: str
) -> None:
    made = "CREATE OR REPLACE TABLE t AS SELECT {} AS {}, {} AS {}"
    name, note = f"'1'::{kind}", f"'0'::{kind}"
    engine.rows(made.format(name, "name", note, "note"))
    other = engine.sibling()
    real = duck.columns_of

    def bound(relation: duckdb.DuckDBPyRelation) -> tuple[ResultColumn, ...]:
        columns = real(relation)
        other.rows(made.format(note, "note", name, "name"))
        return columns

    monkeypatch.setattr(duck, "columns_of", bound)
    rows = engine.stream(f"SELECT *{given} FROM t", {"x": 1} if given else ())
    assert rows is not None
    (read,) = pa.Table.from_batches(list(rows.batches())).to_pylist()
    assert {c.name for c in rows.columns} == set(read)
    assert {n: v for n, v in read.items() if n != "x"} == {"name": "1", "note": "0"}
    assert list(read)[:2] == ["name", "note"]
    # The next one sees what there is now.
    assert engine.rows("SELECT * FROM t")[0] != engine.rows("SELECT name, note FROM t")[0]
    other.close()


def test_what_comes_after_a_result_that_nobody_closed_is_kept(engine: Engine) -> None:
    engine.rows("CREATE TABLE t AS FROM range(100000) t(a)")
    left = engine.stream("SELECT * FROM t")
    assert left is not None
    assert next(left.batches()).num_rows
    engine.rows("INSERT INTO t VALUES (-1)")
    other = engine.sibling()
    assert other.value("SELECT count(*) FROM t") == 100_001
    other.close()
    # What is gone is told, never taken for the end.
    with pytest.raises(InterfaceError, match="broken off"):
        list(left.batches())
