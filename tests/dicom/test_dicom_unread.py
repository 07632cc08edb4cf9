"""Which columns are told of because a value is none of its VR."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dicomsql.dicom.columns import column
from dicomsql.dicom.decode import Decoder

PATH = "RequestAttributesSequence.ScheduledProcedureStepStartDate"


def unread(name: str, *elements: dict[str, Any]) -> list[int]:
    """The rows of a page with these elements that have a value which the column does not."""
    found = column(name)
    assert found is not None
    decoder = Decoder([found])
    page = json.dumps([{found.tag: element} if element else {} for element in elements])
    told = decoder.read(page.encode()).unread
    assert set(told) <= {name}
    return list(told.get(name, []))


def of(vr: str, *values: object) -> dict[str, Any]:
    return {"vr": vr, "Value": list(values)}


def item(*values: object) -> dict[str, Any]:
    return of("SQ", {"00400002": of("DA", *values)})


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("StudyDate", of("DA", "20240131"), of("DA", "2024.01.31")),
        ("00080020", of("DA", "20240131"), of("DA", "20241331")),
        ("StudyDate", of("DA", "20240131"), of("DA", "20240131\\20240201")),
        ("StudyTime", of("TM", "1030"), of("TM", "10:30:00")),
        ("AcquisitionDateTime", of("DT", "2024"), of("DT", "2024-01-31")),
        ("InstanceNumber", of("IS", 7), of("IS", "seven")),
        ("KVP", of("DS", "1e2"), of("DS", "1,5")),
        ("ExposureTimeInms", of("FD", "NaN"), of("FD", "long")),
        ("WindowCenter", of("DS", 40, None, 50), of("DS", 40, "wide")),
        ("WindowCenter", of("DS", ""), of("DS", "wide")),
        ("PixelSpacing", of("DS", "0.5\\\\0.5"), of("DS", "0.5\\x\\0.5")),
        ("PixelSpacing", of("DS", "0.5\u00a50.5"), of("DS", "0.5\u00a5x")),
        (PATH, item("20240131"), item("soon")),
    ],
)
def test_a_column_is_told_of_where_a_value_is_none_of_its_vr(
    name: str, good: dict[str, Any], bad: dict[str, Any]
) -> None:
    vr = good["vr"]
    lacking: list[dict[str, Any]] = [{}, {"vr": vr}, of(vr), of(vr, ""), of(vr, None), of(vr, "  ")]
    assert not unread(name, good, good)
    assert not unread(name, *lacking)
    assert not unread(name, good, *lacking, good)
    assert unread(name, bad) == [0]
    assert unread(name, bad, good, bad) == [0, 2]
    assert unread(name, *lacking, good, bad, good) == [len(lacking) + 1]


@pytest.mark.parametrize(
    "name", ["StudyDate_raw", "AcquisitionDateTime_utc", "PatientID", "private:C:0019:01"]
)
def test_what_is_no_typed_value_is_not_told_of(name: str) -> None:
    found = column(name)
    assert found is not None
    decoder = Decoder([found])
    page = b'[{"00080020": {"vr": "DA", "Value": ["soon"]}, "0008002A": {"Value": ["x"]}}]'
    assert not decoder.read(page).unread
