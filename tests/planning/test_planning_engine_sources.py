"""Files, local tables and CTEs beside resources: their types, their columns, comparisons."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
from planning_hospital import Hospital

from dicomsql.errors import DataError, LanguageError, ProgrammingError

STUDIES = "google.healthcare.studies"
SERIES = "google.healthcare.series"
INSTANCES = "google.healthcare.instances"


@pytest.fixture(scope="module")
def folder(hospital: Hospital, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`numbers.csv`, whose identifiers the engine reads as numbers, and `cohort.csv`, of texts."""
    made = tmp_path_factory.mktemp("files")
    (made / "numbers.csv").write_text("PatientID,x\n123,1\n")
    (made / "cohort.csv").write_text("PatientID,x\nP-3,1\nO'Neil,2\n")
    hospital.rows(f"CREATE TABLE cohort AS SELECT * FROM '{made}/cohort.csv'")
    return made


@pytest.mark.parametrize(
    "rest",
    [
        "'{f}' c JOIN {s} s ON s.PatientID = c.PatientID",
        "'{f}' c JOIN {s} s ON trim(s.PatientID) = c.PatientID + 0",
        "{s} s WHERE EXISTS (SELECT 1 FROM '{f}' c WHERE c.PatientID = s.PatientID)",
        "{s} s WHERE s.PatientID = (SELECT max(PatientID) FROM '{f}')",
        "{s} s WHERE s.PatientID IN (SELECT PatientID FROM '{f}')",
        "{s} s WHERE s.PatientID = ANY (SELECT PatientID FROM '{f}')",
        "{s} s WHERE CASE s.PatientID WHEN (SELECT max(PatientID) FROM '{f}') THEN true END",
        "{s} s JOIN '{f}' c USING (PatientID)",
        "read_csv('{f}') c JOIN {s} s USING (PatientID)",
        "(SELECT PatientID + 1 AS p FROM '{f}') c, {s} s WHERE p = s.PatientID",
        "(SELECT q.* FROM '{f}' q, {s}) c, {s} s WHERE c.PatientID = s.PatientID",
        "(WITH q AS (FROM '{f}'), c AS (FROM q) SELECT * FROM c) c JOIN {s} s USING (PatientID)",
        "(SELECT PatientID AS p FROM {s}) s JOIN '{f}' c ON s.p = c.PatientID",
    ],
)
def test_an_identifier_is_never_compared_with_a_column_of_numbers(
    hospital: Hospital, folder: Path, rest: str
) -> None:
    where = rest.format(f=folder / "numbers.csv", s=STUDIES)
    with pytest.raises(DataError, match=r"all_varchar = true"):
        hospital.plan(f"SELECT count(*) FROM {where}")


def test_a_file_that_is_read_as_text_matches_its_own_patients(
    hospital: Hospital, folder: Path
) -> None:
    file = f"read_csv('{folder}/numbers.csv', all_varchar = true)"
    found = hospital.rows(
        f"SELECT DISTINCT PatientID FROM {file} c JOIN {STUDIES} s USING (PatientID)"
    )
    assert found == [("123",)]
    # The lengths are numbers, and no identifier.
    lengths = f"SELECT count(*) FROM '{folder}/numbers.csv' c, {STUDIES} s"
    assert hospital.rows(f"{lengths} WHERE length(s.PatientID) = c.x + 2") == [(8,)]


def test_what_planning_cannot_tell_the_engine_looks_at(hospital: Hospital) -> None:
    sql = f"SELECT count(*) FROM {STUDIES} s, unnest([{{}}]) u(n) WHERE s.PatientID = u.n"
    assert hospital.rows(sql.format("s.PatientID")) == [(12,)]
    with pytest.raises(ProgrammingError, match="compared with a column of numbers"):
        hospital.rows(sql.format("length(s.PatientID)"))


COHORTS = ["'{}/cohort.csv' c", "cohort c", "(SELECT DISTINCT PatientID FROM cohort) c", "made"]


@pytest.mark.parametrize("cohort", COHORTS)
def test_a_cohort_begins_or_ends_a_chain_of_levels(
    hospital: Hospital, folder: Path, cohort: str
) -> None:
    head = "WITH made AS (SELECT PatientID FROM cohort) "
    cohort = cohort.format(folder)
    first = (
        f"{head}SELECT Modality, count(*) FROM {cohort} JOIN {STUDIES} s USING (PatientID) "
        f"JOIN {SERIES} e USING (StudyInstanceUID) JOIN {INSTANCES} i USING (SeriesInstanceUID) "
        f"GROUP BY Modality ORDER BY 1"
    )
    assert hospital.rows(first) == [("CT", 7), ("MR", 4), ("SR", 7)]
    joined = f"{STUDIES} s JOIN {SERIES} e USING (StudyInstanceUID) JOIN {cohort} USING (PatientID)"
    last = f"{head}SELECT PatientID, count(*) FROM {joined} GROUP BY 1 ORDER BY 1"
    assert hospital.rows(last) == [("O'Neil", 1), ("P-3", 5)]
    assert len(hospital.rows(f"{head}SELECT * FROM {joined}")) == 6


def _columns(hospital: Hospital, sql: str) -> list[str]:
    (statement,) = hospital.session.parse(sql)
    result = hospital.session.execute(statement)
    list(result.batches())
    return [c.name for c in result.columns or ()]


@pytest.mark.parametrize(
    ("shown", "names"),
    [
        ("ImageType = 'PRIMARY' k, Rows", ["k", "Rows"]),
        ("ImageType = 'PRIMARY'", ["ImageType = 'PRIMARY'"]),
        ("DISTINCT NOT (ImageType LIKE 'PRI%'), 1 n", ["NOT (ImageType LIKE 'PRI%')", "n"]),
        ("ImageType BETWEEN 'A' AND 'B' AS c, ImageType IN ('A') d", ["c", "d"]),
    ],
)
def test_a_rewritten_projection_has_the_users_name(
    hospital: Hospital, shown: str, names: list[str]
) -> None:
    assert _columns(hospital, f"SELECT {shown} FROM {INSTANCES}") == names


@pytest.mark.parametrize(
    "condition",
    [
        'PatientName = "Doe^Peter"',
        '"Doe^Peter" = PatientName',
        's.PatientName = s."Doe^Peter"',
        "PatientName = Peter",
        "PatientName = Doe.Peter",
        "PatientName IN ('x', Peter)",
        'PatientName LIKE "%Peter%"',
        "PatientName BETWEEN Peter AND Peters",
        'lower(PatientName) = lower("Doe Peter")',
        'contains(PatientName, "Doe^Peter")',
        'PatientID = "1" AND PatientName = Peter',
    ],
)
def test_a_value_without_its_quotes_is_not_repeated(hospital: Hospital, condition: str) -> None:
    with pytest.raises(LanguageError, match="in single quotes") as caught:
        hospital.plan(f"SELECT 1 FROM {STUDIES} s WHERE {condition}")
    assert "Peter" not in str(caught.value)
    assert "Peter" not in caught.value.text


def test_a_slip_of_a_column_is_shown(hospital: Hospital) -> None:
    with pytest.raises(LanguageError, match="Did you mean PatientName"):
        hospital.plan(f"SELECT 1 FROM {STUDIES} WHERE PatientName = PatientNam")


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("GROUP BY 1 HAVING max(StudyDate) < '20260201'", ["O'Neil"]),
        ("WHERE coalesce(StudyDate, StudyDate) > '20260315' GROUP BY 1", ["00123", "P 4"]),
        ("WHERE CASE StudyDate WHEN '20260305' THEN true ELSE false END GROUP BY 1", ["P-3"]),
        ("GROUP BY 1 HAVING least(DATE '2026-02-01', min(StudyDate)) IN ('20260113')", ["O'Neil"]),
    ],
)
def test_an_expression_of_dates_takes_dicoms_spelling(
    hospital: Hospital, rest: str, expected: list[Any]
) -> None:
    sql = f"SELECT PatientID FROM {STUDIES} {rest} ORDER BY 1"
    assert [row[0] for row in hospital.rows(sql)] == expected


def test_a_date_of_a_derived_table_takes_dicoms_spelling(hospital: Hospital) -> None:
    newest = f"(SELECT PatientID, max(StudyDate) AS newest FROM {STUDIES} GROUP BY 1)"
    sql = f"SELECT newest FROM {newest} WHERE newest > '20260320'"
    assert hospital.rows(sql) == [(datetime.date(2026, 3, 23),)]
