"""The header of a file: its identity and chosen attributes, or why there is none."""

from __future__ import annotations

import errno
import json
import os
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest

from dicomsql.files.find import LocalFile, find
from dicomsql.files.headers import Header, InvalidFileError, read_header

CT = "1.2.840.10008.5.1.4.1.1.2"


def header(path: Path, *tags: str) -> Header:
    (file,) = find([str(path)])
    return read_header(file, tags)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_real_files_say_what_pydicom_reads(dicom_files: Path) -> None:
    keywords = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
    compared = 0
    for path in sorted(dicom_files.rglob("*")):
        # As a path of its own a DICOMDIR is what it names.
        if not path.is_file() or path.name == "DICOMDIR":
            continue
        try:
            found = header(path)
        except InvalidFileError:
            continue
        theirs = pydicom.dcmread(path, stop_before_pixels=True)
        expected = [str(getattr(theirs, keyword)) for keyword in keywords]
        assert [found.study, found.series, found.instance, found.sop_class] == expected
        assert found.transfer_syntax == theirs.file_meta.TransferSyntaxUID
        assert found.dataset == b"{}"
        compared += 1
    assert compared > 110


def test_chosen_attributes(dicom_files: Path) -> None:
    path = dicom_files / "CT_small.dcm"
    found = header(path, "00080060", "0020000E", "7FE00010", "00101010", "0020FFFF")
    assert json.loads(found.dataset) == {
        "00080060": {"vr": "CS", "Value": ["CT"]},
        "0020000E": {"vr": "UI", "Value": [found.series]},
        "00101010": {"vr": "AS", "Value": ["000Y"]},
        "7FE00010": {"vr": "OW", "BulkDataURI": f"{path.as_uri()}#7FE00010"},
    }


def test_no_value_can_be_taken_for_an_address(tmp_path: Path, make: Callable[..., bytes]) -> None:
    text = b'\1"BulkDataURI":"\1/bulkdata/'
    text += b" " * (len(text) % 2)
    path = tmp_path / "a"
    more = struct.pack("<HH2sH", 0x0032, 0x4000, b"LT", len(text)) + text
    path.write_bytes(make("1.2.3", "1.2", "1", more))
    (value,) = json.loads(header(path, "00324000").dataset)["00324000"]["Value"]
    assert value == text.decode().rstrip()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"hello", "no DICM prefix"),
        (b"PK\3\4" + bytes(200), "zip archive"),
        (b"\x08\0\x05\0CS\x0a\0ISO_IR 100" + bytes(200), "a data set without the header"),
        (bytes(128) + b"DICM" + bytes(4), "TransferSyntaxUID|within an element"),
    ],
)
def test_what_is_no_dicom_file(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    file = LocalFile("a", str(path), len(content))
    with pytest.raises(InvalidFileError, match=reason):
        read_header(file)


@pytest.mark.parametrize(
    ("uids", "sop_class", "keyword"),
    [
        (("", "1.2", "1"), CT, "SOPInstanceUID"),
        (("1.2.3", "", "1"), CT, "SeriesInstanceUID"),
        (("1.2.3", "1.2", ""), CT, "StudyInstanceUID"),
        (("1.2.3", "1.2", "1"), "", "SOPClassUID"),
    ],
)
def test_an_identity_that_is_not_whole(
    tmp_path: Path,
    make: Callable[..., bytes],
    uids: tuple[str, str, str],
    sop_class: str,
    keyword: str,
) -> None:
    path = tmp_path / "a"
    path.write_bytes(make(*uids, sop_class=sop_class))
    with pytest.raises(InvalidFileError, match=f"^it has no {keyword}$"):
        header(path)


def test_a_file_whose_end_is_missing(dicom_files: Path, tmp_path: Path) -> None:
    for name in ("CT_small.dcm", "MR_small_RLE.dcm", "image_dfl.dcm"):
        path = tmp_path / name
        path.write_bytes((dicom_files / name).read_bytes()[:-400])
        with pytest.raises(InvalidFileError, match=r"longer than|not complete|ends within"):
            header(path)


def test_a_file_that_may_not_be_read(
    tmp_path: Path, make: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(make())
    (file,) = find([str(path)])

    def refusing(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refusing)
    with pytest.raises(InvalidFileError, match=r"may not be read .permission denied.$"):
        read_header(file)


def test_four_gigabytes_take_no_memory(tmp_path: Path, make: Callable[..., bytes]) -> None:
    path = tmp_path / "large"
    size = 0xFFFF_FFFE
    content = make("1.2.3", "1.2", "1", struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OW", 0, size))
    path.write_bytes(content)
    os.truncate(path, len(content) + size)
    tracemalloc.start()
    try:
        assert header(path, "7FE00010").instance == "1.2.3"
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    os.truncate(path, len(content) + size - 1)
    with pytest.raises(InvalidFileError, match="7FE00010 is longer"):
        header(path)
