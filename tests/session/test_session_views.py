"""Views over resources: what they give, what reaches the server, what they take, how they last."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dicomsql.config import Settings
from dicomsql.errors import DatabaseError, Error, LanguageError, PlanningError, ProgrammingError
from dicomsql.session import Session

STUDIES = "google.healthcare.studies"


def run(session: Session, text: str, parameters: Any = None) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for statement in session.parse(text):
        result = session.execute(statement, parameters)
        rows = list(result.rows or ())
        rows += [tuple(r.values()) for b in result.batches() for r in b.to_pylist()]
    return rows


def explained(session: Session, text: str) -> str:
    return "\n".join(str(row[0]) for row in run(session, f"EXPLAIN {text}"))


@pytest.fixture
def settings(filled_root: Path) -> Settings:
    return Settings(
        local=filled_root, project="p", location="us-central1", dataset="d", dicom_store="s"
    )


@pytest.fixture
def opened(settings: Settings) -> Iterator[Callable[..., Session]]:
    """Opens sessions on the filled store, with other settings where they are given."""
    sessions: list[Session] = []

    def open_(**changed: Any) -> Session:
        sessions.append(Session(replace(settings, **changed)))
        return sessions[-1]

    yield open_
    for session in sessions:
        session.close()


@pytest.fixture
def session(opened: Callable[..., Session]) -> Session:
    """A session with views."""
    made = opened()
    run(
        made,
        f"""CREATE VIEW v AS SELECT StudyInstanceUID, PatientID, StudyDate FROM {STUDIES} -- all
        ;
        CREATE VIEW every AS SELECT * FROM {STUDIES};
        CREATE TABLE whole AS SELECT * FROM every;
        CREATE VIEW counted(who, n) AS SELECT PatientID, count(*) FROM {STUDIES} GROUP BY PatientID;
        CREATE TABLE cohort AS SELECT '1CT1' AS PatientID""",
    )
    return made


PATIENTS = [("1CT1",), ("4MR1",), ("642341",), ("ID1",), ("id00001",)]


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("SELECT PatientID FROM v ORDER BY 1", PATIENTS),
        ("SELECT PatientID FROM v AS w WHERE w.PatientID = '1CT1'", [("1CT1",)]),
        ("SELECT PatientID FROM v WHERE StudyDate = '20040119'", [("1CT1",)]),
        ("SELECT PatientID FROM every WHERE StudyDate = '20040119'", [("1CT1",)]),
        ("SELECT * FROM counted WHERE who = '1CT1'", [("1CT1", 1)]),
        ("SELECT x.b FROM counted AS x(a, b) WHERE a = '1CT1'", [(1,)]),
        ("SELECT count(*) FROM v JOIN v AS w USING (StudyInstanceUID)", [(5,)]),
        ("SELECT v.PatientID FROM v JOIN cohort USING (PatientID)", [("1CT1",)]),
        ("SELECT PatientID FROM main.v WHERE PatientID = '1CT1'", [("1CT1",)]),
        ("FROM v SELECT PatientID ORDER BY ALL LIMIT 1", [("1CT1",)]),
        ("WITH c AS (SELECT * FROM v) SELECT count(*) FROM c", [(5,)]),
        ("WITH v AS (SELECT 1 AS a) SELECT * FROM v", [(1,)]),
        ("SELECT count(*) FROM v WHERE PatientID IN (FROM cohort)", [(1,)]),
        ("SELECT (SELECT count(*) FROM v), count(*) FROM cohort", [(5, 1)]),
        ("TABLE counted LIMIT 0", []),
    ],
)
def test_a_view_gives_the_rows_of_its_query(
    session: Session, query: str, rows: list[tuple[object, ...]]
) -> None:
    assert run(session, query) == rows


@pytest.mark.parametrize(
    ("query", "pushed"),
    [
        ("SELECT * FROM v WHERE PatientID = 'a'", "pushed  PatientID"),
        ("SELECT * FROM every WHERE PatientID = 'a'", "pushed  PatientID"),
        ("SELECT * FROM counted WHERE who = 'a'", "pushed  PatientID"),
        ("SELECT * FROM v WHERE StudyDate > '20260101'", "pushed  StudyDate"),
        ("SELECT * FROM v JOIN cohort USING (PatientID)", "bound   PatientID"),
        ("SELECT * FROM v JOIN cohort AS c ON v.PatientID = c.PatientID", "bound   PatientID"),
        ("SELECT * FROM v WHERE PatientID IN (SELECT PatientID FROM cohort)", "bound   PatientID"),
    ],
)
def test_what_is_said_of_a_view_reaches_the_server(
    session: Session, query: str, pushed: str
) -> None:
    plan = explained(session, query)
    assert pushed in plan
    assert "the view " in plan


@pytest.mark.parametrize(
    ("query", "fetched"),
    [
        ("SELECT PatientID FROM every", "PatientID"),
        ("SELECT e.PatientID FROM every AS e ORDER BY e.StudyTime", "StudyTime PatientID"),
        (
            "SELECT StudyDate FROM (SELECT * FROM every WHERE PatientSex = 'F')",
            "StudyDate PatientSex",
        ),
        ("WITH c AS (SELECT * FROM every) SELECT max(StudyDate) FROM c", "StudyDate"),
        ("SELECT StudyID FROM nested", "StudyID PatientSex"),
        (
            "SELECT n, StudyDate FROM (SELECT StudyID AS n, * FROM " + STUDIES + ")",
            "StudyID StudyDate",
        ),
        ("SELECT StudyID FROM (SELECT DISTINCT * FROM " + STUDIES + ")", ""),
        ("SELECT StudyID FROM (SELECT * FROM " + STUDIES + " ORDER BY 2 LIMIT 1)", ""),
        ("SELECT StudyID FROM (SELECT * FROM every UNION ALL SELECT * FROM every)", ""),
        ("SELECT every FROM every", ""),
        ("SELECT COLUMNS('Patient.*') FROM every", ""),
        ("SELECT d.b FROM every AS d(a, b)", ""),
        ("SELECT * FROM every", ""),
        ("SELECT count(*) FROM every", ""),
        ("SUMMARIZE every", ""),
    ],
)
def test_of_a_star_only_what_is_named_around_it_is_fetched(
    session: Session, query: str, fetched: str
) -> None:
    run(session, "CREATE VIEW nested AS SELECT * FROM every WHERE PatientSex IS NOT NULL")
    plan: Any = session.plan(session.parse(query)[0])
    columns = {c.name for c in plan.scans[0].columns}
    if fetched:
        assert columns == set(fetched.split())
    else:
        assert {"StudyID", "PatientSex", "StudyDescription"} <= columns
    assert run(session, query) == run(session, query.replace("every", "whole"))


def test_a_subquery_of_a_view_that_has_the_views_name_is_left_whole(session: Session) -> None:
    run(
        session,
        "CREATE VIEW w(a, b) AS SELECT a, n FROM (SELECT 1 AS a, count(*) AS n FROM v) AS w",
    )
    assert run(session, "SELECT a FROM w") == [(1,)]


def test_local_tables_are_made_and_changed_from_views(session: Session) -> None:
    run(
        session,
        """CREATE TABLE t AS FROM v; INSERT INTO t SELECT * FROM v; DELETE FROM t USING v
        WHERE v.PatientID = t.PatientID AND v.PatientID = '1CT1';
        UPDATE t SET PatientID = upper(v.PatientID) FROM v
        WHERE v.StudyInstanceUID = t.StudyInstanceUID AND v.PatientID = 'id00001';
        MERGE INTO t USING v ON v.PatientID = t.PatientID AND v.PatientID = 'ID1'
        WHEN MATCHED THEN DELETE""",
    )
    found = run(session, "SELECT PatientID, count(*) FROM t GROUP BY 1 ORDER BY 1")
    assert found == [("4MR1", 2), ("642341", 2), ("ID00001", 2)]


def test_a_view_is_copied_summarised_and_pivoted(session: Session, tmp_path: Path) -> None:
    run(session, f"COPY counted TO '{tmp_path / 'x.csv'}'")
    assert sorted((tmp_path / "x.csv").read_text().splitlines())[0] == "1CT1,1"
    assert len(run(session, "SUMMARIZE counted")) == 2
    assert len(run(session, "PIVOT counted ON n USING count(*)")) == 5


def test_what_is_kept_of_a_view_stays_out_of_explain(session: Session) -> None:
    query = f"SELECT PatientID FROM {STUDIES} WHERE PatientID = 'SECRET'"
    for made in ("VIEW", "MATERIALIZED VIEW"):
        for form in ("EXPLAIN", "EXPLAIN (FORMAT json)"):
            ((shown,), *more) = run(session, f"{form} CREATE {made} x AS {query}")
            assert "SECRET" not in f"{shown}{more}"


def test_a_table_is_made_of_a_query_whose_with_binds_another(session: Session) -> None:
    run(
        session,
        f"CREATE TABLE t AS WITH c AS (SELECT StudyInstanceUID FROM {STUDIES} "
        f"WHERE PatientID = '1CT1') SELECT m.Modality FROM c "
        f"JOIN google.healthcare.studies_metadata AS m ON m.studiesId = c.StudyInstanceUID",
    )
    assert run(session, "FROM t") == [("CT",)]


# -- parameters ------------------------------------------------------------------------------------


@pytest.fixture
def anywhere(opened: Callable[..., Session]) -> Session:
    """A session without a default of the store, with views that leave it open."""
    made = opened(dicom_store=None)
    run(
        made,
        f"""CREATE VIEW v AS SELECT PatientID FROM {STUDIES};
        CREATE VIEW n AS SELECT count(*) AS n FROM v;
        CREATE VIEW shown AS SELECT dicomStoresId, PatientID FROM {STUDIES};
        CREATE VIEW other AS SELECT lower(dicomStoresId) AS dicomStoresId FROM {STUDIES}""",
    )
    return made


@pytest.mark.parametrize(
    ("query", "parameters", "rows"),
    [
        ("SELECT count(*) FROM v WHERE dicomStoresId = 's'", None, [(5,)]),
        ("SELECT n FROM n WHERE dicomStoresId = 's'", None, [(5,)]),
        ("SELECT n FROM n AS x WHERE x.dicomStoresId IN ('s', 'none')", None, [(5,)]),
        ("SELECT dicomStoresId, n FROM n WHERE dicomStoresId = 's'", None, [("s", 5)]),
        ("SELECT n FROM n WHERE dicomStoresId = ?", ["s"], [(5,)]),
        ("SELECT n FROM n WHERE dicomStoresId = :at", {"at": "s"}, [(5,)]),
        ("SELECT count(*) FROM shown WHERE dicomStoresId = 's'", None, [(5,)]),
        (
            "SELECT DISTINCT d.dicomStoresId FROM google.healthcare.dicom_stores AS st "
            "JOIN shown AS d USING (dicomStoresId)",
            None,
            [("s",)],
        ),
        (
            "SELECT a.n + b.n FROM n a, n b WHERE a.dicomStoresId = 's' AND b.dicomStoresId = 's'",
            None,
            [(10,)],
        ),
    ],
)
def test_a_view_takes_what_it_leaves_open(
    anywhere: Session, query: str, parameters: Any, rows: list[tuple[object, ...]]
) -> None:
    assert run(anywhere, query, parameters) == rows


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT * FROM v", "In the view v: .* lacks dicomStoresId"),
        ("SELECT * FROM n", "In the view v: .* lacks dicomStoresId"),
        ("SELECT * FROM n WHERE dicomStoresId LIKE 's'", "n does not show dicomStoresId"),
        (
            "SELECT dicomStoresId FROM n WHERE dicomStoresId IN ('s', 't')",
            "several are given; add it to the view's columns",
        ),
        ("SELECT * FROM n WHERE dicomStoresId = 's' AND dicomStoresId = 't'", "given twice"),
        ("SELECT * FROM n WHERE dicomStoresId = NULL", "is NULL"),
        # Its column is not the parameter: what is compared with it says nothing of the calls.
        ("SELECT * FROM other WHERE dicomStoresId = 's'", "lacks dicomStoresId"),
    ],
)
def test_a_parameter_that_cannot_be_given_so_is_told(
    anywhere: Session, query: str, said: str
) -> None:
    with pytest.raises(ProgrammingError, match=said):
        run(anywhere, query)


def test_the_session_gives_what_the_statement_does_not(anywhere: Session) -> None:
    run(anywhere, "SET dicomStoresId = 's'")
    assert run(anywhere, "SELECT n FROM n") == [(5,)]
    assert run(anywhere, "SELECT n FROM n WHERE dicomStoresId IN ('none')") == [(0,)]


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"CREATE VIEW x AS SELECT PatientIDD FROM {STUDIES}", "Did you mean PatientID"),
        (f"CREATE VIEW x AS SELECT PatientID, PatientID FROM {STUDIES}", "two columns patientid"),
        (f"CREATE VIEW x(a, b) AS SELECT PatientID FROM {STUDIES}", "names 2 columns"),
        (f"CREATE VIEW google.healthcare.x AS SELECT 1 FROM {STUDIES}", "kept by the engine"),
        ("CREATE OR REPLACE VIEW v AS SELECT * FROM v", "v reads itself"),
        (f"CREATE VIEW v AS SELECT 1 AS a FROM {STUDIES}", "already exists"),
        ("INSERT INTO v VALUES (1)", "v is not"),
        ("DELETE FROM v", "base table"),
        ("DROP TABLE v", "type View"),
        ("COMMENT ON VIEW v IS 'mine'", "holds the view's query"),
        ("CREATE MATERIALIZED TABLE x AS SELECT 1", "Expected VIEW"),
        ("CREATE TEMP MATERIALIZED VIEW x AS SELECT 1", "CREATE TEMP TABLE"),
        ("REFRESH MATERIALIZED VIEW v", "v is no materialized view"),
        ("REFRESH MATERIALIZED VIEW x", "There is no materialized view x"),
        ("DROP MATERIALIZED VIEW cohort", "cohort is no materialized view"),
        # Where no query of ours names it, it is no empty table.
        ("SELECT * FROM query_table('v')", "The view v reads servers"),
    ],
)
def test_what_no_view_can_be_is_told(session: Session, text: str, said: str) -> None:
    with pytest.raises(Error, match=said):
        run(session, text)


def test_a_view_keeps_no_values_of_placeholders(session: Session) -> None:
    with pytest.raises(PlanningError, match="keeps its text"):
        run(session, f"CREATE VIEW x AS SELECT PatientID FROM {STUDIES} WHERE PatientID = ?", ["a"])


def test_an_error_in_a_views_text_is_shown_there(session: Session) -> None:
    run(session, "CREATE TABLE t AS SELECT 'A1' AS a; CREATE VIEW w AS\nSELECT * FROM t, v")
    run(session, "DROP TABLE t")
    with pytest.raises(LanguageError, match="The view w reads t, which is not there") as caught:
        run(session, "SELECT 1 FROM cohort,  w")
    assert (caught.value.line, caught.value.column) == (1, 24)
    run(session, "CREATE VIEW inner_one AS SELECT PatientID, StudyDate FROM v")
    run(session, "CREATE VIEW outer_one AS SELECT\n  PatientID FROM inner_one")
    run(session, f"CREATE OR REPLACE VIEW inner_one AS SELECT StudyDate FROM {STUDIES}")
    with pytest.raises(DatabaseError, match="PatientID"):
        run(session, "SELECT * FROM outer_one")
    with pytest.raises(LanguageError, match=r"In the view outer_one: .* reads itself") as caught:
        run(session, "CREATE OR REPLACE VIEW inner_one AS SELECT * FROM outer_one")
    assert (caught.value.line, caught.value.column) == (2, 18)


def test_names_after_a_view_keep_their_place_in_errors(session: Session) -> None:
    with pytest.raises(LanguageError, match="no column Nope") as caught:
        run(session, f"SELECT 1 FROM v, {STUDIES} AS s WHERE v.PatientID = 'a'\n AND s.Nope = 1")
    assert (caught.value.line, caught.value.column) == (2, 6)


def test_a_with_in_front_does_not_change_what_a_view_reads(session: Session) -> None:
    run(session, "CREATE VIEW w AS SELECT v.* FROM v JOIN cohort USING (PatientID)")
    with pytest.raises(LanguageError, match="WITH names something else"):
        run(session, "WITH cohort AS (SELECT 'ID1' AS PatientID) SELECT * FROM w")


def test_a_view_whose_query_lost_a_column_says_so(session: Session) -> None:
    run(session, "CREATE TABLE t AS SELECT 1 AS a, 2 AS b")
    run(session, "CREATE VIEW w AS SELECT t.*, PatientID FROM t, v; ALTER TABLE t DROP COLUMN b")
    with pytest.raises(PlanningError, match=r"The view w has changed: .* no column b any more"):
        run(session, "SELECT a FROM w")


def test_a_view_shows_more_of_its_one_table_than_a_star_does(session: Session) -> None:
    run(session, f"CREATE VIEW w AS SELECT *, PatientComments FROM {STUDIES}")
    assert run(session, "SELECT PatientID, PatientComments FROM w ORDER BY 1") == run(
        session, f"SELECT PatientID, PatientComments FROM {STUDIES} ORDER BY 1"
    )
    assert len(run(session, "SELECT * FROM w")) == len(run(session, f"SELECT 1 FROM {STUDIES}"))


# -- materialized views, files ---------------------------------------------------------------------


def test_a_materialized_view_keeps_rows_until_it_is_refreshed(session: Session) -> None:
    run(
        session,
        "CREATE TABLE t AS SELECT 'ID1' AS PatientID;"
        "CREATE MATERIALIZED VIEW m AS SELECT v.* FROM v JOIN t USING (PatientID);"
        "INSERT INTO t VALUES ('1CT1')",
    )
    assert run(session, "SELECT PatientID FROM m") == [("ID1",)]
    (before,) = run(session, "SHOW VIEWS WHERE kind = 'materialized view'")
    assert before[0] == "m" and before[2] == "SELECT v.* FROM v JOIN t USING (PatientID)"
    run(session, "REFRESH MATERIALIZED VIEW m")
    assert run(session, "SELECT PatientID FROM m ORDER BY 1") == [("1CT1",), ("ID1",)]
    run(session, "CREATE MATERIALIZED VIEW IF NOT EXISTS m AS SELECT 1 AS a")
    assert len(run(session, "FROM m")) == 2
    run(session, "DROP MATERIALIZED VIEW m; DROP MATERIALIZED VIEW IF EXISTS m")
    assert run(session, "SHOW VIEWS LIKE 'm'") == []


def test_a_refresh_that_fails_leaves_the_rows_that_there_were(session: Session) -> None:
    run(
        session,
        "CREATE TABLE t AS SELECT '1' AS n;"
        "CREATE MATERIALIZED VIEW m AS SELECT CAST(n AS INTEGER) AS n, PatientID FROM t, v;"
        "INSERT INTO t VALUES ('none')",
    )
    with pytest.raises(DatabaseError):
        run(session, "REFRESH MATERIALIZED VIEW m")
    assert run(session, "SELECT DISTINCT n FROM m") == [(1,)]
    run(session, "UPDATE t SET n = '2'; REFRESH MATERIALIZED VIEW m")
    assert run(session, "SELECT n, count(*) FROM m GROUP BY 1") == [(2, 10)]


def test_a_refresh_reads_the_place_that_the_view_was_made_of(session: Session) -> None:
    run(session, f"CREATE MATERIALIZED VIEW m AS SELECT PatientID FROM {STUDIES}")
    run(session, "SET dicomStoresId = 'none'; REFRESH MATERIALIZED VIEW m")
    assert run(session, "SELECT count(*) FROM m") == [(5,)]


def test_views_are_found_again_in_the_database(
    opened: Callable[..., Session], tmp_path: Path
) -> None:
    database = tmp_path / "own.duckdb"
    with opened(database=database) as first:
        run(
            first,
            f"USE google.healthcare;"
            f"CREATE VIEW v AS SELECT studies.PatientID, Modality FROM studies "
            f"JOIN series USING (StudyInstanceUID);"
            f"CREATE MATERIALIZED VIEW m AS SELECT * FROM v;"
            f"CREATE TEMP VIEW gone AS SELECT PatientID FROM {STUDIES}",
        )
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
        assert set(modes.values()) == {0o600}
    with opened(database=database) as again:
        assert run(again, "SELECT * FROM v WHERE PatientID = '1CT1'") == [("1CT1", "CT")]
        assert run(again, "SELECT count(*) FROM m") == [(5,)]
        run(again, "REFRESH MATERIALIZED VIEW m; ALTER VIEW v RENAME TO w")
        assert [row[0] for row in run(again, "SHOW VIEWS")] == ["m", "w"]
        described = run(again, "DESCRIBE EXTENDED w")
        assert described[:2] == [
            ("PatientID", "VARCHAR", "column"),
            ("Modality", "VARCHAR", "column"),
        ]
        assert ("dicomStoresId", "VARCHAR", "parameter") in described
        assert [row[:2] for row in run(again, "DESCRIBE w")] == [
            ("PatientID", "VARCHAR"),
            ("Modality", "VARCHAR"),
        ]


def test_a_view_is_made_within_the_transaction(session: Session) -> None:
    session.begin()
    run(session, f"CREATE VIEW x AS SELECT PatientID FROM {STUDIES}")
    assert len(run(session, "SELECT * FROM x")) == 5
    session.rollback()
    with pytest.raises(ProgrammingError, match="x"):
        run(session, "SELECT * FROM x")


def test_the_engine_keeps_views_of_its_own_tables(session: Session, tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text("PatientID\nID1\n")
    run(session, f"CREATE VIEW listed AS SELECT * FROM '{file}'; CREATE VIEW one AS FROM cohort")
    assert run(session, "SELECT v.PatientID FROM v JOIN listed USING (PatientID)") == [("ID1",)]
    assert run(session, "SELECT v.PatientID FROM v JOIN one USING (PatientID)") == [("1CT1",)]


def test_a_view_of_local_dicom_files_is_read_anew(session: Session, stored_files: Any) -> None:
    folder = stored_files[0].parent
    run(session, f"CREATE VIEW f AS SELECT Modality FROM read_dicom('{folder / 'CT_small.dcm'}')")
    assert run(session, "SELECT * FROM f WHERE Modality = 'CT'") == [("CT",)]


@pytest.mark.parametrize("setting", ["schema = 's2'", "search_path = 's2,main'"])
def test_the_schema_that_is_set_decides_which_view_is_read(
    opened: Callable[..., Session], setting: str
) -> None:
    session = opened()
    run(session, "CREATE SCHEMA s2")
    run(session, f"CREATE VIEW v AS SELECT 'main' AS of, PatientID FROM {STUDIES} LIMIT 1")
    run(session, f"CREATE VIEW s2.v AS SELECT 's2' AS of, PatientID FROM {STUDIES} LIMIT 1")
    assert run(session, "SELECT of FROM v") == [("main",)]
    run(session, f"SET {setting}")
    assert run(session, "SELECT of FROM v") == [("s2",)]
    assert run(session, "SELECT of FROM main.v") == [("main",)]
    run(session, f"RESET {setting.split(maxsplit=1)[0]}")
    assert run(session, "SELECT of FROM v") == [("main",)]


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("INSERT INTO m VALUES ('x')", "REFRESH"),
        ("WITH x AS (SELECT 'x' AS PatientID) INSERT INTO main.m FROM x", "REFRESH"),
        ("UPDATE M SET PatientID = 'x'", "REFRESH"),
        ("DELETE FROM memory.main.m", "REFRESH"),
        ("DELETE FROM m USING cohort WHERE m.PatientID = cohort.PatientID", "REFRESH"),
        ("TRUNCATE m", "REFRESH"),
        ("MERGE INTO m USING cohort ON false WHEN NOT MATCHED THEN INSERT VALUES ('x')", "REFRESH"),
        ("ALTER TABLE m ADD COLUMN b INTEGER", "REFRESH"),
        ("COPY m FROM 'x.csv'", "REFRESH"),
        ("DROP VIEW m", "DROP MATERIALIZED VIEW m"),
        ("DROP VIEW IF EXISTS m", "DROP MATERIALIZED VIEW m"),
        ("DROP TABLE m", "DROP MATERIALIZED VIEW m"),
    ],
)
def test_a_materialized_view_is_no_table(session: Session, statement: str, said: str) -> None:
    run(session, f"CREATE MATERIALIZED VIEW m AS SELECT PatientID FROM {STUDIES}")
    with pytest.raises(PlanningError, match=f"is a materialized view.*{said}"):
        run(session, statement)
    assert len(run(session, "SELECT * FROM m")) == 5
    run(session, "CREATE TABLE kept AS FROM m; DELETE FROM kept USING m")
    run(session, "REFRESH MATERIALIZED VIEW m; DROP MATERIALIZED VIEW m")


@pytest.mark.parametrize("mode", ["create", "append", "replace", "create_append"])
def test_nothing_is_loaded_into_a_materialized_view(session: Session, mode: str) -> None:
    import pyarrow as pa

    run(session, "CREATE MATERIALIZED VIEW m AS SELECT 1 AS a")
    with pytest.raises(PlanningError, match="is a materialized view"):
        session.ingest("m", pa.table({"a": [2]}).to_reader(), mode)
    assert run(session, "FROM m") == [(1,)]


def test_all_views_are_listed_with_their_queries(session: Session) -> None:
    run(
        session,
        'CREATE TEMP VIEW "b AS (" (c, "d AS e") AS SELECT 1, 2 AS x; CREATE VIEW a AS FROM v',
    )
    found = {name: sql for name, _, sql, _ in run(session, "SHOW VIEWS")}
    assert str(found["b AS ("]).startswith("SELECT 1, 2")
    assert str(found["a"]).startswith("FROM v")


@pytest.mark.parametrize("members", [["s"], ["s", "none"], ["s"] * 900])
def test_a_list_gives_a_view_its_parameter(session: Session, members: list[str]) -> None:
    run(session, "CREATE VIEW x AS SELECT PatientID FROM google.healthcare.studies")
    for sql in ("SELECT * FROM x", f"SELECT PatientID FROM {STUDIES}"):
        assert len(run(session, f"{sql} WHERE dicomStoresId IN ?", [members])) == 5
