"""The journal: what it keeps, whose it is, who may have it, and what a kill leaves of it."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from dicomsql.copying.beside import beside, beside_folder, folders
from dicomsql.copying.journal import Entry, Journal
from dicomsql.copying.outcomes import Status
from dicomsql.errors import InterfaceError, OperationalError

ENTRY = Entry("in/a.dcm", Status.STORED, "in/a.dcm", 10, 20, "ab" * 32, "1.2", "1.3", "1.4", "why")


def opened(path: Path, source: str = "/in", target: str = "store") -> Journal:
    return Journal.open(path, "in", source, target)


def test_entries_are_there_again_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "x.copy.sqlite"
    bytes_of_latin_1 = os.fsdecode(b"in/m\xfcller.dcm")
    entries = [
        ENTRY,
        Entry(bytes_of_latin_1, Status.FAILED, bytes_of_latin_1, reason="no DICOM"),
        Entry("1.2.3 out/x.dcm", Status.RETRIEVED),
    ]
    with opened(path) as journal:
        journal.write(entries)
        journal.write([])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    with opened(path) as journal:
        assert [journal.find(e.key) for e in entries] == entries
        assert journal.find("in/b.dcm") is None
        journal.write([Entry(ENTRY.key, Status.FAILED)])
        assert journal.find(ENTRY.key) == Entry(ENTRY.key, Status.FAILED)
        assert len(list(journal.entries())) == 3
    journal.close()


@pytest.mark.parametrize(
    ("kind", "source", "target", "said"),
    [
        ("out", "/in", "store", "is that of a copy of files into a store"),
        ("in", "/other", "store", "a copy from /in, not from /other"),
        ("in", "/in", "attic", "a copy to store, not to attic"),
    ],
)
def test_a_journal_belongs_to_one_copy(
    tmp_path: Path, kind: str, source: str, target: str, said: str
) -> None:
    path = tmp_path / "x.copy.sqlite"
    with opened(path) as journal:
        journal.write([ENTRY])
    with pytest.raises(InterfaceError, match=said) as raised:
        Journal.open(path, kind, source, target)
    assert "Name another file with journal" in str(raised.value)
    opened(path).close()


def test_one_without_an_entry_is_not_left(tmp_path: Path) -> None:
    path = tmp_path / "x.copy.sqlite"
    journal = opened(path)
    with pytest.raises(InterfaceError, match="in use"):
        opened(path)
    journal.close()
    assert list(tmp_path.iterdir()) == []
    # One that was there stays, and so does one that says anything.
    path.touch()
    opened(path).close()
    assert path.exists()
    path.unlink()
    with opened(path) as journal:
        journal.write([ENTRY])
    opened(path).close()
    journal.close()
    assert path.exists()
    # What somebody put in its place meanwhile is not this run's.
    other = tmp_path / "other"
    journal = opened(other)
    other.rename(tmp_path / "moved")
    other.write_text("somebody's")
    journal.close()
    assert other.read_text() == "somebody's"


@pytest.mark.parametrize("other", [("out", "/in"), ("in", "/other")])
def test_one_without_an_entry_is_taken_over(tmp_path: Path, other: tuple[str, str]) -> None:
    path = tmp_path / "x.copy.sqlite"
    path.touch()
    opened(path).close()
    with Journal.open(path, *other, "attic") as journal:
        assert journal.is_new
        journal.write([ENTRY])
    with pytest.raises(InterfaceError, match="that of a copy"):
        opened(path)


def test_what_is_no_journal_is_left_as_it_is(tmp_path: Path) -> None:
    text, other = tmp_path / "notes.txt", tmp_path / "other.sqlite"
    text.write_bytes(b"shopping list\n" * 100)
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE t (a)")
    connection.close()
    for path, said in ((text, "is no journal"), (other, "but no journal of a COPY")):
        before = path.read_bytes()
        with pytest.raises(InterfaceError, match=said):
            opened(path)
        assert path.read_bytes() == before
    later = tmp_path / "later.sqlite"
    with opened(later) as journal:
        journal.write([ENTRY])
    connection = sqlite3.connect(later)
    connection.execute("PRAGMA user_version = 9")
    connection.close()
    with pytest.raises(InterfaceError, match="of another version of dicomsql"):
        opened(later)


def test_other_files_keep_their_rights_and_an_empty_database_its_owner(tmp_path: Path) -> None:
    scan, other = tmp_path / "scan.dcm", tmp_path / "other.sqlite"
    scan.write_bytes(bytes(1000))
    connection = sqlite3.connect(other)
    connection.execute("PRAGMA user_version = 7")
    connection.close()
    for path in (scan, other):
        path.chmod(0o664)
        before = path.read_bytes()
        with pytest.raises(InterfaceError, match="no journal of a COPY"):
            opened(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o664
        assert path.read_bytes() == before
    assert {p.name for p in tmp_path.iterdir()} == {scan.name, other.name}


def test_an_empty_file_becomes_a_journal(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.touch()
    with opened(path) as journal:
        journal.write([ENTRY])
    with opened(path) as journal:
        assert journal.find(ENTRY.key) == ENTRY


def test_nothing_that_this_process_does_ends_its_lock(tmp_path: Path) -> None:
    """POSIX locks, SQLite's among them, end where the process closes the file anywhere."""
    path = tmp_path / "x.copy.sqlite"
    link = tmp_path / "link"
    link.symlink_to(path)
    code = WRITER.replace("while True:", "while number < 1:")
    with opened(path) as journal:
        path.read_bytes()
        for name in (path, link):
            with pytest.raises(InterfaceError, match="in use by another COPY"):
                opened(name)
            other = subprocess.run(
                [sys.executable, "-c", code, str(name)], capture_output=True, text=True, check=False
            )
            assert "in use by another COPY" in other.stderr
        journal.write([ENTRY])
    with opened(link) as journal:
        assert journal.find(ENTRY.key) == ENTRY


def test_of_an_instance_that_is_replaced_no_entry_says_that_it_is_there(tmp_path: Path) -> None:
    uids = {"study": "1", "series": "1.1", "instance": "1.1.1"}
    with opened(tmp_path / "x.copy.sqlite") as journal:
        journal.write(
            [
                Entry("a", Status.STORED, **uids),
                Entry("b", Status.FAILED, **uids),
                Entry("c", Status.PRESENT, **{**uids, "study": "2"}),
            ]
        )
        journal.supersede(*uids.values())
        found = {entry.key: entry.status for entry in journal.entries()}
    assert found == {"a": Status.SKIPPED, "b": Status.FAILED, "c": Status.PRESENT}


def test_where_it_cannot_be_written(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path, said in (
        (tmp_path / "no" / "x.sqlite", "No such file"),
        (tmp_path, "is no file"),
        (fifo, "is no file"),
    ):
        with pytest.raises(InterfaceError, match=said):
            opened(path)


def test_others_lose_their_rights_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.copy.sqlite"
    with opened(path) as journal:
        journal.write([ENTRY])
    path.chmod(0o664)
    opened(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(InterfaceError, match="belongs to another user"):
        opened(path)


def test_threads_write_together(tmp_path: Path) -> None:
    with opened(tmp_path / "x.copy.sqlite") as journal:

        def write(worker: int) -> None:
            for number in range(20):
                key = f"{worker}/{number}"
                journal.write([Entry(key, Status.STORED)])
                found = journal.find(key)
                assert found is not None

        threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(list(journal.entries())) == 160


def test_a_write_that_fails_is_told_to_all_and_leaves_nothing(tmp_path: Path) -> None:
    with opened(tmp_path / "x.copy.sqlite") as journal:
        journal._connection.execute("PRAGMA max_page_count = 4")
        with pytest.raises(OperationalError, match=r"cannot be used any more: .*full"):
            journal.write([Entry(f"{n:0100}", Status.STORED) for n in range(1000)])
        assert list(journal.entries()) == []
        journal.write([ENTRY])
        assert journal.find(ENTRY.key) == ENTRY


# Writes until it is killed; says each number once it is durable.
WRITER = """
import sys
from pathlib import Path
from dicomsql.copying.journal import Entry, Journal
from dicomsql.copying.outcomes import Status
journal = Journal.open(Path(sys.argv[1]), "in", "/in", "store")
number = 0
while True:
    journal.write([Entry(f"{number}/{n}", Status.STORED) for n in range(7)])
    print(number, flush=True)
    number += 1
"""


def test_a_killed_writer_leaves_what_it_was_told_is_written(tmp_path: Path) -> None:
    path = tmp_path / "x.copy.sqlite"
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        said = [process.stdout.readline() for _ in range(30)]
        with pytest.raises(InterfaceError, match="in use by another COPY"):
            opened(path)
    finally:
        process.send_signal(signal.SIGKILL)
        said += process.stdout.readlines()
        process.stdout.close()
        process.wait()
    last = int(said[-1])
    with opened(path) as journal:
        found = [e.key for e in journal.entries()]
        # A transaction that was written and not yet said may be there; half of one may not.
        assert len(found) in {7 * (last + 1), 7 * (last + 2)}
        assert {f"{number}/{n}" for number in range(last + 1) for n in range(7)} <= set(found)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_where_it_is_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    inside = tmp_path / "in"
    inside.mkdir()
    (inside / "a.dcm").write_bytes(b"x")
    with zipfile.ZipFile(inside / "b.zip", "w") as archive:
        archive.writestr("c.dcm", b"x")
    usual = tmp_path / "in.copy.sqlite"
    for path in ("in", "in/", "./in/**/*.dcm", "in/*", f"{inside}/../in/[ab].dcm"):
        assert beside([path]) == usual
        assert folders([path]) == (inside,)
    assert beside(["in/a.dcm"]) is None
    assert beside(["in/a.dcm", "in/b.zip"]) == inside / "b.zip.copy.sqlite"
    assert folders(["in/a.dcm", "in", "in/b.zip"]) == (inside, inside / "b.zip")
    # A DICOMDIR is often on a medium that cannot be written to.
    (inside / "DICOMDIR").write_bytes(b"x")
    assert beside(["in/DICOMDIR"]) == usual
    assert beside(["*.dcm"]) == tmp_path.with_name(f"{tmp_path.name}.copy.sqlite")
    assert beside(["out"]) == tmp_path / "out.copy.sqlite"
    assert beside_folder(Path("out[1]/")) == tmp_path / "out[1].copy.sqlite"
    with pytest.raises(InterfaceError, match="no place for a journal beside /"):
        beside(["/*.dcm"])


def test_files_in_an_archive_have_its_journal(tmp_path: Path) -> None:
    archive = tmp_path / "s.zip"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("b/x.dcm", b"x")
    for path in (f"{archive}!/b/x.dcm", f"{archive}!/b", f"{archive.as_uri()}!/b/x.dcm"):
        assert beside([path]) == tmp_path / "s.zip.copy.sqlite"
        assert folders([path]) == (archive,)
    # A folder of such a name is a folder.
    (tmp_path / "s.zip!/b").mkdir(parents=True)
    assert beside([f"{archive}!/b"]) == tmp_path / "s.zip!" / "b.copy.sqlite"
