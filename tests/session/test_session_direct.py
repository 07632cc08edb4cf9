"""Queries that are nothing but columns of one table: the engine's answer without the engine."""

from __future__ import annotations

from typing import Any

import pytest

from dicomsql.planning.read_plan import ReadPlan
from dicomsql.session import Session

STUDIES = "google.healthcare.studies"
STORES = "google.healthcare.dicom_stores"

DIRECT = [
    f"SELECT StudyInstanceUID, patientname, StudyDate, StudyTime FROM {STUDIES}",
    f"SELECT ModalitiesInStudy AS m, NumberOfStudyRelatedInstances, studiesId FROM {STUDIES}",
    f"SELECT dataset FROM {STUDIES}",
    f"SELECT name, labels, dicomStoresId AS id, projectsId FROM {STORES}",
    f"SELECT name FROM {STORES} WHERE datasetsId = 'd' AND dicomStoresId IN ('s', 'none')",
    f"SELECT dicomStores, nextPageToken FROM {STORES}",
]

# Something is left for the engine: an order, a condition, an expression, a star, an offset.
NOT_DIRECT = [
    f"SELECT PatientID FROM {STUDIES} ORDER BY 1",
    f"SELECT PatientID FROM {STUDIES} WHERE PatientID = '4MR1'",
    f"SELECT upper(PatientID) FROM {STUDIES}",
    f"SELECT * FROM {STUDIES}",
    f"SELECT DISTINCT PatientID FROM {STUDIES}",
    f"SELECT PatientID FROM {STUDIES} LIMIT 2 OFFSET 1",
    f"SELECT count(*) FROM {STUDIES}",
    f"SELECT PatientID FROM {STUDIES} UNION ALL SELECT PatientID FROM {STUDIES}",
    f"SELECT labels.env FROM {STORES}",
    f"SELECT PatientID, 1 AS one FROM {STUDIES}",
]


def plan(session: Session, text: str) -> ReadPlan:
    found = session.plan(session.parse(text)[0])
    assert isinstance(found, ReadPlan)
    return found


def answer(session: Session, text: str) -> tuple[Any, list[tuple[Any, ...]]]:
    result = session.execute(session.parse(text)[0])
    rows: list[tuple[Any, ...]] = []
    for batch in result.batches():
        rows += zip(*(c.to_pylist() for c in batch.columns), strict=True)
    return result.columns, sorted(rows, key=repr)


@pytest.mark.parametrize("text", DIRECT)
def test_the_answer_is_the_engines_own(filled: Session, text: str) -> None:
    assert plan(filled, text).direct
    nested = f"SELECT * FROM ({text}) AS q"
    assert not plan(filled, nested).direct
    assert answer(filled, text) == answer(filled, nested)


def test_a_limit_ends_it(filled: Session) -> None:
    text = f"SELECT PatientID FROM {STUDIES} LIMIT 2"
    assert plan(filled, text).direct
    assert len(answer(filled, text)[1]) == 2
    assert answer(filled, f"SELECT PatientID FROM {STUDIES} LIMIT 0")[1] == []


@pytest.mark.parametrize("text", NOT_DIRECT)
def test_whatever_is_left_goes_to_the_engine(filled: Session, text: str) -> None:
    assert plan(filled, text).direct == ()
    assert answer(filled, text)[1]


def test_explain_says_that_the_engine_is_not_needed(filled: Session) -> None:
    _, rows = answer(filled, f"EXPLAIN SELECT PatientID FROM {STUDIES}")
    assert ("ENGINE  is not needed: the rows are the result",) in rows
