"""DICOM files to DICOM JSON: the same as pydicom's, and no crash on what is broken."""

from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import Any

import pydicom
import pytest

from dicomsql.dicom import charset, part10


def normal(value: Any) -> Any:
    """What the two writers may do differently and both be right: empty values, padding, bulk."""
    if isinstance(value, dict):
        if "InlineBinary" in value or "BulkDataURI" in value:
            return {"vr": value["vr"], "binary": True}
        return {
            k: normal(v)
            for k, v in value.items()
            if not k.endswith("0000") and not (k == "Value" and v in ([], [""], [None]))
        }
    if isinstance(value, list):
        return [normal(v) for v in value]
    return (value.rstrip() or None) if isinstance(value, str) else value


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_real_files_read_as_pydicom_reads_them(dicom_files: Path) -> None:
    compared = 0
    for path in sorted(dicom_files.rglob("*")):
        # of badVR.dcm pydicom cannot write JSON at all
        if not path.is_file() or path.name == "badVR.dcm":
            continue
        try:
            ours = part10.read(path.read_bytes())
        except part10.InvalidDicom:
            continue
        dataset = pydicom.dcmread(path)
        theirs = {f"{int(e.tag):08X}": e.to_json_dict(None, 0) for e in dataset}
        assert ours.transfer_syntax == dataset.file_meta.TransferSyntaxUID
        assert normal(ours.dataset) == normal(theirs), path
        compared += 1
    assert compared > 120


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("MR_truncated.dcm", "7FE00010 is longer"),
        ("rtplan_truncated.dcm", "longer than what is left"),
        ("ExplVR_LitEndNoMeta.dcm", "not a DICOM file"),
        ("meta_missing_tsyntax.dcm", "has no VR"),
        ("SC_rgb_jpeg.dcm", "has no VR"),
        ("README.txt", "not a DICOM file"),
    ],
)
def test_broken_files(dicom_files: Path, name: str, reason: str) -> None:
    with pytest.raises(part10.InvalidDicom, match=reason):
        part10.read((dicom_files / name).read_bytes())


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "test-SR.dcm", "SC_rgb_rle_2frame.dcm", "rtplan.dcm", "image_dfl.dcm"]
)
def test_any_damage_is_invalid_or_read_but_never_a_crash(dicom_files: Path, name: str) -> None:
    content = (dicom_files / name).read_bytes()
    chance = random.Random(name)
    for _ in range(150):
        damaged = bytearray(content[: chance.randrange(132, len(content))])
        for _ in range(chance.randrange(6)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            part10.read(bytes(damaged))
        except part10.InvalidDicom as error:
            assert str(error)


def dicom(*elements: bytes, syntax: str = part10.EXPLICIT_LITTLE) -> bytes:
    meta = element(0x00020010, b"UI", syntax.encode() + b"\0" * (len(syntax) % 2))
    return bytes(128) + b"DICM" + meta + b"".join(elements)


def element(tag: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    size = len(value) if length is None else length
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr
    if vr in {b"OB", b"OW", b"SQ", b"UN", b"UT", b"UC", b"UR", b"SV", b"UV", b"XX"}:
        return head + b"\0\0" + struct.pack("<I", size) + value
    return head + struct.pack("<H", size) + value


UNDEFINED = 0xFFFFFFFF
ITEM = struct.pack("<HHI", 0xFFFE, 0xE000, UNDEFINED)
ITEM_END = struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
SEQUENCE_END = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (element(0x00100020, b"LO", b" a \\b "), {"vr": "LO", "Value": [" a", "b"]}),
        (element(0x00100020, b"LO", b"a\\\\c\0"), {"vr": "LO", "Value": ["a", None, "c"]}),
        (element(0x00100020, b"LO", b"  "), {"vr": "LO"}),
        (element(0x00100020, b"LO", b""), {"vr": "LO"}),
        (element(0x00104000, b"LT", b"a\\b  "), {"vr": "LT", "Value": ["a\\b"]}),
        (element(0x00104000, b"LT", b"  "), {"vr": "LT"}),
        (
            element(0x00100010, b"PN", b"A^B=\xc4=C"),
            {
                "vr": "PN",
                "Value": [{"Alphabetic": "A^B", "Ideographic": "Ä", "Phonetic": "C"}],
            },
        ),
        (element(0x00100010, b"PN", b"==C"), {"vr": "PN", "Value": [{"Phonetic": "C"}]}),
        (element(0x00200013, b"IS", b" 7\\+8\\x "), {"vr": "IS", "Value": [7, 8, "x"]}),
        (
            element(0x00280030, b"DS", b"1.50\\2\\1e3\\nan\\1_0\\y"),
            {
                "vr": "DS",
                "Value": [1.5, 2, 1000.0, "nan", "1_0", "y"],
            },
        ),
        (
            element(
                0x00189087,
                b"FD",
                struct.pack("<4d", 0.5, float("nan"), float("inf"), -float("inf")),
            ),
            {
                "vr": "FD",
                "Value": [0.5, "NaN", "Infinity", "-Infinity"],
            },
        ),
        (
            element(0x00720082, b"SV", struct.pack("<q", -(2**60))),
            {"vr": "SV", "Value": [-(2**60)]},
        ),
        (
            element(0x00280009, b"AT", struct.pack("<HH", 0x18, 0x1063)),
            {"vr": "AT", "Value": ["00181063"]},
        ),
        (element(0x00091001, b"OB", b"ab"), {"vr": "OB", "InlineBinary": "YWI="}),
        (element(0x00091001, b"UN", b"ab"), {"vr": "UN", "InlineBinary": "YWI="}),
        (element(0x00090010, b"UN", b"ab"), {"vr": "LO", "Value": ["ab"]}),
        (element(0x00091001, b"XX", b"ab"), {"vr": "UN", "InlineBinary": "YWI="}),
        (element(0x00081140, b"SQ", SEQUENCE_END, UNDEFINED), {"vr": "SQ"}),
        (
            element(0x00081140, b"SQ", ITEM + ITEM_END + SEQUENCE_END, UNDEFINED),
            {"vr": "SQ", "Value": [{}]},
        ),
    ],
)
def test_values(raw: bytes, expected: dict[str, Any]) -> None:
    (found,) = part10.read(dicom(raw)).dataset.values()
    assert found == expected


def test_large_binary_values_are_bulk_data() -> None:
    raw = element(0x00091001, b"OB", b"x" * 1025)
    instance = part10.read(dicom(raw))
    assert instance.dataset["00091001"]["BulkDataURI"] == part10.BASE + "/bulkdata/00091001"
    place = instance.bulk["00091001"]
    assert place.length == 1025
    assert instance.buffer[place.offset :] == b"x" * 1025


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x10\x00\x20\x00LO",
        b"\x10\x00\x20\x00??\0\0",
        b"\x09\x00\x01\x10OB\0\0",
        element(0x00081140, b"SQ", ITEM, UNDEFINED),
        element(0x00081140, b"SQ", ITEM + element(0x00100020, b"LO", b"ab"), UNDEFINED),
        element(0x00081140, b"SQ", ITEM_END + SEQUENCE_END, UNDEFINED),
        element(0x00081140, b"SQ", ITEM[:4] + b"\xff\0\0\0", UNDEFINED),
        element(0x7FE00010, b"OB", b"", UNDEFINED),
        element(0x7FE00010, b"OB", ITEM[:4] + b"\xff\0\0\0", UNDEFINED),
        element(0x00081140, b"SQ", ITEM * 60, UNDEFINED).replace(
            ITEM, ITEM + element(0x00081140, b"SQ", b"", UNDEFINED)
        ),
    ],
)
def test_structures_that_are_broken(raw: bytes) -> None:
    with pytest.raises(part10.InvalidDicom):
        part10.read(dicom(raw))


def test_a_deflated_data_set_that_is_damaged() -> None:
    with pytest.raises(part10.InvalidDicom, match="deflated"):
        part10.read(dicom(b"\xff" * 8, syntax=part10.DEFLATED_LITTLE))


@pytest.mark.parametrize(
    ("terms", "raw", "text"),
    [
        ([], b"abc", "abc"),
        ([], b"\xc4", "Ä"),
        (["ISO_IR 100"], b"Buc^J\xe9r\xf4me", "Buc^Jérôme"),
        (["ISO_IR 192"], "Wang^小东".encode(), "Wang^小东"),
        (["ISO_IR 144"], b"\xbb\xee\xda", "Люк"),
        (["GB18030"], "王^小东".encode("gb18030"), "王^小东"),
        (["", "ISO 2022 IR 87"], b"Yamada=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B", "Yamada=山田^太郎"),
        (["", "ISO 2022 IR 149"], b"Hong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce", "Hong=洪^吉"),
        (["unheard of"], b"\xe9", "é"),
    ],
)
def test_character_sets(terms: list[str], raw: bytes, text: str) -> None:
    assert charset.decode(raw, charset.codecs_for(terms)) == text


def test_character_sets_hold_for_the_items_below() -> None:
    name = element(0x00100010, b"PN", "Ä".encode())
    item = struct.pack("<HHI", 0xFFFE, 0xE000, len(name)) + name
    raw = element(0x00080005, b"CS", b"ISO_IR 192") + element(0x00081140, b"SQ", item)
    dataset = part10.read(dicom(raw)).dataset
    assert dataset["00081140"]["Value"][0]["00100010"]["Value"] == [{"Alphabetic": "Ä"}]
    assert part10.text(dataset["00081140"]["Value"][0], "00100010") == "Ä"
