"""Every real file of pydicom, pydicom-data and deid-data, into the emulator and out of it."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from pydicom import data as pydicom_data

from dicomsql.dicom import part10
from dicomsql.emulator.multipart import media_type, parts

pytestmark = pytest.mark.interop

PIXELS = {"7FE00008", "7FE00009", "7FE00010"}
SUFFIXES = {"", ".dcm", ".dic", ".dicom", ".ima"}

# Why a file is refused, by a part of the sentence: it is no DICOM file, or a DICOM file that no
# store takes (directories, files that were cut short, parts of data sets).
REFUSED = {
    "no DICM prefix": {
        *("ExplVR_BigEndNoMeta.dcm", "ExplVR_LitEndNoMeta.dcm", "no_meta.dcm", "rtstruct.dcm"),
        *("OT-PAL-8-face.dcm", "README"),
    },
    "has no StudyInstanceUID": {
        *("JPEGLSNearLossless_08.dcm", "JPEGLSNearLossless_16.dcm", "SC_rgb_jls_lossy_line.dcm"),
        *("SC_rgb_jls_lossy_sample.dcm", "UN_sequence.dcm", "DICOMDIR", "DICOMDIR-bigEnd"),
        *("DICOMDIR-empty.dcm", "DICOMDIR-implicit", "DICOMDIR-nopatient", "DICOMDIR-reordered"),
        *("empty_charset_LEI.dcm", "no_meta_group_length.dcm", "priv_SQ.dcm"),
    },
    "is no UID": {"bad_sequence.dcm"},
    "has no VR": {"SC_rgb_jpeg.dcm", "meta_missing_tsyntax.dcm", "nested_priv_SQ.dcm"},
    "is longer than what is left": {
        *("MR_truncated.dcm", "rtplan_truncated.dcm", "DICOMDIR-nooffset"),
    },
    "pixel data is not complete": {"emri_small_jpeg_2k_lossless_too_short.dcm"},
}
# Stored, and not shown: 12 bit JPEG, which no codec here decodes; a stream whose header says it is
# 3,722,445,056 pixels wide; a number of frames that is no number.
NOT_SHOWN = {
    "JPEG-lossy.dcm": "cannot be decoded",
    "JPGExtended.dcm": "cannot be decoded",
    "JPEG2000-embedded-sequence-delimiter.dcm": "another size",
    "badVR.dcm": "cannot be decoded",
}


def folders() -> list[Path]:
    """Where the packages keep their files."""
    found = [Path(pydicom_data.__file__).parent / "test_files"]
    for package in ("data_store", "deid_data"):
        spec = importlib.util.find_spec(package)
        assert spec is not None, f"{package} is not installed"
        found += [Path(place) / "data" for place in spec.submodule_search_locations or []]
    return found


def real_files() -> Iterator[Path]:
    """Each file once, whatever package it is in."""
    seen = set()
    for folder in folders():
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix.lower() in SUFFIXES:
                content = path.read_bytes()
                if content not in seen:
                    seen.add(content)
                    yield path


@pytest.fixture(scope="module")
def web(emulator_url: str) -> Iterator[httpx.Client]:
    datasets = emulator_url + "/v1/projects/p/locations/eu/datasets"
    with httpx.Client(timeout=60) as client:
        client.post(datasets, params={"datasetId": "real"}).raise_for_status()
        client.post(datasets + "/real/dicomStores?dicomStoreId=s").raise_for_status()
        client.base_url = httpx.URL(datasets + "/real/dicomStores/s/dicomWeb/")
        yield client


def store(web: httpx.Client, content: bytes) -> tuple[str, dict[str, Any]]:
    """The URL of an instance, or why it was refused, and the answer."""
    kind = {"content-type": "application/dicom", "accept": "application/dicom+json"}
    answer = web.post("studies", content=content, headers=kind)
    body = answer.json()
    if answer.status_code == 409:
        (failed,) = body["00081198"]["Value"]
        assert failed["00081197"]["Value"] == [272]
        return "", failed
    assert answer.status_code == 200, answer.text
    (stored,) = body["00081199"]["Value"]
    return str(stored["00081190"]["Value"][0]), stored


def test_go_in_and_come_out_byte_for_byte_and_are_shown(web: httpx.Client) -> None:
    refused: dict[str, str] = {}
    not_shown: dict[str, str] = {}
    stored = shown = 0
    for path in real_files():
        content = path.read_bytes()
        url, answer = store(web, content)
        if not url:
            refused[str(path)] = answer["00090097"]["Value"][0]
            continue
        stored += 1
        as_stored = {"accept": "application/dicom; transfer-syntax=*"}
        assert web.get(url, headers=as_stored).content == content, path
        (metadata,) = web.get(url + "/metadata").json()
        picture = web.get(url + "/rendered", params={"viewport": "64,64"})
        if picture.status_code == 200:
            shown += 1
            assert max(Image.open(io.BytesIO(picture.content)).size) == 64, path
        else:
            assert picture.status_code == 406, path
            if PIXELS & metadata.keys():
                not_shown[path.name] = picture.json()["error"]["message"]
        # each is gone again, so that the next may be another encoding of the same instance
        assert web.delete(url).status_code == 200
    expected = {name: reason for reason, names in REFUSED.items() for name in names}
    wrong = {p: r for p, r in refused.items() if expected.get(Path(p).name, "?") not in r}
    assert not wrong
    assert not_shown.keys() == NOT_SHOWN.keys()
    assert all(NOT_SHOWN[name] in message for name, message in not_shown.items())
    assert (stored > 210, shown > 150) == (True, True), (stored, shown)


def test_a_whole_study_comes_back(web: httpx.Client) -> None:
    folder = folders()[0] / "dicomdirtests" / "77654033" / "CT2"
    contents = [path.read_bytes() for path in sorted(folder.iterdir())]
    urls = [store(web, content)[0] for content in contents]
    study = urls[0].partition("/series/")[0]
    accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
    answer = web.get(study, headers={"accept": accept})
    _, parameters = media_type(answer.headers["content-type"])
    found = parts(iter([answer.content]), parameters["boundary"])
    assert [b"".join(part.body) for part in found] == contents
    assert (
        part10.text(web.get(study + "/metadata").json()[0], "0020000D") == study.rpartition("/")[2]
    )
