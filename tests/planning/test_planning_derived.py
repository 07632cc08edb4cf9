"""Names of derived tables, CTEs and SELECT lists; stores named in an OR; joins of cohorts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from planning_hospital import Hospital

from dicomsql.errors import DataError, PlanningError

HERE = "google.healthcare."
COHORT = (
    "CREATE OR REPLACE TABLE listed AS SELECT * FROM (VALUES ('P-3', 1, DATE '2026-01-03'), "
    "('O''Neil', 2, NULL), ('00123', 3, DATE '2026-01-01')) t(PatientID, x, d)"
)


@pytest.fixture(scope="module")
def cohort(hospital: Hospital, oracle: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """A local table of patients, `listed`, beside the hospital's tables and the oracle's."""
    hospital.rows(COHORT)
    oracle.execute(COHORT)
    yield
    hospital.rows("DROP TABLE listed")
    oracle.execute("DROP TABLE listed")


def agree(hospital: Hospital, oracle: duckdb.DuckDBPyConnection, sql: str, plain: str = "") -> None:
    """Check a query, whose tables are marked by `@`, against plain tables.

    Args:
        plain: the query for the plain tables, where that is not the same.
    """
    expected = oracle.execute((plain or sql).replace("@", "")).fetchall()
    found = hospital.rows(sql.replace("@", HERE))
    assert sorted(found, key=repr) == sorted(expected, key=repr)
    assert expected, "a query that gives nothing shows nothing"


# -- chains of joins -----------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["listed c", "(FROM listed) c", "made c"])
@pytest.mark.parametrize(
    "rest",
    [
        "SELECT e.PatientID, s.Modality FROM {c} WHERE s.PatientID > 'A'",
        "SELECT e.PatientID, count(*) FROM {c} GROUP BY e.PatientID HAVING e.PatientID > 'A'",
        "SELECT s.SeriesInstanceUID FROM {c} ORDER BY e.PatientID, s.PatientID, c.PatientID, 1",
    ],
)
def test_a_qualified_name_is_one_tables_whatever_using_merges(
    hospital: Hospital,
    oracle: duckdb.DuckDBPyConnection,
    cohort: None,
    first: str,
    rest: str,
) -> None:
    chain = f"{first} JOIN @studies e USING (PatientID) JOIN @series s USING (StudyInstanceUID)"
    agree(hospital, oracle, "WITH made AS (FROM listed) " + rest.format(c=chain))


@pytest.mark.parametrize(
    "joined",
    [
        "(SELECT DISTINCT StudyInstanceUID FROM @studies) JOIN @series USING (StudyInstanceUID)",
        "@series JOIN (SELECT (StudyInstanceUID) u FROM @studies) ON StudyInstanceUID = u",
        "(SELECT * FROM (SELECT StudyInstanceUID FROM @studies WHERE (PatientSex) = 'F')) "
        "JOIN @series USING (StudyInstanceUID)",
        "(SELECT StudyInstanceUID u FROM @studies), (SELECT StudyInstanceUID v FROM @studies), "
        "@series s WHERE unnamed_subquery.u = s.StudyInstanceUID AND unnamed_subquery2.v = u",
        "(SELECT PatientID FROM listed) JOIN @series USING (PatientID)",
    ],
)
def test_a_derived_table_needs_no_alias(
    hospital: Hospital, oracle: duckdb.DuckDBPyConnection, cohort: None, joined: str
) -> None:
    agree(hospital, oracle, f"SELECT Modality FROM {joined}")


def test_a_table_function_is_called_by_its_name(hospital: Hospital, tmp_path: Path) -> None:
    (tmp_path / "listed.csv").write_text("PatientID,x\nP-3,1\n")
    read = f"read_csv('{tmp_path}/listed.csv')"
    sql = f"SELECT x FROM {read} JOIN {HERE}studies USING (PatientID) WHERE read_csv.x = 1"
    assert hospital.rows(sql) == [(1,), (1,)]


# -- identifiers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT PatientID FROM @studies INTERSECT SELECT x FROM listed",
        "SELECT x FROM listed EXCEPT ALL SELECT PatientID FROM @studies",
        "SELECT PatientID FROM @studies UNION SELECT 123",
        "(SELECT 1 UNION ALL SELECT 2) EXCEPT "
        "(SELECT 'a' UNION ALL SELECT PatientID FROM @studies)",
        "SELECT PatientID, 1 AS n FROM @studies UNION BY NAME SELECT 2 AS n, 123 AS PatientID",
        "SELECT * FROM (SELECT PatientID FROM @studies) INTERSECT SELECT x FROM listed",
        "SELECT PatientID FROM @studies INTERSECT SELECT * FROM (SELECT x FROM listed)",
        "SELECT 1 FROM @studies WHERE PatientID IN (SELECT 'a' UNION ALL SELECT x FROM listed)",
        "SELECT 1 FROM @studies JOIN (SELECT 'a' AS PatientID UNION ALL SELECT x FROM listed) q "
        "USING (PatientID)",
        "SELECT p FROM (SELECT max(PatientID) AS p FROM @studies) WHERE p = 123",
        "SELECT max(PatientID) AS p FROM @studies HAVING p = 123",
        "WITH q(p) AS (SELECT PatientID FROM @studies) SELECT p FROM q WHERE p = 123",
        "WITH q(p) AS (SELECT 'x' UNION ALL SELECT PatientID FROM @studies) FROM q WHERE p = 123",
        "WITH RECURSIVE r(p, n) AS (SELECT PatientID, 1 FROM @studies UNION "
        "SELECT n, n + 1 FROM r WHERE n < 3) SELECT p FROM r",
    ],
)
def test_identifiers_are_no_numbers_wherever_rows_are_compared(
    hospital: Hospital, cohort: None, sql: str
) -> None:
    with pytest.raises(DataError, match="is compared with a number"):
        hospital.plan(sql.replace("@", HERE))


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT PatientID FROM @studies UNION ALL SELECT x FROM listed",
        "SELECT PatientID, NULL FROM @studies UNION SELECT NULL, 3",
        "SELECT PatientID FROM @studies EXCEPT SELECT PatientID FROM listed",
        "SELECT length(PatientID) FROM @studies UNION SELECT x FROM listed",
        "SELECT length(p) AS p FROM (SELECT PatientID AS p FROM @studies) WHERE p > '5'",
        "WITH RECURSIVE r(p, n) AS (SELECT PatientID, 1 FROM @studies UNION ALL "
        "SELECT p, n + 1 FROM r WHERE n < 3) SELECT p, n FROM r WHERE n = 2 AND p > 'A'",
    ],
)
def test_what_is_no_comparison_of_identifiers_is_let_be(
    hospital: Hospital, oracle: duckdb.DuckDBPyConnection, cohort: None, sql: str
) -> None:
    agree(hospital, oracle, sql)


# -- dates and times -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT min(StudyDate) AS d FROM @studies GROUP BY PatientID HAVING d >= '{}'",
        "SELECT 1 FROM @studies GROUP BY PatientID HAVING min(StudyDate) NOT BETWEEN '{}' AND '{}'",
        "SELECT StudyDate + 1 AS d FROM @studies WHERE d > '{}'",
        "SELECT StudyDate AS d FROM @studies QUALIFY lag(d) OVER (ORDER BY d) > '{}'",
        "SELECT d FROM (SELECT max(StudyDate) AS d FROM @studies) WHERE d >= '{}'",
        "WITH q(d) AS (SELECT StudyDate FROM @studies) SELECT d FROM q WHERE d NOT IN ('{}')",
        "SELECT d > '{}' FROM (SELECT StudyDate AS d FROM @series UNION ALL FROM "
        "(SELECT max(StudyDate) FROM @studies)) ORDER BY CASE WHEN d > '{}' THEN 1 END",
        "SELECT PatientID FROM @studies WHERE (StudyDate, PatientSex) = ('{}', 'M')",
        "SELECT PatientID FROM @studies WHERE (StudyDate) < '{}'",
        "SELECT max(StudyDate) m FROM @studies HAVING m >= DATE '{}'",
    ],
)
def test_a_date_has_both_spellings_wherever_it_is_shown(
    hospital: Hospital, oracle: duckdb.DuckDBPyConnection, sql: str
) -> None:
    dicom, plain = (sql.replace("{}", day) for day in ("20260305", "2026-03-05"))
    agree(hospital, oracle, dicom, plain)


def test_a_placeholder_is_spelled_as_its_place_needs_it(hospital: Hospital) -> None:
    sql = f"SELECT max(StudyDate) AS d FROM {HERE}studies HAVING d > ? AND d = max(StudyDate)"
    assert len(hospital.rows(sql, ["20260101"])) == 1
    assert hospital.rows(sql, ["20270101"]) == []


@pytest.mark.parametrize(
    "condition",
    [
        "StudyTime <= TIME '24:00:00'",
        "StudyTime < '24:00:00'",
        "StudyTime BETWEEN TIME '10:00' AND TIME '24:00:00'",
        "StudyDate < TIMESTAMP 'infinity'",
        "StudyDate > '-infinity'",
        "StudyDate BETWEEN DATE '-infinity' AND DATE '2026-02-01'",
        "StudyDate IN (DATE '2026-01-01', DATE 'infinity')",
        "StudyDate > DATE '0044-03-15 (BC)'",
        "StudyDate < DATE '12026-03-15'",
        "StudyDate < DATE '9999-12-31' + 1",
        "StudyDate < TIMESTAMP '294247-01-10 04:00:54.775'",
        "StudyDate >= '2026-2-1'",
        "year(StudyDate) BETWEEN -44 AND 12026",
        "date_trunc('month', StudyDate) > TIMESTAMP '-infinity'",
    ],
)
def test_moments_beyond_the_calendar_compare_as_the_engines(
    hospital: Hospital, oracle: duckdb.DuckDBPyConnection, condition: str
) -> None:
    agree(hospital, oracle, f"SELECT StudyInstanceUID FROM @studies WHERE {condition}")


@pytest.mark.parametrize("condition", ["StudyTime < '23:59:61'", "StudyDate < '2026-02-30'"])
def test_what_is_no_moment_is_refused(hospital: Hospital, condition: str) -> None:
    with pytest.raises(DataError, match="is compared with a text that is no"):
        hospital.plan(f"SELECT 1 FROM {HERE}studies WHERE {condition}")


# -- stores in an OR -----------------------------------------------------------------------------


def stores_of(hospital: Hospital, where: str) -> tuple[str, ...]:
    (scan,) = hospital.plan(f"SELECT PatientID FROM {HERE}studies WHERE {where}").scans
    return next(c.values for c in scan.constants if c.parameter == "dicomStoresId")


@pytest.mark.parametrize(
    ("where", "stores"),
    [
        ("dicomStoresId = 'a' OR dicomStoresId = 'b' AND PatientID = '1'", ("a", "b")),
        (
            "PatientSex = 'F' AND (dicomStoresId IN ('a', 'b') AND PatientID = '1' "
            "OR PatientID = '2' AND (dicomStoresId = 'c' OR dicomStoresId = 'd'))",
            ("a", "b", "c", "d"),
        ),
        ("dicomStoresId = 'a' AND (dicomStoresId = 'b' OR PatientID = '1')", ("a",)),
        # The default's store is all that is named.
        ("dicomStoresId = 'main' OR PatientID = '1'", ("main",)),
        (" OR ".join(f"dicomStoresId = 'a' AND PatientID = '{n}'" for n in range(40)), ("a",)),
    ],
)
def test_each_branch_of_an_or_names_its_store(
    hospital: Hospital, where: str, stores: tuple[str, ...]
) -> None:
    assert stores_of(hospital, where) == stores


@pytest.mark.parametrize(
    "where",
    [
        "dicomStoresId = 'second' OR PatientID = '1'",
        "dicomStoresId = 'second' AND PatientSex = 'F' OR false",
        "PatientID = '1' OR PatientSex = 'F' AND (dicomStoresId = 'second' OR PatientID = '2')",
    ],
)
def test_a_default_fills_no_branch_of_an_or_that_names_another_store(
    hospital: Hospital, where: str
) -> None:
    with pytest.raises(PlanningError, match="in some branches of an OR"):
        stores_of(hospital, where)


def test_stores_of_an_or_are_read_and_checked(hospital: Hospital) -> None:
    both = f"SELECT dicomStoresId, PatientID FROM {HERE}studies WHERE "
    where = "dicomStoresId = 'second' OR dicomStoresId = 'main' AND PatientID = '00900'"
    found = sorted(hospital.rows(both + where))
    assert found == [("main", "00900"), ("second", "00123"), ("second", "123")]
    # A query inside takes the stores of the one around it.
    inner = f"SELECT 1 FROM {HERE}series e WHERE e.StudyInstanceUID = s.StudyInstanceUID"
    plan = hospital.plan(f"SELECT 1 FROM {HERE}studies s WHERE ({where}) AND EXISTS ({inner})")
    stores = [c.values for s in plan.scans for c in s.constants if c.parameter == "dicomStoresId"]
    assert stores == [("second", "main")] * 2


def test_pairs_of_an_or_are_no_more_calls_than_pairs(hospital: Hospital) -> None:
    pairs = " OR ".join(
        f"(StudyInstanceUID = '1.2.{n}' AND SeriesInstanceUID = '1.2.{n}.1')" for n in range(1, 9)
    )
    sql = f"SELECT SOPInstanceUID FROM {HERE}instances WHERE {pairs}"
    assert hospital.requests(sql) <= 8
    assert len(hospital.rows(sql)) == 20


# -- the engine's own ways -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT PatientID, count(*) FILTER (WHERE Modality = 'CT') FROM @series GROUP BY 1",
        "SELECT count(*) FILTER (WHERE StudyDate > DATE '2026-02-01'), count(*) FROM @instances",
        "SELECT PatientID FROM @studies s WHERE NOT EXISTS (SELECT 1 FROM @series e WHERE "
        "e.StudyInstanceUID = s.StudyInstanceUID AND e.Modality = 'CT')",
        "SELECT StudyInstanceUID FROM @studies EXCEPT ALL SELECT StudyInstanceUID FROM @series "
        "WHERE Modality = 'CT'",
        "SELECT c.x, s.StudyDate FROM listed c ASOF JOIN @studies s "
        "ON c.PatientID = s.PatientID AND c.d <= s.StudyDate",
        "SELECT StudyInstanceUID FROM @studies ANTI JOIN listed USING (PatientID)",
        "SELECT s.StudyInstanceUID, l.n FROM @studies s, LATERAL (SELECT count(*) n FROM @series e "
        "WHERE e.StudyInstanceUID = s.StudyInstanceUID) l",
        "PIVOT (SELECT PatientID, Modality FROM @series) ON Modality USING count(*)",
        "SELECT PatientSex, Modality, count(*) FROM @studies JOIN @series USING "
        "(StudyInstanceUID) GROUP BY GROUPING SETS ((PatientSex), (Modality), ())",
        "SELECT min(COLUMNS(*)) FROM (SELECT PatientID, StudyDate FROM @studies)",
        "SELECT PatientID FROM @studies QUALIFY "
        "row_number() OVER (PARTITION BY PatientID ORDER BY StudyDate, StudyInstanceUID) = 1",
        "SELECT s.PatientID, e.Modality FROM @studies s FULL JOIN @series e ON "
        "s.StudyInstanceUID = e.StudyInstanceUID AND e.Modality = 'CT' AND s.PatientSex = 'F'",
    ],
)
def test_the_engines_grammar_over_searches(
    hospital: Hospital, oracle: duckdb.DuckDBPyConnection, cohort: None, sql: str
) -> None:
    agree(hospital, oracle, sql)
