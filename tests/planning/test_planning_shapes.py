"""The shapes of reading: counts from above, joins by the smaller side, newest first."""

from __future__ import annotations

import datetime
from dataclasses import replace
from typing import Any

import duckdb
import pytest
from planning_hospital import Hospital

from dicomsql.catalog.load import Catalog
from dicomsql.errors import BudgetError, DatabaseError
from dicomsql.language.parse import parse
from dicomsql.planning.answers import Context
from dicomsql.planning.cost import estimate, walk_cost, walk_is_cheaper
from dicomsql.planning.planner import plan_statement
from dicomsql.planning.read_plan import ReadPlan

HERE = "google.healthcare."


def full(sql: str) -> str:
    """A query whose tables are marked by `@`, with their whole names."""
    return sql.replace("@", HERE)


def compared(hospital: Hospital, oracle: duckdb.DuckDBPyConnection, sql: str) -> int:
    """Check a query's rows against plain tables'; how many requests they took."""
    expected = oracle.execute(sql.replace("@", "")).fetchall()
    found = hospital.rows(full(sql))
    ordered = "ORDER BY" in sql
    assert (found if ordered else sorted(found, key=repr)) == (
        expected if ordered else sorted(expected, key=repr)
    )
    return hospital.requests(full(sql))


# -- counting ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "read"),
    [
        ("SELECT count(*) FROM @instances", "studies"),
        ("SELECT count(*) FROM @series", "studies"),
        ("SELECT count(*) FROM @studies", "studies"),
        ("SELECT Modality, count(*) FROM @instances GROUP BY Modality", "series"),
        ("SELECT count(1) AS n, min(StudyDate), max(StudyDate) FROM @instances", "studies"),
        ("SELECT count(SOPInstanceUID) FROM @instances WHERE PatientID LIKE 'P%'", "studies"),
        ("SELECT count(*) * 2 + count() AS n FROM @instances i WHERE i.Modality = 'CT'", "series"),
        ("SELECT count(DISTINCT StudyInstanceUID) FROM @series WHERE PatientID = '123'", "studies"),
        ("SELECT count(DISTINCT SeriesInstanceUID) FROM @instances", "series"),
        ("SELECT DISTINCT PatientID FROM @instances", "studies"),
        ("SELECT PatientID FROM @series GROUP BY ALL", "studies"),
        ("SELECT count(*) FROM @instances WHERE false", "studies"),
        ("SELECT max(n) FROM (SELECT PatientID, count(*) n FROM @series GROUP BY 1) q", "studies"),
        (
            "SELECT year(StudyDate) AS y, count(*) FROM @instances GROUP BY y "
            "HAVING count(*) > 1 ORDER BY count(*) DESC, y",
            "studies",
        ),
        ("SELECT count(*) FROM @series WHERE StudyDate >= '2026-02-01' LIMIT 5", "studies"),
        (
            "SELECT PatientID, count(*) AS n FROM @instances GROUP BY 1 ORDER BY n DESC, 1",
            "studies",
        ),
        # The engine does not take twice what may end the statement.
        (
            "SELECT PatientID, count(*) AS n FROM @instances GROUP BY 1 HAVING n > 1",
            "instances",
        ),
        ("SELECT count(*) AS n, n + 1 AS m FROM @instances", "instances"),
        (
            "SELECT PatientID, count(*) AS n FROM @instances GROUP BY 1 ORDER BY n + 1, 1",
            "instances",
        ),
    ],
)
def test_a_level_above_counts_what_is_below(
    hospital: Hospital, oracle: duckdb.DuckDBPyConnection, sql: str, read: str
) -> None:
    (scan,) = hospital.plan(full(sql)).scans
    assert scan.resource == HERE + read
    assert compared(hospital, oracle, sql) <= 1


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) * 2 FROM @instances",  # its column would lose its name
        "SELECT count(*) FILTER (WHERE Modality = 'CT') FROM @instances",
        "SELECT count(PatientID) FROM @instances",
        "SELECT count(DISTINCT SOPInstanceUID) FROM @instances",
        "SELECT PatientID, count(*) OVER () FROM @instances GROUP BY PatientID",
        "SELECT PatientID FROM @instances",
        "SELECT list(PatientID ORDER BY PatientID) FROM @instances",
        "SELECT map_entries(histogram(PatientID)) FROM @instances",
        "SELECT sum(Rows), count(*) FROM @instances",
        "SELECT count(*) FROM @instances WHERE Rows > 1",
        "SELECT count(*) FROM @instances WHERE PatientID IN (SELECT '123')",
        "SELECT count(*) FROM @instances i JOIN (SELECT 1) q ON true",
        "SELECT DISTINCT ON (PatientID) PatientID FROM @instances ORDER BY PatientID",
    ],
)
def test_what_sees_each_row_reads_each_row(
    hospital: Hospital, oracle: duckdb.DuckDBPyConnection, sql: str
) -> None:
    assert HERE + "instances" in {s.resource for s in hospital.plan(full(sql)).scans}
    compared(hospital, oracle, sql)


def test_the_columns_of_counts_keep_their_names(hospital: Hospital) -> None:
    def names(sql: str) -> list[str]:
        (statement,) = hospital.session.parse(full(sql))
        result = hospital.session.execute(statement)
        result.close()
        return [c.name for c in result.columns or ()]

    assert names("SELECT COUNT( * ) FROM @instances") == ["count_star()"]
    sql = "SELECT count(1), count(SOPInstanceUID), count(*) AS n FROM @instances"
    assert names(sql) == ["count(1)", "count(SOPInstanceUID)", "n"]


def test_a_row_without_its_number_is_not_counted_as_none(hospital: Hospital) -> None:
    total = "SELECT dicomsql_total(n, 'NumberOfStudyRelatedInstances') FROM (VALUES {}) t(n)"
    assert hospital.rows(total.format("(2), (3)")) == [(5,)]
    with pytest.raises(DatabaseError, match="rows without their NumberOfStudyRelatedInstances"):
        hospital.rows(total.format("(2), (NULL)"))


def test_metrics_count_only_where_that_was_allowed(hospital: Hospital) -> None:
    sql = full("SELECT count(*) AS n FROM @instances")
    exact = hospital.rows(sql)
    session = hospital.session
    try:
        hospital.rows("SET approximate_counts = true")
        (scan,) = hospital.plan(sql).scans
        assert scan.resource == HERE + "dicom_store_metrics"
        (statement,) = session.parse(sql)
        result = session.execute(statement)
        assert [row for b in result.batches() for row in b.to_pylist()] == [{"n": exact[0][0]}]
        assert result.statistics.requests == 1
        assert any("may lag" in note for note in result.statistics.notes)
        assert hospital.rows(full("SELECT count(*) FROM @series WHERE studiesId = '1.2.3'")) == [
            (3,)
        ]
        # What is left to check is counted row by row.
        (scan,) = hospital.plan(sql + " WHERE Modality = 'CT'").scans
        assert scan.resource == HERE + "series"
    finally:
        hospital.rows("RESET approximate_counts")
    assert hospital.plan(sql).notes == ()


# -- joins ---------------------------------------------------------------------------------------

LEVELS = "@studies s JOIN @series e USING (StudyInstanceUID)"


@pytest.mark.parametrize(
    ("sql", "most"),
    [
        # What only the engine can check narrows the calls of the other table all the same.
        (f"SELECT e.Modality FROM {LEVELS} WHERE s.StudyDescription = 'Study number 2'", 2),
        (
            f"SELECT i.Rows FROM {LEVELS} JOIN @instances i USING (StudyInstanceUID, "
            "SeriesInstanceUID) WHERE s.PatientSex = 'F' AND e.Modality = 'CT'",
            6,
        ),
        # The study's UID comes with the series'.
        ("SELECT i.Rows FROM @series e JOIN @instances i USING (SeriesInstanceUID) "
         "WHERE e.PatientID = 'P-3'", 6),
        ("SELECT i.Rows FROM @series e JOIN @instances i ON i.SeriesInstanceUID = "
         "e.SeriesInstanceUID WHERE e.StudyInstanceUID = '1.2.3' AND e.Modality = 'SR'", 2),
        ("SELECT b.Rows FROM @instances a JOIN @instances b USING (SOPInstanceUID) "
         "WHERE a.StudyInstanceUID = '1.2.5'", 4),
        # The side that says more begins, whatever its level.
        (f"SELECT s.PatientID FROM {LEVELS} WHERE e.SeriesInstanceUID = '1.2.3.1' "
         "AND s.StudyDate > '2026-01-01'", 2),
        ("SELECT s.PatientID, e.Modality FROM @studies s LEFT JOIN @series e "
         "USING (StudyInstanceUID) WHERE s.PatientID = 'P-3' OR s.StudyDescription IS NULL", 8),
    ],
)  # fmt: skip
def test_levels_are_joined_by_few_requests(
    hospital: Hospital, oracle: duckdb.DuckDBPyConnection, sql: str, most: int
) -> None:
    assert compared(hospital, oracle, sql) <= most


def test_another_stores_series_say_nothing_of_the_study(hospital: Hospital) -> None:
    sql = (
        "SELECT 1 FROM @series e JOIN @instances i USING (SeriesInstanceUID) "
        "WHERE e.dicomStoresId = 'main' AND i.dicomStoresId = 'second' AND e.PatientID = 'P-3'"
    )
    scans = {s.alias: s for s in hospital.plan(full(sql)).scans}
    assert "studiesId" not in {p for b in scans["i"].binds for p in b.parameters}


# -- newest rows ---------------------------------------------------------------------------------


def planned(sql: str, today: datetime.date) -> ReadPlan:
    context = Context(
        use=("google", "healthcare"),
        defaults=(("projectsId", "p"), ("locationsId", "l"), ("datasetsId", "d"),
                  ("dicomStoresId", "s")),
        today=today,
    )  # fmt: skip
    (statement,) = parse(sql)
    with duckdb.connect() as engine:

        def evaluate(text: str, values: Any) -> Any:
            row = engine.execute(text, dict(values)).fetchone()
            return row[0] if row else None

        plan = plan_statement(statement, Catalog.open(None), context, evaluate)
    assert isinstance(plan, ReadPlan)
    return plan


TODAY = datetime.date(2026, 3, 1)


def test_the_newest_rows_are_searched_by_growing_ranges() -> None:
    windows = planned("SELECT * FROM studies ORDER BY StudyDate DESC LIMIT 10", TODAY).windows
    assert windows is not None
    assert windows.enough == 10
    assert windows.ranges[:3] == ("20260222-", "20260130-20260221", "20251101-20260129")
    assert len(windows.ranges) == 8
    assert windows.ranges[-1] == ""
    # Every day is in one range, and in no other.
    for later, earlier in zip(windows.ranges, windows.ranges[1:-1], strict=False):
        first = datetime.date.fromisoformat(later.partition("-")[0])
        last = datetime.date.fromisoformat(earlier.partition("-")[2])
        assert first - last == datetime.timedelta(days=1)


def test_a_condition_on_the_date_cuts_the_ranges() -> None:
    between = "StudyDate BETWEEN '2026-01-15' AND '2026-02-25'"
    sql = f"SELECT * FROM studies WHERE {between} ORDER BY StudyDate DESC NULLS LAST LIMIT 1"
    windows = planned(sql, TODAY).windows
    assert windows is not None
    assert windows.ranges == ("20260222-20260225", "20260130-20260221", "20260115-20260129")
    before = "SELECT * FROM studies WHERE StudyDate < '1950-01-01' ORDER BY StudyDate DESC LIMIT 1"
    # One range is no better than the search itself.
    assert planned(before, TODAY).windows is None


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM studies ORDER BY StudyDate LIMIT 3",
        "SELECT * FROM studies ORDER BY StudyDate DESC NULLS FIRST LIMIT 3",
        "SELECT * FROM studies ORDER BY PatientID, StudyDate DESC LIMIT 3",
        "SELECT * FROM studies ORDER BY StudyDate DESC",
        "SELECT * FROM studies ORDER BY StudyDate DESC LIMIT 10%",
        "SELECT * FROM studies ORDER BY StudyTime DESC LIMIT 3",
        "SELECT PatientID AS StudyDate FROM studies ORDER BY StudyDate DESC LIMIT 3",
        "SELECT DISTINCT StudyDate FROM studies ORDER BY StudyDate DESC LIMIT 3",
        "SELECT StudyDate, count(*) FROM studies GROUP BY 1 ORDER BY StudyDate DESC LIMIT 3",
        "SELECT PatientID, row_number() OVER () FROM studies ORDER BY StudyDate DESC LIMIT 3",
        "SELECT unnest([1, 2]) FROM studies ORDER BY StudyDate DESC LIMIT 3",
        "SELECT * FROM studies s JOIN series e USING (StudyInstanceUID) "
        "ORDER BY StudyDate DESC LIMIT 3",
        "SELECT * FROM studies WHERE PatientID = 'x' ORDER BY StudyDate DESC LIMIT 3",
        "SELECT * FROM studies WHERE StudyDate = '2026-01-01' ORDER BY StudyDate DESC LIMIT 3",
    ],
)
def test_what_is_searched_at_once(sql: str) -> None:
    assert planned(sql, TODAY).windows is None


@pytest.mark.parametrize(
    ("sql", "most"),
    [
        ("SELECT PatientID FROM @studies ORDER BY StudyDate DESC, PatientID LIMIT 3", 4),
        ("SELECT StudyDate AS d, PatientID FROM @studies WHERE StudyDescription IS NOT NULL "
         "ORDER BY d DESC, PatientID LIMIT 2 OFFSET 2", 4),
        ("SELECT StudyInstanceUID FROM @studies ORDER BY StudyDate DESC, 1 LIMIT 12", 8),
        ("SELECT StudyInstanceUID FROM @studies WHERE StudyDate > '2026-01-20' "
         "ORDER BY StudyDate DESC, 1 LIMIT 20", 8),
        ("SELECT SeriesInstanceUID FROM @series WHERE Modality = 'CT' "
         "ORDER BY StudyDate DESC, 1 LIMIT 4", 4),
    ],
)  # fmt: skip
def test_the_newest_rows_are_those_of_all(
    hospital: Hospital, oracle: duckdb.DuckDBPyConnection, sql: str, most: int
) -> None:
    assert hospital.plan(full(sql)).windows is not None
    assert compared(hospital, oracle, sql) <= most


def test_a_session_that_sorts_null_first_has_no_ranges(hospital: Hospital) -> None:
    sql = full("SELECT PatientID FROM @studies ORDER BY StudyDate DESC LIMIT 1")
    assert hospital.plan(sql).windows is not None
    try:
        hospital.rows("SET default_null_order = 'nulls_first'")
        assert hospital.plan(sql).windows is None
    finally:
        hospital.rows("RESET default_null_order")


# -- estimates -----------------------------------------------------------------------------------


def test_a_walk_is_taken_where_it_costs_less() -> None:
    assert walk_cost(5_000, 5_000) == 6
    assert walk_cost(0, 5_000) == 1
    assert walk_is_cheaper(8_000, 168_000, 5_000)
    assert not walk_is_cheaper(100, 168_000, 5_000)
    assert not walk_is_cheaper(1, 0, 0)


@pytest.mark.parametrize(
    ("sql", "least", "most"),
    [
        ("SELECT PatientID FROM studies WHERE StudyInstanceUID = '1.2'", 1, 1),
        ("SELECT PatientID FROM studies WHERE PatientID = 'x'", 1, None),
        ("SELECT Modality FROM series WHERE StudyInstanceUID IN ('1', '2', '3')", 3, None),
        ("SELECT PatientID FROM studies LIMIT 3", 1, 1),
        ("SELECT PatientID FROM studies LIMIT 12000", 1, 3),
        ("SELECT studyCount FROM dicom_store_metrics", 1, 1),
        ("SELECT 1", 0, 0),
    ],
)
def test_an_estimate_says_what_is_certain(sql: str, least: int, most: int | None) -> None:
    took = estimate(planned(sql, TODAY))
    assert (took.least, took.most) == (least, most)
    assert took.most_bytes is None or took.most_bytes >= 0


def test_a_plan_beyond_the_budget_sends_nothing(hospital: Hospital) -> None:
    sql = (
        "SELECT e.Modality, s.name FROM @series e, @dicom_stores s WHERE e.studiesId IN ('1', '2')"
    )
    (statement,) = hospital.session.parse(full(sql))
    hospital.rows("SET max_calls = 2")
    try:
        with pytest.raises(BudgetError, match="The statement would take 3 calls"):
            hospital.session.execute(statement)
    finally:
        hospital.rows("RESET max_calls")


def test_windows_are_a_value_of_the_plan() -> None:
    plan = planned("SELECT * FROM studies ORDER BY StudyDate DESC LIMIT 10", TODAY)
    assert replace(plan, windows=None) != plan
