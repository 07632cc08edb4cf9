"""COPY of real files out of the emulator, and from one of its stores to another."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest

from dicomsql.config import Settings
from dicomsql.errors import ApiError, Error, InterfaceError, OperationalError, ProgrammingError
from dicomsql.session import Session

FILES = Path(pydicom.__file__).parent / "data" / "test_files"
PLACE = {"project": "p", "location": "us-central1", "dataset": "d", "dicom_store": "s"}
# Transfer syntaxes with and without compression, of both byte orders, deflated; several frames.
NAMES = (
    "CT_small.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_implicit.dcm",
    "JPEG2000.dcm",
    "JPEG-LL.dcm",
    "MR_small_RLE.dcm",
    "image_dfl.dcm",
    "SC_rgb_small_odd.dcm",
    "rtplan.dcm",
    "waveform_ecg.dcm",
    "examples_ybr_color.dcm",
)


def uid(name: str) -> str:
    return str(pydicom.dcmread(FILES / name, stop_before_pixels=True).SOPInstanceUID)


# One file for each instance: some of pydicom's are the same in other transfer syntaxes.
KEPT = {uid(name): (FILES / name).read_bytes() for name in NAMES if (FILES / name).exists()}


class Stores:
    """A session on an emulator with two stores, the first of them filled."""

    def __init__(self, session: Session, base: Path) -> None:
        self.session = session
        self.base = base

    def run(self, sql: str) -> list[dict[str, Any]]:
        (statement,) = self.session.parse(sql)
        result = self.session.execute(statement)
        rows = [row for batch in result.batches() for row in batch.to_pylist()]
        if result.failure is not None:
            raise result.failure
        return rows

    def digests(self, folder: str) -> set[str]:
        return {digest(p.read_bytes()) for p in (self.base / folder).rglob("*") if p.is_file()}


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    folder = tmp_path / "in"
    folder.mkdir()
    for number, content in enumerate(KEPT.values()):
        (folder / f"{number}.dcm").write_bytes(content)
    with Session(Settings(local=tmp_path / "emulator", **PLACE)) as session:
        made = Stores(session, tmp_path)
        made.run("INSERT INTO google.healthcare.datasets (datasetId) SELECT 'd'")
        for name in "st":
            made.run(f"INSERT INTO google.healthcare.dicom_stores (dicomStoreId) SELECT '{name}'")
        made.run(f"COPY google.healthcare.instances FROM '{folder}' (journal off)")
        yield made


def test_what_went_in_comes_out_byte_for_byte(stores: Stores) -> None:
    studies = "SELECT StudyInstanceUID FROM google.healthcare.studies"
    rows = stores.run(f"COPY ({studies}) TO '{stores.base}/out' (FORMAT dicom)")
    assert {row["status"] for row in rows} == {"retrieved"}
    assert stores.digests("out") == set(map(digest, KEPT.values()))
    again = stores.run(f"COPY ({studies}) TO '{stores.base}/out' (FORMAT dicom) RETURNING status")
    assert again == [{"status": "present"}] * len(KEPT)


def test_a_query_chooses_and_names(stores: Stores) -> None:
    one = uid("CT_small.dcm")
    rows = stores.run(
        f"""COPY (WITH ct AS (SELECT StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID, PatientID
                          FROM google.healthcare.instances WHERE SOPInstanceUID = '{one}')
                  SELECT *, 'x' AS "select" FROM ct)
            TO '{stores.base}/ct' (FORMAT dicom, layout '{{PatientID}}-{{select}}.dcm')"""
    )
    assert [Path(row["path"]).name for row in rows] == ["1CT1-x.dcm"]
    assert stores.digests("ct") == {digest(KEPT[one])}


def test_another_transfer_syntax(stores: Stores) -> None:
    implicit = "1.2.840.10008.1.2"
    one = uid("CT_small.dcm")
    ct = f"""SELECT StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID
             FROM google.healthcare.instances WHERE SOPInstanceUID = '{one}'"""
    stores.run(f"COPY ({ct}) TO '{stores.base}/x' (FORMAT dicom, transfer_syntax '{implicit}')")
    (path,) = (stores.base / "x").rglob("*.dcm")
    converted, original = pydicom.dcmread(path), pydicom.dcmread(FILES / "CT_small.dcm")
    assert converted.file_meta.TransferSyntaxUID == implicit
    assert converted.PixelData == original.PixelData


def test_pictures(stores: Stores) -> None:
    one = uid("CT_small.dcm")
    sql = f"""COPY (SELECT StudyInstanceUID FROM google.healthcare.instances
                    WHERE SOPInstanceUID IN ('{one}', '{uid("rtplan.dcm")}'))
              TO '{stores.base}/png' (FORMAT png, layout '{{SOPInstanceUID}}.png')"""
    with pytest.raises(Error, match="1 of 2 instances failed"):
        stores.run(sql)
    (picture,) = (stores.base / "png").iterdir()
    assert (picture.name, picture.read_bytes()[:4]) == (f"{one}.png", b"\x89PNG")


def test_from_one_store_to_another(stores: Stores) -> None:
    sql = """COPY google.healthcare.instances
             FROM (SELECT StudyInstanceUID FROM google.healthcare.studies) (dicomStoresId 't',
                   source_dicomStoresId 's')"""
    rows = stores.run(sql)
    assert {row["status"] for row in rows} == {"stored"}
    studies = "SELECT StudyInstanceUID FROM google.healthcare.studies WHERE dicomStoresId = 't'"
    stores.run(f"COPY ({studies}) TO '{stores.base}/t' (FORMAT dicom)")
    assert stores.digests("t") == set(map(digest, KEPT.values()))


NOWHERE = "(SELECT DISTINCT StudyInstanceUID FROM google.healthcare.studies)"


@pytest.mark.parametrize(
    "sql",
    [
        f"COPY {NOWHERE} TO '{{base}}/o' (FORMAT dicom, dicomStoresId 'nope')",
        f"COPY {NOWHERE} TO '{{base}}/o' (FORMAT png, dicomStoresId 'nope')",
        "COPY (SELECT *, 'nope' AS dicomStoresId FROM (SELECT StudyInstanceUID FROM "
        "google.healthcare.studies)) TO '{base}/o' (FORMAT dicom)",
        f"COPY google.healthcare.instances FROM {NOWHERE} "
        "(source_dicomStoresId 'nope', dicomStoresId 't')",
        f"COPY google.healthcare.instances FROM {NOWHERE} (dicomStoresId 'nope')",
        "COPY google.healthcare.instances FROM '{base}/in' (dicomStoresId 'nope')",
        "EXEC google.healthcare.studies_study.retrieve_study "
        "@studiesId = '1.2', @dicomStoresId = 'nope' @@output = '{base}/o'",
        "EXEC google.healthcare.studies_study.retrieve_study "
        "@studiesId = '1.2', @dicomStoresId = 'nope'",
        "COPY google.healthcare.instances FROM '{base}/in' (datasetsId 'nope')",
        f"COPY {NOWHERE} TO '{{base}}/o' (FORMAT dicom, datasetsId 'nope')",
    ],
)
def test_a_store_that_is_not_there_is_named_and_nothing_is_left(stores: Stores, sql: str) -> None:
    before = {path.name for path in stores.base.iterdir()}
    with pytest.raises(ApiError, match="nope"):
        stores.run(sql.format(base=stores.base))
    assert {path.name for path in stores.base.iterdir()} == before


def test_a_store_that_is_to_take_one_study_and_is_not_there_is_named(stores: Stores) -> None:
    study = pydicom.dcmread(FILES / "CT_small.dcm", stop_before_pixels=True).StudyInstanceUID
    with pytest.raises(OperationalError, match="no DICOM store p/us-central1/d/nope"):
        stores.run(
            f"COPY google.healthcare.instances FROM '{stores.base}/in' "
            f"(dicomStoresId 'nope', studiesId '{study}')"
        )


def test_where_a_file_stands_there_is_no_folder(stores: Stores) -> None:
    file = stores.base / "gen.py"
    file.touch()
    before = {path.name for path in stores.base.iterdir()}
    for name in ("gen.py", "gen.py/below"):
        with pytest.raises(InterfaceError, match=r"gen\.py is a file"):
            stores.run(f"COPY {NOWHERE} TO '{stores.base}/{name}' (FORMAT dicom)")
    with pytest.raises(InterfaceError, match="No file matches"):
        stores.run(f"COPY google.healthcare.instances FROM '{stores.base}/nosuch'")
    assert {path.name for path in stores.base.iterdir()} == before


@pytest.mark.parametrize("returning", ["nope", "nope, count(*) GROUP BY ALL", "upper(nope)"])
def test_returning_lists_the_columns(stores: Stores, returning: str) -> None:
    with pytest.raises(ProgrammingError) as raised:
        stores.run(f"COPY {NOWHERE} TO '{stores.base}/o' (FORMAT dicom) RETURNING {returning}")
    assert "no column nope" in str(raised.value)
    assert "path, StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID, status" in str(raised.value)
    with pytest.raises(ProgrammingError, match="column"):
        stores.run(f"COPY {NOWHERE} TO '{stores.base}/o' (FORMAT dicom) RETURNING status.x")
