"""What is made with codecs: JPEG and JPEG 2000 out of other forms, and pictures for people."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dicomsql.emulator import images, multipart, pixels

WEB = "/v1/projects/p/locations/us-central1/datasets/d/dicomStores/s/dicomWeb"
FIRST = WEB + "/studies/1/series/1/instances/"
EXPLICIT = "1.2.840.10008.1.2.1"
GREY = {
    "Rows": 1,
    "Columns": 4,
    "BitsAllocated": 8,
    "BitsStored": 8,
    "HighBit": 7,
    "SamplesPerPixel": 1,
    "PixelRepresentation": 0,
    "PhotometricInterpretation": "MONOCHROME2",
    "PixelData": bytes([0, 10, 20, 30]),
}


def store(emulator: Any, content: bytes) -> str:
    answer = emulator.stow([content])
    assert answer.status_code == 200, answer.text
    return str(answer.json()["00081199"]["Value"][0]["00081190"]["Value"][0])


def parts(response: Any) -> list[tuple[str, bytes]]:
    assert response.status_code == 200, response.text
    _, parameters = multipart.media_type(response.headers["content-type"])
    found = multipart.parts(iter([response.content]), parameters["boundary"])
    return [(part.headers["content-type"], b"".join(part.body)) for part in found]


def shades(emulator: Any, url: str, query: str = "") -> Any:
    answer = emulator.get(url + "/rendered" + query, headers={"accept": "image/png"})
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def item(**attributes: Any) -> Sequence:
    found = Dataset()
    for keyword, value in attributes.items():
        setattr(found, keyword, value)
    return Sequence([found])


class TestTranscoding:
    @pytest.mark.parametrize(
        "name",
        ["examples_rgb_color.dcm", "SC_rgb_rle_2frame.dcm", "SC_ybr_full_422_uncompressed.dcm"],
    )
    def test_to_jpeg(self, emulator: Any, dicom_files: Path, name: str) -> None:
        url = store(emulator, (dicom_files / name).read_bytes())
        accept = f"application/dicom; transfer-syntax={pixels.JPEG_BASELINE}"
        answer = emulator.get(url, headers={"accept": accept})
        assert answer.headers["content-type"] == accept
        made = pydicom.dcmread(io.BytesIO(answer.content))
        before = pydicom.dcmread(dicom_files / name)
        assert made.SOPInstanceUID == before.SOPInstanceUID
        assert made.file_meta.TransferSyntaxUID == pixels.JPEG_BASELINE
        assert (made.LossyImageCompression, made.PhotometricInterpretation) == (
            "01",
            "YBR_FULL_422",
        )
        with images.quiet():
            rgb = pydicom.pixels.pixel_array(before).astype(int)
            far = np.abs(pydicom.pixels.pixel_array(made).astype(int) - rgb)
        assert far.mean() < 6

    def test_to_jpeg_2000_without_a_loss(self, emulator: Any, dicom_files: Path) -> None:
        url = store(emulator, (dicom_files / "MR_small.dcm").read_bytes())
        for syntax, far in ((pixels.JPEG_2000_LOSSLESS, 0), (pixels.JPEG_2000, 40)):
            accept = f'multipart/related; type="application/dicom"; transfer-syntax={syntax}'
            ((kind, content),) = parts(emulator.get(url, headers={"accept": accept}))
            assert kind.endswith(syntax)
            made = pydicom.dcmread(io.BytesIO(content)).pixel_array.astype(int)
            assert (
                np.abs(made - pydicom.dcmread(dicom_files / "MR_small.dcm").pixel_array).max()
                <= far
            )

    def test_what_has_no_pixels_is_explicit_little_endian(
        self, emulator: Any, make_dicom: Any, dicom_files: Path
    ) -> None:
        url = store(emulator, (dicom_files / "reportsi.dcm").read_bytes())
        accept = f"application/dicom; transfer-syntax={pixels.JPEG_2000_LOSSLESS}"
        answer = emulator.get(url, headers={"accept": accept})
        assert answer.headers["content-type"].endswith(EXPLICIT)

    @pytest.mark.parametrize("name", ["CT_small.dcm", "examples_palette.dcm"])
    def test_what_jpeg_cannot_hold(self, emulator: Any, dicom_files: Path, name: str) -> None:
        url = store(emulator, (dicom_files / name).read_bytes())
        accept = f"application/dicom; transfer-syntax={pixels.JPEG_BASELINE}"
        assert emulator.get(url, headers={"accept": accept}).status_code == 406
        in_parts = (
            f'multipart/related; type="application/dicom"; transfer-syntax={pixels.JPEG_BASELINE}'
        )
        assert emulator.get(url, headers={"accept": in_parts}).status_code == 406

    @pytest.mark.parametrize(
        ("name", "syntax"),
        [
            ("MR_small_jpeg_ls_lossless.dcm", "1.2.840.10008.1.2.4.80"),
            ("SC_rgb_jpeg_gdcm.dcm", "1.2.840.10008.1.2.4.70"),
        ],
    )
    def test_from_what_optional_codecs_decode(
        self, emulator: Any, dicom_files: Path, name: str, syntax: str
    ) -> None:
        assert pydicom.dcmread(dicom_files / name).file_meta.TransferSyntaxUID == syntax
        url = store(emulator, (dicom_files / name).read_bytes())
        answer = emulator.get(url, headers={"accept": "application/dicom"})
        assert answer.headers["content-type"].endswith(EXPLICIT)
        assert shades(emulator, url).max() > 0


class TestFrames:
    def test_media_types(self, emulator: Any, dicom_files: Path) -> None:
        url = store(emulator, (dicom_files / "SC_rgb_jpeg_lossy_gdcm.dcm").read_bytes())
        stored = pydicom.dcmread(dicom_files / "SC_rgb_jpeg_lossy_gdcm.dcm")
        frame = pydicom.encaps.get_frame(stored.PixelData, 0, number_of_frames=1)
        for more in ("", "; transfer-syntax=1.2.840.10008.1.2.4.50", "; transfer-syntax=*"):
            accept = {"accept": 'multipart/related; type="image/jpeg"' + more}
            ((kind, content),) = parts(emulator.get(url + "/frames/1", headers=accept))
            assert kind == "image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50"
            assert content == frame
        alone = emulator.get(url + "/frames/1", headers={"accept": "image/jpeg"})
        assert (alone.headers["content-type"], alone.content) == ("image/jpeg", frame)

    def test_are_encoded_anew(self, emulator: Any, dicom_files: Path) -> None:
        url = store(emulator, (dicom_files / "SC_rgb_rle_2frame.dcm").read_bytes())
        accept = {"accept": 'multipart/related; type="image/jpeg"'}
        found = parts(emulator.get(url + "/frames/1,2", headers=accept))
        assert [Image.open(io.BytesIO(content)).size for _, content in found] == [(100, 100)] * 2
        accept = {"accept": "image/jp2"}
        answer = emulator.get(url + "/frames/2", headers=accept)
        assert answer.headers["content-type"] == "image/jp2"
        assert images.encoded_size(answer.content) == (100, 100)

    @pytest.mark.parametrize(
        "accept",
        [
            'multipart/related; type="image/jpeg"; transfer-syntax=1.2.840.10008.1.2.4.90',
            'multipart/related; type="image/jls"',
            'multipart/related; type="image/jpeg"; transfer-syntax=*',
            'multipart/related; type="image/jpeg"',
            'multipart/related; type="text/plain"',
        ],
    )
    def test_what_cannot_be_made(self, emulator: Any, dicom_files: Path, accept: str) -> None:
        url = store(emulator, (dicom_files / "CT_small.dcm").read_bytes())
        assert emulator.get(url + "/frames/1", headers={"accept": accept}).status_code == 406

    def test_of_big_endian_bytes_in_words(self, emulator: Any, dicom_files: Path) -> None:
        path = dicom_files / "ExplVR_BigEnd.dcm"
        url = store(emulator, path.read_bytes())
        with images.quiet():
            array = pydicom.dcmread(path).pixel_array
        ((_, content),) = parts(emulator.get(url + "/frames/1"))
        assert content == array.transpose(2, 0, 1).tobytes()


class TestRendered:
    @pytest.mark.parametrize(
        ("more", "expected"),
        [
            ({"PresentationLUTShape": "INVERSE"}, [255, 170, 85, 0]),
            (
                {"WindowCenter": 15, "WindowWidth": 30, "VOILUTFunction": "LINEAR_EXACT"},
                [0, 85, 170, 255],
            ),
            (
                {"WindowCenter": 10, "WindowWidth": 20, "VOILUTFunction": "SIGMOID"},
                [30, 128, 225, 250],
            ),
            (
                {
                    "VOILUTSequence": item(
                        LUTDescriptor=[3, 10, 8], LUTData=bytes([7, 0]) + b"\x64\0\xff\0"
                    )
                },
                [7, 7, 255, 255],
            ),
            (
                {
                    "ModalityLUTSequence": item(
                        LUTDescriptor=[4, 0, 16],
                        ModalityLUTType="US",
                        LUTData=np.array([0, 1000, 2000, 4000], "<u2").tobytes(),
                    ),
                    "PixelData": bytes([0, 1, 2, 3]),
                },
                [0, 64, 128, 255],
            ),
        ],
    )
    def test_luts_and_windows(
        self, emulator: Any, make_dicom: Any, more: dict[str, Any], expected: list[int]
    ) -> None:
        for sequence in ("VOILUTSequence", "ModalityLUTSequence"):
            if sequence in more:
                more[sequence][0]["LUTData"].VR = "OW"
                more[sequence][0]["LUTDescriptor"].VR = "US"
        url = store(emulator, make_dicom("1", "1", "1", **{**GREY, **more}))
        assert shades(emulator, url)[0].tolist() == expected

    def test_each_frame_has_its_own_window(self, emulator: Any, make_dicom: Any) -> None:
        groups = Sequence()
        for center in (10, 20):
            group = Dataset()
            group.FrameVOILUTSequence = item(WindowCenter=center, WindowWidth=1)
            groups.append(group)
        shared = item(PixelValueTransformationSequence=item(RescaleSlope=1, RescaleIntercept=5))
        content = make_dicom(
            "1",
            "1",
            "1",
            **{**GREY, "PixelData": bytes([0, 10, 20, 30] * 2), "NumberOfFrames": 2},
            PerFrameFunctionalGroupsSequence=groups,
            SharedFunctionalGroupsSequence=shared,
        )
        url = store(emulator, content)
        assert shades(emulator, url)[0].tolist() == [0, 255, 255, 255]
        assert shades(emulator, url + "/frames/2")[0].tolist() == [0, 0, 255, 255]

    def test_a_window_is_asked_for(self, emulator: Any, make_dicom: Any) -> None:
        url = store(emulator, make_dicom("1", "1", "1", **GREY, WindowCenter=3, WindowWidth=3))
        assert shades(emulator, url, "?window=15,30,linear-exact")[0].tolist() == [0, 85, 170, 255]
        assert shades(emulator, url, "?window=10.5,11")[0].tolist() == [0, 128, 255, 255]
        for text in ("1", "1,0", "1,0.5", "1,2,cubic", "x,y", "1,2,linear,4"):
            answer = emulator.get(f"{url}/rendered?window={text}")
            assert answer.status_code == 400, text

    def test_regions_and_flips(self, emulator: Any, make_dicom: Any) -> None:
        more = {"Rows": 2, "PixelData": bytes([0, 85, 170, 255, 255, 170, 85, 0])}
        url = store(emulator, make_dicom("1", "1", "1", **{**GREY, **more}))
        assert shades(emulator, url, "?viewport=2,1,2,0,2,1").tolist() == [[170, 255]]
        assert shades(emulator, url, "?viewport=4,2,,,-4,2").tolist() == [
            [255, 170, 85, 0],
            [0, 85, 170, 255],
        ]
        assert shades(emulator, url, "?viewport=4,2,0,0,4,-2")[0].tolist() == [255, 170, 85, 0]
        assert shades(emulator, url, "?viewport=9,1,2,1").tolist() == [[85, 0]]
        assert emulator.get(url + "/rendered?viewport=2,1,2,0,9,1").status_code == 400
