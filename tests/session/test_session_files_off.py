"""Local files switched off: what statements may still do, and what tells so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomsql import cli
from dicomsql.config import Settings, settings
from dicomsql.errors import DatabaseError, InterfaceError, NotSupportedError, PlanningError
from dicomsql.session import Session


@pytest.fixture
def session(filled_root: Path, tmp_path: Path) -> Iterator[Session]:
    """A session without files, on a database of its own."""
    made = Session(
        Settings(
            local=filled_root,
            project="p",
            location="us-central1",
            dataset="d",
            dicom_store="s",
            files=False,
            database=tmp_path / "own.duckdb",
        )
    )
    with made:
        yield made


def run(session: Session, text: str) -> list[tuple[object, ...]]:
    (statement,) = session.parse(text)
    result = session.execute(statement)
    return [tuple(row.values()) for batch in result.batches() for row in batch.to_pylist()]


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM read_dicom('{folder}')",
        "SELECT * FROM google.healthcare.studies WHERE StudyInstanceUID IN "
        "(SELECT StudyInstanceUID FROM read_dicom('{folder}'))",
        "CREATE VIEW f AS SELECT * FROM read_dicom('{folder}')",
        "CREATE TABLE f AS SELECT * FROM read_dicom('{folder}')",
        "COPY google.healthcare.instances FROM '{folder}'",
        "COPY google.healthcare.instances FROM (SELECT 'x' AS path)",
        "COPY (SELECT StudyInstanceUID FROM google.healthcare.studies) TO '{folder}/o' "
        "(FORMAT dicom)",
        "COPY (SELECT PatientID FROM google.healthcare.studies) TO '{folder}/o.parquet'",
        "COPY (SELECT 1) TO '{folder}/o.csv'",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{folder}/o.csv'",
        "EXEC google.healthcare.dicom_stores.store_instances @dicomStoresId = 's' "
        "@@file = '{folder}/x.dcm'",
        "EXEC google.healthcare.studies_study.retrieve_study @studiesId = '1.2' "
        "@@output = '{folder}/o'",
        "ATTACH '{folder}/x.duckdb' AS x",
        "EXPLAIN SELECT * FROM read_dicom('{folder}')",
    ],
)
def test_no_statement_touches_local_files(session: Session, tmp_path: Path, text: str) -> None:
    before = {path.name for path in tmp_path.iterdir()}
    with pytest.raises(NotSupportedError, match="Local files are switched off"):
        run(session, text.format(folder=tmp_path / "own-config"))
    assert {path.name for path in tmp_path.iterdir()} <= before | {"own.duckdb", "own.duckdb.wal"}


def test_the_engine_refuses_what_only_it_reads(session: Session, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    with pytest.raises(DatabaseError):
        run(session, f"SELECT * FROM '{tmp_path / 'a.csv'}'")


def test_no_answers_are_kept_in_files(session: Session) -> None:
    with pytest.raises(PlanningError, match="SET cache keeps answers in files"):
        run(session, "SET cache = '10m'")
    run(session, "SET cache = 'off'")


def test_local_tables_and_servers_are_there(session: Session) -> None:
    run(session, "CREATE TABLE t AS SELECT PatientID FROM google.healthcare.studies")
    run(session, "CREATE VIEW v AS SELECT Modality FROM google.healthcare.series")
    assert run(session, "SELECT count(*) FROM t") == [(5,)]
    assert run(session, "SELECT * FROM v WHERE Modality = 'CT'") == [("CT",)]


@pytest.mark.parametrize(
    ("given", "environment", "configured", "found"),
    [
        ({}, {}, "", True),
        ({"files": "off"}, {}, "", False),
        ({"files": False}, {}, "", False),
        ({}, {"DICOMSQL_FILES": "off"}, "", False),
        ({}, {}, 'files = "off"', False),
        ({}, {}, "files = false", False),
        ({"files": "on"}, {"DICOMSQL_FILES": "off"}, 'files = "off"', True),
    ],
)
def test_where_it_is_said(
    tmp_path: Path,
    given: dict[str, object],
    environment: dict[str, str],
    configured: str,
    found: bool,
) -> None:
    config = tmp_path / "config.toml"
    config.write_text(configured)
    assert settings(environment, config=config, **given).files is found


@pytest.mark.parametrize(
    ("given", "configured"), [({"files": "none"}, ""), ({}, 'files = "none"'), ({}, "files = [1]")]
)
def test_what_it_cannot_be(tmp_path: Path, given: dict[str, object], configured: str) -> None:
    config = tmp_path / "config.toml"
    config.write_text(configured)
    with pytest.raises(InterfaceError, match="files"):
        settings({}, config=config, **given)


def test_the_command_line_keeps_a_database_and_switches_files_off(
    filled_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = ["exec", "--local", str(filled_root), "--database", str(tmp_path / "x.duckdb")]
    assert cli.main([*own, "CREATE TABLE t AS SELECT 1 AS a"]) == 0
    assert cli.main([*own, "--no-files", "-H", "SELECT a FROM t"]) == 0
    assert capsys.readouterr().out == "1\n"
    assert cli.main([*own, "--no-files", f"COPY t TO '{tmp_path / 'x.csv'}'"]) == 1
    assert "Local files are switched off" in capsys.readouterr().err
