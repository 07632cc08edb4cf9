"""A made-up hospital in the embedded emulator: what the questions of `questions.py` are asked of.

The same numbers give the same store, but for its dates, which end today. Pages are small, so that a
store of a few thousand instances has as many of them as a large one.
"""

from __future__ import annotations

import datetime
import importlib.resources
import io
import random
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from dicomsql.config import Settings, settings
from dicomsql.dicom.multipart import (
    OutgoingPart,
    multipart_content_type,
    multipart_writer,
    new_boundary,
)
from dicomsql.session import Session
from dicomsql.transport.base import Request
from dicomsql.transport.connect import LOCAL_BASE_URL, open_transport

PLACE = {"project": "p", "location": "us-central1", "dataset": "d", "dicom_store": "s"}
STORE = "/v1/projects/p/locations/us-central1/datasets/d/dicomStores/s/dicomWeb/studies"
# Results that one answer holds at most; the real service gives 5,000 and 50,000.
PAGE, INSTANCE_PAGE = 50, 500

_FAMILIES = ("Smith", "Smithers", "Jones", "Garcia", "Müller", "Okafor", "Tanaka", "Novák")
_MODALITIES = ("CT", "CT", "CT", "MR", "MR", "CR", "US", "PT")
_PATIENTS, _STUDIES, _TOGETHER = 60, 160, 200


@dataclass(frozen=True)
class Series:
    """A series, and what of its study the questions ask for."""

    patient: str
    name: str
    accession: str
    study: str
    series: str
    date: datetime.date
    modality: str
    instances: tuple[str, ...]


def hospital(today: datetime.date) -> list[Series]:
    """The series of the hospital, newest studies last."""
    chosen = random.Random(20)
    patients = [
        (f"P{number:04}", f"{chosen.choice(_FAMILIES)}^{chr(65 + number % 26)}")
        for number in range(_PATIENTS)
    ]
    found: list[Series] = []
    for number in range(_STUDIES):
        patient, name = patients[chosen.randrange(_PATIENTS)]
        study = f"2.25.1{number:06}"
        date = today - datetime.timedelta(days=6 * (_STUDIES - number))
        kinds = [chosen.choice(_MODALITIES)] * chosen.randint(1, 4)
        if number % 3:
            kinds.append("SR")
        for place, modality in enumerate(kinds):
            series = f"{study}.{place + 1}"
            count = 1 if modality == "SR" else chosen.randint(2, 9)
            uids = tuple(f"{series}.{instance + 1}" for instance in range(count))
            found.append(
                Series(patient, name, f"A{number:05}", study, series, date, modality, uids)
            )
    return found


def document(folder: Path) -> Path:
    """A registry whose searches give small pages, for `Settings.providers`."""
    provider = importlib.resources.files("dicomsql").joinpath("_provider")
    source = Path(str(provider))
    if not source.is_dir():
        source = Path(__file__).resolve().parents[1] / "provider"
    made = folder / "registry"
    shutil.copytree(source, made)
    for file in made.rglob("healthcare.yaml"):
        text = file.read_text("utf-8")
        text = re.sub(r"maxLimit: 50000\b", f"maxLimit: {INSTANCE_PAGE}", text)
        text = re.sub(r"maxLimit: 5000\b", f"maxLimit: {PAGE}", text)
        file.write_text(text, "utf-8")
    return made


def opened(folder: Path, series: list[Series]) -> Settings:
    """The settings of a session on an emulator in that folder, which holds the series."""
    made = settings({}, local=folder / "emulator", providers=document(folder), **PLACE)
    with Session(made) as session:
        script = """
            INSERT INTO google.healthcare.datasets (datasetId) SELECT 'd';
            INSERT INTO google.healthcare.dicom_stores (dicomStoreId) SELECT 's';
        """
        for statement in session.parse(script):
            session.execute(statement)
    with open_transport(made) as transport:
        files = [data for one in series for data in _files(one)]
        for start in range(0, len(files), _TOGETHER):
            boundary = new_boundary()
            parts = [OutgoingPart(f, "application/dicom") for f in files[start : start + _TOGETHER]]
            request = Request(
                method="POST",
                base_url=LOCAL_BASE_URL,
                path=STORE,
                headers=(
                    ("Content-Type", multipart_content_type(boundary)),
                    ("Accept", "application/dicom+json"),
                ),
                body=b"".join(multipart_writer(parts, boundary)),
            )
            transport.send(request).read()
    return made


def _files(one: Series) -> Iterator[bytes]:
    for number, uid in enumerate(one.instances, 1):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
        meta.MediaStorageSOPInstanceUID = uid
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset.SOPClassUID = meta.MediaStorageSOPClassUID
        dataset.SOPInstanceUID = uid
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = one.study, one.series
        dataset.PatientID, dataset.PatientName = one.patient, one.name
        dataset.PatientBirthDate, dataset.PatientSex = "19700101", "O"
        dataset.AccessionNumber = one.accession
        dataset.StudyDate, dataset.StudyTime = f"{one.date:%Y%m%d}", "101500"
        dataset.StudyDescription = f"{one.modality} study"
        dataset.Modality = one.modality
        dataset.SeriesNumber = int(one.series.rpartition(".")[2])
        dataset.SeriesDescription = f"{one.modality} series"
        dataset.InstanceNumber = number
        dataset.KVP = 80 + 20 * (number % 3)
        dataset.GantryDetectorTilt = number / 2
        file = io.BytesIO()
        pydicom.dcmwrite(file, dataset, enforce_file_format=True)
        yield file.getvalue()
