"""Statements planned and run: what writes touch, what EXPLAIN keeps back, what planning sends."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest
from planning_hospital import Corpus, Hospital, store

from dicomsql.config import Settings
from dicomsql.errors import NotSupportedError, PlanningError
from dicomsql.planning.explain import Reveal, explain_json, explain_lines
from dicomsql.session import Session
from dicomsql.transport.gate import Gate

STORES = "google.healthcare.dicom_stores"
STUDIES = "google.healthcare.studies"


@pytest.fixture
def own(make_hospital: Callable[[], Hospital]) -> Iterator[Hospital]:
    """A hospital to write to."""
    made = make_hospital()
    yield made
    made.session.close()


def test_a_study_of_another_patient_is_not_deleted(own: Hospital, corpus: Corpus) -> None:
    store(own, corpus.files[:3], "main")
    before = own.rows(f"SELECT count(*) FROM {STUDIES}")
    own.rows(f"DELETE FROM {STUDIES} WHERE studiesId = '1.2.1' AND PatientID = 'nobody'")
    assert own.rows(f"SELECT count(*) FROM {STUDIES}") == before
    own.rows(
        f"DELETE /*+ AWAIT */ FROM {STUDIES} WHERE studiesId = '1.2.1' AND PatientID = ?",
        ["00123"],
        yes=True,
    )
    assert own.rows(f"SELECT PatientID FROM {STUDIES} WHERE studiesId = '1.2.1'") == []


def test_a_member_alone_is_set_where_the_row_is_as_asked(own: Hospital) -> None:
    update = f"UPDATE {STORES} SET labels.team = 'x' WHERE dicomStoresId = 'main' AND "
    own.rows(update + "labels->>'env' = 'test'")
    own.rows(update + "labels->>'env' = 'prod'")
    rows = own.rows(f"SELECT labels->>'env', labels->>'team' FROM {STORES}")
    assert rows == [("prod", "x")]


def test_an_assignment_reads_its_own_row(own: Hospital) -> None:
    own.rows(
        f"UPDATE {STORES} SET labels = json_object('was', labels->>'env') "
        "WHERE dicomStoresId = 'main'"
    )
    assert own.rows(f"SELECT labels->>'was' FROM {STORES}") == [("prod",)]


def test_rows_become_stores(own: Hospital) -> None:
    own.rows(
        f"INSERT INTO {STORES} (dicomStoreId, labels.env) "
        f"SELECT dicomStoresId || '-copy', 'x' FROM {STORES} WHERE datasetsId = 'ds'"
    )
    rows = own.rows(f"SELECT dicomStoresId, labels->>'env' FROM {STORES} ORDER BY 1")
    assert rows == [("main", "prod"), ("main-copy", "x")]


def test_engine_tables_take_and_bind_rows(own: Hospital, corpus: Corpus) -> None:
    store(own, corpus.files, "main")
    own.rows(f"CREATE TABLE mine AS SELECT StudyInstanceUID AS uid FROM {STUDIES} LIMIT 2")
    own.rows(
        f"INSERT INTO mine SELECT StudyInstanceUID FROM {STUDIES} WHERE PatientID = ?", ["P-3"]
    )
    joined = "SELECT count(*) FROM google.healthcare.series e JOIN mine ON e.studiesId = mine.uid"
    assert own.rows(joined) == [(len(_series(corpus, {"1.2.1", "1.2.2", "1.2.3", "1.2.11"})),)]
    own.rows(
        "UPDATE mine SET uid = 'x' WHERE uid IN "
        "(SELECT StudyInstanceUID FROM google.healthcare.series)"
    )
    assert own.rows("SELECT DISTINCT uid FROM mine") == [("x",)]


def _series(corpus: Corpus, studies: set[str]) -> list[str]:
    return [uid for uid, row in corpus.series.items() if row["StudyInstanceUID"] in studies]


def test_the_statement_wins_over_the_sessions_store(hospital: Hospital) -> None:
    counts = {"main": 12, "second": 2, "empty": 0}
    listed = f"FROM {STORES} d"
    correlated = f"(SELECT count(*) FROM {STUDIES} s WHERE s.dicomStoresId = d.dicomStoresId)"
    assert dict(hospital.rows(f"SELECT d.dicomStoresId, {correlated} {listed}")) == counts
    joined = f"LEFT JOIN {STUDIES} s ON split_part(d.name, '/', -1) = s.dicomStoresId"
    sql = f"SELECT d.dicomStoresId, count(s.PatientID) {listed} {joined} GROUP BY ALL"
    assert dict(hospital.rows(sql)) == counts


def test_levels_are_bound_row_by_row(hospital: Hospital) -> None:
    sql = (
        f"SELECT i.SOPInstanceUID FROM {STUDIES} s "
        "JOIN google.healthcare.series e USING (StudyInstanceUID) "
        "JOIN google.healthcare.instances i USING (StudyInstanceUID, SeriesInstanceUID) "
        "WHERE s.StudyInstanceUID = '1.2.3'"
    )
    # One search of studies, one of the study's series, one for each of its three series.
    assert hospital.requests(sql) == 5


@pytest.mark.parametrize(
    "derived",
    [
        "(VALUES ('second')) AS c(id)",
        "(FROM (VALUES ('second'))) c(id)",
        "(SELECT (SELECT 'second') AS id) AS \"c\"",
        "((SELECT 'second' AS id)) c",
        "(SELECT name FROM (FROM (VALUES ('second'), ('main'))) v(name) LIMIT 1) c(id)",
    ],
)
def test_a_subquery_of_constants_decides_the_store(hospital: Hospital, derived: str) -> None:
    sql = f"SELECT count(*) FROM {STUDIES} s JOIN {derived} ON s.dicomStoresId = c.id"
    assert hospital.rows(sql) == [(2,)]


def test_a_subquery_whose_place_is_unknown_is_not_left_out(hospital: Hospital) -> None:
    sql = f"SELECT count(*) FROM {STUDIES} s, {{}} WHERE s.dicomStoresId = id"
    with pytest.raises(NotSupportedError, match="decide dicomStoresId"):
        hospital.rows(sql.format("VALUES ('second') c(id)"))
    assert hospital.rows(sql.format("(SELECT 'second' AS id)")) == [(2,)]


def test_a_list_and_patterns_of_its_members(hospital: Hospital) -> None:
    count = "SELECT count(*) FROM google.healthcare.instances WHERE ImageType {} '{}'"
    (likes,) = hospital.rows(count.format("LIKE", "AX%"))
    (total,) = hospital.rows("SELECT count(*) FROM google.healthcare.instances")
    (others,) = hospital.rows(count.format("NOT LIKE", "AX%"))
    assert 0 < likes[0] < total[0]
    assert hospital.rows(count.format("~~", "AX%")) == [likes]
    assert hospital.rows(count.format("~~*", "ax%")) == [likes]
    assert hospital.rows(count.format("!~~", "AX%")) == [others]
    assert hospital.rows(count.format("!~~*", "ax%")) == [others]


@pytest.mark.parametrize(
    ("condition", "member"),
    [
        ("= 'ORIGINAL'", "v = 'ORIGINAL'"),
        ("< 'B'", "v < 'B'"),
        ("<= 'AXIAL'", "v <= 'AXIAL'"),
        ("> 'ORIG'", "v > 'ORIG'"),
        (">= 'PRIMARY'", "v >= 'PRIMARY'"),
        ("BETWEEN 'A' AND 'E'", "v BETWEEN 'A' AND 'E'"),
    ],
)
def test_a_comparison_of_a_list_means_any_member(
    hospital: Hospital, corpus: Corpus, condition: str, member: str
) -> None:
    # docs/sql.md says so, and that <> means no member.
    with duckdb.connect() as plain:
        corpus.tables(plain)
        ((expected, there),) = plain.sql(
            f"SELECT count(*) FILTER (len(list_filter(ImageType, lambda v: {member})) > 0), "
            "count(ImageType) FROM instances"
        ).fetchall()
    instances = "SELECT count(*) FROM google.healthcare.instances WHERE ImageType"
    assert hospital.rows(f"{instances} {condition}") == [(expected,)]
    assert expected > 0
    if condition.startswith("="):
        assert hospital.rows(f"{instances} <> 'ORIGINAL'") == [(there - expected,)]


def test_an_attribute_that_only_the_metadata_has_of_a_joined_level(hospital: Hospital) -> None:
    sql = (
        "SELECT i.TableSpeed FROM google.healthcare.series AS se LEFT JOIN "
        "google.healthcare.instances AS i ON se.SeriesInstanceUID = i.SeriesInstanceUID "
        "WHERE i.StudyDate_raw = '{}'"
    )
    assert hospital.rows(sql.format("20210603")) == []
    (day, count), *_ = hospital.rows(
        "SELECT StudyDate_raw, count(*) FROM google.healthcare.instances "
        "WHERE StudyDate_raw IS NOT NULL GROUP BY 1 ORDER BY 1"
    )
    assert hospital.rows(sql.format(day)) == [(None,)] * count


def test_a_half_is_half_of_all(hospital: Hospital) -> None:
    assert len(hospital.rows("SELECT PatientID FROM google.healthcare.studies LIMIT 50%")) == 6


def test_planning_sends_nothing(tmp_path: Path) -> None:
    with Session(Settings(endpoint="http://127.0.0.1:9", project="p", location="l")) as session:
        text = f"DELETE FROM {STUDIES} WHERE datasetsId = 'd' AND dicomStoresId = 's' AND {{}}"
        for where in ("studiesId = '1.2'", "StudyDate < '20260101'", "PatientID = 'a' || 'b'"):
            (statement,) = session.parse(text.format(where))
            assert session.plan(statement)
        assert session._parts._transports is None


SECRETS = ("Doe", "Jane", "4711", "secret", "20260131", "2026-01-31", "1.2.99", "77.5")
QUERY = (
    f"SELECT s.PatientID, 'secret' AS x /* Doe */ FROM {STUDIES} s "
    "JOIN google.healthcare.series e USING (StudyInstanceUID) -- Jane\n"
    "WHERE s.PatientName = 'Doe^Jane' AND s.PatientID IN ('4711', $$secret$$) "
    r"AND StudyDate >= '20260131' AND s.PatientSex = E'x\'secret' AND StudyID = ? "
    "AND s.StudyInstanceUID = concat('1.2.99', 77.5) AND dicomStoresId = 'main'"
)


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        (QUERY, ["4711"]),
        (f"CREATE TABLE t AS {QUERY}", ["4711"]),
        (f"DELETE FROM {STUDIES} WHERE PatientID = '4711' AND StudyDate = '20260131'", None),
        (f"EXEC {STORES}.search_for_studies @dicomStoresId = 'main' @PatientID = '4711'", None),
        (
            f"""EXEC {STORES}.export @dicomStoresId = 'main'
             @@json = '{{"gcsDestination": {{"uriPrefix": "gs://secret"}}}}'""",
            None,
        ),
        (f"UPDATE {STORES} SET labels.env = 'secret' WHERE dicomStoresId = 'main'", None),
        (
            f"SELECT 1 FROM google.healthcare.series e JOIN {STUDIES} s "
            "ON e.studiesId = concat(s.StudyInstanceUID, 'secret') WHERE s.PatientID = '4711'",
            None,
        ),
        ("INSTALL secret", None),
    ],
)
def test_explain_keeps_values_back(
    hospital: Hospital, text: str, parameters: list[str] | None
) -> None:
    plan = hospital.plan(text, parameters)
    closed, opened = Gate.closed().show_value, Gate.open().show_value
    shown = "\n".join(explain_lines(plan, closed, Reveal.NAMES))
    document = explain_json(plan, closed, Reveal.NAMES)
    if "INSTALL" not in text:
        assert not [s for s in SECRETS if s in shown or s in document]
        assert "main" in shown
    revealed = explain_json(plan, opened, Reveal.VALUES)
    assert json.loads(revealed)["kind"] == json.loads(document)["kind"]
    assert any(s in revealed for s in SECRETS)


def test_explain_says_what_is_asked_and_how(hospital: Hospital) -> None:
    lines = [row[0] for row in hospital.rows("EXPLAIN " + QUERY.replace("?", "'x'"))]
    assert lines[0] == "READ  google.healthcare.studies AS s"
    assert "  pushed  StudyDate from …; checked again" in lines
    assert any(line.startswith("ENGINE  runs the query over 2 tables") for line in lines)
    listed = hospital.rows(f"EXPLAIN SELECT name FROM {STORES}")
    assert ("  asks    fields = dicomStores(name),nextPageToken",) in listed
    bound = hospital.rows(
        f"EXPLAIN SELECT 1 FROM {STUDIES} s JOIN google.healthcare.series e "
        "USING (StudyInstanceUID) WHERE s.PatientID = 'x' LIMIT 1"
    )
    assert ("  bound   studiesId to each s.StudyInstanceUID",) in bound
    assert any(line.startswith("  else    one walk of GET") for (line,) in bound)


def test_a_deletion_takes_every_id_from_the_statement(hospital: Hospital) -> None:
    with pytest.raises(PlanningError, match="no session default applies") as caught:
        hospital.rows(f"DELETE FROM {STORES} WHERE labels->>'env' = 'test'")
    assert "projectsId" in caught.value.missing["delete"]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("SHOW VERSION", 1),
        ("SHOW SERVICES IN google LIKE 'health%'", 1),
        ("SHOW METHODS IN google.healthcare.datasets WHERE MethodName = 'get'", 1),
        ("USE google; SHOW RESOURCES IN healthcare LIKE 'studies'", 1),
        ("SHOW RESOURCES IN google.healthcare LIKE 'studies'", 1),
        ("SHOW EXTENDED METHODS IN google.healthcare.studies LIKE 'search'", 1),
        ("DESCRIBE METHOD google.healthcare.datasets.get", None),
        ("DESCRIBE EXTENDED google.healthcare.studies", None),
        ("SHOW INSERT INTO google.healthcare.dicom_stores", None),
        ("EXPLAIN SHOW PROVIDERS", 1),
        ("EXPLAIN USE google", 1),
        ("SET projectsId = 'p'; RESET projectsId; SET on_error = skip; RESET on_error", 0),
        ("SET max_calls = 10 * 10; RESET max_calls", 0),
    ],
)
def test_what_the_documents_and_the_session_answer(
    hospital: Hospital, text: str, rows: int | None
) -> None:
    found = hospital.rows(text)
    hospital.session._parts.current.use = ()
    assert len(found) == rows if rows is not None else found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SHOW RESOURCES IN google", "Name the provider.service"),
        ("SHOW SERVICES IN google.healthcare", "Name the provider"),
        ("USE google.healthcare.studies", "USE takes provider"),
        ("USE gogle", "google"),
    ],
)
def test_what_is_no_name_for_them(hospital: Hospital, text: str, message: str) -> None:
    with pytest.raises(PlanningError, match=message):
        hospital.rows(text)
