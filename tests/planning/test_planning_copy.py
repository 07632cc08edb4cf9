"""What COPY plans to: `fixtures/copies.txt` holds the SQL and, indented, EXPLAIN or the error.

`python tests/planning/test_planning_copy.py` prints the file again, for review as a diff. The lines
of a COPY's query are those of any query, and left out.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dicomsql.config import Settings
from dicomsql.connections import Connection
from dicomsql.errors import Error, PlanningError
from dicomsql.planning.explain import Reveal, explain_json
from dicomsql.planning.explain_copies import copy_lines
from dicomsql.planning.plan import CopyPlan, EnginePlan
from dicomsql.planning.read_plan import ReadPlan
from dicomsql.session import Session

FIXTURE = Path(__file__).parent / "fixtures" / "copies.txt"
INDENT = "    "

# What every call to Google begins with.
GOOGLE = (
    "https://healthcare.googleapis.com/v1/projects/{projectsId}/locations/{locationsId}/datasets/"
    "{datasetsId}/dicomStores/{dicomStoresId}/dicomWeb"
)


def make_session() -> Session:
    """A session that knows Google's store `main` and three servers, none of which is there."""
    pacs = Connection("pacs", "dicomweb.orthanc", "http://127.0.0.1:9/dicom-web")
    again = Connection("again", "dicomweb.orthanc", "http://127.0.0.1:9/dicom-web/")
    archive = Connection("archive", "dicomweb.standard", "http://127.0.0.1:8/rs")
    made = Session(
        Settings(
            project="p",
            location="l",
            dataset="d",
            dicom_store="main",
            connections={c.name: c for c in (pacs, again, archive)},
        )
    )
    made.execute(made.parse("CREATE TABLE local (a INTEGER)")[0])
    return made


def blocks() -> Iterator[tuple[str, list[str]]]:
    """(statement, expected lines) of the fixture; headings begin with # and have no lines."""
    for block in FIXTURE.read_text(encoding="utf-8").strip("\n").split("\n\n"):
        head, *lines = block.splitlines()
        yield head, [line.removeprefix(INDENT) for line in lines]


def planned(session: Session, sql: str, parameters: Any = None) -> list[str]:
    """The lines of EXPLAIN, or of the error."""
    try:
        (statement,) = session.parse(sql)
        plan = session.plan(statement, parameters)
    except Error as error:
        # Its place is shown in an excerpt of the statement.
        return [f"{type(error).__name__}: {str(error).splitlines()[0]}"]
    if not isinstance(plan, CopyPlan):
        return [type(plan).__name__]
    assert pickle.loads(pickle.dumps(plan)) == plan
    assert explain_json(plan, shown, Reveal.NAMES).startswith('{"kind": ')
    lines = copy_lines(plan, shown, Reveal.VALUES, lambda query: iter([f"QUERY  {query.sql}"]))
    return [line.replace(GOOGLE, "…") for line in lines]


def shown(name: str, value: str) -> str:
    """The gate of a session that shows all."""
    return f"{value}" if name else ""


CASES = [b for b in blocks() if not b[0].startswith("#")] if FIXTURE.exists() else []


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with make_session() as made:
        yield made


@pytest.mark.parametrize(("sql", "expected"), CASES, ids=[sql[:70] for sql, _ in CASES])
def test_a_copy_plans_as_reviewed(session: Session, sql: str, expected: list[str]) -> None:
    assert planned(session, sql) == expected


def test_the_fixture_has_all_its_cases() -> None:
    assert len(CASES) > 70
    assert all(expected for _, expected in CASES)


# -- what a line of text does not show -------------------------------------------------------------


def plan(session: Session, sql: str, parameters: Any = None) -> Any:
    (statement,) = session.parse(sql)
    return session.plan(statement, parameters)


@pytest.mark.parametrize("given", ["in", Path("in")])
def test_files_are_given_as_a_parameter(session: Session, given: object) -> None:
    found = plan(session, "COPY dicomweb.pacs.instances FROM ? (parallel ?)", [given, 3])
    assert found.paths == ("in",)
    assert found.settings.parallel == 3


@pytest.mark.parametrize("given", [["a", Path("b")], ("a", "b")])
def test_a_list_of_files_is_given_as_a_parameter(session: Session, given: object) -> None:
    found = plan(session, "COPY dicomweb.pacs.instances FROM :files", {"files": given})
    assert found.paths == ("a", "b")


def test_placeholders_of_the_query_and_of_what_is_behind_it(session: Session) -> None:
    found = plan(
        session,
        "COPY (SELECT StudyInstanceUID FROM google.healthcare.studies WHERE PatientID = ?) "
        "TO ? (FORMAT dicom, parallel ?) RETURNING path, ? AS run",
        ["P1", Path("out"), 2, "monday"],
    )
    assert found.query.scans[0].filters[0].values == ("P1",)
    assert (found.folder, found.settings.parallel) == ("out", 2)
    assert found.returning.values == (("p4", "monday"),)


def test_what_moves_instances_is_in_the_plan(session: Session) -> None:
    google = plan(session, "COPY google.healthcare.instances FROM 'x'").target.moves
    assert dict(google.ids) == {
        "study": "studiesId",
        "series": "seriesId",
        "instance": "instancesId",
    }
    assert {
        level: m.full_name.removeprefix("google.healthcare.") for level, m in google.search
    } == {
        "study": "studies.search",
        "series": "series.search_in_study",
        "instance": "instances.search_in_series",
    }
    assert google.in_study.name == "search_in_study"
    assert google.metadata.resource == "instances_metadata"
    assert google.replace.http_method == "PUT"
    standard = plan(session, "COPY dicomweb.archive.instances FROM 'x'").target.moves
    # A server that has no such path answers as if there were no such study.
    assert standard.in_study is None
    assert (standard.replace, standard.delete) == (None, None)
    assert standard.store.service == "archive"


def test_after_use_a_name_may_be_short(session: Session) -> None:
    with make_session() as other:
        other.execute(other.parse("USE dicomweb.pacs")[0])
        assert plan(other, "COPY instances FROM 'x'").target.resource == "dicomweb.pacs.instances"
        assert isinstance(plan(other, "COPY local FROM 'x.csv'"), ReadPlan | EnginePlan)
        moved = plan(
            other, "COPY (SELECT '1' AS StudyInstanceUID) TO 'o' (FORMAT dicom, source instances)"
        )
        assert moved.source.resource == "dicomweb.pacs.instances"


def test_rows_of_the_engine_alone_are_the_engines(session: Session) -> None:
    found = plan(session, "COPY (SELECT 1 AS a) TO 'x.csv' (FORMAT csv)")
    assert not isinstance(found, CopyPlan)
    assert isinstance(found, ReadPlan | EnginePlan)
    assert found.sql == "COPY (SELECT 1 AS a) TO 'x.csv' (FORMAT csv)"


def test_a_copy_is_explained_with_its_query(session: Session) -> None:
    sql = "COPY (SELECT StudyInstanceUID FROM google.healthcare.studies) TO 'o' (FORMAT dicom)"
    (statement,) = session.parse(f"EXPLAIN {sql}")
    heads = [str(row[0]).split(" ")[0] for row in session.execute(statement).rows or ()]
    assert [head for head in heads if head] == ["READ", "ENGINE", "ESTIMATE", "RETRIEVE"]
    (statement,) = session.parse(sql)
    dry = session.execute(statement, dry_run=True).rows or ()
    assert [str(row[0]).split(" ")[0] for row in dry] == heads


def test_explain_keeps_values_behind_the_gate(session: Session) -> None:
    sql = "COPY google.healthcare.instances FROM 'in' (studiesId '1.2.3') RETURNING 'P1' AS patient"
    for form in ("text", "json"):
        (statement,) = session.parse(f"EXPLAIN (FORMAT {form}) {sql}")
        found = "".join(str(row[0]) for row in session.execute(statement).rows or ())
        assert "studies" in found
        assert "1.2.3" not in found
        assert "P1" not in found


def test_a_pipe_is_not_read_to_learn_its_columns(session: Session, tmp_path: Path) -> None:
    pipe = tmp_path / "uids.csv"
    os.mkfifo(pipe)
    copied = "COPY ({}) TO 'out' (FORMAT dicom, source 'google.healthcare.instances')"
    read = f"FROM read_csv('{pipe}', header = true)"
    found = plan(session, copied.format(f"SELECT uid AS StudyInstanceUID {read}"))
    assert found.named.study == "StudyInstanceUID"
    with pytest.raises(PlanningError, match="is read once"):
        plan(session, copied.format(f"SELECT * {read}"))


def main() -> None:
    """Print the fixture with the plans as they are now."""
    with make_session() as session:
        for sql, _ in list(blocks()):
            lines = [] if sql.startswith("#") else planned(session, sql)
            print(sql, *(INDENT + line for line in lines), sep="\n", end="\n\n")


if __name__ == "__main__":
    main()
