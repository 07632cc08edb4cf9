"""WADO: what is given in which form, and what it looks like."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image

from dicomsql.emulator import images, multipart, pixels

WEB = "/v1/projects/p/locations/us-central1/datasets/d/dicomStores/s/dicomWeb"
EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"


@pytest.fixture
def no_codecs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As where none of the optional codecs is installed."""
    own = {"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5"}
    pixels.makeable.cache_clear()
    monkeypatch.setattr(images, "decodable", lambda syntax: syntax in images.NATIVE | own)
    yield
    pixels.makeable.cache_clear()


def store(emulator: Any, path: Path) -> str:
    """Store a file; the URL of its instance."""
    answer = emulator.stow([path.read_bytes()])
    assert answer.status_code == 200, answer.text
    return str(answer.json()["00081199"]["Value"][0]["00081190"]["Value"][0])


def parts(response: Any) -> list[tuple[str, bytes]]:
    assert response.status_code == 200, response.text
    _, parameters = multipart.media_type(response.headers["content-type"])
    found = multipart.parts(iter([response.content]), parameters["boundary"])
    return [(part.headers["content-type"], b"".join(part.body)) for part in found]


def fetch(emulator: Any, url: str, accept: str) -> Any:
    return emulator.get(url, headers={"accept": accept})


class TestRetrieve:
    def test_study_series_and_instance_in_parts(self, emulator: Any, make_dicom: Any) -> None:
        files = [make_dicom("1", f"1.{n % 2}", f"2.{n}") for n in range(4)]
        emulator.stow(files)
        assert [body for _, body in parts(emulator.get(WEB + "/studies/1"))] == files
        series = parts(emulator.get(WEB + "/studies/1/series/1.1"))
        assert [body for _, body in series] == files[1::2]
        accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
        ((kind, body),) = parts(
            fetch(emulator, WEB + "/studies/1/series/1.1/instances/2.1", accept)
        )
        assert (kind, body) == (f"application/dicom; transfer-syntax={EXPLICIT}", files[1])

    @pytest.mark.parametrize(
        "path", ["/studies/9", "/studies/1/series/9", "/studies/1/series/1/instances/9"]
    )
    def test_what_does_not_exist(self, emulator: Any, make_dicom: Any, path: str) -> None:
        emulator.stow([make_dicom("1", "1", "1")])
        for below in ("", "/metadata"):
            assert emulator.get(WEB + path + below).json()["error"]["status"] == "NOT_FOUND"

    @pytest.mark.parametrize(
        ("name", "syntax"),
        [
            ("CT_small.dcm", IMPLICIT),
            ("MR_small_implicit.dcm", EXPLICIT),
            ("MR_small_bigendian.dcm", EXPLICIT),
            ("ExplVR_BigEnd.dcm", IMPLICIT),
            ("rtdose_expb.dcm", EXPLICIT),
            ("liver_expb_1frame.dcm", EXPLICIT),
            ("image_dfl.dcm", EXPLICIT),
            ("MR_small_RLE.dcm", EXPLICIT),
            ("SC_rgb_jpeg_lossy_gdcm.dcm", EXPLICIT),
            ("693_J2KI.dcm", EXPLICIT),
        ],
    )
    @pytest.mark.filterwarnings("ignore::UserWarning")
    def test_transcoding_changes_no_pixel_and_no_uid(
        self, emulator: Any, dicom_files: Path, name: str, syntax: str
    ) -> None:
        url = store(emulator, dicom_files / name)
        answer = fetch(emulator, url, f"application/dicom; transfer-syntax={syntax}")
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].endswith(syntax)
        before = pydicom.dcmread(dicom_files / name)
        after = pydicom.dcmread(io.BytesIO(answer.content))
        assert after.file_meta.TransferSyntaxUID == syntax
        assert after.SOPInstanceUID == before.SOPInstanceUID
        assert np.array_equal(after.pixel_array, before.pixel_array)

    @pytest.mark.parametrize(
        ("name", "accept"),
        [
            ("MR_small_jpeg_ls_lossless.dcm", "application/dicom"),
            ("SC_rgb_jpeg_gdcm.dcm", "*/*"),
            ("CT_small.dcm", "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.50"),
            ("CT_small.dcm", "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.80"),
            ("CT_small.dcm", "application/zip"),
            ("CT_small.dcm", 'multipart/related; type="image/jpeg"'),
            ("CT_small.dcm", "application/dicom;q=0"),
        ],
    )
    def test_what_cannot_be_made(
        self, emulator: Any, dicom_files: Path, no_codecs: None, name: str, accept: str
    ) -> None:
        url = store(emulator, dicom_files / name)
        answer = fetch(emulator, url, accept)
        assert answer.status_code == 406

    def test_the_best_form_that_can_be_made_is_taken(
        self, emulator: Any, dicom_files: Path, no_codecs: None
    ) -> None:
        url = store(emulator, dicom_files / "MR_small_jpeg_ls_lossless.dcm")
        accept = 'application/dicom;q=0.9, multipart/related; type="application/dicom", '
        answer = fetch(emulator, url, accept + "application/dicom; transfer-syntax=*; q=x")
        assert answer.headers["content-type"].startswith("application/dicom; ")

    def test_a_study_alone_is_always_in_parts(self, emulator: Any, make_dicom: Any) -> None:
        emulator.stow([make_dicom("1", "1", "1")])
        assert fetch(emulator, WEB + "/studies/1", "application/dicom").status_code == 406

    def test_a_file_that_is_lost_is_said_so(
        self, emulator: Any, make_dicom: Any, tmp_path: Path
    ) -> None:
        emulator.stow([make_dicom("1", "1", "1")])
        next(tmp_path.rglob("*.dcm")).unlink()
        path = WEB + "/studies/1/series/1/instances/1"
        assert fetch(emulator, path, "application/dicom").json()["error"]["status"] == "DATA_LOSS"
        assert emulator.get(path).json()["error"]["status"] == "DATA_LOSS"


class TestMetadata:
    def test_at_three_levels(self, emulator: Any, make_dicom: Any) -> None:
        emulator.stow([make_dicom("1", f"1.{n}", f"2.{n}") for n in range(2)])
        answer = emulator.get(WEB + "/studies/1/metadata")
        assert answer.headers["content-type"] == "application/dicom+json; charset=utf-8"
        assert [row["00080018"]["Value"] for row in answer.json()] == [["2.0"], ["2.1"]]
        assert len(emulator.get(WEB + "/studies/1/series/1.1/metadata").json()) == 1
        assert (
            fetch(emulator, WEB + "/studies/1/metadata", "application/dicom+xml").status_code == 406
        )

    def test_bulk_data_is_referred_to_and_can_be_fetched(
        self, emulator: Any, dicom_files: Path
    ) -> None:
        path = dicom_files / "CT_small.dcm"
        url = store(emulator, path)
        (dataset,) = emulator.get(url + "/metadata").json()
        uri = dataset["7FE00010"]["BulkDataURI"]
        assert uri == url + "/bulkdata/7FE00010"
        pixels = pydicom.dcmread(path).PixelData
        octets = "application/octet-stream; transfer-syntax=*"
        assert fetch(emulator, uri, octets).content == pixels
        accept = 'multipart/related; type="application/octet-stream"'
        assert parts(fetch(emulator, uri, accept))[0][1] == pixels
        assert emulator.get(url + "/bulkdata/00100010").status_code == 404

    def test_bulk_data_of_a_sequence_and_of_other_encodings(
        self, emulator: Any, dicom_files: Path
    ) -> None:
        url = store(emulator, dicom_files / "waveform_ecg.dcm")
        answer = emulator.get(url + "/bulkdata/54000100/1/54001010")
        dataset = pydicom.dcmread(dicom_files / "waveform_ecg.dcm")
        assert answer.content == dataset.WaveformSequence[1].WaveformData
        url = store(emulator, dicom_files / "MR_small_bigendian.dcm")
        little = pydicom.dcmread(dicom_files / "MR_small_expb.dcm").pixel_array.astype("<i2")
        assert emulator.get(url + "/bulkdata/7fe00010").content == little.tobytes()
        url = store(emulator, dicom_files / "SC_rgb_rle_2frame.dcm")
        assert len(emulator.get(url + "/bulkdata/7FE00010").content) == 100 * 100 * 3 * 2


class TestFrames:
    def test_raw_and_as_stored(self, emulator: Any, dicom_files: Path) -> None:
        path = dicom_files / "rtdose.dcm"
        url = store(emulator, path)
        array = pydicom.dcmread(path).pixel_array
        frames = parts(emulator.get(url + "/frames/1,15"))
        assert [body for _, body in frames] == [array[0].tobytes(), array[14].tobytes()]
        alone = fetch(emulator, url + "/frames/2", "application/octet-stream")
        assert alone.content == array[1].tobytes()

    def test_compressed_ones(self, emulator: Any, dicom_files: Path, no_codecs: None) -> None:
        path = dicom_files / "SC_rgb_rle_2frame.dcm"
        url = store(emulator, path)
        accept = 'multipart/related; type="application/octet-stream"; transfer-syntax='
        ((kind, stored),) = parts(fetch(emulator, url + "/frames/2", accept + "*"))
        assert kind.endswith("1.2.840.10008.1.2.5")
        assert len(stored) < 3_000
        ((_, raw),) = parts(fetch(emulator, url + "/frames/2", accept + EXPLICIT))
        assert len(raw) == 30_000
        lossless = store(emulator, dicom_files / "MR_small_jpeg_ls_lossless.dcm")
        assert fetch(emulator, lossless + "/frames/1", accept + EXPLICIT).status_code == 406
        assert fetch(emulator, lossless + "/frames/1", accept + "*").status_code == 200

    def test_big_endian_is_turned(self, emulator: Any, dicom_files: Path) -> None:
        url = store(emulator, dicom_files / "MR_small_bigendian.dcm")
        little = pydicom.dcmread(dicom_files / "MR_small_expb.dcm").pixel_array.astype("<i2")
        assert parts(emulator.get(url + "/frames/1"))[0][1] == little.tobytes()

    @pytest.mark.parametrize(
        ("frames", "status"), [("16", 404), ("0", 404), ("x", 400), ("1,", 400), ("1,2,1", 400)]
    )
    def test_numbers(self, emulator: Any, dicom_files: Path, frames: str, status: int) -> None:
        url = store(emulator, dicom_files / "rtdose.dcm")
        assert emulator.get(f"{url}/frames/{frames}").status_code == status

    @pytest.mark.parametrize("held", [1, 1 << 30])
    def test_few_are_in_memory_at_a_time(
        self, emulator: Any, dicom_files: Path, monkeypatch: pytest.MonkeyPatch, held: int
    ) -> None:
        monkeypatch.setattr("dicomsql.emulator.wado._HELD", held)
        path = dicom_files / "rtdose.dcm"
        url = store(emulator, path)
        found = parts(emulator.get(url + "/frames/" + ",".join(map(str, range(15, 0, -1)))))
        array = pydicom.dcmread(path).pixel_array
        assert [body for _, body in found] == [frame.tobytes() for frame in array[::-1]]
        whole = fetch(emulator, url + "/bulkdata/7FE00010", "application/octet-stream")
        assert whole.content == array.tobytes()


class TestRendered:
    @pytest.mark.parametrize(
        ("name", "mode"),
        [
            ("CT_small.dcm", "L"),
            ("MR_small_RLE.dcm", "L"),
            ("rtdose_1frame.dcm", "L"),
            ("liver_1frame.dcm", "L"),
            ("examples_rgb_color.dcm", "RGB"),
            ("examples_palette.dcm", "RGB"),
            ("examples_ybr_color.dcm", "RGB"),
            ("SC_ybr_full_422_uncompressed.dcm", "RGB"),
            ("SC_rgb_rle_16bit.dcm", "RGB"),
            ("693_J2KI.dcm", "L"),
        ],
    )
    def test_images(self, emulator: Any, dicom_files: Path, name: str, mode: str) -> None:
        url = store(emulator, dicom_files / name)
        answer = emulator.get(url + "/rendered")
        assert answer.headers["content-type"] == "image/jpeg"
        image = Image.open(io.BytesIO(answer.content))
        header = pydicom.dcmread(dicom_files / name, stop_before_pixels=True)
        assert (image.format, image.mode) == ("JPEG", mode)
        assert image.size == (header.Columns, header.Rows)
        low, high = np.asarray(image).min(), np.asarray(image).max()
        assert high > low

    def test_png_viewport_and_frame(self, emulator: Any, dicom_files: Path) -> None:
        url = store(emulator, dicom_files / "rtdose.dcm")
        first = fetch(emulator, url + "/frames/1/rendered?viewport=40,20", "image/png")
        image = Image.open(io.BytesIO(first.content))
        assert image.format == "PNG"
        assert image.size == (20, 20)
        last = fetch(emulator, url + "/frames/15/rendered?viewport=40,20", "image/png")
        assert last.content != first.content
        for viewport in ("0,1", "1", "1,2,3", "x,y", "99999,1", "8,8,5,5,99,99"):
            assert emulator.get(f"{url}/rendered?viewport={viewport}").status_code == 400
        assert emulator.get(url + "/frames/16/rendered").status_code == 404
        assert emulator.get(url + "/frames/1,2/rendered").status_code == 400

    def test_windows_and_inverted_greys(self, emulator: Any, make_dicom: Any) -> None:
        base = {
            "Rows": 1,
            "Columns": 4,
            "BitsAllocated": 8,
            "BitsStored": 8,
            "HighBit": 7,
            "SamplesPerPixel": 1,
            "PixelRepresentation": 0,
            "PixelData": bytes([0, 10, 20, 30]),
        }
        shades = {}
        for n, more in enumerate(
            [
                {"PhotometricInterpretation": "MONOCHROME2"},
                {"PhotometricInterpretation": "MONOCHROME1"},
                {
                    "PhotometricInterpretation": "MONOCHROME2",
                    "RescaleSlope": 2,
                    "RescaleIntercept": 0,
                    "WindowCenter": [20.5, 7],
                    "WindowWidth": [21, 7],
                },
            ]
        ):
            emulator.stow([make_dicom("1", "1", f"1.{n}", **base, **more)])
            answer = fetch(
                emulator, f"{WEB}/studies/1/series/1/instances/1.{n}/rendered", "image/png"
            )
            shades[n] = np.asarray(Image.open(io.BytesIO(answer.content)))[0].tolist()
        assert shades[0] == [0, 85, 170, 255]
        assert shades[1] == [255, 170, 85, 0]
        assert shades[2] == [0, 128, 255, 255]

    @pytest.mark.parametrize(
        ("name", "accept"),
        [
            ("CT_small.dcm", "image/gif"),
            ("reportsi.dcm", "image/jpeg"),
            ("MR_small_jpeg_ls_lossless.dcm", "image/*"),
        ],
    )
    def test_what_cannot_be_shown(
        self, emulator: Any, dicom_files: Path, no_codecs: None, name: str, accept: str
    ) -> None:
        url = store(emulator, dicom_files / name)
        assert fetch(emulator, url + "/rendered", accept).status_code == 406

    @pytest.mark.parametrize(
        ("question", "status"),
        [
            ("viewport=16384,4096", 200),
            ("viewport=16384,16384", 400),
            ("quality=100", 200),
            ("quality=0", 400),
            ("quality=101", 400),
            ("quality=x", 400),
            ("bogus=1", 400),
        ],
    )
    def test_parameters(self, emulator: Any, dicom_files: Path, question: str, status: int) -> None:
        url = store(emulator, dicom_files / "rtdose_1frame.dcm")
        assert emulator.get(f"{url}/rendered?{question}").status_code == status

    def test_quality(self, emulator: Any, dicom_files: Path) -> None:
        url = store(emulator, dicom_files / "CT_small.dcm")
        worst, best = (len(emulator.get(f"{url}/rendered?quality={q}").content) for q in (1, 100))
        assert worst < best


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("*/*", 200),
        ("application/json", 200),
        ("text/html, application/dicom+json;q=0.1", 200),
        ("text/html", 406),
        ("application/dicom+xml", 406),
        ("application/json;q=0", 406),
    ],
)
def test_what_a_search_is_given_in(
    emulator: Any, make_dicom: Any, accept: str, status: int
) -> None:
    emulator.stow([make_dicom()])
    url = "/v1/projects/p/locations/us-central1/datasets/d/dicomStores/s/dicomWeb/studies"
    assert emulator.get(url, headers={"accept": accept}).status_code == status


def test_a_store_that_cannot_answer_stores_nothing(emulator: Any, make_dicom: Any) -> None:
    assert emulator.stow([make_dicom()], accept="text/html").status_code == 406
    assert emulator.stow([make_dicom()], accept="application/json;q=0").status_code == 406
    url = "/v1/projects/p/locations/us-central1/datasets/d/dicomStores/s/dicomWeb/studies"
    assert emulator.get(url).status_code == 204
