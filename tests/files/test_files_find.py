"""Paths to files: folders, globs, links, and what is no file at all."""

from __future__ import annotations

import os
import pickle
import re
import socket
import tempfile
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pytest

from dicomsql.errors import InterfaceError
from dicomsql.files.find import InvalidFileError, LocalFile, find

TREE = (
    "in/b.dcm",
    "in/a",
    "in/s/1.dcm",
    "in/s/2.DCM",
    "in/s/t/3.dcm",
    "in/z.dcm",
    "in/[x].dcm",
    # what is passed over
    "in/.hidden.dcm",
    "in/.folder/4.dcm",
    "in/Thumbs.db",
    "in/s/DICOMDIR",
    "in/s/.DS_Store",
    "other/c.dcm",
)
VISIBLE = ["[x].dcm", "a", "b.dcm", "s/1.dcm", "s/2.DCM", "s/t/3.dcm", "z.dcm"]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for number, name in enumerate(TREE):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * number)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*paths: str) -> list[str]:
    return [file.name for file in find(paths)]


def problems(*paths: str) -> dict[str, str]:
    return {file.name: file.problem for file in find(paths) if file.problem}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("in", [f"in/{name}" for name in VISIBLE]),
        ("in/", [f"in/{name}" for name in VISIBLE]),
        ("in/**", [f"in/{name}" for name in VISIBLE]),
        ("./in/**/", [f"./in/{name}" for name in VISIBLE]),
        ("in/*", [f"in/{name}" for name in VISIBLE]),
        ("in/**/*", [f"in/{name}" for name in VISIBLE]),
        ("in/**/**/*.dcm", ["in/[x].dcm", "in/b.dcm", "in/s/1.dcm", "in/s/t/3.dcm", "in/z.dcm"]),
        ("in/*.dcm", ["in/[x].dcm", "in/b.dcm", "in/z.dcm"]),
        ("in/?.dcm", ["in/b.dcm", "in/z.dcm"]),
        ("in/[!b].dcm", ["in/z.dcm"]),
        ("in/[[]*", ["in/[x].dcm"]),
        # A name that is there is no pattern.
        ("in/[x].dcm", ["in/[x].dcm"]),
        ("in/s*", ["in/s/1.dcm", "in/s/2.DCM", "in/s/t/3.dcm"]),
        ("*/s/[12].*", ["in/s/1.dcm", "in/s/2.DCM"]),
        ("**/t", ["in/s/t/3.dcm"]),
        ("**/3.dcm", ["in/s/t/3.dcm"]),
        ("*/**/*.dcm", [*(f"in/{n}" for n in VISIBLE if n.endswith(".dcm")), "other/c.dcm"]),
        ("in/.*.dcm", ["in/.hidden.dcm"]),
        ("in/.hidden.dcm", ["in/.hidden.dcm"]),
        ("in/.folder", ["in/.folder/4.dcm"]),
        ("in/Thumbs.db", ["in/Thumbs.db"]),
        ("*/Thumbs.db", ["in/Thumbs.db"]),
    ],
)
def test_what_a_path_means(tree: Path, path: str, expected: list[str]) -> None:
    assert names(path) == expected


@pytest.mark.parametrize(
    "path", ["nothing", "in/*.png", "no/**", "", "in/b.dcm/*", "in/[", "in/*/../*", "in/T*.db"]
)
def test_a_path_that_matches_nothing_fails_before_any_file(tree: Path, path: str) -> None:
    with pytest.raises(InterfaceError, match=f"No file matches '{re.escape(path)}'"):
        find(["in", path])
    # Whose name it is, is known where somebody wrote it.
    with pytest.raises(InterfaceError, match="No file matches path 2 of the query"):
        find(["in", path], exact=True)


def test_a_folder_without_files_matches_nothing(tree: Path) -> None:
    (tree / "empty" / "more").mkdir(parents=True)
    with pytest.raises(InterfaceError, match="No file matches"):
        find(["empty"])
    with pytest.raises(InterfaceError, match="no path"):
        find([])


def test_a_file_is_given_once_however_often_it_is_named(tree: Path) -> None:
    absolute = str(tree / "in" / "b.dcm")
    assert names("in/s/1.dcm", "./in/s", "in/b.dcm", absolute) == [
        *("in/s/1.dcm", "./in/s/2.DCM", "./in/s/t/3.dcm", "in/b.dcm")
    ]


def test_what_is_known_of_a_file(tree: Path) -> None:
    (file,) = find(["in/s/1.dcm"])
    path = tree / "in/s/1.dcm"
    status = path.stat()
    assert file == LocalFile("in/s/1.dcm", str(path), 2, status.st_mtime_ns)
    assert file.key == str(path)
    assert pickle.loads(pickle.dumps(file)) == file
    for _ in range(2):
        with file.open() as stream:
            assert stream.read() == b"xx"
    assert file.unchanged()
    path.write_bytes(b"xxx")
    assert not file.unchanged()
    path.unlink()
    assert not file.unchanged()
    with pytest.raises(InvalidFileError, match="not there any more"):
        file.open()


def test_the_own_folder(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tree))
    assert names("~/in/s/*.dcm") == ["~/in/s/1.dcm"]
    assert names("~/other") == ["~/other/c.dcm"]


def test_links(tree: Path) -> None:
    (tree / "in" / "dangling").symlink_to(tree / "nowhere")
    (tree / "in" / "circle").symlink_to("circle")
    (tree / "in" / "s" / "up").symlink_to(tree / "in")
    (tree / "in" / "y").symlink_to(tree / "other")
    (tree / "in" / "w.dcm").symlink_to(tree / "other" / "c.dcm")
    found = names("in")
    # The loop ends where it comes back to a folder.
    assert len(found) == len(set(found))
    assert set(found) == {
        *(f"in/{name}" for name in VISIBLE),
        *("in/dangling", "in/circle", "in/y/c.dcm", "in/w.dcm"),
    }
    told = problems("in")
    assert set(told) == {"in/dangling", "in/circle"}
    assert told["in/dangling"] == "it is a link to something that is not there"
    assert told["in/circle"] == "its links lead in a circle"
    assert problems("in/dangling", "in/circ*") == told
    # `**` may not go round for ever either.
    assert names("in/**/3.dcm") == ["in/s/t/3.dcm"]


def test_above_a_link_is_above_what_it_leads_to(tree: Path) -> None:
    (tree / "link").symlink_to(tree / "in" / "s")
    (file,) = find(["link/../b.dcm"])
    assert file.name == "link/../b.dcm"
    assert file.path == str(tree / "in" / "b.dcm")
    assert names("link/../*.dcm", "in/z.dcm") == [
        *("link/../[x].dcm", "link/../b.dcm", "link/../z.dcm")
    ]
    assert names("in/s/../", "in") == [f"in/s/../{name}" for name in VISIBLE]
    assert names("in/s/..") == [f"in/s/../{name}" for name in VISIBLE]


def test_what_is_no_regular_file(tree: Path) -> None:
    os.mkfifo(tree / "in" / "pipe")
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{short}/socket")
        (tree / "in" / "sock").symlink_to(f"{short}/socket")
        told = dict.fromkeys(("in/pipe", "in/sock"), "it is no regular file")
        assert problems("in/pipe", "in/so*", "in/p*") == told
        # In a folder they are nobody's instances.
        assert problems("in") == problems("in/**") == {}
    with pytest.raises(InvalidFileError, match="no regular file"):
        LocalFile("pipe", str(tree / "in" / "pipe")).open()


def test_a_folder_that_may_not_be_read_is_told(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def refusing(path: str) -> object:
        if path.endswith("/s"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", refusing)
    assert problems("in") == {
        "in/s": "the folder cannot be read: it may not be read (permission denied)"
    }
    assert names("in")[-1] == "in/z.dcm"


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"\xff.dcm", "in/\\xff.dcm"),
        (b"a\nb", "in/a\\u000ab"),
        (b"\\xff.dcm", "in/\\\\xff.dcm"),
        ("Ä b".encode(), "in/Ä b"),
        ("\u202eabc".encode(), "in/\\u202eabc"),
    ],
)
def test_names_are_shown_so_that_they_can_be_printed_and_told_apart(
    tree: Path, raw: bytes, shown: str
) -> None:
    path = os.fsencode(tree / "in") + b"/" + raw
    try:
        Path(os.fsdecode(path)).write_bytes(b"content")
    except OSError:
        pytest.skip("the file system takes no such names")
    (file,) = (file for file in find(["in"]) if file.size == 7)
    assert file.name == shown
    file.name.encode()
    with file.open() as stream:
        assert stream.read() == b"content"


def test_nothing_is_opened_in_a_walk(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> int:
        raise AssertionError

    monkeypatch.setattr(os, "open", failing)
    assert len(names("in")) == len(VISIBLE)


@pytest.mark.parametrize(
    "raw",
    [b"\xff.dcm", b"a\nb", b"back\\slash", "Ana\u00a0L".encode(), b"x*[1]?", b"~", b"a!", b"%41"],
)
def test_an_address_gives_its_own_file_and_no_other(tree: Path, raw: bytes) -> None:
    path = os.fsencode(tree / "in") + b"/" + raw
    try:
        Path(os.fsdecode(path)).write_bytes(b"content")
    except OSError:
        pytest.skip("the file system takes no such names")
    (file,) = (file for file in find(["in"]) if file.size == 7)
    # One that is called as the other is shown.
    if file.name != os.fsdecode(b"in/" + raw):
        (tree / file.name).write_bytes(b"another one")
    file.address.encode()
    for exact in (True, False):
        assert [found.path for found in find([file.address], exact=exact)] == [file.path]


def test_an_address_is_no_pattern_and_no_home(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("~", "file:"):
        (tree / "top" / name).mkdir(parents=True)
        (tree / "top" / name / "a").write_bytes(b"content")
    monkeypatch.chdir(tree / "top")
    for file in list(find(["*"])):
        assert [found.path for found in find([file.address])] == [file.path]
    (tree / "top" / "b").write_bytes(b"x")
    with pytest.raises(InterfaceError):
        find(["?"], exact=True)
    assert "b" in names("?")


def test_an_address_in_an_archive(tree: Path) -> None:
    for name in ("s.zip", "t\udcff.zip"):
        with zipfile.ZipFile(tree / name, "w") as archive:
            archive.writestr("b/c \u00e9%.dcm", b"content")
    (tree / "s.zip!/b").mkdir(parents=True)
    (tree / "s.zip!/b/c \u00e9%.dcm").write_bytes(b"another")
    files = [file for name in ("s.zip", "t\udcff.zip") for file in find([name])]
    assert [f.path for f in files] == [str(tree / "s.zip"), str(tree / "t\udcff.zip")]
    found = list(find([file.address for file in files], exact=True))
    assert [(f.path, f.packed) for f in found] == [(f.path, f.packed) for f in files]


def test_files_of_an_archive_that_are_named_one_by_one_list_it_once(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tree / "s.zip", "w") as archive:
        for number in range(50):
            archive.writestr(f"{number}.dcm", b"content")
    opened = []
    made = zipfile.ZipFile

    def counting(*args: Any) -> zipfile.ZipFile:
        opened.append(1)
        return made(*args)

    monkeypatch.setattr(zipfile, "ZipFile", counting)
    assert len(list(find([f"s.zip!/{number}.dcm" for number in range(50)]))) == 50
    assert len(opened) == 1
    with pytest.raises(InterfaceError, match=r"'s\.zip!/99\.dcm'"):
        find(["s.zip!/1.dcm", "s.zip!/99.dcm"])


def test_many_paths_take_no_memory_before_the_first_file(tree: Path) -> None:
    paths = [f"in/{number}" for number in range(2000)]
    for path in paths:
        (tree / path).touch()
    tracemalloc.start()
    try:
        files = find(paths)
        next(files)
        assert tracemalloc.get_traced_memory()[0] < 100 * len(paths)
    finally:
        tracemalloc.stop()
    assert sum(1 for _ in files) == len(paths) - 1
