"""Names and types of the columns that attributes give."""

import duckdb
import pyarrow as pa
import pytest

from dicomsql.dicom.arrays import from_values
from dicomsql.dicom.columns import AttributeColumn, Part, column, private_name
from dicomsql.dicom.tags import keywords


@pytest.mark.parametrize(
    ("asked", "name", "part", "sql_type"),
    [
        ("studydate", "StudyDate", Part.VALUE, "DATE"),
        ("StudyTime", "StudyTime", Part.VALUE, "TIME"),
        ("AcquisitionDateTime", "AcquisitionDateTime", Part.VALUE, "TIMESTAMP"),
        ("acquisitiondatetime_UTC", "AcquisitionDateTime_utc", Part.UTC, "TIMESTAMPTZ"),
        ("studydate_RAW", "StudyDate_raw", Part.RAW, "VARCHAR"),
        ("PatientName", "PatientName", Part.VALUE, "VARCHAR"),
        ("patientname_ideographic", "PatientName_Ideographic", Part.IDEOGRAPHIC, "VARCHAR"),
        ("PatientName_Phonetic", "PatientName_Phonetic", Part.PHONETIC, "VARCHAR"),
        ("OtherPatientNames", "OtherPatientNames", Part.VALUE, "VARCHAR[]"),
        ("InstanceNumber", "InstanceNumber", Part.VALUE, "BIGINT"),
        ("SmallestImagePixelValue", "SmallestImagePixelValue", Part.VALUE, "BIGINT"),
        ("ExtendedOffsetTable", "ExtendedOffsetTable", Part.VALUE, "VARCHAR"),
        ("FileOffsetInContainer", "FileOffsetInContainer", Part.VALUE, "UBIGINT"),
        ("SliceThickness", "SliceThickness", Part.VALUE, "DOUBLE"),
        ("PixelSpacing", "PixelSpacing", Part.VALUE, "DOUBLE[]"),
        ("PixelSpacing_raw", "PixelSpacing_raw", Part.RAW, "VARCHAR"),
        ("ImageType", "ImageType", Part.VALUE, "VARCHAR[]"),
        ("LUTData", "LUTData", Part.VALUE, "VARCHAR"),
        ("PixelData", "PixelData", Part.VALUE, "VARCHAR"),
        ("ReferencedStudySequence", "ReferencedStudySequence", Part.VALUE, "JSON"),
        ("0020000d", "0020000D", Part.VALUE, "VARCHAR"),
        ("TAG_0020000d_raw", "tag_0020000D_raw", Part.RAW, "VARCHAR"),
        ("tag_00091001", "tag_00091001", Part.PRIVATE, "VARCHAR"),
        ("00090010", "00090010", Part.VALUE, "VARCHAR"),
        ("Dataset", "dataset", Part.DATASET, "JSON"),
        ("DROPPED", "dropped", Part.DROPPED, "JSON"),
        (
            "requestattributessequence.scheduledprocedurestepid",
            "RequestAttributesSequence.ScheduledProcedureStepID",
            Part.VALUE,
            "VARCHAR[]",
        ),
        ("00400275.00400002", "00400275.00400002", Part.VALUE, "DATE[]"),
        ("00400275.tag_00280030", "00400275.tag_00280030", Part.VALUE, "DOUBLE[]"),
        ("00400275.00280030_RAW", "00400275.00280030_raw", Part.RAW, "VARCHAR[]"),
        ("00400275.00400008", "00400275.00400008", Part.VALUE, "JSON"),
        ("00400275.00400008.00080100", "00400275.00400008.00080100", Part.VALUE, "VARCHAR[]"),
        ("00400275.00091001", "00400275.00091001", Part.PRIVATE, "VARCHAR[]"),
        ("PRIVATE:Acme: CT :7fe1:0a", "private:Acme: CT:7FE1:0A", Part.PRIVATE, "VARCHAR"),
    ],
)
def test_column(asked: str, name: str, part: Part, sql_type: str) -> None:
    found = column(asked)
    assert found is not None
    assert (found.name, found.part, found.sql_type) == (name, part, sql_type)
    assert column(found.name) == found


@pytest.mark.parametrize(
    "name",
    [
        "",
        "_raw",
        "Nope",
        "Nope_raw",
        "StudyDate_utc",
        "PatientID_Phonetic",
        "dataset_raw",
        ".",
        "PatientID.StudyDate",
        "RequestAttributesSequence.",
        "RequestAttributesSequence..StudyDate",
        "RequestAttributesSequence.Nope",
        "RequestAttributesSequence.dataset",
        "RequestAttributesSequence_raw.StudyDate",
        "00091001.StudyDate",
        "private:Acme:0018:01",
        "private:Acme:0019:1",
        "private:Acme:0019:001",
        "private:Acme:0019:xx",
        "private: :0019:01",
        "private:0019:01",
    ],
)
def test_what_is_no_column(name: str) -> None:
    assert column(name) is None


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("PatientName_Ideographic", "study"),
        ("SeriesDate_raw", "series"),
        ("InstanceNumber", "instance"),
        # Where a path begins says whose it is.
        ("RequestAttributesSequence.StudyDescription", "series"),
        ("ReferencedStudySequence.ReferencedSOPInstanceUID", "study"),
        ("tag_00091001", "instance"),
        ("private:Acme:0019:01", "instance"),
        ("dataset", "study"),
        ("dropped", "study"),
    ],
)
def test_level(name: str, level: str) -> None:
    found = column(name)
    assert found is not None
    assert found.level == level


def test_a_private_name_says_where_the_element_is() -> None:
    found = column(private_name("A:b ", "0019", "0a"))
    assert found is not None
    assert (found.creator, found.element, found.tag) == ("A:b", ("0019", "0A"), "")


def test_duckdb_reads_every_arrow_type_as_the_sql_type() -> None:
    by_type: dict[str, AttributeColumn] = {}
    for keyword in keywords():
        for name in (keyword, f"{keyword}_utc"):
            found = column(name)
            if found is not None:
                by_type.setdefault(found.sql_type, found)
    assert len(by_type) > 9
    columns = list(by_type.values())
    batch = pa.RecordBatch.from_arrays(
        [from_values(c.arrow_type, []) for c in columns], names=[c.name for c in columns]
    )
    with duckdb.connect() as connection:
        connection.register("t", pa.table(batch))
        described = connection.sql("DESCRIBE t").fetchall()
    spelled = {
        name: kind.replace("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ")
        for name, kind, *_ in described
    }
    assert spelled == {c.name: c.sql_type for c in columns}
