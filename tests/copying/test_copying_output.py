"""EXEC ... @@output: what a method retrieves becomes files, by the code of COPY ... TO."""

from __future__ import annotations

import stat
from pathlib import Path

import pydicom
import pytest

from dicomsql.errors import OperationalError
from dicomsql.session import Session

FILES = Path(pydicom.__file__).parent / "data" / "test_files"


def test_a_study_is_written_to_a_folder(filled: Session, tmp_path: Path) -> None:
    original = FILES / "CT_small.dcm"
    study = pydicom.dcmread(original, specific_tags=["StudyInstanceUID"]).StudyInstanceUID
    (retrieve,) = filled.parse(
        "EXEC google.healthcare.studies_study.retrieve_study @studiesId = ? @@output = ? "
        "RETURNING path, status, bytes"
    )

    def run() -> list[dict[str, object]]:
        result = filled.execute(retrieve, [study, str(tmp_path / "out")])
        assert result.failure is None
        return [row for batch in result.batches() for row in batch.to_pylist()]

    (row,) = run()
    written = Path(str(row["path"]))
    assert written.is_relative_to(tmp_path / "out")
    assert written.read_bytes() == original.read_bytes()
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert (row["status"], row["bytes"]) == ("retrieved", original.stat().st_size)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert [r["status"] for r in run()] == ["present"]
    written.write_bytes(b"other")
    failed = filled.execute(retrieve, [study, str(tmp_path / "out")])
    assert isinstance(failed.failure, OperationalError)
    failed.close()
    assert written.read_bytes() == b"other"


def test_a_study_that_is_not_there_is_no_empty_success(filled: Session, tmp_path: Path) -> None:
    (retrieve,) = filled.parse(
        "EXEC google.healthcare.studies_study.retrieve_study @studiesId = '1.2.3' @@output = ?"
    )
    with pytest.raises(OperationalError) as raised:
        result = filled.execute(retrieve, [str(tmp_path / "out")])
        if result.failure is not None:
            raise result.failure
    assert "1.2.3" not in str(raised.value)


def test_a_folder_into_which_nothing_came_is_not_left(filled: Session, tmp_path: Path) -> None:
    (retrieve,) = filled.parse(
        "EXEC google.healthcare.studies_study.retrieve_study @studiesId = '1.2.3' @@output = ?"
    )
    above = tmp_path / "a" / "b" / "out"
    filled.execute(retrieve, [str(above)]).close()
    assert list(tmp_path.iterdir()) == []
    # One that was there, empty or not, stays.
    above.mkdir(parents=True)
    filled.execute(retrieve, [str(above)]).close()
    assert above.is_dir()
    # Nor does a COPY leave any, or a journal that says nothing.
    (copy,) = filled.parse(
        "COPY (SELECT '1.2.3' AS StudyInstanceUID) TO ? "
        "(FORMAT dicom, source 'google.healthcare.instances')"
    )
    filled.execute(copy, [str(tmp_path / "new" / "out")]).close()
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
