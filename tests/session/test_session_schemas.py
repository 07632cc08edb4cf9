"""Local tables by dotted names, and which of two things a name means."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dicomsql.config import Settings
from dicomsql.errors import LanguageError, PlanningError
from dicomsql.planning.plan import WritePlan
from dicomsql.session import Session


def run(session: Session, text: str, parameters: Any = None) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for statement in session.parse(text):
        result = session.execute(statement, parameters)
        rows = [tuple(r.values()) for b in result.batches() for r in b.to_pylist()]
    return rows


@pytest.fixture(params=["autocommit", "in a transaction"])
def session(request: pytest.FixtureRequest) -> Iterator[Session]:
    settings = Settings(project="p", location="l", dataset="d", dicom_store="s")
    with Session(settings) as made:
        made.autocommit = request.param == "autocommit"
        run(made, "CREATE SCHEMA s; CREATE TABLE s.t (a INTEGER PRIMARY KEY, b VARCHAR)")
        run(made, "INSERT INTO s.t VALUES (1, 'x'), (2, 'y')")
        yield made


@pytest.mark.parametrize("name", ["s.t", "memory.s.t", '"S"."T"'])
@pytest.mark.parametrize(
    ("statement", "left"),
    [
        ("INSERT INTO {t} (a) VALUES (3)", [(1, "x"), (2, "y"), (3, None)]),
        ("INSERT OR REPLACE INTO {t} VALUES (1, 'z')", [(1, "z"), (2, "y")]),
        ("INSERT INTO {t} VALUES (1, 'z') ON CONFLICT DO NOTHING", [(1, "x"), (2, "y")]),
        ("INSERT INTO {t} BY NAME SELECT 3 AS a", [(1, "x"), (2, "y"), (3, None)]),
        ("UPDATE {t} SET b = upper(b) WHERE a = 1", [(1, "X"), (2, "y")]),
        ("UPDATE {t} SET b = r.b FROM {t} AS r WHERE r.a = 2", [(1, "y"), (2, "y")]),
        ("DELETE FROM {t} WHERE a = 1", [(2, "y")]),
        ("DELETE FROM {t} USING {t} AS r WHERE r.a = t.a AND r.b = 'y'", [(1, "x")]),
        ("TRUNCATE {t}", []),
        (
            "MERGE INTO {t} USING {t} AS r ON r.a = t.a AND r.a = 2 WHEN MATCHED THEN DELETE",
            [(1, "x")],
        ),
        ("WITH q AS (SELECT 2 AS a) DELETE FROM {t} WHERE a IN (FROM q)", [(1, "x")]),
        (
            "WITH q AS (SELECT 2 AS n) UPDATE {t} SET b = 'q' WHERE a = (FROM q)",
            [(1, "x"), (2, "q")],
        ),
        ("WITH q AS (SELECT 3, 'q') INSERT INTO {t} FROM q", [(1, "x"), (2, "y"), (3, "q")]),
    ],
)
def test_local_tables_are_written_by_any_name(
    session: Session, name: str, statement: str, left: list[tuple[object, ...]]
) -> None:
    run(session, statement.format(t=name))
    assert run(session, f"SELECT * FROM {name} ORDER BY a") == left


def test_a_local_name_stands_before_a_resources(session: Session) -> None:
    run(session, "CREATE SCHEMA google; CREATE TABLE google.healthcare (a INTEGER)")
    run(session, "INSERT INTO google.healthcare VALUES (1)")
    assert run(session, "SELECT * FROM google.healthcare") == [(1,)]
    (statement,) = session.parse("DELETE FROM google.healthcare.studies WHERE studiesId = '1.2'")
    plan = session.plan(statement)
    assert isinstance(plan, WritePlan)
    run(
        session,
        "USE google; CREATE TABLE s.datasets (a INTEGER); INSERT INTO s.datasets VALUES (2)",
    )
    assert run(session, "SELECT * FROM s.datasets") == [(2,)]


def test_the_search_path_finds_tables_by_one_part(session: Session) -> None:
    run(
        session,
        "CREATE TABLE t (c INTEGER); SET search_path = 's,main'; INSERT INTO t VALUES (3, 'z')",
    )
    assert run(session, "SELECT count(*) FROM t") == [(3,)]
    run(session, "RESET search_path; INSERT INTO t VALUES (7)")
    assert run(session, "SELECT c FROM t") == [(7,)]


def test_what_a_schemas_table_has_is_known_beside_resources(session: Session) -> None:
    run(session, "CREATE TABLE t (StudyInstanceUID VARCHAR)")
    run(session, "CREATE TABLE s.u (a INTEGER, PatientID VARCHAR)")
    join = "SELECT x.StudyDate FROM google.healthcare.studies AS x JOIN {} USING (PatientID)"
    for name in ("s.u", "memory.s.u"):
        plan: Any = session.plan(session.parse(join.format(name))[0])
        assert [b.parameters for b in plan.scans[0].binds] == [("PatientID",)]
    both = join.format("s.t AS y ON x.StudyDescription = y.b JOIN s.u")
    plan = session.plan(session.parse(both)[0])
    assert plan.scans[0].binds


@pytest.mark.parametrize(
    ("statement", "form"),
    [
        ("INSERT OR REPLACE INTO {} VALUES (1)", "INSERT OR ..."),
        ("INSERT INTO {} DEFAULT VALUES", "INSERT ... DEFAULT"),
        ("UPDATE {} SET name = 'x' FROM s.t", "UPDATE ... FROM"),
        ("DELETE FROM {} USING s.t", "DELETE ... USING"),
        ("MERGE INTO {} USING s.t ON true WHEN MATCHED THEN DELETE", "MERGE"),
    ],
)
def test_forms_that_resources_do_not_have(session: Session, statement: str, form: str) -> None:
    with pytest.raises(LanguageError) as caught:
        run(session, statement.format("google.healthcare.datasets"))
    assert f"{form} works on the engine's own tables only" in str(caught.value)
    with pytest.raises(LanguageError, match=r"google\.healthcare\.datasets is a resource"):
        run(session, "USE google.healthcare; " + statement.format("datasets"))


def test_with_before_the_insert_of_a_resource_is_its_querys(session: Session) -> None:
    insert = "INSERT INTO google.healthcare.dicom_stores (dicomStoreId, datasetsId)"
    (before,) = session.parse(
        f"WITH q AS (SELECT ? AS id, 'd') {insert} SELECT * FROM q WHERE id <> ?"
    )
    plan = session.plan(before, ["a", "b"])
    assert isinstance(plan, WritePlan)
    assert plan.source is not None
    assert "INSERT" not in plan.source.sql
    assert [value for _, value in plan.source.values] == ["a", "b"]
    with pytest.raises(LanguageError, match="write one of them"):
        run(session, f"WITH q AS (SELECT 1) {insert} WITH r AS (SELECT 2) SELECT 'a', 'd'")
    with pytest.raises(LanguageError) as caught:
        run(
            session,
            f"WITH q AS (SELECT 1)\n{insert} SELECT nothing.x, 'd' FROM google.healthcare.studies",
        )
    assert caught.value.line == 2


def test_with_before_other_writes_of_a_resource_says_what_to_write(session: Session) -> None:
    delete = "DELETE FROM google.healthcare.studies WHERE studiesId IN"
    with pytest.raises(LanguageError, match="put it into the subquery"):
        run(session, f"WITH q AS (SELECT '1.2' AS uid) {delete} (SELECT uid FROM q)")
    (said,) = session.parse(f"{delete} (WITH q AS (SELECT '1.2' AS uid) SELECT uid FROM q)")
    assert isinstance(session.plan(said), WritePlan)


def test_a_name_of_nothing(session: Session) -> None:
    with pytest.raises(PlanningError, match=r"s\.nothing"):
        run(session, "INSERT INTO s.nothing VALUES (1)")
