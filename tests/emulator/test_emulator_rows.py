"""Instances as rows of a table, flattened and as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dicomsql.emulator.neighbours.base import Column, NeighbourError
from dicomsql.emulator.neighbours.cells import checked
from dicomsql.emulator.neighbours.columns import from_json, merged, to_json
from dicomsql.emulator.neighbours.rows import LARGEST_ROW, Form, Row, Source, row

UIDS = {
    "0020000D": {"vr": "UI", "Value": ["1"]},
    "0020000E": {"vr": "UI", "Value": ["1.1"]},
    "00080018": {"vr": "UI", "Value": ["1.1.1"]},
}


def made(dataset: dict[str, Any], form: Form = Form(), change: str = "INSERT") -> Row:  # noqa: B008
    found = row(Source("the/store", dataset, 10, 20, "STANDARD", 0.5, change), form)
    assert found is not None
    checked(found.columns, found.values)  # a table takes it
    return found


def columns(found: Row) -> dict[str, tuple[str, str]]:
    return {column.name: (column.type, column.mode) for column in found.columns}


@pytest.mark.parametrize(
    ("tag", "element", "column", "value"),
    [
        ("00080060", {"vr": "CS", "Value": ["CT"]}, ("Modality", "STRING", ""), "CT"),
        ("00080060", {"vr": "CS"}, ("Modality", "STRING", ""), None),
        ("00080008", {"vr": "CS", "Value": ["A", None]}, ("ImageType", "STRING", "R"), ["A", ""]),
        ("00280010", {"vr": "US", "Value": [512]}, ("Rows", "INTEGER", ""), 512),
        ("00200013", {"vr": "IS", "Value": [7]}, ("InstanceNumber", "STRING", ""), "7"),
        ("00280030", {"vr": "DS", "Value": [0.5, 1]},
         ("PixelSpacing", "STRING", "R"), ["0.5", "1"]),
        ("00189087", {"vr": "FD", "Value": ["NaN"]}, ("DiffusionBValue", "FLOAT", ""), "NaN"),
        ("00080020", {"vr": "DA", "Value": ["20260102"]}, ("StudyDate", "DATE", ""), "2026-01-02"),
        ("00080030", {"vr": "TM", "Value": ["0304"]}, ("StudyTime", "TIME", ""), "03:04:00"),
        (
            "0008002A",
            {"vr": "DT", "Value": ["20260102030405.5+0100"]},
            ("AcquisitionDateTime", "TIMESTAMP", ""),
            "2026-01-02T02:04:05.500000+00:00",
        ),
        (
            "00100010",
            {"vr": "PN", "Value": [{"Alphabetic": "A^B"}]},
            ("PatientName", "RECORD", ""),
            {"Alphabetic": "A^B", "Ideographic": None, "Phonetic": None},
        ),
        ("00280009", {"vr": "AT", "Value": ["00181063"]},
         ("FrameIncrementPointer", "STRING", "R"), ["00181063"]),
    ],
)  # fmt: skip
def test_types_follow_the_dictionary(
    tag: str, element: dict[str, Any], column: tuple[str, str, str], value: Any
) -> None:
    name, kind, repeated = column
    found = made({**UIDS, tag: element})
    assert columns(found)[name] == (kind, "REPEATED" if repeated else "NULLABLE")
    assert found.values[name] == value
    assert found.values["OtherElements"] == []


@pytest.mark.parametrize(
    ("tag", "element", "data"),
    [
        ("00080020", {"vr": "DA", "Value": ["2026-13-01"]}, ["2026-13-01"]),
        ("00080060", {"vr": "CS", "Value": ["CT", "MR"]}, ["CT", "MR"]),
        ("00280010", {"vr": "US", "Value": ["x"]}, ["x"]),
        ("00091001", {"vr": "LO", "Value": ["private", None]}, ["private", ""]),
        ("00091002", {"vr": "PN", "Value": [{"Alphabetic": "A", "Phonetic": "C"}]}, ["A==C"]),
        ("60020010", {"vr": "US", "Value": [3]}, ["3"]),
    ],
)
def test_what_fits_no_column_is_among_the_others(
    tag: str, element: dict[str, Any], data: list[str]
) -> None:
    assert made({tag: element}).values["OtherElements"] == [{"Tag": f"Tag_{tag}", "Data": data}]


def test_sequences_are_records_within_each_other() -> None:
    item = {
        "00080100": {"vr": "SH", "Value": ["C"]},
        "00081199": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["2"]}}, {}]},
        "00111001": {"vr": "LO", "Value": ["p"]},
    }
    found = made({"00081032": {"vr": "SQ", "Value": [item, {}]}, "00081140": {"vr": "SQ"}})
    assert found.values["ProcedureCodeSequence"][0]["ReferencedSOPSequence"] == [
        {"ReferencedSOPInstanceUID": "2"},
        {},
    ]
    (column,) = [c for c in found.columns if c.name == "ProcedureCodeSequence"]
    assert [field.name for field in column.fields] == [
        "CodeValue",
        "OtherElements",
        "ReferencedSOPSequence",
    ]
    assert "ReferencedImageSequence" not in found.values


def test_what_holds_no_text_is_named() -> None:
    large = {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["2" * 64]}}] * 20_000}
    dataset = {
        "7FE00010": {"vr": "OW", "BulkDataURI": "\x01/bulkdata/7FE00010"},
        "00091003": {"vr": "SQ", "Value": []},
        "00081140": large,
        "00081032": {"vr": "SQ", "Value": [{"00420011": {"vr": "OB", "InlineBinary": "AA=="}}]},
    }
    names = [tag["TagName"] for tag in made(dataset).values["DroppedTags"]]
    assert names == [
        "PixelData",
        "Tag_00091003",
        "ReferencedImageSequence",
        "ProcedureCodeSequence.EncapsulatedDocument",
    ]
    kept = json.loads(made(dataset, Form(flattened=False)).values["Metadata"])
    assert list(kept) == ["00091003", "00081032"]


def test_rows_of_json() -> None:
    form = Form.of({"schemaJson": {}, "includeSourceStore": True})
    found = made({**UIDS, "00080060": {"vr": "CS", "Value": ["CT"]}}, form, "DELETE")
    assert json.loads(found.values.pop("Metadata"))["00080060"]["Value"] == ["CT"]
    assert found.values == {
        "StudyInstanceUID": "1",
        "SeriesInstanceUID": "1.1",
        "SOPInstanceUID": "1.1.1",
        "StructuredStorageSize": 10,
        "DroppedTags": [],
        "StorageClass": "STANDARD",
        "LastUpdated": "1970-01-01T00:00:00.500000+00:00",
        "BlobStorageSize": 20,
        "Type": "DELETE",
        "SourceDicomStore": "the/store",
    }
    assert columns(found)["Metadata"] == ("JSON", "NULLABLE")


def test_a_row_that_is_too_large_is_none() -> None:
    dataset = {"00204000": {"vr": "LT", "Value": ["x" * LARGEST_ROW]}}
    source = Source("s", dataset, 1, 1, "STANDARD", 0.0)
    assert row(source, Form()) is None
    assert row(source, Form(flattened=False)) is None


def test_columns_of_several_rows() -> None:
    first = made({"00080060": {"vr": "CS"}})
    second = made({"00100010": {"vr": "PN"}})
    both = merged(first.columns, second.columns)
    assert [column.name for column in both] == [
        "Modality",
        "OtherElements",
        "DroppedTags",
        "PatientName",
    ]
    assert from_json(to_json(both)) == both
    required = Column("a", "STRING", "REQUIRED")
    assert merged([required], [Column("A", "STRING")]) == (Column("a", "STRING"),)


@pytest.mark.parametrize(
    "field",
    [
        {"name": "a"},
        {"name": "1", "type": "STRING"},
        {"name": "a", "type": "GEOGRAPHY"},
        {"name": "a", "type": "STRING", "mode": "SOMETIMES"},
        {"name": "a", "type": "RECORD"},
        {"type": "STRING"},
    ],
)
def test_fields_that_are_none(field: dict[str, Any]) -> None:
    with pytest.raises(NeighbourError, match=r"schema\.fields\[0\]"):
        from_json([field])
