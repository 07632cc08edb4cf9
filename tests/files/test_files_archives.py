"""Files in zip archives, and archives that are broken or meant to harm."""

from __future__ import annotations

import io
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from dicomsql.errors import InterfaceError
from dicomsql.files.find import InvalidFileError, LocalFile, find
from dicomsql.files.headers import read_header

CONTENT = random.Random(5).randbytes(2_000) * 50


def packed(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def read(file: LocalFile) -> bytes:
    with file.open() as stream:
        return b"".join(iter(lambda: stream.read(7_000), b""))


def only(path: Path) -> LocalFile:
    (file,) = find([str(path)])
    return file


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_the_files_in_an_archive(tmp_path: Path, method: int) -> None:
    path = packed(
        tmp_path / "scans.zip",
        {
            "b.dcm": CONTENT,
            "a/c": b"2",
            "a/b/": b"",
            "empty": b"",
            "__MACOSX/b.dcm": b"3",
            ".DS_Store": b"4",
            "a/DICOMDIR": b"5",
        },
        method,
    )
    files = list(find([str(path)]))
    assert [(file.name, file.size, file.problem) for file in files] == [
        (f"{path}!/a/c", 1, ""),
        (f"{path}!/b.dcm", len(CONTENT), ""),
        (f"{path}!/empty", 0, ""),
    ]
    assert [read(file) for file in files] == [b"2", CONTENT, b""]
    assert all(file.unchanged() for file in files)
    path.write_bytes(path.read_bytes() + b"\0")
    assert not any(file.unchanged() for file in files)


def test_archives_are_opened_in_folders_and_by_what_they_are(tmp_path: Path) -> None:
    packed(tmp_path / "one.ZIP", {"x": b"1"})
    packed(tmp_path / "another", {"y": b"2"})
    assert [f.name.rpartition("/")[2] for f in find([str(tmp_path)])] == ["another", "x"]
    assert [f.name.rpartition("/")[2] for f in find([str(tmp_path / "another")])] == ["y"]


@pytest.mark.parametrize(
    ("member", "expected"), [("a/c", ["a/c"]), ("a", ["a/c", "a/d"]), ("a/", ["a/c", "a/d"])]
)
def test_a_part_of_an_archive(tmp_path: Path, member: str, expected: list[str]) -> None:
    path = packed(tmp_path / "x.zip", {"a/c": b"1", "a/d": b"2", "ab": b"3"})
    found = [f.name.partition("!/")[2] for f in find([f"{path}!/{member}"])]
    assert found == expected
    with pytest.raises(InterfaceError):
        find([f"{path}!/nothing"])
    with pytest.raises(InterfaceError):
        find([f"{tmp_path}/y.zip!/a"])


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_member_can_be_read_from_anywhere(tmp_path: Path, method: int) -> None:
    file = only(packed(tmp_path / "x.zip", {"a": CONTENT}, method))
    chance = random.Random(method)
    with file.open() as stream:
        for _ in range(60):
            at, size = chance.randrange(len(CONTENT)), chance.randrange(1, 5_000)
            stream.seek(at)
            assert stream.tell() == at
            found = stream.read(size)
            assert found
            assert found == CONTENT[at : at + len(found)]
        assert stream.seek(-1, io.SEEK_END) == len(CONTENT) - 1
        assert stream.read() == CONTENT[-1:]


@pytest.mark.parametrize(
    "name", ["/etc/a", "../a", "a/../../b", "..", "C:/a", "\\a", "a\\..\\b", "../.hidden"]
)
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    path = packed(tmp_path / "x.zip", {name: CONTENT, "good": b"1"})
    told = {file.packed.member: file for file in find([str(path)]) if file.packed is not None}
    assert told["good"].problem == ""
    assert told[name].problem == "its name leads out of the zip archive"
    assert told[name].size == 0
    with pytest.raises(InvalidFileError, match="leads out"):
        told[name].open()


def test_dots_within_names_are_nothing_special(tmp_path: Path) -> None:
    file = only(packed(tmp_path / "x.zip", {"a..b/c...dcm": b"1"}))
    assert not file.problem


def patched(path: Path, offset: int, value: bytes, signature: bytes = b"PK\x01\x02") -> Path:
    """Change a member's entry of the central directory (APPNOTE.TXT 4.3.12)."""
    content = bytearray(path.read_bytes())
    at = content.index(signature) + offset
    content[at : at + len(value)] = value
    path.write_bytes(bytes(content))
    return path


@pytest.mark.parametrize(
    ("offset", "value", "reason"),
    [
        (8, struct.pack("<H", 1), "encrypted"),
        (10, struct.pack("<H", 14), "a method of zip that is not known here .14."),
        (24, struct.pack("<I", 2**31), "larger than can be packed|more than can be packed"),
    ],
)
def test_members_that_cannot_be_had(tmp_path: Path, offset: int, value: bytes, reason: str) -> None:
    file = only(patched(packed(tmp_path / "x.zip", {"a": CONTENT}), offset, value))
    with pytest.raises(InvalidFileError, match=reason):
        file.open()


def test_an_archive_that_counts_its_data_many_times_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "x.zip", {"a": bytes(1_000_000)})
    content = path.read_bytes()
    start = content.index(b"PK\x01\x02")
    end = content.index(b"PK\x05\x06")
    entry = content[start:end]
    many = struct.pack("<HHII", 500, 500, len(entry) * 500, start)
    path.write_bytes(content[:start] + entry * 500 + content[end : end + 8] + many + b"\0\0")
    assert "more than can be packed" in only(path).problem


def test_two_members_of_one_name(tmp_path: Path) -> None:
    with (
        pytest.warns(UserWarning, match="Duplicate"),
        zipfile.ZipFile(tmp_path / "x.zip", "w") as archive,
    ):
        archive.writestr("a", b"1")
        archive.writestr("a", b"2")
    first, second = find([str(tmp_path / "x.zip")])
    assert read(first) == b"1"
    assert second.problem == "another file of the archive has the same name"


@pytest.mark.parametrize("size", [0, 3, 40, -1, -30])
def test_an_archive_that_is_cut_off(tmp_path: Path, size: int) -> None:
    path = packed(tmp_path / "x.zip", {"a": CONTENT})
    path.write_bytes(path.read_bytes()[:size])
    file = only(path)
    assert file.name == str(path)
    assert file.problem == "the zip archive is damaged, or no zip archive"


def test_an_archive_without_files_matches_nothing(tmp_path: Path) -> None:
    with pytest.raises(InterfaceError, match="No file matches"):
        find([str(packed(tmp_path / "x.zip", {"a/": b""}))])


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_damage_within_a_member_is_found(
    tmp_path: Path, method: int, make: Callable[..., bytes]
) -> None:
    pixels = struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OW", 0, len(CONTENT)) + CONTENT
    path = packed(tmp_path / "x.zip", {"a": make("1.2.3", "1.2", "1", pixels)}, method)
    assert read_header(only(path)).instance == "1.2.3"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x55
    path.write_bytes(bytes(content))
    file = only(path)
    with pytest.raises(InvalidFileError, match="damaged in the zip archive"):
        read(file)
    with pytest.raises(InvalidFileError, match="damaged in the zip archive"):
        read_header(file)


def test_an_archive_that_was_replaced(tmp_path: Path) -> None:
    path = packed(tmp_path / "x.zip", {"a": CONTENT})
    file = only(path)
    path.write_bytes(bytes(100))
    with pytest.raises(InvalidFileError, match="the zip archive is damaged"):
        file.open()
    path.unlink()
    with pytest.raises(InvalidFileError, match="not there"):
        file.open()
