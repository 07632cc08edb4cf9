"""Plans that are used again: where all that they rest on is as it was, and nowhere else."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from session_server import STUDIES, Server, opened, rows, serving

from dicomsql.planning import planner
from dicomsql.session import Session, plans

BY_PATIENT = f"SELECT StudyInstanceUID FROM {STUDIES} WHERE PatientID = ?"


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


@pytest.fixture
def session(server: Server) -> Iterator[Session]:
    with opened(server) as made:
        yield made


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts of the statements that were planned."""
    texts: list[str] = []
    plan = planner.plan_statement

    def counted(statement: Any, *rest: Any) -> Any:
        texts.append(statement.text)
        return plan(statement, *rest)

    monkeypatch.setattr("dicomsql.planning.planner.plan_statement", counted)
    return texts


LASTING = [
    (BY_PATIENT, ["p"]),
    (f"SELECT count(*) FROM {STUDIES} WHERE PatientID = 'p'", None),
    (f"SELECT count(*) FROM {STUDIES} WHERE PatientID = concat('p', '')", None),
    ("SELECT 1", None),
]


@pytest.mark.parametrize(("text", "parameters"), LASTING)
def test_the_same_text_is_planned_once(
    session: Session, planned: list[str], text: str, parameters: list[object] | None
) -> None:
    first = rows(session, text, parameters)
    assert [rows(session, text, parameters) for _ in range(3)] == [first] * 3
    assert planned == [text]


FLEETING = [
    f"SELECT count(*) FROM {STUDIES} WHERE StudyDate <= current_date",
    f"SELECT count(*) FROM {STUDIES} WHERE PatientID = getvariable('who')",
]


@pytest.mark.parametrize("text", FLEETING)
def test_what_rests_on_the_moment_is_planned_anew(
    session: Session, planned: list[str], text: str
) -> None:
    rows(session, text)
    rows(session, text)
    assert planned == [text, text]


@pytest.mark.parametrize(
    "change",
    [
        "USE google.healthcare",
        "SET datasetsId = 'd'",
        "SET TimeZone = 'Asia/Tokyo'",
        "CREATE TABLE p AS SELECT 1 AS a",
        "CREATE MACRO upper_of(a) AS upper(a)",
        "SET VARIABLE who = 'p'",
        "BEGIN",
    ],
)
def test_what_may_change_a_plan_makes_it_anew(
    session: Session, planned: list[str], change: str
) -> None:
    rows(session, BY_PATIENT, ["p"])
    rows(session, change)
    rows(session, BY_PATIENT, ["p"])
    assert planned == [BY_PATIENT, change, BY_PATIENT]


def test_a_file_s_columns_may_have_changed(
    session: Session, planned: list[str], tmp_path: Path
) -> None:
    name = tmp_path / "cohort.csv"
    text = f"SELECT count(*) FROM {STUDIES} JOIN '{name}' AS c ON PatientID = c.who"
    name.write_text("who\np\nq\n")
    assert rows(session, text) == [3]
    name.write_text("who\n007\n")
    assert rows(session, text) == [0]
    name.write_text("who\nq\np\n")
    assert rows(session, text) == [3]
    assert len(planned) == 3


def test_a_table_of_another_type_is_another_plan(session: Session) -> None:
    text = f"SELECT count(*) FROM {STUDIES} JOIN cohort ON PatientID = who"
    for made, count in (("'p'", 3), ("'q'", 0), ("'p'", 3)):
        rows(session, f"CREATE OR REPLACE TABLE cohort AS SELECT {made} AS who")
        assert rows(session, text) == [count]


@pytest.mark.parametrize(
    "values",
    [
        [1, 1.0, True, Decimal(1), Decimal("1.00"), "1"],
        [datetime.date(2026, 1, 1), datetime.datetime(2026, 1, 1), "2026-01-01"],
        [None, "", "p", b"p"],
    ],
)
def test_parameters_are_those_that_were_given(session: Session, values: list[object]) -> None:
    """Equal values of other types are others."""
    for _ in range(2):
        found = [rows(session, "SELECT typeof(?), ?::VARCHAR", [v, v]) for v in values]
        with opened() as fresh:
            asked = [rows(fresh, "SELECT typeof(?), ?::VARCHAR", [v, v]) for v in values]
        assert found == asked


def test_only_the_last_plans_are_kept(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "_MOST", 3)
    for n in range(10):
        assert rows(session, f"SELECT {n}") == [n]
    assert len(session._parts.plans._plans) == 3
