"""The package dicomweb-client against the emulator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pydicom
import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom import data as pydicom_data

pytestmark = [
    pytest.mark.interop,
    # the client leaves its connections to the garbage collector
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

FILES = Path(pydicom_data.__file__).parent / "test_files"
NAMES = ("CT_small.dcm", "examples_ybr_color.dcm", "rtdose.dcm", "SC_rgb_rle_2frame.dcm")


@pytest.fixture(scope="module")
def client(emulator_url: str) -> Any:
    datasets = emulator_url + "/v1/projects/p/locations/eu/datasets"
    httpx.post(datasets, params={"datasetId": "web"}).raise_for_status()
    store = {"dicomStoreId": "s"}
    httpx.post(datasets + "/web/dicomStores", params=store).raise_for_status()
    client = DICOMwebClient(url=datasets + "/web/dicomStores/s/dicomWeb")
    answer = client.store_instances([pydicom.dcmread(FILES / name) for name in NAMES])
    assert len(answer.ReferencedSOPSequence) == len(NAMES)
    return client


def uids(name: str) -> tuple[str, str, str]:
    header = pydicom.dcmread(FILES / name, stop_before_pixels=True)
    return header.StudyInstanceUID, header.SeriesInstanceUID, header.SOPInstanceUID


def test_searches(client: Any) -> None:
    assert len(client.search_for_studies()) == len(NAMES)
    assert client.search_for_studies(search_filters={"PatientID": "nobody"}) == []
    found = client.search_for_series(search_filters={"Modality": "CT"}, fields=["StudyInstanceUID"])
    assert [row["0020000D"]["Value"][0] for row in found] == [uids("CT_small.dcm")[0]]
    study, series, instance = uids("rtdose.dcm")
    (row,) = client.search_for_instances(study, series)
    assert row["00080018"]["Value"] == [instance]
    assert len(client.search_for_studies(limit=2, offset=1)) == 2
    with pytest.raises(Exception, match="400"):
        client.search_for_studies(search_filters={"ModalitiesInStudy": "CT"})


def test_retrieves(client: Any) -> None:
    study, series, instance = uids("CT_small.dcm")
    (whole,) = client.retrieve_study(study)
    assert whole.SOPInstanceUID == instance
    one = client.retrieve_instance(study, series, instance)
    original = pydicom.dcmread(FILES / "CT_small.dcm")
    assert np.array_equal(one.pixel_array, original.pixel_array)
    (metadata,) = client.retrieve_study_metadata(study)
    parsed = pydicom.Dataset.from_json(metadata, bulk_data_uri_handler=lambda uri: b"")
    assert parsed.PatientName == original.PatientName
    bulk = client.retrieve_bulkdata(metadata["7FE00010"]["BulkDataURI"])
    assert bulk == [original.PixelData]


def test_transfer_syntaxes(client: Any) -> None:
    study, series, instance = uids("examples_ybr_color.dcm")
    original = pydicom.dcmread(FILES / "examples_ybr_color.dcm")
    for syntax in ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.50", "*"):
        media = (("application/dicom", syntax),)
        one = client.retrieve_instance(study, series, instance, media_types=media)
        wanted = original.file_meta.TransferSyntaxUID if syntax == "*" else syntax
        assert one.file_meta.TransferSyntaxUID == wanted
    (jpeg,) = client.retrieve_instance_frames(
        study, series, instance, [1], media_types=(("image/jpeg", "1.2.840.10008.1.2.4.50"),)
    )
    assert jpeg.startswith(b"\xff\xd8")
    with pytest.raises(Exception, match="406"):
        media = (("application/dicom", "1.2.840.10008.1.2.4.80"),)
        client.retrieve_instance(study, series, instance, media_types=media)


def test_what_is_refused(client: Any) -> None:
    changed = pydicom.dcmread(FILES / "CT_small.dcm")
    changed.PatientID = "somebody else"
    with pytest.raises(Exception, match="409"):
        client.store_instances([changed])
    with pytest.raises(Exception, match="404"):
        client.retrieve_study("1.2.3")
    with pytest.raises(Exception, match="404"):
        client.retrieve_study_metadata("1.2.3")


def test_frames_and_rendered(client: Any) -> None:
    study, series, instance = uids("rtdose.dcm")
    frames = client.retrieve_instance_frames(study, series, instance, [1, 3])
    array = pydicom.dcmread(FILES / "rtdose.dcm").pixel_array
    assert frames == [array[0].tobytes(), array[2].tobytes()]
    image = client.retrieve_instance_rendered(study, series, instance, media_types=("image/png",))
    assert image.startswith(b"\x89PNG")


def test_deletes(client: Any) -> None:
    study, series, instance = uids("SC_rgb_rle_2frame.dcm")
    client.delete_instance(study, series, instance)
    assert client.search_for_instances(study) == []
