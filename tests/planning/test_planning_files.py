"""`read_dicom(...)` as a table: its columns, what is read, and how it meets servers' tables."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dicomsql.config import Settings
from dicomsql.errors import DataError, LanguageError
from dicomsql.planning.explain import Reveal, explain_lines
from dicomsql.planning.read_plan import ColumnKind, FileScan, ReadPlan
from dicomsql.session import Session

INSTANCES = "google.healthcare.instances"
STUDIES = "google.healthcare.studies"


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with Session(Settings(project="p", location="l", dataset="d", dicom_store="main")) as made:
        yield made


def plan(session: Session, sql: str, parameters: Any = None) -> ReadPlan:
    (statement,) = session.parse(sql)
    found = session.plan(statement, parameters)
    assert isinstance(found, ReadPlan)
    assert pickle.loads(pickle.dumps(found)) == found
    return found


def files(session: Session, sql: str, parameters: Any = None) -> FileScan:
    (found,) = plan(session, sql, parameters).files
    return found


@pytest.mark.parametrize(
    ("argument", "parameters", "paths"),
    [
        ("'in/**/*.dcm'", None, ("in/**/*.dcm",)),
        ("['a', 'b.zip']", None, ("a", "b.zip")),
        ("'a' || '/b'", None, ("a/b",)),
        ("?", ["in"], ("in",)),
        ("?", [Path("in")], ("in",)),
        (":files", {"files": ["a", Path("b")]}, ("a", "b")),
    ],
)
def test_the_files_are_a_constant(
    session: Session, argument: str, parameters: Any, paths: tuple[str, ...]
) -> None:
    found = plan(session, f"SELECT path FROM Read_DICOM({argument}) AS f", parameters)
    assert found.files[0].paths == paths
    assert (found.sql, found.values) == ("SELECT path FROM files_1 AS f", ())


@pytest.mark.parametrize(
    "call",
    [
        "read_dicom()",
        "read_dicom(12)",
        "read_dicom(NULL)",
        "read_dicom([])",
        "read_dicom('')",
        "read_dicom('a', 'b')",
        "read_dicom('a', recursive := true)",
        "(SELECT 'a' AS x) AS t, read_dicom(t.x)",
        "read_dicom((SELECT 'a'))",
    ],
)
def test_anything_else_is_refused(session: Session, call: str) -> None:
    with pytest.raises(LanguageError, match="takes the files as one value"):
        plan(session, f"SELECT path FROM {call}")


def test_columns_have_the_types_of_searches(session: Session) -> None:
    found = files(
        session,
        "SELECT PATH, size, digest, error, studydate, ImageType, PatientID_raw, dataset, "
        "\"00280010\", private('SIEMENS', '0019', '01'), OtherPatientIDsSequence.PatientID "
        "FROM read_dicom('in')",
    )
    assert {c.name: (c.kind, c.type) for c in found.columns} == {
        "path": (ColumnKind.FILE, "VARCHAR"),
        "size": (ColumnKind.FILE, "BIGINT"),
        "digest": (ColumnKind.FILE, "VARCHAR"),
        "error": (ColumnKind.FILE, "VARCHAR"),
        "StudyDate": (ColumnKind.ATTRIBUTE, "DATE"),
        "ImageType": (ColumnKind.ATTRIBUTE, "VARCHAR[]"),
        "PatientID_raw": (ColumnKind.ATTRIBUTE, "VARCHAR"),
        "dataset": (ColumnKind.ATTRIBUTE, "JSON"),
        "00280010": (ColumnKind.ATTRIBUTE, "BIGINT"),
        "private:SIEMENS:0019:01": (ColumnKind.ATTRIBUTE, "VARCHAR"),
        "OtherPatientIDsSequence.PatientID": (ColumnKind.ATTRIBUTE, "VARCHAR[]"),
    }


def test_only_what_is_asked_for_is_read(session: Session) -> None:
    counted = files(session, "SELECT count(*) FROM read_dicom('in')")
    assert [c.name for c in counted.columns] == ["path"]
    star = [c.name for c in files(session, "SELECT * FROM read_dicom('in')").columns]
    assert star[:6] == [
        *("path", "size", "error"),
        *("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"),
    ]
    # It would take the whole file.
    assert "digest" not in star
    searched = plan(session, "SELECT * FROM read_dicom('in') WHERE PatientID = 'x'")
    assert searched.sql == (
        'SELECT * EXCLUDE (read_dicom."PatientID") FROM files_1 AS read_dicom '
        "WHERE PatientID = 'x'"
    )


def test_a_column_that_is_none(session: Session) -> None:
    with pytest.raises(LanguageError, match=r"read_dicom has no column .* Did you mean PatientID"):
        plan(session, "SELECT PatientIDD FROM read_dicom('in')")


@pytest.mark.parametrize(
    "condition", ["PatientID = 123", "StudyDate = 'yesterday'", "StudyDate LIKE '2024%'"]
)
def test_comparisons_are_guarded_as_those_of_searches(session: Session, condition: str) -> None:
    with pytest.raises(DataError):
        plan(session, f"SELECT path FROM read_dicom('in') WHERE {condition}")


def test_dates_and_lists_are_compared_as_those_of_searches(session: Session) -> None:
    sql = "SELECT path FROM read_dicom('in') f WHERE f.StudyDate > '20240101' AND ImageType = 'A'"
    assert plan(session, sql).sql == (
        "SELECT path FROM files_1 f WHERE f.StudyDate > '2024-01-01' "
        "AND list_contains(ImageType, 'A')"
    )


@pytest.mark.parametrize(
    ("sql", "streams"),
    [
        ("SELECT path FROM read_dicom('in')", True),
        ("SELECT Modality, count(*) FROM (SELECT * FROM read_dicom('in')) GROUP BY ALL", True),
        ("WITH f AS (SELECT * FROM read_dicom('in')) SELECT a.path FROM f a, f b", False),
        (f"SELECT * FROM {STUDIES} WHERE StudyInstanceUID IN "
         "(SELECT StudyInstanceUID FROM read_dicom('in'))", False),
        ("CREATE TABLE t AS SELECT * FROM read_dicom('in')", False),
    ],
)  # fmt: skip
def test_files_are_kept_where_they_are_read_twice(
    session: Session, sql: str, streams: bool
) -> None:
    assert files(session, sql).stream is streams


def test_a_search_is_bound_to_the_files(session: Session) -> None:
    found = plan(
        session,
        f"SELECT path FROM read_dicom('in/**') ANTI JOIN {INSTANCES} USING (SOPInstanceUID)",
    )
    (local,), (scan,) = found.files, found.scans
    assert [c.name for c in local.columns] == ["path", "SOPInstanceUID"]
    assert not local.stream
    (bind,) = scan.binds
    assert bind.parameters == ("SOPInstanceUID",)
    assert (
        bind.sql == 'SELECT DISTINCT read_dicom."SOPInstanceUID" AS v1 FROM files_1 AS read_dicom'
    )
    assert scan.walk is not None
    assert found.sql == (
        "SELECT path FROM files_1 AS read_dicom ANTI JOIN scan_2 AS instances "
        "USING (SOPInstanceUID)"
    )


def test_all_three_uids_bind_the_path_of_a_search(session: Session) -> None:
    uids = "(StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID)"
    found = plan(session, f"SELECT f.path FROM read_dicom('in') f JOIN {INSTANCES} USING {uids}")
    assert found.scans[0].method.name == "search_in_series"
    assert found.scans[0].binds[0].parameters == ("studiesId", "seriesId")


def test_what_files_and_a_server_both_have_is_asked_back(session: Session) -> None:
    joined = f"FROM read_dicom('in') f JOIN {STUDIES} s USING (StudyInstanceUID)"
    with pytest.raises(
        LanguageError, match=r"Several tables have PatientID, which may differ in them; write"
    ):
        plan(session, f"SELECT path, PatientID {joined}")
    # Where the ANTI JOIN leaves no row of the server, the name can only be the files'.
    anti = plan(session, f"SELECT PatientID {joined.replace('JOIN', 'ANTI JOIN')}")
    assert [c.name for c in anti.files[0].columns] == ["PatientID", "StudyInstanceUID"]
    assert [c.name for c in anti.scans[0].columns] == ["StudyInstanceUID"]


@pytest.mark.parametrize("kind", ["SEMI", "ANTI"])
def test_a_star_shows_nothing_of_a_semi_joined_table(session: Session, kind: str) -> None:
    found = plan(
        session,
        f"SELECT * FROM {INSTANCES} i {kind} JOIN {STUDIES} s "
        f"ON i.StudyInstanceUID = s.StudyInstanceUID AND PatientSex = 'F'",
    )
    by_name = {s.alias: [c.name for c in s.columns] for s in found.scans}
    assert by_name["s"] == ["StudyInstanceUID", "PatientSex"]
    assert found.sql.startswith("SELECT * FROM ")


def test_a_semi_joined_table_is_where_the_others_are(session: Session) -> None:
    found = plan(
        session,
        f"SELECT SOPInstanceUID FROM {INSTANCES} i ANTI JOIN {STUDIES} s "
        "ON i.PatientID = s.PatientID WHERE dicomStoresId = 'b' AND StudyInstanceUID = '1.2'",
    )
    given = {s.alias: {c.parameter: c.values for c in s.constants} for s in found.scans}
    assert given["i"]["dicomStoresId"] == given["s"]["dicomStoresId"] == ("b",)
    # That is the instances' alone: another study may have the patient too.
    assert given["i"]["studiesId"] == ("1.2",)
    assert "studiesId" not in given["s"]
    assert not [f for s in found.scans if s.alias == "s" for f in s.filters]


def test_a_condition_on_an_anti_joined_table_stands_in_its_on(session: Session) -> None:
    joined = f"SELECT path FROM read_dicom('in') f ANTI JOIN {INSTANCES} i "
    with pytest.raises(LanguageError, match="only the ON of its ANTI JOIN"):
        plan(session, f"{joined} USING (SOPInstanceUID) WHERE dicomStoresId = 'b'")
    on = "ON f.SOPInstanceUID = i.SOPInstanceUID AND dicomStoresId = 'b'"
    constants = {c.parameter: c.values for c in plan(session, joined + on).scans[0].constants}
    assert constants["dicomStoresId"] == ("b",)


def test_tables_of_files_have_names_of_their_own(session: Session) -> None:
    found = plan(
        session, "SELECT a.path FROM read_dicom('a') a JOIN read_dicom('b') b USING (digest)"
    )
    assert [(f.name, f.alias, f.paths) for f in found.files] == [
        ("files_1", "a", ("a",)),
        ("files_2", "b", ("b",)),
    ]
    assert not found.scans
    assert not found.direct


def test_explain_says_what_is_read(session: Session) -> None:
    found = plan(session, "SELECT path FROM read_dicom(['a', 'b']) WHERE Modality = 'CT'")
    assert explain_lines(found, lambda _, value: value, Reveal.VALUES) == [
        "READ  files AS read_dicom",
        "  files   a, b",
        "  rows    path, Modality; used while they are read",
        "ENGINE  runs the query over 1 table",
        "  checks  Modality = 'CT'",
    ]
