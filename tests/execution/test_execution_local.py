"""read_dicom, through a session: the same values as a search gives, and what is told besides."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pydicom
import pytest

from dicomsql.errors import InterfaceError
from dicomsql.session import Session


@pytest.fixture(scope="module")
def paths(stored_files: tuple[Path, ...]) -> str:
    """A list of SQL."""
    return "[" + ", ".join(f"'{path}'" for path in stored_files) + "]"


def rows(session: Session, text: str) -> list[tuple[Any, ...]]:
    (statement,) = session.parse(text)
    found: list[tuple[Any, ...]] = []
    for batch in session.execute(statement).batches():
        found += zip(*(column.to_pylist() for column in batch.columns), strict=True)
    return found


def notes(session: Session, text: str) -> list[str]:
    (statement,) = session.parse(text)
    result = session.execute(statement)
    list(result.batches())
    return list(result.statistics.notes)


def test_the_values_are_those_of_a_search(
    filled: Session, stored_files: tuple[Path, ...], paths: str
) -> None:
    keywords: dict[str, None] = {}
    for path in stored_files:
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        keywords |= {e.keyword: None for e in dataset if e.keyword and e.VR not in ("OB", "OW")}
    # A store does not return what only describes how the file is written.
    keywords.pop("SpecificCharacterSet")
    # Its samples are binary, and told by an address: that of the file, or of the store.
    keywords.pop("WaveformSequence")
    columns = ", ".join(sorted(keywords))
    files = rows(filled, f"SELECT {columns} FROM read_dicom({paths}) ORDER BY SOPInstanceUID")
    stored = rows(
        filled, f"SELECT {columns} FROM google.healthcare.instances ORDER BY SOPInstanceUID"
    )
    assert len(keywords) > 100
    for name, here, there in zip(
        sorted(keywords), zip(*files, strict=True), zip(*stored, strict=True), strict=True
    ):
        assert here == there, name


def test_what_is_not_in_the_store(filled: Session, dicom_files: Path) -> None:
    found = rows(
        filled,
        f"SELECT path FROM read_dicom('{dicom_files}/[CJ]*.dcm')"
        " ANTI JOIN google.healthcare.instances USING (SOPInstanceUID) ORDER BY path",
    )
    names = [Path(path).name for (path,) in found]
    assert "JPEG2000.dcm" in names
    assert "CT_small.dcm" not in names


def test_files_that_could_not_be_read_are_told(
    filled: Session, tmp_path: Path, dicom_files: Path
) -> None:
    (tmp_path / "a.txt").write_text("no DICOM")
    (tmp_path / "b.dcm").write_bytes((dicom_files / "CT_small.dcm").read_bytes())
    source = f"read_dicom('{tmp_path}')"
    assert rows(filled, f"SELECT path, Modality FROM {source}") == [
        (f"{tmp_path}/a.txt", None),
        (f"{tmp_path}/b.dcm", "CT"),
    ]
    assert any("1 of the files" in note for note in notes(filled, f"SELECT Modality FROM {source}"))
    assert notes(filled, f"SELECT Modality, error FROM {source}") == []
    assert rows(filled, f"SELECT count(*) FROM {source}") == [(2,)]


def test_a_table_that_is_read_twice(
    filled: Session, stored_files: tuple[Path, ...], paths: str
) -> None:
    text = f"""
        WITH f AS (FROM read_dicom({paths}))
        SELECT count(*) FROM f a JOIN f b ON a.SOPInstanceUID = b.SOPInstanceUID
    """
    assert rows(filled, text) == [(len(stored_files),)]


def test_few_rows_of_many(filled: Session, dicom_files: Path) -> None:
    found = rows(filled, f"SELECT path FROM read_dicom('{dicom_files}/**') LIMIT 3")
    assert len(found) == 3


@pytest.mark.parametrize("path", ["nothing/*.dcm", "nothing.zip!/a"])
def test_nothing_matches(filled: Session, path: str) -> None:
    with pytest.raises(InterfaceError, match=f"No file matches '{re.escape(path)}'"):
        rows(filled, f"SELECT path FROM read_dicom('{path}')")
