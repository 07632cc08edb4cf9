"""What a user relies on of a table's shape: the order of `*`, and counts that agree with rows."""

from __future__ import annotations

import pytest

from dicomsql.errors import LanguageError
from dicomsql.session import Session


def rows(session: Session, sql: str) -> list[dict[str, object]]:
    (statement,) = session.parse(sql)
    result = session.execute(statement)
    return [row for batch in result.batches() for row in batch.to_pylist()]


@pytest.mark.parametrize(
    "condition",
    ["PatientSex = 'O'", "StudyID = 'x' OR AccessionNumber IS NULL", "StudyDate > '19000101'"],
)
def test_a_star_has_one_order(filled: Session, condition: str) -> None:
    plain = rows(filled, "SELECT * FROM google.healthcare.studies LIMIT 1")
    named = rows(filled, f"SELECT * FROM google.healthcare.studies WHERE {condition} LIMIT 1")
    assert list(plain[0]) == list(named[0])


def test_sets_of_starred_rows_agree(filled: Session) -> None:
    left = "SELECT * FROM google.healthcare.studies WHERE StudyDate > '19000101'"
    assert rows(filled, f"{left} EXCEPT SELECT * FROM google.healthcare.studies") == []
    both = rows(filled, f"SELECT * FROM google.healthcare.studies INTERSECT {left}")
    assert len(both) == len(rows(filled, left)) > 0


def test_a_count_is_not_raised_by_what_may_differ_within_a_study(filled: Session) -> None:
    query = (
        "SELECT {} FROM google.healthcare.instances WHERE InstitutionName = 'JFK IMAGING CENTER'"
    )
    found = rows(filled, query.format("SOPInstanceUID"))
    (counted,) = rows(filled, query.format("count(*) AS n"))
    assert counted["n"] == len(found) > 0
    (line,) = [
        row["plan"]
        for row in _explained(filled, query.format("count(*)"))
        if row["plan"].startswith("READ")
    ]
    assert line == "READ  google.healthcare.instances"


def _explained(session: Session, sql: str) -> list[dict[str, str]]:
    (statement,) = session.parse(f"EXPLAIN {sql}")
    return [{"plan": str(row[0])} for row in session.execute(statement).rows or ()]


def test_what_stands_in_a_files_head_is_no_column(filled: Session) -> None:
    with pytest.raises(LanguageError, match="does not return TransferSyntaxUID"):
        rows(filled, "SELECT TransferSyntaxUID FROM google.healthcare.instances")


@pytest.mark.parametrize(
    "query",
    [
        "SELECT count(DISTINCT StudyInstanceUID) AS n FROM @series WHERE StudyInstanceUID IN "
        "(SELECT StudyInstanceUID FROM @studies ORDER BY random() LIMIT 3)",
        "SELECT count(DISTINCT s.StudyInstanceUID) AS n FROM @series s JOIN (SELECT "
        "StudyInstanceUID FROM @studies ORDER BY random() LIMIT 3) c ON "
        "s.StudyInstanceUID = c.StudyInstanceUID",
        "WITH c AS (SELECT StudyInstanceUID FROM @studies ORDER BY random() LIMIT 3) SELECT "
        "count(DISTINCT m.StudyInstanceUID) AS n FROM c JOIN @studies_metadata m ON "
        "m.studiesId = c.StudyInstanceUID",
        "SELECT count(DISTINCT StudyInstanceUID) AS n FROM @series WHERE StudyInstanceUID IN "
        "(SELECT StudyInstanceUID FROM @studies USING SAMPLE 3 ROWS)",
    ],
)
def test_what_is_chosen_at_random_is_chosen_once(filled: Session, query: str) -> None:
    assert rows(filled, query.replace("@", "google.healthcare.")) == [{"n": 3}]
