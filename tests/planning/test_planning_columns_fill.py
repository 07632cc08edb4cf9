"""Attributes that only the metadata has, or nothing: which scans get them, and the answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pytest
from planning_hospital import Corpus, Hospital, part10, store

from dicomsql.catalog.model import DicomTable
from dicomsql.dicom.columns import Kind, column
from dicomsql.errors import BudgetError, IncompleteError
from dicomsql.execution.run import Run
from dicomsql.planning.tables import Table
from dicomsql.session import Session

PLACE = "google.healthcare"

# What tests/conftest.py stores, and where it has it from.
FILES = Path(pydicom.__file__).parent / "data" / "test_files"
STORED = ("CT_small.dcm", "MR_small.dcm", "SC_rgb_small_odd.dcm", "rtplan.dcm", "waveform_ecg.dcm")


@pytest.fixture(scope="module")
def wards(make_hospital: Callable[[], Hospital], corpus: Corpus) -> Iterator[Hospital]:
    """The corpus with attributes that no search of Google's returns; its instances disagree."""
    made = make_hospital()
    files = []
    for number, instance in enumerate(corpus.instances.values()):
        more = {
            # The third study's instances do not agree.
            "EthnicGroup": f"group {number % 2 if instance['StudyInstanceUID'] == '1.2.3' else 7}",
            "DistanceSourceToDetector": number * 1.5,
            "RescanCount": number,
        }
        files.append(part10(instance | {k: v for k, v in more.items() if k != "RescanCount"}))
    store(made, files, "main")
    made.rows(f"INSERT INTO {PLACE}.dicom_stores (dicomStoreId) VALUES ('second')")
    store(made, files[:3], "second")
    made.rows(f"USE {PLACE}")
    yield made
    made.session.close()


def binds(hospital: Hospital, sql: str, parameters: Any = None) -> list[str]:
    """The clauses of the further scans' binds: what is left of the search."""
    plan = hospital.plan(sql, parameters)
    found = [b.sql for scan in plan.scans if scan.check is not None for b in scan.binds]
    return [text.partition(" FROM scan_")[2].partition(") AS wanted")[0] for text in found]


@pytest.mark.parametrize(
    ("sql", "left"),
    [
        # What the search's own columns decide is applied; all else is the query's.
        (
            "SELECT 1 FROM studies WHERE PatientSex = 'F' AND EthnicGroup = 'x'",
            "1 AS studies WHERE (PatientSex = 'F')",
        ),
        (
            "SELECT 1 FROM studies s WHERE (StudyID = '' OR EthnicGroup = 'x') AND s.StudyID > 'a'",
            "1 AS s WHERE (s.StudyID > 'a')",
        ),
        (
            "SELECT 1 FROM studies WHERE PatientSex = 'F' OR StudyID > 'b' AND EthnicGroup = 'x'",
            "1 AS studies",
        ),
        (
            "SELECT 1 FROM studies WHERE StudyDate BETWEEN '20260101' AND '20260201' AND "
            "NOT (StudyID IS NULL) AND CASE WHEN StudyTime IS NULL AND StudyID = '' THEN 1 END = 1 "
            "AND EthnicGroup IS NULL GROUP BY ALL",
            "1 AS studies WHERE (StudyDate BETWEEN '2026-01-01' AND '2026-02-01') AND "
            "(NOT (StudyID IS NULL)) AND "
            "(CASE WHEN StudyTime IS NULL AND StudyID = '' THEN 1 END = 1)",
        ),
        # What may answer otherwise the next time is not.
        (
            "SELECT EthnicGroup FROM studies WHERE random() < 2 AND hash(StudyID) > 0 AND "
            "StudyTime < now()::TIME AND PatientSex = 'M'",
            "1 AS studies WHERE (hash(StudyID) > 0) AND (PatientSex = 'M')",
        ),
        (
            "SELECT EthnicGroup AS e, StudyID AS PatientSex FROM studies "
            "WHERE e = 'x' AND StudyID LIKE 'a%'",
            "1 AS studies WHERE (StudyID LIKE 'a%')",
        ),
        # Subqueries that are read already, and no correlated ones.
        (
            "SELECT EthnicGroup FROM studies WHERE PatientID || '' IN (SELECT 'a' AS b) AND "
            "EXISTS (SELECT 1 FROM (VALUES (1)) v(x) WHERE studies.StudyID = x::VARCHAR)",
            "1 AS studies WHERE (PatientID || '' IN (SELECT 'a' AS b))",
        ),
        (
            "SELECT EthnicGroup FROM studies WHERE PatientID IN (SELECT 'a' AS b LIMIT 1)",
            "1 AS studies",
        ),
        # LIMIT.
        (
            "SELECT EthnicGroup FROM studies WHERE PatientSex = 'F' ORDER BY StudyDate DESC, "
            "lower(StudyID) NULLS FIRST LIMIT 2 OFFSET 1",
            "1 AS studies WHERE (PatientSex = 'F') QUALIFY rank() OVER "
            "(ORDER BY StudyDate DESC, lower(StudyID) NULLS FIRST) <= 3",
        ),
        (
            "SELECT EthnicGroup FROM series WHERE PatientSex = 'F' LIMIT 2",
            "1 AS series WHERE (PatientSex = 'F') QUALIFY row_number() OVER "
            '(ORDER BY series."StudyInstanceUID", series."SeriesInstanceUID") <= 2',
        ),
        ("SELECT EthnicGroup FROM studies ORDER BY 1 LIMIT 2", "1 AS studies"),
        ("SELECT EthnicGroup FROM studies ORDER BY EthnicGroup LIMIT 2", "1 AS studies"),
        (
            "SELECT StudyDate - 1 AS StudyID, EthnicGroup FROM studies ORDER BY StudyID LIMIT 2",
            "1 AS studies",
        ),
        ("SELECT max(EthnicGroup) FROM studies ORDER BY max(StudyID) LIMIT 1", "1 AS studies"),
        ("SELECT DISTINCT EthnicGroup FROM studies LIMIT 1", "1 AS studies"),
        ("SELECT unnest([EthnicGroup]) FROM studies LIMIT 1", "1 AS studies"),
    ],
)
def test_what_is_left_of_the_search(wards: Hospital, sql: str, left: str) -> None:
    assert binds(wards, sql) == [left]


def test_an_outer_join_does_not_lose_a_partner(wards: Hospital) -> None:
    # Without its metadata the partner would match nothing, and NULL would pass for its absence.
    sql = (
        "SELECT count(*) FROM (VALUES (0.0), (1.5)) v(d) LEFT JOIN instances i "
        "ON i.DistanceSourceToDetector = v.d WHERE {}"
    )
    assert binds(wards, sql.format("i.SOPInstanceUID IS NULL")) == ["1 AS i"]
    assert wards.rows(sql.format("i.SOPInstanceUID IS NULL")) == [(0,)]
    (left,) = binds(wards, sql.format("NOT (i.InstanceNumber > 1)"))
    assert left == "1 AS i WHERE (NOT (i.InstanceNumber > 1))"
    assert wards.rows(sql.format("NOT (i.InstanceNumber > 1)")) == [(2,)]
    assert binds(wards, sql.format("NOT (i.Rows IN (1, 2))")) == ["1 AS i"]


def test_a_join_leaves_what_has_a_partner(wards: Hospital) -> None:
    sql = (
        "SELECT e.SeriesInstanceUID, i.DistanceSourceToDetector FROM series e "
        "JOIN instances i USING (StudyInstanceUID, SeriesInstanceUID) "
        "WHERE e.BodyPartExamined = 'HEAD' AND i.Rows > 1"
    )
    (left,) = binds(wards, sql)
    assert left.startswith("2 AS i WHERE (i.Rows > 1) AND ")
    assert (
        'i."SeriesInstanceUID" IN (SELECT e."SeriesInstanceUID" FROM scan_1 AS e '
        "WHERE (e.BodyPartExamined = 'HEAD'))" in left
    )
    plan = wards.plan(sql)
    assert not any(scan.stream for scan in plan.scans)


def test_a_limit_without_conditions_fills_just_its_rows(wards: Hospital) -> None:
    assert wards.requests("SELECT EthnicGroup FROM studies LIMIT 2") == 3
    sql = "SELECT EthnicGroup, StudyDate FROM studies ORDER BY StudyDate DESC LIMIT 3"
    assert wards.requests(sql) == 4
    assert len(wards.rows("SELECT EthnicGroup FROM studies WHERE PatientSex = 'F' LIMIT 2")) == 2
    assert wards.requests("SELECT EthnicGroup FROM studies WHERE PatientSex = 'F' LIMIT 2") == 3


def test_the_least_value_where_instances_disagree(wards: Hospital) -> None:
    rows = wards.rows("SELECT EthnicGroup, count(*) FROM studies GROUP BY ALL ORDER BY ALL")
    assert rows == [("group 0", 1), ("group 7", 11)]
    of_one = "StudyInstanceUID = '1.2.3'"
    by_series = wards.rows(f"SELECT DISTINCT EthnicGroup FROM instances WHERE {of_one} ORDER BY 1")
    assert by_series == [("group 0",), ("group 1",)]


ANSWERS = [
    "SELECT SOPInstanceUID, DistanceSourceToDetector FROM instances ORDER BY 1",
    "SELECT StudyInstanceUID, max(DistanceSourceToDetector), count(*) FROM instances "
    "WHERE Modality IN ('CT', 'MR') AND DistanceSourceToDetector > 20 GROUP BY 1 ORDER BY 1",
    "SELECT s.StudyInstanceUID, i.SOPInstanceUID FROM studies s LEFT JOIN instances i "
    "ON i.StudyInstanceUID = s.StudyInstanceUID AND i.DistanceSourceToDetector < 9 ORDER BY ALL",
    "SELECT e.SeriesInstanceUID, avg(i.DistanceSourceToDetector) FROM series e JOIN instances i "
    "USING (SeriesInstanceUID) WHERE e.Modality = 'MR' AND i.InstanceNumber > 1 "
    "GROUP BY ALL ORDER BY ALL",
    "SELECT count(*) FROM instances WHERE DistanceSourceToDetector IS NULL OR Rows = 512",
    "SELECT StudyInstanceUID FROM studies s WHERE EXISTS (SELECT 1 FROM instances i WHERE "
    "i.StudyInstanceUID = s.StudyInstanceUID AND i.DistanceSourceToDetector BETWEEN 12 AND 30) "
    "ORDER BY 1",
    "WITH far AS (SELECT StudyInstanceUID AS u FROM instances WHERE DistanceSourceToDetector > 50) "
    "SELECT PatientID FROM studies WHERE StudyInstanceUID IN (SELECT u FROM far) ORDER BY ALL",
    "SELECT SOPInstanceUID FROM instances WHERE Modality = 'CT' "
    "ORDER BY InstanceNumber DESC, DistanceSourceToDetector LIMIT 4",
    "SELECT a.SOPInstanceUID, b.SOPInstanceUID FROM instances a JOIN instances b "
    "ON a.DistanceSourceToDetector = b.DistanceSourceToDetector + 1.5 ORDER BY 1",
]


@pytest.mark.parametrize("sql", ANSWERS)
def test_answers_are_those_of_plain_tables(
    wards: Hospital, corpus: Corpus, oracle: Any, sql: str
) -> None:
    distances = {uid: n * 1.5 for n, uid in enumerate(corpus.instances)}
    plain = oracle.cursor()
    plain.execute("CREATE OR REPLACE TEMP TABLE distances (SOPInstanceUID VARCHAR, d DOUBLE)")
    plain.executemany("INSERT INTO distances VALUES (?, ?)", list(distances.items()))
    plain.execute(
        "CREATE OR REPLACE TEMP VIEW instances AS SELECT i.*, d AS DistanceSourceToDetector "
        "FROM memory.main.instances i JOIN distances USING (SOPInstanceUID)"
    )
    assert wards.rows(sql) == plain.execute(sql).fetchall()


def test_rows_keep_to_their_store(wards: Hospital) -> None:
    sql = (
        "SELECT dicomStoresId, count(EthnicGroup), count(*) FROM instances "
        "WHERE dicomStoresId IN ('main', 'second', 'none') GROUP BY 1 ORDER BY 1"
    )
    rows = wards.rows(sql)
    assert rows[1] == ("second", 3, 3)
    assert rows[0][1] == rows[0][2] > 3
    joined = (
        "SELECT d.dicomStoresId, count(DISTINCT EthnicGroup) FROM dicom_stores d "
        "JOIN studies s ON s.dicomStoresId = d.dicomStoresId GROUP BY 1 ORDER BY 1"
    )
    assert wards.rows(joined) == [("main", 2), ("second", 1)]


def test_a_star_shows_no_more_than_it_did(wards: Hospital) -> None:
    def names(sql: str) -> list[str]:
        (statement,) = wards.session.parse(sql)
        result = wards.session.execute(statement)
        result.close()
        assert result.columns is not None
        return sorted(c.name for c in result.columns)

    usual = names("SELECT * FROM series")
    assert names("SELECT * FROM series WHERE EthnicGroup LIKE 'group%'") == usual
    joined = "FROM studies s JOIN series e USING (StudyInstanceUID)"
    assert names(f"SELECT e.* {joined} WHERE s.EthnicGroup <> ''") == names(f"SELECT e.* {joined}")


def test_what_is_counted_where_no_search_gives_it(wards: Hospital) -> None:
    counted = "ModalitiesInStudy, NumberOfStudyRelatedSeries, NumberOfStudyRelatedInstances"
    given = wards.rows(f"SELECT StudyInstanceUID, {counted} FROM studies ORDER BY 1")
    rows = wards.rows(f"SELECT DISTINCT StudyInstanceUID, {counted} FROM series ORDER BY 1")
    assert [(u, sorted(m), s, i) for u, m, s, i in given] == rows
    # All of the store: one walk of each level below.
    assert wards.requests(f"SELECT {counted} FROM series") == 3
    few = f"SELECT {counted} FROM series WHERE StudyInstanceUID = '1.2.3'"
    assert wards.requests(few) == 3
    sql = "SELECT DISTINCT StudyInstanceUID FROM series WHERE ModalitiesInStudy = 'SR' ORDER BY 1"
    assert wards.rows(sql) == [(u,) for u, m, *_ in given if "SR" in m]


def test_a_write_reads_the_metadata_first(
    make_hospital: Callable[[], Hospital], corpus: Corpus
) -> None:
    own = make_hospital()
    uids = list(corpus.instances)[:3]
    values = ("10", "20", "far")
    store(
        own, [_with_text(corpus.instances[u], v) for u, v in zip(uids, values, strict=True)], "main"
    )
    own.rows(f"USE {PLACE}")
    delete = "DELETE FROM instances WHERE DistanceSourceToDetector > 15"
    with pytest.raises(Exception, match="DistanceSourceToDetector"):
        own.rows(delete)  # the third one's cannot be judged
    assert len(own.rows("SELECT SOPInstanceUID FROM instances")) == 3
    own.rows(f"{delete} AND SOPInstanceUID = '{uids[1]}'")
    left = own.rows("SELECT SOPInstanceUID FROM instances ORDER BY 1")
    assert left == sorted((u,) for u in (uids[0], uids[2]))
    own.session.close()


def _with_text(instance: dict[str, Any], distance: str) -> bytes:
    """A file whose DistanceSourceToDetector is any text."""
    marker = "12345.67"
    file = part10(instance | {"DistanceSourceToDetector": marker})
    assert file.count(marker.encode()) == 1
    return file.replace(marker.encode(), distance.ljust(len(marker)).encode())


def test_metadata_that_is_not_there_is_an_error(
    wards: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = Run.send

    class Nothing:
        status = 200

        def header(self, name: str) -> str:
            return "application/dicom+json"

        def read(self) -> bytes:
            return b"[]"

        def close(self) -> None: ...

        def __enter__(self) -> Nothing:
            return self

        def __exit__(self, *_: object) -> None: ...

    def without_one(run: Run, request: Any, **options: Any) -> Any:
        gone = request.path.endswith("/metadata") and "/1.2.3/" in request.url
        return Nothing() if gone else send(run, request, **options)

    monkeypatch.setattr(Run, "send", without_one)
    for level in ("studies", "series", "instances"):
        with pytest.raises(IncompleteError, match=r"of the \w+ that google.healthcare.\w+ found"):
            wards.rows(f"SELECT EthnicGroup FROM {level}")
    assert wards.rows("SELECT count(EthnicGroup) FROM studies WHERE PatientID = '00123'") == [(2,)]


def test_the_budget_holds_what_a_whole_store_needs(wards: Hospital) -> None:
    lines = [line for (line,) in wards.rows("EXPLAIN SELECT EthnicGroup FROM studies")]
    assert any("for all studies of the store: nothing narrows the search" in x for x in lines)
    lines = [
        line
        for (line,) in wards.rows("EXPLAIN SELECT EthnicGroup FROM studies WHERE PatientSex = 'F'")
    ]
    assert any("the search does not return EthnicGroup" in x for x in lines)
    assert any("read for the studies that are left" in x for x in lines)
    with pytest.raises(BudgetError, match="studies_metadata would take 12 calls"):
        wards.rows("SET max_calls = 6; SELECT EthnicGroup FROM studies")
    wards.rows("RESET max_calls")


def test_a_server_without_metadata_says_so(
    wards: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Table.__init__

    def bare(self: Table, resource: Any, methods: Any) -> None:
        original(self, resource, methods)
        dicom = self.dicom
        if isinstance(dicom, DicomTable) and dicom.source == "search":
            self.dicom = replace(dicom, metadata=(), tables=())

    monkeypatch.setattr(Table, "__init__", bare)
    with pytest.raises(Exception, match="EthnicGroup: its search does not return it"):
        # Of no text that was planned before, whose plan the session has kept.
        wards.plan("SELECT EthnicGroup AS lacking FROM studies")
    with pytest.raises(Exception, match="no table has the instances to count it from"):
        wards.plan("SELECT NumberOfStudyRelatedInstances FROM series")


# -- real files, against pydicom's own reading -----------------------------------------------------


def _expected(element: Any, many: bool) -> Any:
    """What pydicom reads, as the engine gives it."""
    value = element.value
    numbers = {"IS": int, "US": int, "SS": int, "UL": int, "SL": int, "DS": float, "FL": float}
    convert: Callable[[Any], Any] = numbers.get(element.VR, str)
    values = list(value) if element.VM > 1 else [value] if element.VM else []
    made = [convert(v) if v != "" else None for v in values]
    if element.VR == "FD":
        made = [float(v) for v in values]
    if many:
        return made or None
    return made[0] if made else None


_TEXTS = ("CS", "LO", "SH", "UI", "LT", "ST", "AS", "AE")
_NUMBERS = ("IS", "US", "SS", "UL", "SL", "DS", "FL", "FD")


@pytest.mark.parametrize("name", STORED)
def test_every_attribute_of_a_real_file_is_what_pydicom_reads(filled: Session, name: str) -> None:
    dataset = pydicom.dcmread(FILES / name)
    wanted = [e for e in dataset if e.keyword and e.VR in (*_TEXTS, *_NUMBERS)]
    assert len(wanted) >= 20
    listed = ", ".join(f'"{e.keyword}"' for e in wanted)
    (statement,) = filled.parse(
        f"SELECT {listed} FROM {PLACE}.instances WHERE SOPInstanceUID = '{dataset.SOPInstanceUID}'"
    )
    (row,) = [r for b in filled.execute(statement).batches() for r in b.to_pylist()]
    for element in wanted:
        found = column(element.keyword)
        assert found is not None and found.kind is not Kind.BULK
        expected = _expected(element, found.many)
        if element.VR in _NUMBERS and expected is not None:
            assert row[element.keyword] == pytest.approx(expected), element.keyword
        else:
            assert row[element.keyword] == expected, element.keyword


def test_paths_and_private_elements_of_real_files(filled: Session) -> None:
    def value(expression: str, condition: str) -> Any:
        sql = f"SELECT {expression} FROM {PLACE}.instances i WHERE {condition}"
        (statement,) = filled.parse(sql)
        rows = [
            tuple(r.values()) for b in filled.execute(statement).batches() for r in b.to_pylist()
        ]
        assert len(rows) == 1
        return rows[0][0]

    plan = pydicom.dcmread(FILES / "rtplan.dcm")
    of_plan = "Modality = 'RTPLAN'"
    beams = plan.BeamSequence
    assert value("BeamSequence.BeamName", of_plan) == [b.BeamName for b in beams]
    energies = [
        float(point.NominalBeamEnergy)
        for beam in beams
        for point in beam.ControlPointSequence
        if "NominalBeamEnergy" in point
    ]
    path = "i.BeamSequence.ControlPointSequence.NominalBeamEnergy"
    assert value(path, of_plan) == energies
    assert value("1", f"{path} = {energies[0]}") == 1
    assert value("1", f"{path} BETWEEN {energies[0] - 1} AND {energies[0]} AND {path} >= 6") == 1
    assert value("1", "'Field 1' = \"BeamSequence.BeamName\"") == 1

    scan = pydicom.dcmread(FILES / "CT_small.dcm")
    block = scan.private_block(0x0009, "GEMS_IDEN_01")
    assert value("private('GEMS_IDEN_01', '0009', '01')", "Modality = 'CT'") == block[0x01].value
    found = "private(i, 'GEMS_IDEN_01', '0009', '02') = 'CT01'"
    assert block[0x02].value == "CT01"
    assert value("Modality", found) == "CT"
    assert value("private('NOBODY', '0009', '01')", "Modality = 'CT'") is None
