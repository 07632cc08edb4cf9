"""The folder: refused where it is not ours, whole after a kill, shared by several processes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from dicomsql.emulator.app import create_app
from dicomsql.emulator.errors import EmulatorError
from dicomsql.emulator.folder import INDEX, RESERVE, Folder

DATASET = "/v1/projects/p/locations/us-central1/datasets/d"
WEB = DATASET + "/dicomStores/s/dicomWeb"

# Stores instances 1.1.PREFIX.N one after the other, each in its own request, and prints each N.
WRITER = f"""
import asyncio, pathlib, sys
import httpx
from dicomsql.emulator.app import create_app

root, template, prefix, count = sys.argv[1:]
template = pathlib.Path(template).read_bytes()
web = "http://e{WEB}/studies"

async def main():
    app = create_app(pathlib.Path(root))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as client:
        for n in range(int(count)):
            uid = f"1.1.{{prefix}}.{{n + 10000}}".encode()
            body = template.replace(b"1.1.9.99999", uid)
            head = {{"content-type": "application/dicom"}}
            answer = await client.post(web, content=body, headers=head)
            assert answer.status_code == 200, answer.text
            print(n, flush=True)
    app.state.close()

asyncio.run(main())
"""


@pytest.fixture
def template(tmp_path: Path, make_dicom: Any) -> Path:
    path = tmp_path / "template.dcm"
    path.write_bytes(make_dicom("1", "1.1", "1.1.9.99999", EncapsulatedDocument=b"\1" * 100_000))
    return path


def writer(root: Path, template: Path, prefix: int, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(root), str(template), str(prefix), str(count)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def check_files(root: Path) -> int:
    """Every indexed instance has its file, complete; the number of instances."""
    with contextlib.closing(sqlite3.connect(root / INDEX)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows = db.execute("SELECT file, size, sha256 FROM instances").fetchall()
    for file, size, digest in rows:
        content = (root / "instances" / file[:2] / f"{file}.dcm").read_bytes()
        assert len(content) == size
        assert hashlib.sha256(content).digest() == digest
    return len(rows)


def test_a_kill_leaves_every_indexed_instance_whole(
    tmp_path: Path, open_emulator: Any, template: Path
) -> None:
    root = tmp_path / "root"
    with open_emulator(root) as client:
        client.prepare()
    answered = 0
    for prefix in (1, 2):
        process = writer(root, template, prefix, 100_000)
        assert process.stdout is not None
        for _ in range(12 + 5 * prefix):
            answered += bool(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert answered == 39
    with open_emulator(root) as client:
        found = check_files(root)
        assert found >= answered
        rows = client.get(WEB + "/instances?limit=50000").json()
        assert len(rows) == found
        metrics = client.get(WEB.removesuffix("/dicomWeb") + ":getDICOMStoreMetrics").json()
        assert metrics["instanceCount"] == str(found)
        # what was answered is there, and what was under way can simply be sent again
        body = template.read_bytes().replace(b"1.1.9.99999", b"1.1.2.10000")
        assert client.stow([body]).status_code == 200


def test_two_processes_write_while_a_third_reads(
    tmp_path: Path, open_emulator: Any, template: Path
) -> None:
    root = tmp_path / "root"
    with open_emulator(root) as client:
        client.prepare()
        writers = [writer(root, template, prefix, 25) for prefix in (1, 2)]
        while any(process.poll() is None for process in writers):
            assert client.get(WEB + "/instances?limit=50000").status_code in {200, 204}
        for process in writers:
            _, errors = process.communicate()
            assert (process.returncode, errors) == (0, "")
        assert len(client.get(WEB + "/instances").json()) == 50
        assert check_files(root) == 50


def test_many_open_a_new_folder_at_once(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from dicomsql.emulator.folder import Folder;"
        "Folder(pathlib.Path(sys.argv[1])).close()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "new")]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    assert [(p.communicate()[1], p.returncode) for p in processes] == [("", 0)] * 4


# What a folder of version 1 had in another way than one of now.
FIRST = """
DROP TABLE units;
DROP TABLE operations;
CREATE TABLE operations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    dataset_id INTEGER NOT NULL REFERENCES datasets ON DELETE CASCADE,
    name TEXT NOT NULL, version TEXT NOT NULL, method TEXT NOT NULL,
    created REAL NOT NULL, due REAL NOT NULL, cancelled REAL,
    units INTEGER NOT NULL, response TEXT NOT NULL,
    store_id INTEGER, study TEXT, series TEXT,
    UNIQUE (dataset_id, name));
INSERT INTO operations SELECT 1, id, '71', 'v1', 'Create', 1e9, 1e9, NULL, 0, '{"x": 1}', NULL,
    NULL, NULL FROM datasets;
INSERT INTO operations SELECT 2, id, '72', 'v1', 'Delete', 1e9, 9e9, NULL, 3, '{}', 1, '1', NULL
    FROM datasets;
INSERT INTO operations SELECT 3, id, '73', 'v1', 'Delete', 1e9, 9e9, 1.5e9, 3, '{}', 1, '1', NULL
    FROM datasets;
ALTER TABLE instances DROP COLUMN storage_class;
ALTER TABLE instances DROP COLUMN storage_class_time;
ALTER TABLE instances DROP COLUMN operation_id;
DROP INDEX studies_by_physician;
DROP INDEX studies_by_tokens;
DROP INDEX series_by_modality;
DROP TABLE untold;
PRAGMA user_version = 1;
"""
SECOND = "DROP TABLE untold; PRAGMA user_version = 2"


def test_a_folder_of_version_1_is_brought_up(
    tmp_path: Path, open_emulator: Any, make_dicom: Any
) -> None:
    content = make_dicom("1", "1.1", "1.1.1")
    with open_emulator(tmp_path) as client:
        client.prepare()
        client.stow([content])
    with contextlib.closing(sqlite3.connect(tmp_path / INDEX)) as db:
        db.executescript(FIRST)
    with open_emulator(tmp_path) as client:
        operations = client.get(DATASET + "/operations").json()["operations"]
        assert [operation["done"] for operation in operations] == [True] * 3
        assert operations[0]["response"] == {"x": 1}
        assert operations[1]["metadata"]["counter"] == {"success": "3"}
        assert operations[2]["error"]["code"] == 1
        info = client.get(WEB + "/studies/1/series/1.1/instances/1.1.1:getStorageInfo").json()
        assert info["blobStorageInfo"]["storageClass"] == "STANDARD"
        assert client.stow([content]).status_code == 200
        assert client.ended(client.delete(WEB + "/studies/1").json())["done"] is True
        assert client.get(WEB + "/studies").status_code == 204
    Folder(tmp_path / "new").close()
    assert schema(tmp_path) == schema(tmp_path / "new")


def schema(root: Path) -> dict[str, set[str]]:
    """The columns of the tables, and the indices, by their names."""
    with contextlib.closing(sqlite3.connect(root / INDEX)) as db:
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_master")]
        return {
            name: {column[1] for column in db.execute(f"PRAGMA table_info({name})")}
            for name in names
        }


def test_a_folder_of_version_2_is_brought_up(tmp_path: Path) -> None:
    for root in (tmp_path / "old", tmp_path / "new"):
        Folder(root).close()
    with contextlib.closing(sqlite3.connect(tmp_path / "old" / INDEX)) as db:
        db.executescript(SECOND)
    Folder(tmp_path / "old").close()
    assert schema(tmp_path / "old") == schema(tmp_path / "new")


class TestRefused:
    def refused(self, root: Path) -> str:
        before = {p: p.read_bytes() for p in root.rglob("*") if p.is_file()}
        with pytest.raises(EmulatorError) as caught:
            create_app(root)
        after = {p: p.read_bytes() for p in root.rglob("*") if p.is_file()}
        assert after == before
        return str(caught.value)

    def test_a_folder_with_other_things(self, tmp_path: Path) -> None:
        (tmp_path / "thesis.txt").write_text("precious")
        assert "thesis.txt" in self.refused(tmp_path)

    def test_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "f").write_text("x")
        assert "cannot be used" in self.refused(tmp_path / "f")
        assert "cannot be used" in self.refused(tmp_path / "f" / "below")

    def test_an_index_that_is_no_database(self, tmp_path: Path) -> None:
        (tmp_path / INDEX).write_bytes(b"garbage" * 1000)
        assert "restore it from a backup" in self.refused(tmp_path)

    def test_the_database_of_another_program(self, tmp_path: Path) -> None:
        db = sqlite3.connect(tmp_path / INDEX)
        db.execute("CREATE TABLE other (x)")
        db.close()
        assert "another program" in self.refused(tmp_path)

    def test_a_newer_version(self, tmp_path: Path) -> None:
        Folder(tmp_path).close()
        db = sqlite3.connect(tmp_path / INDEX)
        db.execute("PRAGMA user_version = 99")
        db.execute("PRAGMA journal_mode = DELETE")
        db.close()
        assert "version 99" in self.refused(tmp_path)

    def test_a_missing_table(self, tmp_path: Path) -> None:
        Folder(tmp_path).close()
        db = sqlite3.connect(tmp_path / INDEX)
        db.execute("DROP TABLE garbage")
        db.commit()
        db.close()
        assert "damaged" in self.refused(tmp_path)

    @pytest.mark.parametrize("empty", ["file", "database"])
    def test_an_index_that_was_emptied(
        self, tmp_path: Path, open_emulator: Any, make_dicom: Any, empty: str
    ) -> None:
        with open_emulator(tmp_path) as client:
            client.prepare()
            client.stow([make_dicom()])
        (tmp_path / INDEX).write_bytes(b"")
        if empty == "database":
            db = sqlite3.connect(tmp_path / INDEX)
            db.execute("VACUUM")
            db.execute("PRAGMA user_version = 1")
            db.close()
        assert "damaged" in self.refused(tmp_path)

    def test_missing_instances(self, tmp_path: Path, open_emulator: Any, make_dicom: Any) -> None:
        with open_emulator(tmp_path / "root") as client:
            client.prepare()
            client.stow([make_dicom()])
        (tmp_path / "root" / "instances").rename(tmp_path / "elsewhere")
        assert "damaged" in self.refused(tmp_path / "root")

    def test_one_that_cannot_be_written_to(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "access", lambda *_: False)
        with pytest.raises(EmulatorError, match="not writable"):
            Folder(tmp_path / "new")


def test_an_index_damaged_while_it_is_served(
    tmp_path: Path, open_emulator: Any, make_dicom: Any
) -> None:
    with open_emulator(tmp_path / "root") as client:
        client.prepare()
        with sqlite3.connect(tmp_path / "root" / INDEX) as db:
            db.execute("DROP TABLE metadata")
        db.close()
        error = client.stow([make_dicom()]).json()["error"]
        assert (error["code"], error["status"]) == (503, "UNAVAILABLE")
        assert client.get(WEB + "/studies").status_code == 204


def test_a_closed_folder_answers_that_it_is_closed(tmp_path: Path, open_emulator: Any) -> None:
    folder = Folder(tmp_path)
    with folder.read() as db:
        folder.close()
        assert db.execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(EmulatorError, match="closed"), folder.read():
        pass
    with open_emulator(tmp_path) as client:
        assert client.get(WEB + "/studies").json()["error"]["code"] == 403


def test_what_nobody_refers_to_is_swept_once_it_is_old(
    tmp_path: Path, open_emulator: Any, make_dicom: Any
) -> None:
    root = tmp_path / "root"
    with open_emulator(root) as client:
        client.prepare()
        client.stow([make_dicom()])
    (kept,) = root.rglob("*.dcm")
    orphan, young, upload = kept.with_name("o.dcm"), kept.with_name("y.dcm"), root / "incoming/u"
    for path in (orphan, young, upload):
        path.write_bytes(b"x")
    old = time.time() - 10 * 24 * 3600
    for path in (kept, orphan, upload):
        os.utime(path, (old, old))
    folder = Folder(root)
    folder.sweep()
    folder.close()
    assert [path.exists() for path in (kept, orphan, young, upload)] == [True, False, True, False]


def test_the_files_of_a_delete_that_was_killed_go_at_the_next_start(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    with folder.incoming() as (path, stream):
        stream.write(b"x")
    file = folder.admit(path)
    with folder.write() as db:
        db.execute("INSERT INTO garbage VALUES (?)", (file,))
    folder.close()
    Folder(tmp_path).close()
    assert not folder.path(file).exists()


def test_an_upload_that_fails_leaves_nothing(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    with pytest.raises(ZeroDivisionError), folder.incoming():
        raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError), folder.write() as db:
        db.execute("INSERT INTO garbage VALUES ('x')")
        raise ZeroDivisionError
    folder.close()
    assert not list((tmp_path / "incoming").iterdir())
    with contextlib.closing(sqlite3.connect(tmp_path / INDEX)) as db:
        assert db.execute("SELECT * FROM garbage").fetchall() == []


class FullDisk:
    """A folder's `write`, on a disk that is full while the reserve is there."""

    def __init__(self, root: Path) -> None:
        self.root, self.write = root, Folder.write

    @contextlib.contextmanager
    def __call__(self, folder: Folder) -> Any:
        if (self.root / RESERVE).exists():
            with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
                db.execute("PRAGMA max_page_count = 2")
                db.execute("CREATE TABLE full (x)")
                db.execute("INSERT INTO full VALUES (zeroblob(100000))")
        with self.write(folder) as db:
            yield db


def test_a_full_disk_is_said_and_can_be_emptied(
    emulator: Any, make_dicom: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.stow([make_dicom("1", "1.1", "1.1.1"), make_dicom("2", "2.1", "2.1.1")])
    full = FullDisk(tmp_path / "root")
    with monkeypatch.context() as patched:
        patched.setattr(Folder, "write", lambda self: full(self))  # noqa: PLW0108 - bound
        patched.setattr(Folder, "_reserve", lambda _: None)
        answer = emulator.stow([make_dicom("3")])
        assert answer.status_code == 503
        assert "is full, and nothing was stored" in answer.json()["error"]["message"]
        done = emulator.ended(emulator.delete(WEB + "/studies/1").json())
        assert "response" in done
    Folder(tmp_path / "root").close()
    assert (tmp_path / "root" / RESERVE).exists(), "room is kept again once there is some"
    with monkeypatch.context() as patched:
        patched.setattr(Folder, "write", lambda self: full(self))  # noqa: PLW0108 - bound
        assert emulator.delete(WEB.removesuffix("/dicomWeb")).status_code == 200
    with monkeypatch.context() as patched:

        def no_room(_: object, __: object) -> Any:
            raise OSError(28, "No space left on device")

        emulator.post(DATASET + "/dicomStores?dicomStoreId=s")
        patched.setattr(Folder, "admit_all", no_room)
        answer = emulator.stow([make_dicom("3")])
        assert answer.status_code == 503
        assert answer.json()["error"]["status"] == "UNAVAILABLE"
    assert not list((tmp_path / "root" / "incoming").iterdir())
