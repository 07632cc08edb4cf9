"""What a search gets from other tables: conditions of higher levels, and values of their rows."""

from __future__ import annotations

import re

import duckdb
import pytest
from planning_hospital import Hospital

from dicomsql.planning.read_plan import Scan

LEVELS = "@studies s JOIN @series r USING (StudyInstanceUID)"


def full(sql: str) -> str:
    return sql.replace("@", "google.healthcare.")


def scan_of(hospital: Hospital, sql: str, alias: str) -> Scan:
    return next(s for s in hospital.plan(full(sql)).scans if s.alias == alias)


def filters(scan: Scan) -> dict[str, tuple[str, ...]]:
    return {f.name: f.values for f in scan.filters}


@pytest.mark.parametrize(
    ("sql", "alias", "expected"),
    [
        (
            f"SELECT 1 FROM {LEVELS} WHERE s.PatientID = 'P-3'",
            "r",
            {"PatientID": ("P-3",)},
        ),
        (
            f"SELECT 1 FROM {LEVELS} JOIN @instances i ON i.SeriesInstanceUID = "
            "r.SeriesInstanceUID WHERE year(s.StudyDate) = 2026 AND r.Modality = 'CT'",
            "i",
            {"StudyDate": ("20260101-20261231",), "Modality": ("CT",)},
        ),
        (
            "SELECT 1 FROM @studies s LEFT JOIN @series r ON r.studiesId = s.StudyInstanceUID "
            "WHERE s.PatientID = 'P-3'",
            "r",
            {"PatientID": ("P-3",)},
        ),
        # Kept whatever the study is like.
        (
            "SELECT 1 FROM @series r LEFT JOIN @studies s ON r.StudyInstanceUID = "
            "s.StudyInstanceUID AND s.PatientID = 'P-3'",
            "r",
            {},
        ),
        # What the higher table does not carry down, and what stands in another store.
        (f"SELECT 1 FROM {LEVELS} WHERE s.StudyDescription = 'x'", "r", {}),
        (f"SELECT 1 FROM {LEVELS} WHERE s.PatientID = 'x' AND s.dicomStoresId = 'second'", "r", {}),
        (
            f"SELECT 1 FROM {LEVELS} WHERE s.PatientID = 'x' AND "
            "dicomStoresId IN ('main', 'second')",
            "r",
            {},
        ),
        (
            "SELECT 1 FROM @studies s JOIN @series r USING (StudyInstanceUID, dicomStoresId) "
            "WHERE s.PatientID = 'x' AND s.dicomStoresId = 'second'",
            "r",
            {"PatientID": ("x",)},
        ),
        # Joined by something else than the study.
        (
            "SELECT 1 FROM @studies s JOIN @series r ON r.PatientID = s.PatientID "
            "WHERE s.StudyDate = '20260101'",
            "r",
            {},
        ),
        # Half of the studies are not there to be joined.
        (
            "SELECT 1 FROM @studies s TABLESAMPLE 50% JOIN @series r USING (StudyInstanceUID) "
            "WHERE s.PatientID = 'P-3'",
            "r",
            {},
        ),
    ],
)
def test_a_studys_conditions_reach_the_levels_below(
    hospital: Hospital, sql: str, alias: str, expected: dict[str, tuple[str, ...]]
) -> None:
    assert filters(scan_of(hospital, sql, alias)) == expected


@pytest.mark.parametrize(
    ("sql", "alias", "parameters"),
    [
        ("SELECT 1 FROM @studies s WHERE PatientID IN (SELECT 'P-3')", "s", ("PatientID",)),
        (
            "SELECT 1 FROM @studies s WHERE StudyInstanceUID IN (SELECT '1.2.3')",
            "s",
            ("StudyInstanceUID",),
        ),
        ("SELECT 1 FROM @studies s JOIN (VALUES ('x')) v(id) ON v.id = s.PatientID", "s",
         ("PatientID",)),
        ("SELECT 1 FROM (VALUES ('x')) v(id) LEFT JOIN @studies s ON v.id = s.PatientID", "s",
         ("PatientID",)),
        # Earlier studies of the same patient: the one that the query names begins.
        (
            "SELECT 1 FROM @studies b JOIN @studies a ON a.PatientID = b.PatientID "
            "WHERE a.StudyInstanceUID = '1.2.3'",
            "b",
            ("PatientID",),
        ),
        ("SELECT 1 FROM @instances i WHERE SeriesInstanceUID IN (SELECT '1.2.3')", "i",
         ("SeriesInstanceUID",)),
        # Rows that come without a partner, too many values, and conditions that say more.
        ("SELECT 1 FROM @studies s LEFT JOIN (VALUES ('x')) v(id) ON v.id = s.PatientID", "s", ()),
        ("SELECT 1 FROM @studies s ANTI JOIN (VALUES ('x')) v(id) ON v.id = s.PatientID", "s", ()),
        ("SELECT 1 FROM @studies s WHERE PatientID NOT IN (SELECT 'x')", "s", ()),
        ("SELECT 1 FROM @studies s WHERE PatientID IN (SELECT PatientID FROM @series)", "s", ()),
        ("SELECT 1 FROM @studies s WHERE AccessionNumber = 'A' AND PatientID IN (SELECT 'x')", "s",
         ()),
        ("SELECT 1 FROM @studies s WHERE PatientName IN (SELECT 'x')", "s", ()),
        ("SELECT 1 FROM @studies s WHERE PatientID IN (SELECT 'x' COLLATE NOCASE)", "s", ()),
        (
            "WITH v AS (SELECT 'x' COLLATE NOCASE AS id) "
            "SELECT 1 FROM @studies s JOIN v ON v.id = s.PatientID",
            "s",
            (),
        ),
    ],
)  # fmt: skip
def test_values_of_other_rows_are_searched_for(
    hospital: Hospital, sql: str, alias: str, parameters: tuple[str, ...]
) -> None:
    scan = scan_of(hospital, sql, alias)
    assert tuple(p for bind in scan.binds for p in bind.parameters) == parameters
    for bind in scan.binds:
        assert scan.walk == scan.method
        assert re.fullmatch(bind.fits, "A 1") and not re.fullmatch(bind.fits, "A*1")


COHORTS = [
    "SELECT 'P-3'",
    "FROM (VALUES ('P-3'), ('00900'), (NULL), (''), ('nobody'))",
    # What a server would read otherwise: then all is read, and nothing is missing.
    "FROM (VALUES ('P*5'), ('P-3'))",
    "FROM (VALUES ('P-3 '), ('p-3'))",
    "FROM (VALUES ('O''Neil'), ('P 4'))",
    "SELECT n::VARCHAR FROM range(200) t(n)",
    "SELECT NULL::VARCHAR",
]


@pytest.mark.parametrize("cohort", COHORTS)
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT StudyInstanceUID FROM @studies WHERE PatientID IN ({cohort})",
        "SELECT s.StudyInstanceUID FROM ({cohort}) c(id) JOIN @studies s ON s.PatientID = c.id",
        "SELECT c.id, s.StudyInstanceUID FROM ({cohort}) c(id) LEFT JOIN @studies s "
        "ON s.PatientID = c.id",
        "SELECT StudyInstanceUID FROM @studies s SEMI JOIN ({cohort}) c(id) ON s.PatientID = c.id",
    ],
)
def test_a_cohort_never_changes_the_answer(
    hospital: Hospital, oracle: duckdb.DuckDBPyConnection, cohort: str, sql: str
) -> None:
    text = sql.replace("{cohort}", cohort)
    expected = oracle.execute(text.replace("@", "")).fetchall()
    assert sorted(hospital.rows(full(text)), key=str) == sorted(expected, key=str)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT StudyInstanceUID FROM @studies WHERE PatientName LIKE 'Smi%'",
        "SELECT StudyInstanceUID FROM @studies WHERE PatientName ILIKE '%^eva'",
        "SELECT StudyInstanceUID FROM @studies WHERE PatientName LIKE 'O''Neil%'",
        "SELECT StudyInstanceUID FROM @studies WHERE PatientName LIKE 'Müll%'",
        "SELECT StudyInstanceUID FROM @studies WHERE "
        "month(StudyDate) = 2 AND year(StudyDate) = 2026",
        "SELECT StudyInstanceUID FROM @studies WHERE date_trunc('month', StudyDate) = '2026-02-01'",
        "SELECT SeriesInstanceUID FROM @series WHERE Modality = 'CT' OR StudyDate < '2026-01-10'",
        "SELECT SeriesInstanceUID FROM @series WHERE (Modality = 'CT' OR StudyDate IS NULL) "
        "AND PatientID = 'P-3'",
        "SELECT SeriesInstanceUID FROM @series WHERE (Modality = 'CT' OR PatientID = 'P-3') "
        "AND (StudyDate > '2026-01-10' OR SeriesNumber = 1)",
        f"SELECT r.SeriesInstanceUID FROM {LEVELS} WHERE s.StudyDate >= '2026-02-01' "
        "OR s.PatientID = 'P-3'",
    ],
)
def test_what_is_pushed_never_changes_the_answer(
    hospital: Hospital, oracle: duckdb.DuckDBPyConnection, sql: str
) -> None:
    expected = oracle.execute(sql.replace("@", "")).fetchall()
    assert expected
    assert sorted(hospital.rows(full(sql))) == sorted(expected)


def test_a_value_that_a_server_would_misread_is_not_searched_for(hospital: Hospital) -> None:
    sql = full("SELECT count(*) FROM @studies WHERE PatientID IN ({})")
    many = "SELECT v FROM (VALUES ('{}'), ('nobody'), ('nobody else')) t(v)"
    assert hospital.requests(sql.format(many.format("P-3"))) == 3
    assert hospital.requests(sql.format(many.format("P*5"))) == 1
    assert hospital.requests(sql.format(many.format("P-3 "))) == 1


def test_a_union_gives_each_row_once(hospital: Hospital) -> None:
    where = "Modality = 'CT' OR PatientID = 'P-3' OR StudyDate < '20260110'"
    sql = full(f"SELECT SeriesInstanceUID FROM @series WHERE {where}")
    assert len(hospital.plan(sql).scans[0].alternatives) == 3
    assert hospital.requests(sql) == 3
    found = hospital.rows(sql)
    assert len(found) == len(set(found)) > 3
