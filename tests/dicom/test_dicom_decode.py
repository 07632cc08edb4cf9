"""DICOM JSON to Arrow: good servers, sloppy ones and hostile ones."""

import gc
import json
import math
import subprocess
import sys
import threading
from datetime import UTC, date, datetime, time
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.data import data_manager
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue

from dicomsql.dicom import arrays, decode, uniform
from dicomsql.dicom.columns import AttributeColumn, Kind, column
from dicomsql.dicom.decode import Decoder, count, uids
from dicomsql.dicom.identity import row_hashes
from dicomsql.errors import IncompleteError, InternalError, OperationalError

# Only the files that pydicom is installed with: its own functions would fetch the others.
REAL_FILES = Path(data_manager.__file__).parent / "test_files"


def columns(*names: str) -> list[AttributeColumn]:
    found = [column(name) for name in names]
    assert None not in found
    return [one for one in found if one is not None]


def tag(keyword: str) -> str:
    return columns(keyword)[0].tag


def element(keyword: str, *values: object) -> dict[str, Any]:
    return {tag(keyword): {"vr": columns(keyword)[0].vr[:2], "Value": list(values)}}


def rows(body: object, *names: str) -> list[dict[str, Any]]:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    batch = Decoder(columns(*names)).decode(text)
    batch.validate(full=True)
    found: list[dict[str, Any]] = batch.to_pylist()
    by_kernels = Decoder(columns(*names), kernels_after=0).decode(text)
    assert repr(by_kernels.to_pylist()) == repr(found)  # NaN is not equal to itself
    return found


def values(keyword: str, *elements: dict[str, Any]) -> list[Any]:
    """The column of that name for datasets whose only element is one of `elements`."""
    body = [{tag(keyword): one} for one in elements]
    return [row[columns(keyword)[0].name] for row in rows(body, keyword)]


def value(keyword: str, *given: object) -> Any:
    return values(keyword, {"vr": "??", "Value": list(given)})[0]


def test_types_of_a_good_page() -> None:
    dataset = {
        **element("StudyDate", "20240229"),
        **element("StudyTime", "103000.5"),
        **element("AcquisitionDateTime", "20240229103000+0100"),
        **element("PatientName", {"Alphabetic": "A^B", "Ideographic": "山田", "Phonetic": "やま"}),
        **element("InstanceNumber", 7),
        **element("FileOffsetInContainer", 2**64 - 1),
        **element("SliceThickness", 1.5),
        **element("PixelSpacing", 0.5, 1),
        **element("ImageType", "ORIGINAL", "PRIMARY"),
        **element("ReferencedStudySequence", {"00081150": {"vr": "UI", "Value": ["1.2"]}}),
        tag("PixelData"): {"vr": "OW", "BulkDataURI": "bulk/1"},
    }
    names = [column_.name for column_ in map(columns_of_tag, dataset)]
    extra = ["PatientName_Ideographic", "PatientName_Phonetic", "AcquisitionDateTime_utc"]
    empty: dict[str, Any] = {}
    full, missing = rows([dataset, empty], *names, *extra)
    assert full == {
        "StudyDate": date(2024, 2, 29),
        "StudyTime": time(10, 30, 0, 500000),
        "AcquisitionDateTime": datetime(2024, 2, 29, 10, 30),
        "AcquisitionDateTime_utc": datetime(2024, 2, 29, 9, 30, tzinfo=UTC),
        "PatientName": "A^B",
        "PatientName_Ideographic": "山田",
        "PatientName_Phonetic": "やま",
        "InstanceNumber": 7,
        "FileOffsetInContainer": 2**64 - 1,
        "SliceThickness": 1.5,
        "PixelSpacing": [0.5, 1.0],
        "ImageType": ["ORIGINAL", "PRIMARY"],
        "ReferencedStudySequence": '[{"00081150": {"vr": "UI", "Value": ["1.2"]}}]',
        "PixelData": "bulk/1",
    }
    assert missing == dict.fromkeys(full)


def columns_of_tag(tag_: str) -> AttributeColumn:
    return columns(keyword_for_tag(int(tag_, 16)))[0]


EMPTIES: list[dict[str, Any]] = [
    {},
    {"vr": "LO"},
    {"Value": []},
    {"Value": None},
    {"Value": [None]},
    {"Value": [""]},
    {"Value": ""},
]


@pytest.mark.parametrize(
    "keyword",
    [
        "PatientID",
        "StudyDate",
        "StudyTime",
        "AcquisitionDateTime",
        "AcquisitionDateTime_utc",
        "PatientName",
        "PatientName_Phonetic",
        "OtherPatientNames",
        "InstanceNumber",
        "FileOffsetInContainer",
        "SliceThickness",
        "RecommendedDisplayFrameRateInFloat",
        "PixelSpacing",
        "ImageType",
        "PixelData",
        "PatientID_raw",
        "tag_00091001",
    ],
)
def test_nothing_is_null(keyword: str) -> None:
    for empty in EMPTIES:  # each in a page of its own, then all in one
        assert values(keyword, empty) == [None], empty
    assert values(keyword, *EMPTIES) == [None] * len(EMPTIES)


@pytest.mark.parametrize(
    ("keyword", "given", "expected"),
    [
        ("StudyDate", ["20240230"], None),
        ("StudyDate", ["2024.01.02"], None),
        ("StudyDate", [20240102], None),
        ("StudyDate", ["20240101", "20240102"], None),
        ("StudyTime", [1030], None),
        ("StudyTime", ["10"], time(10)),
        ("DateOfSecondaryCapture", ["20240101\0"], date(2024, 1, 1)),
        ("InstanceNumber", ["12"], 12),
        ("InstanceNumber", [" 12 "], 12),
        ("InstanceNumber", [12.0], 12),
        ("InstanceNumber", [1.5], None),
        ("InstanceNumber", [True], None),
        ("InstanceNumber", ["twelve"], None),
        ("InstanceNumber", [2**63 - 1], 2**63 - 1),
        ("InstanceNumber", [2**63], None),
        ("InstanceNumber", [10**30], None),
        ("InstanceNumber", [1, 2], None),
        ("InstanceNumber", [{}], None),
        ("FileOffsetInContainer", ["18446744073709551615"], 2**64 - 1),
        ("FileOffsetInContainer", [2**64], None),
        ("FileOffsetInContainer", [-1], None),
        ("SliceThickness", ["1.5"], 1.5),
        ("SliceThickness", [3], 3.0),
        ("SliceThickness", ["NaN"], None),
        ("SliceThickness", ["1e400"], None),
        ("SliceThickness", [10**400], None),
        ("SliceThickness", [False], None),
        ("SliceThickness", [[1.5]], None),
        ("DiffusionBValue", ["-inf"], -math.inf),
        ("DiffusionBValue", ["Infinity"], math.inf),
        ("PixelSpacing", ["0.5", 1, None, "x"], [0.5, 1.0, None, None]),
        ("PixelSpacing", ["0.5\\0.7"], [0.5, 0.7]),
        ("PixelSpacing", [None, 1.0], [None, 1.0]),
        ("ImageType", ["A", None, "B"], ["A", None, "B"]),
        ("ImageType", ["A\\B"], ["A", "B"]),
        ("ImageType", ["A ", " B"], ["A", "B"]),
        ("ImageType", ["A B", "C"], ["A B", "C"]),
        ("ImageType", ["", "A"], [None, "A"]),
        ("ImageType", [1, "A"], [None, "A"]),
        # The yen sign of ISO-IR 14 has the code of the backslash; no text of these VRs holds one.
        ("ImageType", ["ORIGINAL¥PRIMARY"], ["ORIGINAL", "PRIMARY"]),
        ("ImageType", ["A¥B", "C"], ["A", "B", "C"]),
        ("PixelSpacing", ["0.5¥0.7"], [0.5, 0.7]),
        ("FrameTimeVector", ["1¥x"], [1.0, None]),
        ("ReferencedFrameNumber", ["1¥2"], [1, 2]),
        ("OtherPatientIDs", ["A¥B"], ["A¥B"]),
        ("SliceThickness", ["0.5¥0.7"], None),
        ("FrameTimeVector", [1, 2.5], [1.0, 2.5]),
        ("PatientID", ["ABC "], "ABC"),
        ("PatientID", [" ABC"], "ABC"),
        ("PatientID", ["   "], None),
        ("PatientID", [123], None),
        ("PatientID", ["00123"], "00123"),
        ("PatientID", [{"a": 1}], None),
        ("PatientID", ["\ud800"], None),
        ("PatientID", ["a\nb"], "a\nb"),
        ("StudyDescription", ["CT", "CHEST"], "CT\\CHEST"),
        ("StudyDescription", ["CT", 1], None),
        ("StudyDescription", ["CT", None, ""], "CT\\\\"),
        ("StudyInstanceUID", ["1.2\0"], "1.2"),
        ("ImageComments", ["  indented "], "  indented"),
        ("PatientName", ["A^B=山田"], "A^B"),
        ("PatientName_Ideographic", ["A^B=山田"], "山田"),
        ("PatientName_Phonetic", ["A^B=山田"], None),
        ("PatientName", [{"Alphabetic": "A "}], "A"),
        ("PatientName", [{"Ideographic": "山田"}], None),
        ("PatientName", [{"Alphabetic": 5}], None),
        ("PatientName", [7], None),
        ("PatientName", ["^^^^"], None),
        ("PatientName", [{"Alphabetic": "^^^^"}], None),
        ("PatientName", [{"Alphabetic": "^ ^"}], None),
        ("PatientName", [{"Alphabetic": "OB^^^^"}], "OB^^^^"),
        ("PatientName", [{"Alphabetic": "^John"}], "^John"),
        ("PatientName_Ideographic", [{"Alphabetic": "A", "Ideographic": "^^"}], None),
        ("OtherPatientNames", [{"Alphabetic": "A"}, "^^"], ["A", None]),
        ("PatientName", [None], None),
        ("PatientName", [{"Alphabetic": "A"}, {"Alphabetic": "B"}], "A\\B"),
        ("OtherPatientNames", [{"Alphabetic": "A"}, "B"], ["A", "B"]),
        ("OtherPatientNames_Phonetic", [{"Alphabetic": "A"}], [None]),
        ("PixelData", ["x"], None),
        ("ReferencedStudySequence", [{}], "[{}]"),
        ("ReferencedStudySequence", [], None),
    ],
)
def test_values_that_surprise(keyword: str, given: list[object], expected: object) -> None:
    assert value(keyword, *given) == expected
    # A surprise leaves the other rows of its page what they are, and its own other columns.
    page = [
        {**element("Modality", "CT"), tag(keyword): {"vr": "??", "Value": given}},
        element("Modality", "MR"),
    ]
    found = rows(page, keyword, "Modality")
    assert [row["Modality"] for row in found] == ["CT", "MR"]
    assert [row[columns(keyword)[0].name] for row in found] == [expected, None]


def test_one_value_without_its_array() -> None:
    assert values("PatientID", {"vr": "LO", "Value": "A"}) == ["A"]
    assert values("InstanceNumber", {"vr": "IS", "Value": 5}) == [5]
    assert values("PatientName", {"vr": "PN", "Value": {"Alphabetic": "A"}}) == ["A"]
    assert values("ImageType", {"vr": "CS", "Value": "A"}) == [["A"]]
    assert values("PatientID_raw", {"vr": "LO", "Value": "A"}) == ["A"]


def test_elements_that_are_none() -> None:
    body = [{tag("PatientID"): "A"}, {tag("PatientID"): None}, {tag("PatientID"): ["B"]}]
    assert [row["PatientID"] for row in rows(body, "PatientID")] == [None, None, None]
    assert [row["PatientID_raw"] for row in rows(body, "PatientID_raw")] == ['"A"', None, '["B"]']


@pytest.mark.parametrize(
    ("given", "raw"),
    [
        (b'{"vr":"DA","Value":["20240230"]}', "20240230"),
        (b'{"vr":"DA","Value":["a","","b"]}', "a\\\\b"),
        (b'{"vr":"DA","Value":[1.50, null]}', "1.50\\"),
        (b'{"vr":"DA","Value":[{"Alphabetic": "A"}]}', '{"Alphabetic": "A"}'),
        (b'{"vr":"DA","Value":["\\u00e9\\n"]}', "é\n"),
        (b'{"vr":"OB","BulkDataURI":"u"}', "u"),
        (b'{"vr":"OB","InlineBinary":"AAE="}', "AAE="),
        (b'{"vr":"DA","Value":["\\ud800"]}', '{"vr": "DA", "Value": ["\\ud800"]}'),
        (b'{"vr":"DA"}', None),
    ],
)
def test_raw_text_beside_the_value(given: bytes, raw: str | None) -> None:
    body = b'[{"00080020":' + given + b"}]"
    assert rows(body, "StudyDate_raw", "StudyDate") == [{"StudyDate_raw": raw, "StudyDate": None}]


def test_raw_text_beside_a_value_that_parses() -> None:
    body = [element("StudyDate", "20240102"), element("StudyDate", "2024.01.02"), {}]
    assert [tuple(row.values()) for row in rows(body, "StudyDate", "StudyDate_raw")] == [
        (date(2024, 1, 2), "20240102"),
        (None, "2024.01.02"),
        (None, None),
    ]
    sequence = element("ReferencedStudySequence", {})
    assert rows([sequence], "ReferencedStudySequence", "ReferencedStudySequence_raw") == [
        {"ReferencedStudySequence": "[{}]", "ReferencedStudySequence_raw": "{}"}
    ]


def test_utc_takes_the_values_offset_then_the_datasets() -> None:
    offset = element("TimezoneOffsetFromUTC", "-0500")
    body = [
        {**element("AcquisitionDateTime", "20240101120000+0200"), **offset},
        {**element("AcquisitionDateTime", "20240101120000"), **offset},
        element("AcquisitionDateTime", "20240101120000"),
        {**element("AcquisitionDateTime", "20240101"), **element("TimezoneOffsetFromUTC", "east")},
        offset,
    ]
    expected = [datetime(2024, 1, 1, hour, tzinfo=UTC) for hour in (10, 17)] + [None] * 3
    assert [row["AcquisitionDateTime_utc"] for row in rows(body, "AcquisitionDateTime_utc")] == (
        expected
    )
    body[0]["00080201"] = {"vr": "SH", "Value": "-0500"}  # read loosely from here on
    both = rows(body, "AcquisitionDateTime_utc", "TimezoneOffsetFromUTC_raw")
    assert [row["AcquisitionDateTime_utc"] for row in both] == expected


def test_utc_of_several_values() -> None:
    body = [
        {
            **element("ReferencedDateTime", "20240101+0100", "2024", None),
            **element("TimezoneOffsetFromUTC", "+0200"),
        },
        {},
    ]
    found = rows(body, "ReferencedDateTime", "ReferencedDateTime_utc")
    assert found[0]["ReferencedDateTime"] == [datetime(2024, 1, 1), datetime(2024, 1, 1), None]
    assert found[0]["ReferencedDateTime_utc"] == [
        datetime(2023, 12, 31, 23, tzinfo=UTC),
        datetime(2023, 12, 31, 22, tzinfo=UTC),
        None,
    ]
    assert found[1] == {"ReferencedDateTime": None, "ReferencedDateTime_utc": None}


def test_the_dataset_is_what_the_server_sent() -> None:
    first, second = b'{ "00100020" : {"vr":"LO","Value":["\\u00c4",1.50]}}', b"{}"
    body = b"\xef\xbb\xbf [" + first + b" , " + second + b"]\n"
    assert [row["dataset"] for row in rows(body, "dataset")] == [first.decode(), "{}"]
    with_more = rows(body, "dataset", "PatientID", "dropped")
    assert [row["dataset"] for row in with_more] == [first.decode(), "{}"]
    assert [row["dropped"] for row in with_more] == ["[]", "[]"]


def test_dropped_names_the_sequences_left_out() -> None:
    body = [
        {
            "00081140": {"vr": "SQ", "BulkDataURI": "u"},
            "0008114a": {"vr": "SQ", "BulkDataURI": "u"},
            "00081115": {"vr": "SQ", "Value": [{}]},
            "7FE00010": {"vr": "OW", "BulkDataURI": "u"},
        },
        {"00081140": {"vr": "SQ", "BulkDataURI": "u"}, "00100020": 5},
    ]
    assert rows(body, "dropped") == [
        {"dropped": '["00081140", "0008114A"]'},
        {"dropped": '["00081140"]'},
    ]


def test_tags_in_lower_case() -> None:
    upper, lower = element("StudyInstanceUID", "1.2"), {"0020000d": {"Value": ["1.3"]}}
    for body in ([lower], [upper, lower], [{**lower, **element("Modality", "CT")}]):
        found = rows(body, "StudyInstanceUID", "Modality", "StudyInstanceUID_raw")
        assert found[-1]["StudyInstanceUID"] == "1.3"
        assert found[-1]["StudyInstanceUID_raw"] == "1.3"
    assert uids(json.dumps([upper, lower]).encode(), "0020000D") == ["1.2", "1.3"]
    assert count(json.dumps([upper, lower]).encode()) == 2


def test_of_a_tag_that_occurs_twice_the_last_counts_in_every_reading() -> None:
    twice = b'{"00100020":{"Value":["A"]},"00100020":{"Value":["B"]}}'
    number = b'{"00100020":{"Value":[1]}}'
    strange = b'{"00100020":{"Value":[1e999]}}'
    for others in (b"", b"," + number, b"," + strange):
        found = rows(b"[" + twice + others + b"]", "PatientID", "dataset")
        assert found[0] == {"PatientID": "B", "dataset": twice.decode()}


def test_json_that_is_almost_json() -> None:
    body = b'[{"00189087":{"Value":[NaN]},"00100020":{"Value":["a\nb"]},"00189219":1e999}, {}]'
    found = rows(body, "DiffusionBValue", "PatientID", "DiffusionBValue_raw", "dataset", "dropped")
    assert math.isnan(found[0]["DiffusionBValue"])
    assert found[0]["PatientID"] == "a\nb"
    assert found[0]["DiffusionBValue_raw"] == "NaN"
    assert json.loads(found[0]["dataset"])["00189087"] == {"Value": ["NaN"]}
    assert found[1] == {**dict.fromkeys(found[0]), "dataset": "{}", "dropped": "[]"}


def test_numbers_beyond_every_type() -> None:
    for digits in (b"9" * 5000, b"1e5000", b"-" + b"9" * 400):
        body = b'[{"00280010":{"Value":[' + digits + b']},"00180050":{"Value":[' + digits + b"]}}]"
        found = rows(body, "Rows", "SliceThickness", "Rows_raw")[0]
        assert found == {"Rows": None, "SliceThickness": None, "Rows_raw": digits.decode()}


@pytest.mark.parametrize("body", [b"", b" \r\n", b"[]", b" [ ] "])
def test_no_rows(body: bytes) -> None:
    decoder = Decoder(columns("StudyDate", "PixelSpacing", "dataset"))
    batch = decoder.decode(body)
    assert batch.num_rows == 0
    assert batch.schema == decoder.schema
    assert count(body) == 0
    assert uids(body, "0020000D") == []


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [
        (b"<html>secret</html>", OperationalError, "markup"),
        (b'{"error": "secret"}', OperationalError, "a JSON object"),
        (b'"secret"', OperationalError, "a JSON string"),
        (b"17", OperationalError, "another JSON value"),
        (b"secret", OperationalError, "something else"),
        (b'[{}, "secret"]', OperationalError, "member 2"),
        (b"[[]]", OperationalError, "member 1"),
        (b'[{"00100020": secret}]', OperationalError, "at byte 14"),
        (b'[{"00100020": {"Value": ["\xe9"]}}]', OperationalError, "UTF-8 at byte 26"),
        (b"[" * 100_000, OperationalError, "nested too deeply"),
        (b'[{"00100020": {"Value": ["secr', IncompleteError, "ends in the middle"),
        (b'[{"00100020": {"Value": ["secret"]', IncompleteError, "30 bytes|34 bytes"),
        (b"[{},", IncompleteError, "ends in the middle"),
        (b"[", IncompleteError, "ends in the middle"),
    ],
)
def test_what_is_no_dicom_json(body: bytes, kind: type[Exception], says: str) -> None:
    for read in (
        Decoder(columns("PatientID")).decode,
        Decoder(columns("dataset", "PatientID_raw")).decode,
    ):
        with pytest.raises(OperationalError, match=says) as caught:
            read(body)
        assert type(caught.value) is kind
        assert "secr" not in str(caught.value)
    if "UTF-8" not in says:  # counting does not look that far
        with pytest.raises(kind, match=says):
            count(body)


def test_every_truncation_is_noticed() -> None:
    body = json.dumps([{**element("PatientID", "A"), **element("Rows", 5)}, {}]).encode()
    decoder = Decoder(columns("PatientID"))
    for cut in range(1, len(body)):
        with pytest.raises(IncompleteError):
            decoder.decode(body[:cut])


def test_a_decoder_without_columns_is_refused() -> None:
    with pytest.raises(InternalError, match="count"):
        Decoder([])


def test_count_reads_no_values() -> None:
    uid = b'"0020000D":{"vr":"UI","Value":["1.2"]}'
    assert count(b'[{"00100020":{"Value":["\xff"]},%b},{%b}]' % (uid, uid)) == 2
    assert count(b'[{"00100020":{"Value":[NaN]},%b},{%b}]' % (uid, uid)) == 2


@pytest.mark.parametrize(
    "body", [b"[[1]]", b"[null]", b"[1]", b'[{"error":"secret"}]', b"[{}]", b'[{"00100020":{}}]']
)
def test_what_can_have_no_uid_is_not_counted(body: bytes) -> None:
    for read in (count, partial(uids, tag="0020000D")):
        with pytest.raises(OperationalError, match="member 1 of its array") as caught:
            read(body)
        assert "secret" not in str(caught.value)


def test_the_collector_is_left_as_it_was() -> None:
    states: list[bool] = []
    reached = threading.Barrier(2, timeout=10)

    def hold() -> None:
        with decode._collector_paused():
            reached.wait()
            reached.wait()

    other = threading.Thread(target=hold)
    other.start()
    reached.wait()
    with decode._collector_paused():
        states.append(gc.isenabled())
    states.append(gc.isenabled())
    reached.wait()
    other.join()
    states.append(gc.isenabled())
    with pytest.raises(OperationalError):
        Decoder(columns("PatientID")).decode(b"x")
    states.append(gc.isenabled())
    assert states == [False, False, True, True]
    gc.disable()
    try:
        Decoder(columns("PatientID")).decode(b"[{}]")
        assert not gc.isenabled()
    finally:
        gc.enable()


# What well-behaved servers send, and what else comes: each is an element, or a JSON text of one.
_WELL_BEHAVED: dict[str, st.SearchStrategy[object]] = {
    "PatientID": st.text(alphabet="AZ09 .-é山", max_size=6),
    "PatientName": st.text(alphabet="AZ^é山 ", max_size=6).map(lambda text: {"Alphabetic": text}),
    "StudyDate": st.sampled_from(["20240101", "20231231", "20240230"]),
    "StudyTime": st.sampled_from(["1030", "103000.123", "25"]),
    "AcquisitionDateTime": st.sampled_from(["20240101+0100", "2024", "x"]),
    "InstanceNumber": st.integers(-(2**63), 2**63 - 1),
    "FileOffsetInContainer": st.integers(0, 2**64 - 1),
    "SliceThickness": st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False),
    "PixelSpacing": st.floats(0, 9),
    "ImageType": st.sampled_from(["ORIGINAL", "ISO_IR 192", "A"]),
    "ReferencedStudySequence": st.just({"00081150": {"vr": "UI", "Value": ["1.2"]}}),
    "TimezoneOffsetFromUTC": st.sampled_from(["+0100", "-0330", "x"]),
}
_ODD_VALUES: st.SearchStrategy[object] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(2**63, 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=5)
    | st.sampled_from(['a"b', "a\\b", "a\nb", '"]}', "20240101", " 12 ", "1e400", "A\0", "{}"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["Alphabetic", "Ideographic", "Value"]), inner, max_size=2
        )
    ),
    max_leaves=4,
)
_AGREEING = (
    *_WELL_BEHAVED,
    "AcquisitionDateTime_utc",
    "PatientName_Ideographic",
    "SliceThickness_raw",
    "PatientID_raw",
    "ReferencedStudySequence.ReferencedSOPClassUID",
)


@st.composite
def pages(draw: st.DrawFn) -> bytes:
    """A page of datasets, mostly as a good server writes them, in some server's spelling."""
    odd = draw(st.sampled_from([0, 0, 1, 3]))
    page: list[dict[str, Any]] = []
    for _ in range(draw(st.integers(0, 8))):
        dataset: dict[str, Any] = {}
        for name in draw(st.lists(st.sampled_from(sorted(_WELL_BEHAVED)), unique=True)):
            one = columns(name)[0]
            count_ = draw(st.integers(1, 3)) if one.many else draw(st.integers(0, 6)) and 1
            given = [draw(_WELL_BEHAVED[name]) for _ in range(count_)]
            dataset[one.tag] = {"vr": one.vr, "Value": given} if given else {"vr": one.vr}
        page.append(dataset)
    for _ in range(odd if page else 0):
        dataset = draw(st.sampled_from(page))
        one = columns(draw(st.sampled_from(sorted(_WELL_BEHAVED))))[0]
        value = draw(_ODD_VALUES)
        strange = [
            value,
            {"vr": one.vr, "Value": value},
            {"vr": one.vr, "Value": [value]},
            {"Value": [value], "vr": one.vr},
            {"vr": one.vr, "Value": [value, value]},
            {"vr": one.vr, "Value": [value], "more": [value]},
        ]
        dataset[one.tag] = draw(st.sampled_from(strange))
    spelling = draw(st.sampled_from([(None, ",", ":"), (None, ", ", ": "), (1, ",", ": ")]))
    indent, comma, colon = spelling
    return json.dumps(
        page,
        indent=indent,
        separators=(comma, colon),
        ensure_ascii=draw(st.booleans()),
        sort_keys=draw(st.booleans()),
    ).encode()


def comparable(*batches: pa.RecordBatch) -> list[dict[str, Any]]:
    """Their rows; of JSON's own text, which each parser writes in its way, whether there is any."""
    return [
        {
            name: held is None if name.endswith(("Sequence", "_raw")) else repr(held)
            for name, held in row.items()
        }
        for batch in batches
        for row in batch.to_pylist()
    ]


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(pages())
def test_all_ways_to_read_a_page_agree(body: bytes) -> None:
    """As one text, strictly, loosely, and by the parser that forgives."""
    decoder = Decoder(columns(*_AGREEING))
    usual = decoder.decode(body)
    usual.validate(full=True)
    forgiven = decoder._batch(decoder._reading.forgiven_page(body, whole=False))
    assert comparable(usual) == comparable(forgiven)
    by_kernels = Decoder(columns(*_AGREEING), kernels_after=0).decode(body)
    by_kernels.validate(full=True)
    assert usual.equals(by_kernels), "by Arrow's kernels"
    page = decoder._reading.page(body, whole=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "_uniform_array", lambda *_: None)
        patch.setattr(uniform, "texts", lambda *_: None)
        assert usual.equals(decoder._batch(page)), "strictly"
        patch.setattr(arrays, "_strict_array", lambda *_: None)
        assert usual.equals(decoder._batch(page)), "loosely"
        one_by_one = [decoder.decode(json.dumps([one]).encode()) for one in json.loads(body)]
    assert comparable(usual) == comparable(*one_by_one)


@pytest.mark.parametrize("indent", [None, 2])
def test_pages_that_are_written_all_alike_are_read_as_one_text(
    monkeypatch: pytest.MonkeyPatch, indent: int | None
) -> None:
    """What makes decoding fast; every other way would give the same rows."""
    names = [n for n in _WELL_BEHAVED if columns(n)[0].kind is not Kind.SEQUENCE]
    good: dict[str, list[object]] = {
        "PatientName": [{"Alphabetic": "Börg^Ö"}],
        "PatientID": ['with a "quote"'],
        "InstanceNumber": [7],
        "FileOffsetInContainer": [8],
        "SliceThickness": [1.5],
        "PixelSpacing": [1.5, 2],
        "ImageType": ["A", "B C"],
    }
    page = [
        {k: v for name in names for k, v in element(name, *good.get(name, ["20240101"])).items()}
        for _ in range(450)
    ]
    for number, name in enumerate(names):
        page[2 * number][tag(name)].pop("Value")
        del page[2 * number + 1][tag(name)]
    monkeypatch.setattr(arrays, "_strict_array", None)
    found = rows(json.dumps(page, indent=indent).encode(), *names)
    for number, name in enumerate(names):
        missing = [row for row, held in enumerate(found) if held[name] is None]
        assert missing in ([2 * number, 2 * number + 1], list(range(450)))
    assert found[-1]["PatientName"] == "Börg^Ö"
    assert found[-1]["PatientID"] == 'with a "quote"'
    assert found[-1]["PixelSpacing"] == [1.5, 2]
    assert found[-1]["ImageType"] == ["A", "B C"]


def test_results_hold_no_page() -> None:
    body = json.dumps([element("PatientID", "A") for _ in range(50)]).encode()
    before = sys.getrefcount(body)
    batch = Decoder(columns("PatientID", "dataset", "PatientID_raw")).decode(body)
    assert batch.num_rows == 50
    assert sys.getrefcount(body) == before


def nested(*codes: object) -> dict[str, Any]:
    items = [{} if code is None else element("CodeValue", code) for code in codes]
    return element("ScheduledProtocolCodeSequence", *items)


def test_paths_lead_into_sequences() -> None:
    item = {
        **element("ScheduledProcedureStepID", "S1"),
        **element("ScheduledProcedureStepStartDate", "20240102"),
        **element("PatientName", {"Alphabetic": "A^B", "Ideographic": "山"}),
        **element("PixelSpacing", 1, 2.5),
        **element("AcquisitionDateTime", "20240101120000"),
        **nested("a", None, "b"),
    }
    other = {
        **element("ScheduledProcedureStepID", "S2"),
        **element("ScheduledProcedureStepStartDate", "never"),
        **element("PixelSpacing", 3),
        **nested("c"),
        tag("PatientID"): {"vr": "LO"},
    }
    body = [
        {
            **element("RequestAttributesSequence", item, {}, other),
            **element("TimezoneOffsetFromUTC", "+0100"),
        },
        element("RequestAttributesSequence"),
        {},
    ]
    root = "RequestAttributesSequence"
    expected = {
        f"{root}.ScheduledProcedureStepID": ["S1", "S2"],
        f"{root}.ScheduledProcedureStepStartDate": [date(2024, 1, 2), None],
        f"{root}.ScheduledProcedureStepStartDate_raw": ["20240102", "never"],
        f"{root}.PatientName_Ideographic": ["山"],
        f"{root}.PixelSpacing": [1.0, 2.5, 3.0],
        f"{root}.AcquisitionDateTime_utc": [datetime(2024, 1, 1, 11, tzinfo=UTC)],
        f"{root}.ScheduledProtocolCodeSequence.CodeValue": ["a", "b", "c"],
        f"{root}.PatientID": None,
    }
    for text in (json.dumps(body).encode(), json.dumps(body, indent=1).lower().encode()):
        found = rows(text.replace(b"value", b"Value"), *expected)
        if b'"vr":"' in text.replace(b" ", b""):
            assert [list(row) for row in found] == [list(expected)] * 3
        assert found[1:] == [dict.fromkeys(expected)] * 2
    assert rows(body, *expected)[0] == expected
    whole = rows(body, f"{root}.ScheduledProtocolCodeSequence")
    items = json.loads(whole[0][f"{root}.ScheduledProtocolCodeSequence"])
    assert items == [element("CodeValue", "a"), {}, element("CodeValue", "b"), *items[3:]]
    assert whole[1:] == [{f"{root}.ScheduledProtocolCodeSequence": None}] * 2


@pytest.mark.parametrize("broken", [b"", b',"00189087":{"Value":[NaN]}'])
def test_paths_through_what_is_no_sequence(broken: bytes) -> None:
    name = "RequestAttributesSequence.ScheduledProcedureStepID"
    inner = b'{"00400009":{"vr":"SH","Value":["S"]}}'
    for sequence, expected in (
        (b"5", None),
        (b'{"vr":"SQ","Value":5}', None),
        (b'{"vr":"SQ","Value":[5,"x",null,[]]}', None),
        (b'{"vr":"SQ","Value":' + inner + b"}", ["S"]),  # without its array
        (b'{"vr":"SQ","Value":[7,' + inner + b"]}", ["S"]),
        (b'{"vr":"SQ","BulkDataURI":"u"}', None),
        # Half of a surrogate pair, which is no character.
        (b'{"vr":"SQ","Value":[{"00400009":{"Value":["\\ud800"]}},' + inner + b"]}", [None, "S"]),
    ):
        body = b'[{"00400275":' + sequence + broken + b"}]"
        assert rows(body, name) == [{name: expected}], sequence


def test_an_element_of_a_private_creators_block() -> None:
    mine, spaced = "private:ACME: CT:0019:01", "private:Acme:0019:aB"
    cases: list[tuple[dict[str, Any], str | None, str | None]] = [
        ({"00190010": {"Value": ["ACME: CT"]}, "00191001": {"Value": [1.5, 2]}}, "1.5\\2", None),
        ({"001900FF": {"Value": ["ACME: CT  "]}, "0019FF01": {"Value": ["x"]}}, "x", None),
        ({"00190011": {"Value": ["Acme"]}, "001911ab": {"InlineBinary": "AA=="}}, None, "AA=="),
        ({"00190010": {"Value": ["ACME: CT"]}, "00191101": {"Value": ["not mine"]}}, None, None),
        ({"00210010": {"Value": ["ACME: CT"]}, "00211001": {"Value": ["group"]}}, None, None),
        ({"0019000F": {"Value": ["ACME: CT"]}, "00190F01": {"Value": ["no block"]}}, None, None),
        ({"00191001": {"Value": ["nobody's"]}}, None, None),
        (
            {
                "00190012": {"Value": ["ACME: CT"]},
                "00190011": {"Value": ["ACME: CT"]},
                "00191201": {"Value": ["second"]},
                "00191001": {"Value": ["another's"]},
            },
            "second",
            None,
        ),
        ({"00190010": {"Value": ["acme"]}, "001910AB": {"Value": ["case"]}}, None, None),
    ]
    body = json.dumps([dataset for dataset, *_ in cases]).encode()
    expected = [{mine: first, columns(spaced)[0].name: second} for _, first, second in cases]
    assert rows(body, mine, spaced) == expected
    strange = body[:-1] + b',{"00189087":{"Value":[NaN]}}]'
    assert rows(strange, mine, spaced)[:-1] == expected


def test_hashes_tell_rows_apart() -> None:
    body = [
        {**element("StudyInstanceUID", study), **element("SOPInstanceUID", *sop)}
        for study, sop in [("1", ["2"]), ("2", ["1"]), ("1", ["2"]), ("1", [])]
    ]
    names = ("StudyInstanceUID", "SOPInstanceUID")
    batch = Decoder(columns(*names)).decode(json.dumps(body).encode())
    first, second, again, missing = row_hashes(batch.columns)
    assert first == again
    assert len({first, second, missing}) == 3
    one = row_hashes(batch.columns[:1])
    assert one[0] == one[2] == one[3] != one[1]
    assert row_hashes(batch.slice(1, 2).columns) == [second, first]


def real_datasets() -> list[Dataset]:
    found = []
    for path in sorted(REAL_FILES.rglob("*.dcm")):
        try:
            dataset = dcmread(path, stop_before_pixels=True)
            list(dataset)  # reads every value
            dataset.to_json_dict(suppress_invalid_tags=True)
        except (InvalidDicomError, ValueError, KeyError, AttributeError, TypeError, EOFError):
            continue  # a file that pydicom keeps because it is broken
        found.append(dataset)
    return found


TEXT_VRS = {"AE", "AS", "CS", "LO", "PN", "SH", "UI", "UR"}
COMPARED_VRS = TEXT_VRS | {"DA", "DS", "FD", "FL", "IS", "SL", "SS", "TM", "UL", "US"}


def expected_value(wanted: AttributeColumn, given: Any) -> Any:
    """pydicom's value of a DICOM value, as the column has it."""
    text = str(given).strip(" \0")
    match wanted.kind:
        case Kind.TEXT:
            return text or None
        case Kind.NAME:
            name = text.split("=")[0].rstrip()
            return name if name.strip("^ ") else None
        case Kind.INTEGER | Kind.UNSIGNED:
            return None if isinstance(given, str) else int(given)  # '1A' in one file
        case Kind.DECIMAL | Kind.FLOAT:
            return float(given)
        case Kind.DATE:
            if "." in text:  # as ACR-NEMA wrote dates
                return None
            return datetime.strptime(text, "%Y%m%d").date() if text else None
        case Kind.TIME:
            if ":" in text:
                return None
            form = "%H%M%S.%f" if "." in text else "%H%M%S"[: len(text)]
            return datetime.strptime(text, form).time() if text else None
        case _:
            raise AssertionError(wanted)


@pytest.mark.filterwarnings("ignore")
def test_real_files_against_pydicom() -> None:
    datasets = real_datasets()
    assert len(datasets) > 50
    tags = sorted({int(e.tag) for dataset in datasets for e in dataset if not e.tag.is_private})
    readable = (column(f"{number:08X}") for number in tags)
    wanted = [c for c in readable if c and c.vr in COMPARED_VRS]
    body = json.dumps([d.to_json_dict(suppress_invalid_tags=True) for d in datasets]).encode()
    found = Decoder(wanted).decode(body)
    compared = 0
    for number, dataset in enumerate(datasets):
        for place, one in enumerate(wanted):
            held = dataset.get(int(one.tag, 16))
            if held is None or held.is_empty or one.vr != held.VR:
                continue
            several = held.value if isinstance(held.value, MultiValue | list) else [held.value]
            given = [expected_value(one, v) for v in several]
            got = found.column(place)[number].as_py()
            if one.many:
                assert got == given, (one.name, number)
            else:
                assert [got] == given, (one.name, number)
            compared += 1
    assert compared > 2000


def test_decoding_does_not_import_what_is_slow_to_import() -> None:
    # Where NumPy and pandas are installed, Arrow imports them by itself, and compute with them.
    code = (
        "import sys; sys.modules['numpy'] = None; import pyarrow; del sys.modules['numpy'];"
        "from dicomsql.dicom.columns import column; from dicomsql.dicom import decode;"
        "names = ('StudyDate', 'PixelSpacing', 'PatientName', 'dataset', 'PatientID_raw');"
        'page = b\'[{"00080020":{"Value":["20240101"]},"00280030":{"Value":[1]}},{}]\';'
        "assert decode.Decoder([column(name) for name in names]).decode(page).num_rows == 2;"
        "slow = {'pyarrow.compute', 'pydicom', 'duckdb', 'httpx', 'sqlglot'};"
        "print(sorted(slow & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_duckdb_reads_what_is_decoded() -> None:
    path = REAL_FILES / "CT_small.dcm"
    body = json.dumps([dcmread(path, stop_before_pixels=True).to_json_dict()]).encode()
    table = pa.table(Decoder(columns("PatientName", "PixelSpacing", "dataset")).decode(body))
    with duckdb.connect() as connection:
        connection.register("t", table)
        found = connection.sql(
            "SELECT PatientName, PixelSpacing[1], dataset->'00280010'->'Value'->>0 FROM t"
        ).fetchall()
    assert found == [("CompressedSamples^CT1", 0.661468, "128")]
