"""The files that a DICOMDIR names, among them those that it should not."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest

from dicomsql.files.find import find
from dicomsql.files.headers import InvalidFileError, read_header


def element(tag: int, vr: bytes, value: bytes) -> bytes:
    value += b" " * (len(value) % 2)
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr
    if vr == b"SQ":
        return head + struct.pack("<HI", 0, len(value)) + value
    return head + struct.pack("<H", len(value)) + value


def directory(*names: str, unused: tuple[str, ...] = ()) -> bytes:
    items = [element(0x00041410, b"US", b"\xff\xff")]
    for name in (*names, *unused):
        flag = b"\0\0" if name in unused else b"\xff\xff"
        record = element(0x00041410, b"US", flag) + element(0x00041500, b"CS", name.encode())
        items.append(record)
    records = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item for item in items)
    meta = element(0x00020002, b"UI", b"1.2.840.10008.1.3.10")
    meta += element(0x00020010, b"UI", b"1.2.840.10008.1.2.1\0")
    return bytes(128) + b"DICM" + meta + element(0x00041220, b"SQ", records)


def test_a_real_one(dicom_files: Path) -> None:
    path = dicom_files / "dicomdirtests" / "DICOMDIR"
    expected = {
        "/".join(record.ReferencedFileID)
        for record in pydicom.dcmread(path).DirectoryRecordSequence
        if "ReferencedFileID" in record
    }
    files = list(find([str(path)]))
    assert {Path(file.name).relative_to(path.parent).as_posix() for file in files} == expected
    here = [file for file in files if not file.problem]
    missing = [file for file in files if file.problem]
    assert len(here) > 20
    assert all(Path(file.path).is_file() for file in here)
    assert all(read_header(file).instance for file in here)
    assert not any(Path(file.path).is_file() for file in missing)
    assert {file.problem for file in missing} <= {"the DICOMDIR names it, but it is not there"}


def test_what_it_should_not_name(tmp_path: Path, make: Callable[..., bytes]) -> None:
    folder = tmp_path / "cd"
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "im1").write_bytes(make())
    (folder / "IM2").write_bytes(make())
    (folder / "im2").write_bytes(make())
    (folder / "Im3").write_bytes(make())
    (folder / "iM3").write_bytes(make())
    (tmp_path / "secret").write_bytes(make())
    (folder / "DICOMDIR").write_bytes(
        directory(
            *("IMAGES\\IM1", "IM2", "IM3", "IMAGES\\IM9", "IMAGES", "IM2"),
            *("..\\secret", "images\\..\\..\\secret", "/etc/passwd", "IMAGES\\\\IM1"),
            unused=("IM4",),
        )
    )
    found = {
        file.name.removeprefix(f"{folder}/"): file for file in find([str(folder / "DICOMDIR")])
    }
    outside = "its name leads out of the DICOMDIR's folder"
    missing = "the DICOMDIR names it, but it is not there"
    assert {name: file.problem for name, file in found.items()} == {
        "IMAGES/IM1": "",
        "IM2": "",
        "IM3": missing,  # two names differ in nothing but their case
        "IMAGES/IM9": missing,
        "IMAGES": "it is no regular file",
        "../secret": outside,
        "images/../../secret": outside,
        "/etc/passwd": outside,
        "IMAGES//IM1": outside,
    }
    assert found["IM2"].path == str(folder / "IM2")
    assert found["IMAGES/IM1"].path == str(folder / "images" / "im1")


@pytest.mark.parametrize("content", [b"", b"no DICOM", directory("A")[:-3]])
def test_one_that_cannot_be_read(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "dicomdir"
    path.write_bytes(content)
    (file,) = find([str(path)])
    assert file.name == str(path)
    assert file.problem.startswith("the DICOMDIR cannot be read: ")


def test_as_a_file_it_is_no_instance(tmp_path: Path) -> None:
    path = tmp_path / "other name"
    path.write_bytes(directory("A"))
    (file,) = find([str(path)])
    with pytest.raises(InvalidFileError, match="a DICOMDIR, which names instances and is none"):
        read_header(file)
