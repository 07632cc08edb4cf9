"""Writes of local tables that read resources: beside them, and in subqueries about their rows."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path

import pytest

import dicomsql
from dicomsql.errors import LanguageError

STUDIES, SERIES = "google.healthcare.studies", "google.healthcare.series"
PLACE = {"project": "p", "location": "us-central1", "dataset": "d", "dicom_store": "s"}

CT, MR = datetime.date(2004, 1, 19), datetime.date(2004, 8, 26)
ONE, TWO, THREE = (1, "1CT1", None), (2, "4MR1", None), (3, "none", None)

Rows = list[tuple[object, ...]]


@pytest.fixture
def cursor(filled_root: Path) -> Iterator[dicomsql.Cursor]:
    with dicomsql.connect(**PLACE, local=filled_root) as connection:
        made = connection.cursor()
        made.execute("CREATE TABLE own (a INTEGER, PatientID VARCHAR, d DATE)")
        made.execute(
            "INSERT INTO own VALUES (1, '1CT1', NULL), (2, '4MR1', NULL), (3, 'none', NULL)"
        )
        yield made


@pytest.mark.parametrize(
    ("statement", "left"),
    [
        (
            f"UPDATE own SET d = s.StudyDate FROM {STUDIES} s WHERE s.PatientID = own.PatientID",
            [(1, "1CT1", CT), (2, "4MR1", MR), THREE],
        ),
        (
            # What is on the left of SET is the written table's, whoever else has it.
            f"UPDATE own o SET PatientID = s.StudyID, d = StudyDate FROM {STUDIES} s "
            "WHERE s.PatientID = o.PatientID AND o.a = 1 RETURNING PatientID",
            [(1, "1CT1", CT), TWO, THREE],
        ),
        (
            f"UPDATE own SET d = s.StudyDate FROM {STUDIES} s JOIN {SERIES} e "
            "USING (StudyInstanceUID) WHERE s.PatientID = own.PatientID AND e.Modality = 'MR'",
            [ONE, (2, "4MR1", MR), THREE],
        ),
        (
            f"UPDATE own SET d = {STUDIES}.StudyDate FROM {STUDIES} "
            f"WHERE own.PatientID = {STUDIES}.PatientID AND a = 2",
            [ONE, (2, "4MR1", MR), THREE],
        ),
        (
            f"UPDATE own SET a = (SELECT count(*) FROM {STUDIES} s "
            "WHERE s.PatientID = own.PatientID) WHERE a > 1",
            [(0, "none", None), ONE, (1, "4MR1", None)],
        ),
        (
            f"WITH s AS (SELECT * FROM {STUDIES}) UPDATE own SET d = s.StudyDate FROM s "
            "WHERE s.PatientID = own.PatientID AND s.StudyDate > DATE '2004-02-01'",
            [ONE, (2, "4MR1", MR), THREE],
        ),
        (f"DELETE FROM own USING {STUDIES} s WHERE s.PatientID = own.PatientID", [THREE]),
        (
            f"DELETE FROM own WHERE NOT EXISTS "
            f"(SELECT 1 FROM {STUDIES} s WHERE s.PatientID = own.PatientID)",
            [ONE, TWO],
        ),
        (
            f"DELETE FROM own WHERE PatientID IN (SELECT own.PatientID FROM {STUDIES})",
            [],
        ),
        (
            f"MERGE INTO own USING {STUDIES} s ON own.PatientID = s.PatientID "
            "WHEN MATCHED THEN UPDATE SET d = s.StudyDate, PatientID = 'seen' "
            "WHEN NOT MATCHED AND s.PatientID = 'id00001' THEN INSERT (a, PatientID) "
            "VALUES (4, s.PatientID)",
            [(1, "seen", CT), (2, "seen", MR), THREE, (4, "id00001", None)],
        ),
    ],
)
def test_a_local_write_reads_resources(cursor: dicomsql.Cursor, statement: str, left: Rows) -> None:
    cursor.execute(statement)
    assert cursor.execute("SELECT * FROM own ORDER BY ALL").fetchall() == left


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        # The written table's own column, the same for each row of the subquery: all would go.
        (f"DELETE FROM own WHERE d IN (SELECT d FROM {STUDIES})", "No table of this subquery"),
        (f"SELECT * FROM own WHERE a IN (SELECT a FROM {STUDIES})", "No table of this subquery"),
        (f"UPDATE own SET a = 1 FROM {STUDIES} s WHERE PatientID = 'x'", "Several tables have"),
        (f"UPDATE own SET a = 1 FROM {STUDIES} s WHERE s.PatientID = Miller", "single quotes"),
        (f'UPDATE own SET PatientID = "Doe^J" FROM {STUDIES} s', "single quotes"),
        (f"SELECT 1 FROM own, {STUDIES} s WHERE s.PatientID = Miller", "single quotes"),
    ],
)
def test_what_may_mean_something_else_is_refused(
    cursor: dicomsql.Cursor, statement: str, message: str
) -> None:
    with pytest.raises(LanguageError, match=message) as caught:
        cursor.execute(statement)
    assert "Miller" not in str(caught.value)
    assert "Doe" not in str(caught.value)
    assert cursor.execute("SELECT * FROM own ORDER BY a").fetchall() == [ONE, TWO, THREE]


@pytest.mark.parametrize(
    "statement",
    [
        f"DROP TABLE {STUDIES}",
        "DROP VIEW IF EXISTS google.healthcare.nothing",
        "CREATE TABLE google.healthcare.mine (a INTEGER)",
        "CREATE OR REPLACE TABLE google.healthcare.mine AS SELECT 1 AS a",
        f"CREATE INDEX i ON {STUDIES} (PatientID)",
        f"ALTER TABLE {STUDIES} ADD COLUMN a INTEGER",
        f"TRUNCATE {STUDIES}",
        f"COMMENT ON TABLE {STUDIES} IS 'x'",
        f"COMMENT ON COLUMN {STUDIES}.PatientID IS 'x'",
        "CREATE SCHEMA google.healthcare",
    ],
)
def test_a_resource_is_no_table(cursor: dicomsql.Cursor, statement: str) -> None:
    with pytest.raises(LanguageError, match="the names of google are resources"):
        cursor.execute(statement)


def test_a_schema_may_be_called_like_a_provider(cursor: dicomsql.Cursor) -> None:
    cursor.execute("CREATE SCHEMA google; CREATE TABLE google.mine (a INTEGER)")
    cursor.execute("ALTER TABLE google.mine ADD COLUMN b INTEGER; DROP TABLE google.mine")
