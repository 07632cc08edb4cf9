"""The column `preview` of a real Orthanc: what it renders, and what it has no picture of."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orthanc
import pytest
from oracle_corpus import ROOT, SECONDARY_CAPTURE
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless

from dicomsql.config import Settings
from dicomsql.session import Session

pytestmark = pytest.mark.interop

REPORT = "1.2.840.10008.5.1.4.1.1.88.11"


@dataclass(frozen=True)
class Made:
    """An instance: its frames, and whether its pixels can be decoded."""

    frames: int = 1
    bits: int = 8
    broken: bool = False


MADE = {1: Made(), 2: Made(frames=3), 3: Made(bits=16), 4: Made(frames=0), 5: Made(broken=True)}


def file_of(number: int, made: Made) -> bytes:
    dataset = Dataset()
    dataset.SOPClassUID = SECONDARY_CAPTURE if made.frames else REPORT
    dataset.SOPInstanceUID = f"{ROOT}.9.1.{number}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"{ROOT}.9", f"{ROOT}.9.1"
    dataset.PatientID, dataset.Modality = "shown", "OT"
    if made.frames:
        dataset.Rows, dataset.Columns = 300, 400
        dataset.NumberOfFrames = made.frames
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated = dataset.BitsStored = made.bits
        dataset.HighBit, dataset.PixelRepresentation = made.bits - 1, 0
        frame = bytes(range(256)) * (300 * 400 * made.bits // 8 // 256)
        frame += bytes(300 * 400 * made.bits // 8 - len(frame))
        dataset.add_new("PixelData", "OW", frame * made.frames)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if made.broken:
        from pydicom.encaps import encapsulate

        meta.TransferSyntaxUID = JPEG2000Lossless
        dataset.add_new("PixelData", "OB", encapsulate([b"no image " * 10]))
        dataset["PixelData"].is_undefined_length = True
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta = meta
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    orthanc.need()
    with orthanc.running(tmp_path_factory.mktemp("pictures")) as server:
        assert server.store(file_of(n, made) for n, made in MADE.items()) == len(MADE)
        with Session(Settings(endpoint=server.url)) as opened:
            yield opened


@pytest.mark.parametrize("service", ["orthanc", "standard"])
def test_what_can_be_rendered_is_shown_small(session: Session, service: str) -> None:
    sql = f"SELECT SOPInstanceUID, preview FROM dicomweb.{service}.instances"
    (statement,) = session.parse(f"{sql} WHERE PatientID = 'shown' ORDER BY 1")
    result = session.execute(statement)
    rows = [row for batch in result.batches() for row in batch.to_pylist()]
    assert len(rows) == len(MADE)
    for row, made in zip(rows, MADE.values(), strict=True):
        if made.broken or not made.frames:
            assert row["preview"] is None
            continue
        with Image.open(io.BytesIO(row["preview"])) as image:
            assert (image.format, image.size) == ("JPEG", (256, 256))
    assert any(
        "2 instances have no picture (the server answered 400)" in note
        for note in result.statistics.notes
    )
    rendered = next(s for s in result.statistics.scans if s.resource.endswith("_rendered"))
    # What is refused before the first picture came is asked for once more, without the size.
    assert rendered.requests <= len(MADE) + 2


def test_pictures_are_kept_by_the_cache(
    session: Session, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    sql = "SELECT preview FROM dicomweb.orthanc.instances ORDER BY SOPInstanceUID LIMIT 3"
    setting, statement, back = session.parse(f"SET cache = '10m'; {sql}; SET cache = off")
    session.execute(setting)
    found = []
    for requests in (None, 0):
        result = session.execute(statement)
        found.append([row for batch in result.batches() for row in batch.to_pylist()])
        assert requests is None or result.statistics.requests == requests
    assert found[0] == found[1]
    session.execute(back)
