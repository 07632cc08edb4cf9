"""DESCRIBE of single columns: by keyword, tag, path, private creator and pattern."""

from __future__ import annotations

import pytest
from planning_hospital import Hospital

from dicomsql.errors import LanguageError, PlanningError

STUDIES = "google.healthcare.studies"
SERIES = "google.healthcare.series"
INSTANCES = "google.healthcare.instances"
STORES = "google.healthcare.dicom_stores"
ASKED = "search (asked for)"


@pytest.mark.parametrize(
    ("text", "row"),
    [
        (
            f"{INSTANCES} repetitiontime",
            ("RepetitionTime", "DOUBLE", "DS", "00180080", "instance", ASKED, ""),
        ),
        (f"{INSTANCES} PREVIEW", ("preview", "BLOB", None, None, None, "rendered", "")),
        (
            f"{STUDIES} StudyDate",
            ("StudyDate", "DATE", "DA", "00080020", "study", "search", "exact, range"),
        ),
        (
            f'{STUDIES} "00080020"',
            ("00080020", "DATE", "DA", "00080020", "study", "search", "exact, range"),
        ),
        (
            f"{STUDIES} 00080020 -- without quotes",
            ("00080020", "DATE", "DA", "00080020", "study", "search", "exact, range"),
        ),
        (
            f"{STUDIES} StudyDate_raw",
            ("StudyDate_raw", "VARCHAR", "DA", "00080020", "study", "search", ""),
        ),
        (
            f"{STUDIES} PatientAddress",
            ("PatientAddress", "VARCHAR", "LO", "00101040", "study", "metadata", ""),
        ),
        (
            f"{INSTANCES} tag_00191001",
            ("tag_00191001", "VARCHAR", "UN", "00191001", None, "metadata", ""),
        ),
        (
            f"{INSTANCES} private('A: B', '0019', '0c')",
            ("private:A: B:0019:0C", "VARCHAR", "UN", "0019xx0C", None, "metadata", ""),
        ),
        (
            f'{SERIES} RequestAttributesSequence."00400009"',
            (
                "RequestAttributesSequence.00400009",
                "VARCHAR[]",
                "SH",
                "00400275.00400009",
                "series",
                ASKED,
                "",
            ),
        ),
        (f"{STUDIES} dataset", ("dataset", "JSON", None, None, None, "search", "")),
        (f"{SERIES} studiesid", ("studiesId", "VARCHAR", None, None, None, "parameter", "exact")),
        (
            "google.healthcare.studies_metadata KVP",
            ("KVP", "DOUBLE", "DS", "00180060", "instance", "metadata", ""),
        ),
        (f"{STORES} labels", ("labels", "JSON")),
        (f"{STORES} projectsid", ("projectsId", "VARCHAR")),
    ],
)
def test_one_column(hospital: Hospital, text: str, row: tuple[str | None, ...]) -> None:
    assert hospital.rows(f"DESCRIBE {text}") == [row]


def test_several_columns_in_the_order_of_the_statement(hospital: Hospital) -> None:
    found = hospital.rows(f"DESC {INSTANCES} KVP, private('C', '0019', '01'), StudyDate")
    assert [row[0] for row in found] == ["KVP", "private:C:0019:01", "StudyDate"]


def test_the_extended_form_says_what_a_column_holds(hospital: Hospital) -> None:
    path = "RequestAttributesSequence.ScheduledProcedureStepID_raw"
    columns = f"PatientName_Phonetic, {path}, private('C', '0019', '01'), seriesId, dropped"
    assert [row[2] for row in hospital.rows(f"DESCRIBE EXTENDED {INSTANCES} {columns}")] == [
        "Patient Name, phonetic",
        "Request Attributes Sequence > Scheduled Procedure Step ID, as the server sent it",
        "Element 01 of the block of group 0019 of C",
        "The series, by its SeriesInstanceUID.",
        "The tags of what the server left out of the dataset",
    ]
    assert hospital.rows(f"DESCRIBE EXTENDED {STORES} name, projectsId")[1][2]


def test_columns_by_a_pattern_are_those_of_the_level(hospital: Hospital) -> None:
    usual = {row for row in hospital.rows(f"DESCRIBE {STUDIES}") if row[0].startswith("Patient")}
    found = hospital.rows(f"DESCRIBE {STUDIES} LIKE 'patient%'")
    assert usual < set(found)
    assert "PatientAddress" in {row[0] for row in found}
    assert not hospital.rows(f"DESCRIBE {STUDIES} LIKE 'RepetitionTime'")
    assert len(hospital.rows(f"DESCRIBE {INSTANCES} LIKE 'RepetitionTime'")) == 1
    assert [row[0] for row in hospital.rows(f"DESCRIBE {SERIES} LIKE 'studiesI_'")] == ["studiesId"]
    assert "datasetsId" in {row[0] for row in hospital.rows(f"DESCRIBE {STORES} LIKE '%Id'")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{STUDIES} KVP", "KVP is an attribute of the instances; ask google.healthcare.instances"),
        (f"{STUDIES} PatientNam", "Did you mean PatientName?"),
        (f"{STUDIES} (0008,1030)", "Did you mean StudyDescription"),
        (f"{STORES} lables", "Did you mean labels?"),
        (f"{SERIES} StudyDate.StudyTime", "StudyDate is no sequence"),
        (f"{STUDIES} private('C', '0018', '01')", "private takes the creator"),
        (f"{STUDIES} private('C')", "private takes the creator"),
        (f"{STUDIES} 'Patient%'", "a pattern stands behind LIKE"),
        (f"{STUDIES} LIKE Patient", "Expected a pattern in quotes after LIKE"),
        (f"{STUDIES} KVP LIKE 'a'", "Expected the end of the statement, but found `LIKE`"),
        (f"{STUDIES} StudyDate,", "Expected a column, but the statement ends"),
    ],
)
def test_what_is_no_column(hospital: Hospital, text: str, message: str) -> None:
    with pytest.raises(LanguageError) as caught:
        hospital.rows(f"DESCRIBE {text}")
    assert message in str(caught.value)
    assert "line 1" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"DESCRIBE {STUDIES}.KVP", f"DESCRIBE {STUDIES} KVP."),
        (f"SHOW COLUMNS FROM {STUDIES}", "DESCRIBE lists a table's columns"),
        ("DESCRIBE dicomweb.hospital.studies", "gives a server of yours a name there"),
    ],
)
def test_what_other_systems_write(hospital: Hospital, text: str, message: str) -> None:
    with pytest.raises(PlanningError, match=message):
        hospital.rows(text)


def test_the_engines_own_tables_are_described_by_it(hospital: Hospital) -> None:
    found = hospital.rows("CREATE TABLE described (a INTEGER); DESCRIBE described")
    assert found[0][:2] == ("a", "INTEGER")
    hospital.rows("DROP TABLE described")
