"""Subqueries over files whose column is not the file's: refused, as SQL takes the outer query's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from planning_hospital import Hospital

from dicomsql.errors import LanguageError

STUDIES = "google.healthcare.studies"


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("cohort") / "pc.csv"
    made.write_text("patient_id,P4711\nP-3,1\n")
    return made


@pytest.mark.parametrize(
    "condition",
    [
        "PatientID IN (SELECT PatientID FROM '{f}')",
        "PatientID NOT IN (SELECT PatientID FROM '{f}')",
        "PatientID = (SELECT max(PatientID) FROM '{f}')",
        "PatientID = ANY (SELECT upper(trim(PatientID)) FROM '{f}' c)",
        "PatientID IN (SELECT PatientID FROM (SELECT patient_id FROM '{f}'))",
        "PatientID IN (SELECT patient_id FROM '{f}' UNION SELECT PatientID FROM '{f}')",
        "PatientID IN (SELECT PatientID FROM google.healthcare.dicom_stores)",
        "PatientID IN (SELECT PatientID FROM (SELECT patient_id AS x FROM '{f}') c)",
    ],
)
@pytest.mark.parametrize("head", ["SELECT 1 FROM", "DELETE FROM"])
def test_a_column_that_only_the_outer_query_has_is_refused(
    hospital: Hospital, cohort: Path, head: str, condition: str
) -> None:
    with pytest.raises(LanguageError, match="No table of this subquery has a column PatientID"):
        hospital.plan(f"{head} {STUDIES} WHERE {condition.format(f=cohort)}")


def test_the_error_names_the_files_columns_and_no_values(hospital: Hospital, cohort: Path) -> None:
    for name in ("PatientID", "uids"):
        sql = f"SELECT 1 FROM {STUDIES} WHERE StudyInstanceUID IN (SELECT {name} FROM '{cohort}')"
        with pytest.raises(LanguageError, match=r"has patient_id, 1 more\)") as caught:
            hospital.plan(sql)
        assert "P4711" not in str(caught.value)
    assert "google.healthcare.studies has no column uids" in str(caught.value)


def test_a_column_of_what_cannot_be_looked_at_needs_its_table(
    hospital: Hospital, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    sql = f"DELETE FROM {STUDIES} WHERE PatientID IN (SELECT {{}} FROM read_csv('{pipe}') f)"
    with pytest.raises(LanguageError, match="has a column PatientID shows only when it is read"):
        hospital.plan(sql.format("PatientID"))
    assert hospital.plan(sql.format("f.PatientID")).source.scans


@pytest.mark.parametrize(
    "condition",
    [
        "PatientID IN (SELECT patient_id FROM '{f}')",
        "PatientID IN (SELECT PatientID FROM (SELECT * FROM google.healthcare.series))",
        "EXISTS (SELECT PatientID FROM '{f}')",
        "EXISTS (SELECT 1 FROM '{f}' WHERE patient_id = PatientID)",
        "PatientID IN (SELECT s.PatientID FROM '{f}')",
        "PatientID IN (SELECT coalesce(patient_id, PatientID) FROM '{f}')",
    ],
)
def test_a_column_of_the_file_or_a_named_table_is_read(
    hospital: Hospital, cohort: Path, condition: str
) -> None:
    assert hospital.rows(f"SELECT 1 FROM {STUDIES} s WHERE {condition.format(f=cohort)}")
