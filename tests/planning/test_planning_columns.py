"""Names that a query may give to attributes: levels, tags, paths, private blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from planning_hospital import Hospital

from dicomsql.catalog.load import Catalog
from dicomsql.catalog.model import Attribute
from dicomsql.errors import DataError, Error, LanguageError, NotSupportedError
from dicomsql.planning.read_plan import ReadPlan
from dicomsql.planning.tables import Origin, Table

PATH = "RequestAttributesSequence.ScheduledProcedureStepID"


@pytest.fixture(scope="module")
def planning(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    """A hospital that is only planned for: nothing is in it."""
    made = Hospital(tmp_path_factory.mktemp("columns") / "root")
    made.rows("USE google.healthcare")
    yield made
    made.session.close()


def table(name: str, **changes: object) -> Table:
    resource = Catalog.open(None).resolve(("google", "healthcare", name), ())
    assert resource.dicom is not None
    resource = replace(resource, dicom=replace(resource.dicom, **changes))  # type: ignore[arg-type]
    return Table(resource, resource.for_verb("select"))


@pytest.mark.parametrize(
    ("resource", "name", "origin"),
    [
        ("studies", "PatientName_Ideographic", Origin.ROW),
        ("studies", "00081030", Origin.ROW),
        ("studies", "tag_00102160", Origin.METADATA),
        ("studies", "EthnicGroup", Origin.METADATA),
        ("studies", "tag_00091001", Origin.METADATA),
        ("studies", "dataset", Origin.ROW),
        ("series", PATH, Origin.ROW),
        ("series", "ReferencedPerformedProcedureStepSequence.ReferencedSOPInstanceUID", None),
        ("series", "EthnicGroup_raw", Origin.METADATA),
        ("series", "ModalitiesInStudy", Origin.COUNTED),
        ("series", "private:ACME: 1.0:0019:01", Origin.METADATA),
        ("instances", "DistanceSourceToDetector", Origin.METADATA),
        ("instances", "studiesId", Origin.ROW),
        ("series_metadata", "DistanceSourceToDetector", Origin.ROW),
    ],
)
def test_where_a_column_comes_from(resource: str, name: str, origin: Origin | None) -> None:
    found = table(resource)
    assert found.column(name) is not None
    assert found.origin(name) is (origin or Origin.METADATA)


def test_what_the_document_says_of_the_search_decides() -> None:
    attributes = (
        Attribute("StudyInstanceUID", returned="default"),
        Attribute("ModalitiesInStudy", returned="counted"),
        Attribute("StudyDescription", returned="metadata"),
        Attribute("TimezoneOffsetFromUTC", returned="metadata"),
    )
    made = table("instances", attributes=attributes, include_any=True)
    assert made.origin("KVP") is Origin.ROW
    assert made.origin("RetrieveURL") is Origin.ROW
    assert made.origin("StudyDescription_raw") is Origin.METADATA
    assert made.origin("AcquisitionDateTime") is Origin.ROW
    # The time zone stands in another attribute.
    assert made.origin("AcquisitionDateTime_utc") is Origin.METADATA
    assert made.origin("ModalitiesInStudy") is Origin.COUNTED
    assert made.column("ModalitiesInStudy_raw") is None
    assert made.origin("dataset") is Origin.ROW
    less = table("instances", attributes=attributes, include_all="")
    assert less.origin("dataset") is Origin.METADATA
    assert less.column("RetrieveURL") is None


RIGHT = 'Did you mean StudyDescription, or "00081030"?'


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT Modality FROM studies", "attribute of the series; ask google.healthcare.series"),
        ("SELECT s.KVP FROM studies s", "of the instances; ask google.healthcare.instances"),
        ("SELECT KVP_raw FROM series", "of the instances; ask google.healthcare.instances"),
        ("SELECT tag_00180060 FROM series", "KVP is an attribute of the instances"),
        ("SELECT Modalty FROM series", "no column Modalty. Did you mean Modality?"),
        ("SELECT DistanceSourceToDetecter FROM instances", "mean DistanceSourceToDetector?"),
        ("SELECT RetrieveURL FROM studies", "its search does not return RetrieveURL"),
        ('SELECT "StudyDate.StudyTime" FROM studies', "StudyDate is no sequence"),
        ("SELECT RequestAttributesSequence.Foo FROM series", "Foo is no attribute"),
        ("SELECT e.RequestAttributesSequence.Foo FROM series e", "Foo is no attribute"),
        ("SELECT Modality FROM dicom_stores", "its parameters are"),
        # As other tools and people write names and tags.
        *(
            (f"SELECT {written} FROM studies WHERE StudyDate = '20260101'", RIGHT)
            for written in (
                '"0008,1030"',
                '"(0008,1030)"',
                '"0008|1030"',
                '"0008.1030"',
                'studies."0008 1030"',
                '"0x00081030"',
                "x00081030",
                "tag_0008_1030",
                "study_description",
                '"Study Description"',
            )
        ),
        ("SELECT 1 FROM studies WHERE \"0008,1030\" = 'x'", RIGHT),
        ("SELECT 00081030 FROM studies", "If the attribute StudyDescription is meant"),
        ("SELECT 1 FROM studies WHERE 0008_103e = 'x'", "If the attribute SeriesDescription is"),
        ('SELECT "0019,1001" FROM studies', "the eight digits of a tag"),
    ],
)
def test_a_wrong_name_says_what_is_right(planning: Hospital, sql: str, message: str) -> None:
    with pytest.raises(LanguageError) as caught:
        planning.plan(sql)
    assert message in str(caught.value)


def test_a_tag_that_no_dictionary_has_is_not_told_from_a_value(planning: Hospital) -> None:
    with pytest.raises(LanguageError) as caught:
        planning.plan('SELECT 1 FROM studies WHERE PatientID = "1235-6789"')
    assert "1235" not in str(caught.value)
    # Numbers are what they are where no dataset is read, and where no attribute has the tag.
    planning.plan("SELECT 00081030 FROM dicom_stores")
    planning.plan("SELECT 00990099 FROM studies")


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (
            f'SELECT "{PATH}" FROM series',
            f'SELECT "{PATH}" FROM scan_1 AS series',
        ),
        (
            f"SELECT {PATH.lower()} FROM series WHERE {PATH} LIKE 'a%'",
            f'SELECT series."{PATH}" FROM scan_1 AS series WHERE (len(list_filter(series."{PATH}", '
            "lambda member: member LIKE 'a%')) > 0)",
        ),
        (
            f"SELECT 1 FROM series e WHERE e.{PATH} <> 'x' AND e.{PATH} IN ('y', NULL)",
            f"SELECT 1 FROM scan_1 e WHERE NOT list_contains(e.\"{PATH}\", 'x') AND "
            f"(list_has_any(e.\"{PATH}\", ['y', NULL]) OR NULL)",
        ),
        (
            "SELECT 1 FROM series WHERE "
            "RequestAttributesSequence.ScheduledProcedureStepStartDate = '20260131'",
            "SELECT 1 FROM scan_1 AS series WHERE list_contains("
            "series.\"RequestAttributesSequence.ScheduledProcedureStepStartDate\", '2026-01-31')",
        ),
        (
            f"SELECT {PATH} FROM studies s JOIN series e USING (StudyInstanceUID)",
            f'SELECT e."{PATH}" FROM scan_1 s JOIN scan_2 e USING (StudyInstanceUID)',
        ),
    ],
)
def test_a_path_is_one_column(planning: Hospital, sql: str, expected: str) -> None:
    plan = planning.plan(sql)
    assert isinstance(plan, ReadPlan)
    assert plan.sql == expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("PixelSpacing = -1", "list_contains(PixelSpacing, -1)"),
        ("0.5 < PixelSpacing", "(len(list_filter(PixelSpacing, lambda member: 0.5 < member)) > 0)"),
        (
            "i.PixelSpacing >= 0.1 + 0.2",
            "(len(list_filter(i.PixelSpacing, lambda member: member >= 0.1 + 0.2)) > 0)",
        ),
        (
            "PixelSpacing NOT BETWEEN 1 AND 2 AND Rows = 1",
            "NOT (len(list_filter(PixelSpacing, lambda member: member BETWEEN 1 AND 2)) > 0) "
            "AND Rows = 1",
        ),
        ("PixelSpacing > [0.5]", "PixelSpacing > [0.5]"),
        ("PixelSpacing BETWEEN [0] AND [1]", "PixelSpacing BETWEEN [0] AND [1]"),
        ("PixelSpacing IS NULL", "PixelSpacing IS NULL"),
        *(
            (f"ImageType {given} 'A%'", f"{shown} member {operator} 'A%')) > 0)")
            for given, operator in (("~~", "~~"), ("!~~", "~~"), ("~~*", "~~*"), ("!~~*", "~~*"))
            for shown in [f"{'NOT ' * ('!' in given)}(len(list_filter(ImageType, lambda member:"]
        ),
    ],
)
def test_a_list_is_compared_by_any_member(
    planning: Hospital, condition: str, expected: str
) -> None:
    plan = planning.plan(f"SELECT 1 FROM instances i WHERE {condition}")
    assert plan.sql == f"SELECT 1 FROM scan_1 i WHERE {expected}"


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT 1 FROM series WHERE {PATH} = 5",
        f'SELECT 1 FROM series WHERE "{PATH}" IN (5, 6)',
    ],
)
def test_an_identifier_in_a_path_is_no_number(planning: Hospital, sql: str) -> None:
    with pytest.raises(DataError, match="is compared with a number"):
        planning.plan(sql)


def test_shared_attributes_are_the_higher_levels_private_ones_the_lower_levels(
    planning: Hospital,
) -> None:
    joined = "FROM studies s JOIN series e USING (StudyInstanceUID)"
    plan = planning.plan(f"SELECT EthnicGroup, private('A', '0019', '01') {joined}")
    assert plan.sql.startswith('SELECT s.EthnicGroup, e."private:A:0019:01" FROM ')
    columns = [tuple(c.name for c in scan.columns) for scan in plan.scans]
    assert ("studiesId", "EthnicGroup") in columns
    assert ("studiesId", "seriesId", "private:A:0019:01") in columns
    plan = planning.plan(f"SELECT private(s, 'A', '0019', '01') {joined}")
    assert plan.sql.startswith('SELECT s."private:A:0019:01" FROM ')


def test_private_takes_placeholders_and_keeps_the_places_of_errors(planning: Hospital) -> None:
    plan = planning.plan(
        "SELECT 1 FROM instances WHERE Private(?, :g, '01') = ? AND KVP > ?".replace(":g", "?"),
        ["O'A\"B", "0019", "x", 3],
    )
    assert plan.sql.endswith('WHERE "private:O\'A""B:0019:01" = $p3 AND KVP > $p4')
    assert dict(plan.values) == {"p3": "x", "p4": 3}
    with pytest.raises(LanguageError) as caught:
        planning.plan("SELECT private('ABC', '0019', '01'), Nonsense FROM instances")
    line, arrow = str(caught.value).splitlines()[-2:]
    assert line[arrow.index("^") :].startswith("Nonsense")


@pytest.mark.parametrize(
    "call",
    [
        "private('A', '0018', '01')",
        "private('A', '19', '01')",
        "private('A', '0019', '1')",
        "private('', '0019', '01')",
        "private(PatientID, '0019', '01')",
        "private('A', '0019')",
        "private('A', '0019', 1)",
        "private('A', '0019', '01', '02', '03')",
        "private(?, '0019', '01')",
    ],
)
def test_what_private_does_not_take(planning: Hospital, call: str) -> None:
    with pytest.raises(LanguageError, match="private takes the creator"):
        planning.plan(f"SELECT {call} FROM instances", [5] if "?" in call else None)


def test_creators_that_the_engine_would_take_for_one(planning: Hospital) -> None:
    with pytest.raises(NotSupportedError, match="differ in case alone"):
        planning.plan("SELECT private('a', '0019', '01'), private('A', '0019', '01') FROM series")


def test_private_is_a_name_like_others_elsewhere(planning: Hospital) -> None:
    assert planning.plan("SELECT 'private(1)', private FROM (SELECT 1 AS private)").scans == ()
    with pytest.raises(Error):
        planning.plan("SELECT private FROM series")


def test_a_bare_private_tag_warns(planning: Hospital) -> None:
    plan = planning.plan("SELECT tag_00191001 FROM instances WHERE tag_00191001 = 'x'")
    (note,) = plan.notes
    assert "private('CREATOR', '0019', '01')" in note
    assert planning.plan("SELECT private('A', '0019', '01') FROM instances").notes == ()


def test_only_what_the_search_takes_is_asked_for(planning: Hospital) -> None:
    plan = planning.plan("SELECT KVP, EthnicGroup, DistanceSourceToDetector FROM instances")
    asked = [value for name, value in plan.scans[0].query if name == "includefield"]
    assert "KVP" in asked
    assert not {"EthnicGroup", "DistanceSourceToDetector"} & set(asked)


def test_planning_of_metadata_needs_no_folder(planning: Hospital, tmp_path: Path) -> None:
    assert not list(tmp_path.iterdir())
    plan = planning.plan("EXPLAIN SELECT EthnicGroup FROM studies")
    assert [s.method.resource for s in plan.plan.scans] == ["studies", "studies_metadata"]
