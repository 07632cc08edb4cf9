"""Names without a table that several tables of a join have: one value, or ambiguous."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import duckdb
import pytest
from planning_hospital import Hospital

from dicomsql.errors import LanguageError, NotSupportedError

PATIENTS = "@studies a JOIN @studies b ON a.PatientID = b.PatientID AND a.StudyDate < b.StudyDate"
LEVELS = "@studies s JOIN @series r ON s.StudyInstanceUID = r.StudyInstanceUID"
BY_PATIENT = "@studies s JOIN @series r ON s.PatientID = r.PatientID"


def full(sql: str) -> str:
    return sql.replace("@", "google.healthcare.")


@pytest.mark.parametrize(
    ("sql", "written"),
    [
        (f"SELECT 1 FROM {PATIENTS} WHERE StudyDate > '20260101'", "a.StudyDate or b.StudyDate"),
        (f"SELECT StudyDate FROM {PATIENTS}", "a.StudyDate or b.StudyDate"),
        (f"SELECT b.StudyDate AS d FROM {PATIENTS} GROUP BY StudyDate", "a.StudyDate or b."),
        (f"SELECT 1 FROM {PATIENTS} AND StudyTime > '10'", "a.StudyTime or b.StudyTime"),
        # A UID is no parameter of every table where the join does not equate it.
        (f"SELECT 1 FROM {PATIENTS} WHERE StudyInstanceUID = '1.2.1'", "a.StudyInstanceUID or b."),
        (f"SELECT 1 FROM {PATIENTS} WHERE studiesId = '1.2.1'", "a.studiesId or b.studiesId"),
        (f"SELECT 1 FROM {BY_PATIENT} WHERE StudyDate > '20260101'", "s.StudyDate or r.StudyDate"),
        ("SELECT StudyDate FROM @studies s, @series r", "s.StudyDate or r.StudyDate"),
        ("SELECT StudyDate FROM @studies s JOIN @series r USING (PatientID)", "s.StudyDate or r."),
        # Series of one study are not one series.
        (
            "SELECT Modality FROM @series r JOIN @instances i USING (StudyInstanceUID)",
            "r.Modality or i.Modality",
        ),
        # Copies in two stores may have been made to differ.
        (
            f"SELECT PatientID FROM {LEVELS} WHERE s.dicomStoresId = 'main' "
            "AND r.dicomStoresId = 'second'",
            "s.PatientID or r.PatientID",
        ),
        (
            f"SELECT PatientID FROM {LEVELS} WHERE dicomStoresId IN ('main', 'second')",
            "s.PatientID or r.PatientID",
        ),
        (
            f"SELECT dicomStoresId FROM {LEVELS} WHERE s.dicomStoresId = 'main' "
            "AND r.dicomStoresId = 'second'",
            "s.dicomStoresId or r.dicomStoresId",
        ),
        # The study may be missing where the series is not.
        (
            "SELECT StudyDate FROM @series r LEFT JOIN @studies s "
            "ON s.StudyInstanceUID = r.StudyInstanceUID",
            "s.StudyDate or r.StudyDate",
        ),
        (
            "SELECT StudyDate FROM @studies s FULL JOIN @series r USING (StudyInstanceUID)",
            "s.StudyDate or r.StudyDate",
        ),
        # What each answer held is no attribute of the study.
        (f"SELECT dataset FROM {LEVELS}", "s.dataset or r.dataset"),
        (
            f"SELECT 1 FROM {PATIENTS} JOIN @series r USING (StudyInstanceUID)",
            "a.StudyInstanceUID or b.StudyInstanceUID",
        ),
        (
            "SELECT PatientID FROM @studies s JOIN (SELECT 'x' AS PatientID) p ON true",
            "s.PatientID or p.PatientID",
        ),
    ],
)
def test_what_may_differ_is_ambiguous(hospital: Hospital, sql: str, written: str) -> None:
    with pytest.raises(LanguageError, match="which may differ in them; write") as caught:
        hospital.plan(full(sql))
    assert written in str(caught.value).replace('"', "")


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT StudyDate FROM {LEVELS} WHERE PatientID = 'P-3'",
        "SELECT StudyDate, Modality FROM @series r JOIN @instances i USING (SeriesInstanceUID)",
        "SELECT StudyDate FROM @studies s, @series r WHERE r.studiesId = s.StudyInstanceUID",
        "SELECT StudyDate FROM @studies s LEFT JOIN @series r USING (StudyInstanceUID)",
        f"SELECT StudyDate FROM {LEVELS} WHERE dicomStoresId = 'main'",
        f"SELECT StudyDate FROM {LEVELS} AND s.dicomStoresId = r.dicomStoresId "
        "WHERE dicomStoresId IN ('main', 'second')",
        f"SELECT a.StudyDate FROM {PATIENTS} WHERE PatientID = 'P-3'",
        f"SELECT a.StudyDate FROM {PATIENTS} WHERE dicomStoresId = 'main'",
        f"SELECT 1 FROM {PATIENTS} WHERE EXISTS (SELECT StudyDate FROM @series)",
        "SELECT PatientName FROM @studies s JOIN @studies_metadata m "
        "ON m.studiesId = s.StudyInstanceUID",
        "SELECT PatientID FROM @studies s JOIN (SELECT 'x' AS PatientID) p "
        "ON s.PatientID = p.PatientID",
    ],
)
def test_what_is_one_value_needs_no_table(hospital: Hospital, sql: str) -> None:
    assert hospital.plan(full(sql)).scans


def test_a_self_join_gives_what_plain_tables_give(
    hospital: Hospital, oracle: duckdb.DuckDBPyConnection
) -> None:
    sql = f"SELECT b.StudyDate FROM {PATIENTS} WHERE b.StudyDate > '2026-01-01' ORDER BY StudyDate"
    expected = oracle.execute(sql.replace("@", "")).fetchall()
    assert [row[0] for row in hospital.rows(full(sql))] == [row[0] for row in expected]
    assert expected


def test_a_star_hides_only_what_is_shown_already(hospital: Hospital) -> None:
    for joined, times in ((BY_PATIENT, 2), (LEVELS, 1)):
        (statement,) = hospital.session.parse(full(f"SELECT * FROM {joined}"))
        with closing(hospital.session.execute(statement)) as result:
            columns = [c.name for c in result.columns or ()]
        assert sum(name.startswith("StudyInstanceUID") for name in columns) == times


def test_a_natural_join_of_a_resource_is_refused_from_either_side(
    hospital: Hospital, tmp_path: Path
) -> None:
    (tmp_path / "p.csv").write_text("PatientID,StudyDate\nP-3,20260101\n")
    for joined in ("@studies NATURAL JOIN '{}'", "'{}' NATURAL JOIN @studies"):
        with pytest.raises(NotSupportedError, match=r"google\.healthcare\.studies with USING"):
            hospital.plan(full(f"SELECT PatientID FROM {joined.format(tmp_path / 'p.csv')}"))
