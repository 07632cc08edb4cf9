"""DELETE by conditions on typed attributes, on the emulator: what is meant goes, nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import UID

from dicomsql.config import Settings
from dicomsql.errors import DataError
from dicomsql.session import Session

FILE = Path(pydicom.__file__).parent / "data" / "test_files" / "CT_small.dcm"
STUDIES = "google.healthcare.studies"
SETUP = """
    INSERT /*+ AWAIT */ INTO google.healthcare.datasets (datasetId) SELECT 'd';
    INSERT INTO google.healthcare.dicom_stores (dicomStoreId) SELECT 's'
"""
STORE = "EXEC google.healthcare.dicom_stores.store_instances @dicomStoresId = 's' @@file = ?"


class Archive:
    """A store of studies that differ in their date; each is named by its number."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.session = Session(
            Settings(
                local=folder / "root",
                project="p",
                location="us-central1",
                dataset="d",
                dicom_store="s",
                await_operations=True,
            )
        )
        self.run(SETUP)

    def run(self, sql: str, parameters: list[str] | None = None) -> list[tuple[object, ...]]:
        rows: list[tuple[object, ...]] = []
        for statement in self.session.parse(sql):
            result = self.session.execute(statement, parameters)
            rows = [tuple(r.values()) for b in result.batches() for r in b.to_pylist()]
        return rows

    def store(self, number: int, date: str | None) -> None:
        made = pydicom.dcmread(FILE)
        made.StudyInstanceUID = UID(f"1.2.3.{number}")
        made.SeriesInstanceUID = UID(f"1.2.3.{number}.1")
        made.SOPInstanceUID = UID(f"1.2.3.{number}.1.1")
        made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
        del made.StudyDate
        if date is not None:
            # As it is: what a modality wrote wrongly is stored too.
            made.add(pydicom.DataElement(0x00080020, "DA", date, validation_mode=0))
        path = self._folder / f"{number}.dcm"
        made.save_as(path)
        self.run(STORE, [str(path)])

    @property
    def left(self) -> list[int]:
        found = self.run(f"SELECT studiesId FROM {STUDIES} ORDER BY 1")
        return [int(str(uid).rsplit(".", 1)[1]) for (uid,) in found]


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    made = Archive(tmp_path)
    for number, date in enumerate(("20200101", "20210101", None)):
        made.store(number, date)
    yield made
    made.session.close()


@pytest.mark.parametrize(
    ("condition", "left"),
    [
        ("StudyDate = DATE '2020-01-01'", [1, 2]),
        ("StudyDate < DATE '2021-01-01'", [1, 2]),
        ("StudyDate IS NULL", [0, 1]),
        ("StudyDate > DATE '2020-06-01' AND PatientID = '1CT1'", [0, 2]),
        ("StudyDate > DATE '2020-06-01' AND PatientID = 'else'", [0, 1, 2]),
    ],
)
def test_what_the_condition_names_is_deleted(
    archive: Archive, condition: str, left: list[int]
) -> None:
    archive.run(f"DELETE FROM {STUDIES} WHERE {condition}")
    assert archive.left == left


@pytest.mark.parametrize("condition", ["StudyDate < DATE '2025-01-01'", "StudyDate IS NULL"])
def test_a_date_that_is_none_stops_the_statement(archive: Archive, condition: str) -> None:
    archive.store(3, "2022.13.99")
    with pytest.raises(DataError, match=r"1 row .* has a StudyDate that is no value of its type"):
        archive.run(f"DELETE FROM {STUDIES} WHERE {condition}")
    assert archive.left == [0, 1, 2, 3]
