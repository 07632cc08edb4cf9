"""COPY out of a real Orthanc, and from the emulator into it and back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import oracle_corpus
import orthanc
import pydicom
import pytest
from storing_bench import dicom

from dicomsql.config import Settings
from dicomsql.connections import Connection
from dicomsql.session import Session

pytestmark = pytest.mark.interop

FILES = Path(pydicom.__file__).parent / "data" / "test_files"
CT = "1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322"
# Instances of one study, the last of them larger than a megabyte.
MINE = [dicom("7", "7.1", f"7.1.{n}", padding=40_000 * n) for n in range(1, 31)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[orthanc.Orthanc]:
    """An Orthanc with a few instances."""
    orthanc.need()
    with orthanc.running(tmp_path_factory.mktemp("orthanc")) as running:
        assert running.store(everything()) == len(everything())
        yield running


@cache
def everything() -> list[bytes]:
    """What the server has."""
    return [*oracle_corpus.made(60), (FILES / "CT_small.dcm").read_bytes(), *MINE]


def copied(server: orthanc.Orthanc, sql: str) -> list[dict[str, Any]]:
    """The rows of a COPY; none of them failed."""
    with Session(Settings(endpoint=server.url)) as session:
        for statement in session.parse(f"USE dicomweb.orthanc; {sql}"):
            result = session.execute(statement)
            rows = [row for batch in result.batches() for row in batch.to_pylist()]
            assert result.failure is None, rows
    return rows


def digests(folder: Path) -> list[str]:
    return digests_of(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def digests_of(contents: Iterable[bytes]) -> list[str]:
    return sorted(hashlib.sha256(content).hexdigest() for content in contents)


@pytest.mark.parametrize("level", ["studies", "series", "instances"])
def test_what_went_in_comes_out(server: orthanc.Orthanc, tmp_path: Path, level: str) -> None:
    uids = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    count = ("studies", "series", "instances").index(level) + 1
    sql = f"""COPY (SELECT {", ".join(uids[:count])} FROM dicomweb.orthanc.{level})
              TO '{tmp_path}/out' (FORMAT dicom)"""
    rows = copied(server, sql)
    assert [row["status"] for row in rows] == ["retrieved"] * len(everything())
    assert digests(tmp_path / "out") == digests_of(everything())
    assert [row["status"] for row in copied(server, sql)] == ["present"] * len(everything())


def test_pictures(server: orthanc.Orthanc, tmp_path: Path) -> None:
    rows = copied(
        server,
        f"""COPY (SELECT StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID
                  FROM dicomweb.orthanc.instances WHERE SOPInstanceUID = '{CT}')
            TO '{tmp_path}/png' (FORMAT png, layout 'ct.png')""",
    )
    assert [row["status"] for row in rows] == ["retrieved"]
    assert (tmp_path / "png" / "ct.png").read_bytes().startswith(b"\x89PNG")


def test_from_one_to_another(server: orthanc.Orthanc, tmp_path: Path) -> None:
    with orthanc.running(tmp_path) as second:
        settings = Settings(
            connections={
                "a": Connection("a", "dicomweb.orthanc", server.url),
                "b": Connection("b", "dicomweb.orthanc", second.url),
            }
        )
        with Session(settings) as session:
            (statement,) = session.parse(
                """COPY dicomweb.b.instances
                   FROM (SELECT StudyInstanceUID FROM dicomweb.a.studies
                         WHERE StudyInstanceUID = '7') (batch_mb 1, parallel 3)"""
            )
            for status in ("stored", "present"):
                result = session.execute(statement)
                rows = [row for batch in result.batches() for row in batch.to_pylist()]
                assert [row["status"] for row in rows] == [status] * len(MINE), rows
        rows = copied(
            second,
            f"""COPY (SELECT StudyInstanceUID FROM dicomweb.orthanc.studies)
                TO '{tmp_path}/out' (FORMAT dicom, journal off)""",
        )
    assert digests(tmp_path / "out") == digests_of(MINE)
