"""Chosen elements read from a stream: the same as of the file as a whole, whatever the pieces."""

from __future__ import annotations

import io
import random
import struct
import zlib
from pathlib import Path

import pytest
from pydicom.datadict import DicomDictionary, RepeatersDictionary

from dicomsql.dicom import part10, skim
from dicomsql.dicom.inflated import Inflated

# What a search for instances asks for most, a sequence, and what stands behind the pixels.
CHOSEN = [
    *("0020000D", "0020000E", "00080018", "00100010", "00080060", "00280030", "00281052"),
    *("00081140", "30060020", "7FE00010", "FFFCFFFC", "00020010"),
]


def real_files(folder: Path) -> list[tuple[Path, bytes]]:
    found = ((path, path.read_bytes()) for path in sorted(folder.rglob("*")) if path.is_file())
    return [(path, content) for path, content in found if content[128:132] == b"DICM"]


def whole(content: bytes) -> tuple[part10.Dataset, str]:
    try:
        return part10.read(content).dataset, ""
    except part10.InvalidDicom as error:
        return {}, str(error)


def test_everything_is_what_the_reader_of_whole_files_gives(dicom_files: Path) -> None:
    compared = 0
    for path, content in real_files(dicom_files):
        expected, broken = whole(content)
        try:
            found = skim.survey(io.BytesIO(content), len(content), skim.EVERYTHING)
        except part10.InvalidDicom as error:
            assert str(error) == broken, path
            continue
        assert bool(found.broken) == bool(broken), path
        if not broken:
            assert found.dataset == expected, path
            compared += 1
    assert compared > 120


@pytest.mark.parametrize("step", [64, 1000])
def test_pieces_may_end_anywhere(
    dicom_files: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr(skim, "_FIRST", 132 + step)
    monkeypatch.setattr(skim, "_STEP", step)
    monkeypatch.setattr(skim, "_LITTLE", 8)
    chosen = skim.choose(CHOSEN)
    for path, content in real_files(dicom_files):
        if len(content) > 200_000:
            continue
        expected, broken = whole(content)
        if broken:
            continue
        stream = io.BytesIO(content)
        wanted = {tag: expected[tag] for tag in CHOSEN if tag in expected}
        for found in (
            skim.skim(stream, len(content), chosen),
            skim.survey(stream, len(content), chosen),
        ):
            assert found.broken == "", path
            syntax = found.dataset.pop("00020010")
            assert syntax["Value"] == [found.transfer_syntax]
            assert found.dataset == wanted, path


def test_damage_is_told_or_read_over_but_never_a_crash(dicom_files: Path) -> None:
    chosen = skim.choose(CHOSEN)
    for name in ("CT_small.dcm", "test-SR.dcm", "rtplan.dcm", "image_dfl.dcm", "MR_small_RLE.dcm"):
        content = (dicom_files / name).read_bytes()
        chance = random.Random(name)
        for _ in range(100):
            damaged = bytearray(content[: chance.randrange(132, len(content))])
            for _ in range(chance.randrange(6)):
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
            stream = io.BytesIO(damaged)
            for reading in (skim.skim, skim.survey):
                try:
                    found = reading(stream, len(damaged), chosen)
                except part10.InvalidDicom as error:
                    assert str(error)
                else:
                    assert set(found.dataset) <= set(CHOSEN)


@pytest.mark.parametrize("name", ["CT_small.dcm", "test-SR.dcm", "MR_small_RLE.dcm"])
def test_every_cut_is_found(dicom_files: Path, name: str) -> None:
    content = (dicom_files / name).read_bytes()
    full = skim.survey(io.BytesIO(content), len(content), skim.EVERYTHING).dataset
    chance = random.Random(name)
    # Between two elements nothing tells that there were more.
    edges = 0
    for size in chance.sample(range(400, len(content)), 200):
        found = skim.survey(io.BytesIO(content[:size]), size, skim.EVERYTHING)
        edges += not found.broken
        assert all(full[tag] == element for tag, element in found.dataset.items())
    assert edges < 20


def element(tag: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    size = len(value) if length is None else length
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr
    if vr in {b"OB", b"OW", b"SQ", b"UN", b"UT"}:
        return head + b"\0\0" + struct.pack("<I", size) + value
    return head + struct.pack("<H", size) + value


def dicom(*elements: bytes, syntax: str = part10.EXPLICIT_LITTLE) -> bytes:
    meta = element(0x00020010, b"UI", syntax.encode() + b"\0" * (len(syntax) % 2))
    return bytes(128) + b"DICM" + meta + b"".join(elements)


def read(content: bytes, *tags: str) -> skim.Skimmed:
    return skim.skim(io.BytesIO(content), len(content), skim.choose(tags))


class Counting(io.BytesIO):
    """Counts the bytes that are read of it."""

    count = 0

    def read(self, size: int | None = -1, /) -> bytes:
        found = super().read(size)
        self.count += len(found)
        return found


def test_reading_ends_behind_what_is_chosen_and_skips_what_is_large() -> None:
    large = element(0x00091001, b"OB", b"x" * 5_000_000)
    content = dicom(
        element(0x00080018, b"UI", b"1.2"),
        large,
        element(0x00100020, b"LO", b"ab"),
        element(0x7FE00010, b"OW", b"x" * 5_000_000),
    )
    stream = Counting(content)
    found = skim.skim(stream, len(content), skim.choose(["00100020", "00091001"]))
    assert found.dataset["00100020"] == {"vr": "LO", "Value": ["ab"]}
    assert found.dataset["00091001"]["BulkDataURI"]
    assert stream.count < 100_000
    stream = Counting(content)
    assert skim.survey(stream, len(content), skim.choose(["00080018"])).broken == ""
    assert stream.count < 200_000


def test_what_is_out_of_order_is_found() -> None:
    content = dicom(
        element(0x00280010, b"US", b"\1\0"),
        element(0x00100020, b"LO", b"ab"),
        element(0x00080018, b"UI", b"1.2\0"),
    )
    found = read(content, "00080018", "00280010").dataset
    assert {tag: e["Value"] for tag, e in found.items()} == {"00080018": ["1.2"], "00280010": [1]}


def test_groups_are_read_whole_for_their_creators() -> None:
    content = dicom(
        element(0x00090010, b"LO", b"AB"),
        element(0x00091001, b"LO", b"x "),
        element(0x00100020, b"LO", b"ab"),
    )
    chosen = skim.choose(["00100020"], ["0009"])
    found = skim.skim(io.BytesIO(content), len(content), chosen).dataset
    assert list(found) == ["00090010", "00091001", "00100020"]
    assert chosen.also(skim.choose(["00080018"])).tags == {0x00100020, 0x00080018}
    assert chosen.also(skim.EVERYTHING).groups is None


def test_text_is_read_by_its_character_set_though_that_is_not_chosen() -> None:
    content = dicom(
        element(0x00080005, b"CS", b"ISO_IR 192"), element(0x00100010, b"PN", "Ä".encode())
    )
    assert read(content, "00100010").dataset == {
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Ä"}]}
    }


def test_a_number_is_signed_as_the_pixels_are() -> None:
    def implicit(tag: int, value: bytes) -> bytes:
        return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value

    content = dicom(
        implicit(0x00280103, b"\1\0"), implicit(0x00280106, b"\xff\xff"), syntax="1.2.840.10008.1.2"
    )
    assert read(content, "00280106").dataset["00280106"] == {"vr": "SS", "Value": [-1]}


def test_zeros_behind_the_last_element_are_no_damage() -> None:
    content = dicom(element(0x00080018, b"UI", b"1.2\0"))
    for more, broken in ((bytes(500), False), (bytes(500) + b"x", True)):
        padded = content + more
        found = skim.survey(io.BytesIO(padded), len(padded), skim.choose(["00080018"]))
        assert bool(found.broken) == broken
        assert found.dataset["00080018"]["Value"] == ["1.2"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no DICM prefix"),
        (bytes(128) + b"DICM", "no TransferSyntaxUID"),
        (dicom()[:-4], "longer than what is left"),
    ],
)
def test_what_is_no_dicom_file(content: bytes, reason: str) -> None:
    with pytest.raises(part10.InvalidDicom, match=reason):
        read(content, "00080018")


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "no data set"),
        (element(0x00080018, b"UI", b"1.2\0") + b"\x10\0\x20\0LO", "within an element's header"),
        (b"\x10\0\x20\0??\0\0abcd", "has no VR"),
        (b"\x09\0\x01\x10OB\0\0", "ends within an element's header"),
        (element(0x00100020, b"LO", b"ab", 9), "00100020 is longer"),
        (element(0x00081140, b"SQ", b"", 0xFFFFFFFF), "ends within a sequence"),
        (element(0x00081140, b"SQ", b"abcdefgh", 0xFFFFFFFF), "where a sequence's item should"),
        (element(0x00081140, b"SQ", struct.pack("<HHI", 0xFFFE, 0xE000, 99)), "item is longer"),
        (element(0x7FE00010, b"OB", b"", 0xFFFFFFFF), "within the encapsulated pixel data"),
        (element(0x00081140, b"SQ", b"", 8), "longer than what is left"),
    ],
)
def test_what_is_broken(raw: bytes, reason: str) -> None:
    content = dicom(raw)
    found = skim.survey(io.BytesIO(content), len(content), skim.choose(["00080018"]))
    assert reason in found.broken


def test_sequences_that_are_too_deep_are_refused() -> None:
    raw = b""
    for _ in range(60):
        item = struct.pack("<HHI", 0xFFFE, 0xE000, len(raw)) + raw
        raw = element(0x00081140, b"SQ", item)
    content = dicom(raw)
    found = skim.survey(io.BytesIO(content), len(content), skim.choose([]))
    assert "nested more than" in found.broken


def test_a_deflated_data_set_that_is_damaged_or_cut_off() -> None:
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(element(0x00080018, b"UI", b"1.2\0") * 50) + packer.flush()
    whole_one = dicom(packed, syntax=part10.DEFLATED_LITTLE)
    chosen = skim.choose(["00080018"])
    for content, broken in (
        (whole_one, ""),
        (whole_one[:-3], "not complete"),
        (dicom(b"\xff" * 8, syntax=part10.DEFLATED_LITTLE), "damaged"),
    ):
        found = skim.survey(io.BytesIO(content), len(content), chosen)
        assert broken in found.broken
        assert bool(broken) == bool(found.broken)


def test_what_is_deflated_can_be_read_from_anywhere() -> None:
    chance = random.Random(1)
    content = chance.randbytes(5_000) * 40
    packer = zlib.compressobj(wbits=-15)
    packed = b"head" + packer.compress(content) + packer.flush() + b"tail"
    with Inflated(io.BytesIO(packed), 4, len(packed) - 8) as stream:
        for _ in range(50):
            at, size = chance.randrange(len(content) + 10), chance.randrange(1, 9_000)
            assert stream.seek(at) == min(at, len(content))
            found = b""
            while len(found) < size and (piece := stream.read(size - len(found))):
                found += piece
            assert found == content[at : at + size]


def test_the_dictionary_is_that_of_pydicom() -> None:
    """In implicit VR the tag alone says how a value is read."""
    context = ("US or SS", "OB or OW", "US or OW", "US or SS or OW", "NONE")
    for tag, entry in DicomDictionary.items():
        if entry[0] not in context and tag & 0xFFFF and tag >> 16:
            assert part10.dictionary_vr(tag, {}) == entry[0], hex(tag)
    for mask, entry in RepeatersDictionary.items():
        if entry[0] not in context and not mask.startswith(("1000", "1010")):
            tag = int(mask.replace("x", "0"), 16)
            if tag not in DicomDictionary:
                assert part10.dictionary_vr(tag, {}) == entry[0], mask
