"""COPY of real files into the emulator: in this process, and as a server of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from storing_bench import dicom, write

from dicomsql.config import Settings
from dicomsql.session import Session

FILES = Path(pydicom.__file__).parent / "data" / "test_files"
PLACE = {"project": "p", "location": "us-central1", "dataset": "d", "dicom_store": "s"}
_SERVER = """
import pathlib, sys
from dicomsql.emulator.server import serve
serve(pathlib.Path(sys.argv[1]), ready=lambda url: print(url, flush=True))
"""

Run = Callable[..., list[dict[str, Any]]]


@pytest.fixture(params=["in process", "server"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Run]:
    """Runs a statement over an empty store; gives its rows."""
    root = tmp_path / "emulator"
    if request.param == "in process":
        yield from _session(Settings(local=root, **PLACE))
        return
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(root)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield from _session(Settings(endpoint=process.stdout.readline().strip(), **PLACE))
    finally:
        process.terminate()
        process.communicate()


def _session(settings: Settings) -> Iterator[Run]:
    with Session(settings, consent=lambda _: True) as session:

        def run(sql: str) -> list[dict[str, Any]]:
            rows: list[dict[str, Any]] = []
            for statement in session.parse(sql):
                result = session.execute(statement)
                rows = [row for batch in result.batches() for row in batch.to_pylist()]
            return rows

        run("INSERT INTO google.healthcare.datasets (datasetId) SELECT 'd'")
        run("INSERT INTO google.healthcare.dicom_stores (dicomStoreId) SELECT 's'")
        yield run


def test_real_files_go_in_and_are_there_byte_for_byte(run: Run) -> None:
    """pydicom's own files: what is whole goes in, what is not is a row that says why."""
    rows = run(f"COPY google.healthcare.instances FROM '{FILES}/*.dcm' (journal 'off')")
    paths = {row["path"] for row in rows}
    assert paths == {str(path) for path in FILES.glob("*.dcm")}
    stored = [row for row in rows if row["status"] == "stored"]
    failed = [row for row in rows if row["status"] == "failed"]
    assert len(stored) > 30
    assert all(row["reason"] for row in failed)
    there = run("SELECT SOPInstanceUID FROM google.healthcare.instances")
    assert sorted(row["SOPInstanceUID"] for row in there) == sorted(
        row["SOPInstanceUID"] for row in stored
    )
    again = run(f"COPY google.healthcare.instances FROM '{FILES}/CT_*.dcm' (journal 'off')")
    assert {row["status"] for row in again} == {"stored"}


def test_conflicts_are_settled_as_asked(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write(folder, a=dicom("1.2", "1.2.1", "1.2.1.1"), b=dicom("1.3", "1.3.1", "1.3.1.1"))
    copy = f"COPY google.healthcare.instances FROM '{folder}'"
    assert {row["status"] for row in run(copy)} == {"stored"}
    write(folder, a=dicom("1.2", "1.2.1", "1.2.1.1", "renamed"))

    def statuses(conflict: str) -> list[str]:
        rows = run(f"{copy} (on_conflict '{conflict}') RETURNING path, status")
        return [row["status"] for row in sorted(rows, key=lambda row: row["path"])]

    def patient() -> str:
        (row,) = run(
            "SELECT PatientID FROM google.healthcare.instances WHERE SOPInstanceUID = '1.2.1.1'"
        )
        return str(row["PatientID"])

    assert statuses("fail") == ["failed", "present"]
    assert statuses("skip") == ["skipped", "present"]
    assert patient() == "a"
    assert statuses("replace") == ["replaced", "present"]
    assert patient() == "renamed"
    assert statuses("fail") == ["present", "present"]


def test_a_request_that_is_broken_off_leaves_nothing_behind(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file turns bad in the middle of its sending; the others of its request go on without."""
    from dicomsql.copying import storing
    from dicomsql.copying.upload import PartError

    real = storing._pieces

    def pieces(file: Any) -> Iterator[bytes]:
        for piece in real(file):
            if file.name.endswith("f5.dcm"):
                yield piece[:100_000]
                raise PartError("its disk is broken")
            yield piece

    monkeypatch.setattr(storing, "_pieces", pieces)
    folder = tmp_path / "in"
    files = {f"f{n}": dicom("1.2", "1.2.1", f"1.2.1.{n}", padding=200_000) for n in range(10)}
    write(folder, **files)
    rows = run(
        f"COPY google.healthcare.instances FROM '{folder}' (journal 'off') "
        "RETURNING path, status, reason"
    )
    found = {row["path"][-6:-4]: (row["status"], row["reason"]) for row in rows}
    assert found.pop("f5") == ("failed", "its disk is broken")
    assert {status for status, _ in found.values()} == {"stored"}
    assert len(found) == 9
    there = run("SELECT SOPInstanceUID FROM google.healthcare.instances ORDER BY 1")
    assert [r["SOPInstanceUID"][-1] for r in there] == list("012346789")
