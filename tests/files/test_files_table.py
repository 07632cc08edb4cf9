"""Local files as a table: here and in processes, and that each column stands for itself."""

from __future__ import annotations

import hashlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dicomsql.dicom.columns import AttributeColumn, column
from dicomsql.dicom.skim import choose
from dicomsql.errors import CancelledError
from dicomsql.files import workers
from dicomsql.files.find import LocalFile, find
from dicomsql.files.table import Fact, FileTable
from dicomsql.files.work import Task, work
from dicomsql.files.workers import Workers

KEYWORDS = ("SOPInstanceUID", "PatientName", "StudyDate", "Rows", "PixelSpacing", "ImageType")


def table(
    files: Sequence[LocalFile], *columns: str, patience: float = 60.0, **options: Any
) -> FileTable:
    found: list[AttributeColumn | Fact] = []
    for name in columns:
        attribute = column(name)
        found.append(attribute if attribute is not None else Fact(name))
    return FileTable(files, found, columns, patience=patience, **options)


def rows(made: FileTable) -> list[dict[str, Any]]:
    return pa.Table.from_batches(made.batches(), made.schema).to_pylist()


@pytest.fixture(scope="module")
def files(dicom_files: Path) -> list[LocalFile]:
    return list(find([str(dicom_files)]))


def test_each_column_is_what_the_file_alone_makes_it(files: list[LocalFile]) -> None:
    names = (*KEYWORDS, "path", "size", "digest", "error")
    together = rows(table(files, *names))
    assert len(together) == len(files)
    for name in names:
        alone = rows(table(files, name))
        assert [row[name] for row in alone] == [row[name] for row in together], name


def test_the_values(files: list[LocalFile], dicom_files: Path) -> None:
    made = table(files, "PatientName", "TransferSyntaxUID", "path", "size", "digest", "error")
    found = {Path(row["path"]).name: row for row in rows(made)}
    path = dicom_files / "CT_small.dcm"
    assert found["CT_small.dcm"] == {
        "PatientName": "CompressedSamples^CT1",
        "TransferSyntaxUID": "1.2.840.10008.1.2.1",
        "path": str(path),
        "size": path.stat().st_size,
        "digest": hashlib.sha256(path.read_bytes()).hexdigest(),
        "error": None,
    }
    assert found["README.txt"]["error"].startswith("no DICM prefix")
    assert found["README.txt"]["PatientName"] is None
    assert found["README.txt"]["digest"]
    # Its pixels are cut off; what stands before them does not.
    assert found["MR_truncated.dcm"]["PatientName"] == "CompressedSamples^MR1"
    assert "longer than" in found["MR_truncated.dcm"]["error"]


def test_columns_of_whole_datasets(files: list[LocalFile]) -> None:
    small = [file for file in files if file.name.endswith("/CT_small.dcm")]
    (row,) = rows(table(small, "dataset", "dropped", "private:GEMS_IDEN_01:0009:01"))
    assert '"7FE00010":{"vr":"OW","BulkDataURI":"file:///' in row["dataset"]
    assert '"00020010"' not in row["dataset"]
    assert row["dropped"] == "[]"
    assert row["private:GEMS_IDEN_01:0009:01"] == "GE_GENESIS_FF"


def test_files_with_problems_are_rows(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("nowhere")
    made = table(list(find([str(tmp_path)])), "SOPInstanceUID", "path", "size", "digest", "error")
    assert rows(made) == [
        {
            "SOPInstanceUID": None,
            "path": f"{tmp_path}/a",
            "size": None,
            "digest": None,
            "error": "it is a link to something that is not there",
        }
    ]
    assert made.problems == 1


def test_nothing_is_opened_where_nothing_is_asked_for(
    files: list[LocalFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> int:
        raise AssertionError

    monkeypatch.setattr(os, "open", failing)
    assert len(rows(table(files, "path", "size"))) == len(files)


def test_processes_give_the_same_rows_and_end(files: list[LocalFile]) -> None:
    many = files * 3
    names = (*KEYWORDS, "path", "digest", "error")
    expected = rows(table(many, *names))
    made = table(many, *names, patience=-1.0)
    assert rows(made) == expected
    assert made.problems == sum(row["error"] is not None for row in expected)


def test_processes_end_with_those_who_want_no_more(files: list[LocalFile]) -> None:
    made = table(files * 20, *KEYWORDS, patience=-1.0)
    batches = made.batches()
    for _ in range(3):
        next(batches)
    started = made._workers
    assert started is not None
    processes = list(started._processes)
    batches.close()
    assert all(process.poll() is not None for process in processes)


def test_a_check_ends_the_reading(files: list[LocalFile]) -> None:
    calls = iter(range(100))

    def check() -> None:
        if next(calls) == 4:
            raise CancelledError("The statement was cancelled.")

    made = table(files * 20, *KEYWORDS, patience=-1.0, check=check)
    with pytest.raises(CancelledError):
        rows(made)


@pytest.mark.parametrize("patience", [-1.0, 60.0])
def test_another_thread_may_end_the_reading(files: list[LocalFile], patience: float) -> None:
    made = table(files * 20, *KEYWORDS, patience=patience)
    batches = made.batches()
    next(batches)
    started = made._workers
    processes = list(started._processes) if started is not None else []
    made.close()
    with pytest.raises(CancelledError):
        list(batches)
    assert all(process.poll() is not None for process in processes)
    if started is not None:
        with pytest.raises(CancelledError):
            started.submit(Task(None, checked=True, digest=False), files)


def test_what_a_process_that_was_killed_had_to_do_is_done(files: list[LocalFile]) -> None:
    task = Task(choose(["00080018"]), checked=True, digest=True)
    pool = Workers(1)
    try:
        assert pool.submit(task, files[:5]).result() == work(task, files[:5])
        (process,) = pool._processes
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert pool.submit(task, files[:5]).result() == work(task, files[:5])
    finally:
        pool.close()
    pool.close()


@pytest.mark.parametrize("program", ["", "/opt/viewer", "/nowhere/python3"])
def test_a_program_that_is_no_python_reads_by_itself(
    files: list[LocalFile], monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    monkeypatch.setattr(workers.sys, "executable", program)
    task = Task(choose(["00080018"]), checked=False, digest=False)
    pool = Workers(2)
    try:
        assert pool.submit(task, files[:5]).result() == work(task, files[:5])
        assert not pool._processes
    finally:
        pool.close()


_UNGUARDED = """
import sys
from dicomsql.dicom.columns import column
from dicomsql.files.find import find
from dicomsql.files.table import FileTable
print("begun", flush=True)
files = list(find(sys.argv[1:])) * 20
table = FileTable(files, [column("SOPInstanceUID")], ["uid"], patience=-1.0)
batches = table.batches()
first = [next(batches) for _ in range(2)]
print([process.pid for process in table._workers._processes], flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="waits for processes as Linux can")
def test_processes_run_no_script_again_and_outlive_nobody(dicom_files: Path) -> None:
    command = [sys.executable, "-c", _UNGUARDED, str(dicom_files)]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        pids = [int(pid) for pid in process.stdout.readline().strip("[]\n").split(",")]
        assert pids
        process.kill()
    assert all(map(has_ended, pids))


def has_ended(pid: int) -> bool:
    """Wait until a process has ended, though not for ever."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], 20)[0])
    finally:
        os.close(descriptor)


def test_an_archive_is_read_in_processes_too(tmp_path: Path, make: Callable[..., bytes]) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(300):
            archive.writestr(f"{number:03}", make(f"1.2.{number}"))
    found = rows(table(list(find([str(tmp_path)])), "SOPInstanceUID", "error", patience=-1.0))
    assert found == [{"SOPInstanceUID": f"1.2.{n}", "error": None} for n in range(300)]
