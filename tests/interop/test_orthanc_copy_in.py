"""COPY of files into a real Orthanc, which says "stored" to everything and keeps the old bytes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orthanc
import pytest
from storing_bench import dicom, write

from dicomsql.config import Settings
from dicomsql.errors import NotSupportedError
from dicomsql.session import Session

pytestmark = pytest.mark.interop

STUDY, SERIES = "1.2.3.4", "1.2.3.4.1"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[orthanc.Orthanc]:
    orthanc.need()
    with orthanc.running(tmp_path_factory.mktemp("orthanc-in")) as running:
        yield running


def run(server: orthanc.Orthanc, sql: str) -> list[dict[str, Any]]:
    """The rows of a statement."""
    with Session(Settings(endpoint=server.url), consent=lambda _: True) as session:
        for statement in session.parse("USE dicomweb.orthanc"):
            session.execute(statement)
        (statement,) = session.parse(sql)
        result = session.execute(statement)
        return [row for batch in result.batches() for row in batch.to_pylist()]


def statuses(rows: list[dict[str, Any]]) -> list[str]:
    return [row["status"] for row in sorted(rows, key=lambda row: row["path"])]


def file_of(server: orthanc.Orthanc, instance: str) -> bytes:
    """What Orthanc has, through its own API."""
    with httpx.Client(base_url=server.root, trust_env=False) as client:
        (found,) = client.post("/tools/lookup", content=instance).raise_for_status().json()
        return client.get(f"/instances/{found['ID']}/file").raise_for_status().content


def test_files_go_in_once_and_conflicts_are_seen(server: orthanc.Orthanc, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    files = {f"f{n:02}": dicom(STUDY, SERIES, f"{SERIES}.{n}", padding=1000) for n in range(1, 41)}
    write(folder, **files)
    copy = f"COPY instances FROM '{folder}'"
    assert statuses(run(server, copy)) == ["stored"] * 40
    assert file_of(server, f"{SERIES}.7") == files["f07"]
    # Without the journal, it is Orthanc that tells.
    assert statuses(run(server, f"{copy} (journal 'off')")) == ["present"] * 40
    write(folder, f01=dicom(STUDY, SERIES, f"{SERIES}.1", "other"))
    write(folder, f41=dicom(STUDY, SERIES, f"{SERIES}.41"))
    for conflict, status in (("skip", "skipped"), ("fail", "failed")):
        found = statuses(run(server, f"{copy} (journal 'off', on_conflict '{conflict}')"))
        assert found[:2] == [status, "present"]
        assert found[-1] == ("stored" if conflict == "skip" else "present")
    assert file_of(server, f"{SERIES}.1") == files["f01"]


def test_what_it_cannot_do_is_said_before_anything_is_sent(
    server: orthanc.Orthanc, tmp_path: Path
) -> None:
    """Orthanc neither overwrites nor deletes over DICOMweb."""
    write(tmp_path / "in", a=dicom("1.9", "1.9.1", "1.9.1.1"))
    with pytest.raises(NotSupportedError):
        run(server, f"COPY instances FROM '{tmp_path / 'in'}' (on_conflict 'replace')")
