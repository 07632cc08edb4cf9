"""The answer to a store transaction, as servers write it."""

from __future__ import annotations

import json

import pytest

from dicomsql.dicom.stow import Failure, StoreAnswer, read_answer, warning_text

# As Google's store answers a conflict, without a namespace and with its private detail.
GOOGLE = """<?xml version="1.0" encoding="UTF-8"?>
<NativeDicomModel>
  <DicomAttribute tag="00081190" vr="UR" keyword="RetrieveURL">
    <Value number="1">https://example.org/studies/1.2</Value></DicomAttribute>
  <DicomAttribute tag="00081198" vr="SQ" keyword="FailedSOPSequence"><Item number="1">
    <DicomAttribute tag="00081150" vr="UI"><Value number="1">1.2.840</Value></DicomAttribute>
    <DicomAttribute tag="00081155" vr="UI"><Value number="1">1.2.3</Value></DicomAttribute>
    <DicomAttribute tag="00081197" vr="US"><Value number="1">272</Value></DicomAttribute>
    <DicomAttribute tag="00091097" vr="LT" keyword="FailureDetail" privateCreator="GOOGLE">
      <Value number="1">already exists</Value></DicomAttribute>
  </Item></DicomAttribute>
</NativeDicomModel>"""

EXISTS = Failure(272, "already exists")


def item(uid: str, **more: object) -> dict[str, object]:
    found: dict[str, object] = {"00081155": {"vr": "UI", "Value": [uid]}} if uid else {}
    return found | {tag.removeprefix("t"): {"vr": "US", "Value": [v]} for tag, v in more.items()}


def sequence(*items: dict[str, object]) -> dict[str, object]:
    return {"vr": "SQ", "Value": list(items)}


def test_xml() -> None:
    assert read_answer(GOOGLE.encode()) == StoreAnswer({}, {"1.2.3": EXISTS})
    spaced = GOOGLE.replace("<NativeDicomModel>", '<NativeDicomModel xmlns="http://a.b/c">')
    assert read_answer(b"\xef\xbb\xbf" + spaced.encode()) == StoreAnswer({}, {"1.2.3": EXISTS})


@pytest.mark.parametrize("in_list", [False, True])
def test_json(in_list: bool) -> None:
    dataset = {
        "00081199": sequence(item("1"), item("2", t00081196=0xB000), item("1", t00081196=0xB006)),
        "00081198": sequence(item("3", t00081197=0xA900), item("", t00081197=0xC000)),
        "0008119a": sequence({"00081197": {"vr": "US", "Value": ["291"]}}, {}),
    }
    body = json.dumps([dataset] if in_list else dataset).encode()
    assert read_answer(body) == StoreAnswer(
        {"1": 0xB006, "2": 0xB000},
        {"3": Failure(0xA900)},
        (Failure(0xC000), Failure(291), Failure()),
    )


def test_what_stands_on_both_sides_is_on_none() -> None:
    dataset = {"00081199": sequence(item("1")), "00081198": sequence(item("1"), item("2"))}
    answer = read_answer(json.dumps(dataset).encode())
    assert answer == StoreAnswer({}, {"2": Failure()})


@pytest.mark.parametrize(
    "body",
    [
        *("", "ok", "{}", "[]", "[{},{}]", "[1]", '{"error": {"code": 409}}', "{", "<a/>", "<a"),
        "<NativeDicomModel/>",
        '<!DOCTYPE NativeDicomModel [<!ENTITY a "b">]>' + GOOGLE.partition("?>")[2],
        "[" * 100_000,
        '{"00081199": ' + '{"00081199": ' * 10_000,
    ],
)
def test_what_is_no_answer(body: str) -> None:
    assert read_answer(body.encode()) is None


@pytest.mark.parametrize(
    "element", [None, 7, {}, {"Value": 3}, {"Value": [None, "a", [1]]}, {"Value": [{}]}]
)
def test_broken_members_say_nothing(element: object) -> None:
    body = json.dumps({"00081199": element, "00081190": {"vr": "UR"}}).encode()
    assert read_answer(body) == StoreAnswer({}, {})
    inner = json.dumps({"00081199": sequence({"00081155": element})}).encode()
    found = read_answer(inner)
    assert found is not None
    assert not found.failed


def test_reasons_for_people() -> None:
    assert Failure(0x0110).text == "failure reason 272 (processing failure)"
    assert Failure(1).text == "failure reason 1"
    assert Failure().text == "the server refused it without a reason"
    assert warning_text(0xB006) == "warning reason 45062 (elements were discarded)"
