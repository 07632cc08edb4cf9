"""Names in the corners of a file: behind and between pixels, in other texts, in code streams."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.utils import pixel_array
from pydicom.sequence import Sequence
from pydicom.uid import MPEG2MPML, JPEGBaseline8Bit, RLELossless

from dicomsql.emulator.deidentify import streams
from dicomsql.emulator.deidentify.config import check_config, read_rules
from dicomsql.emulator.deidentify.rewrite import deidentified
from dicomsql.emulator.jobs import UnitError

BASIC, CONTENTS, MINIMAL = (
    {"dicom": {"filterProfile": profile}}
    for profile in (
        "ATTRIBUTE_CONFIDENTIALITY_BASIC_PROFILE",
        "DEIDENTIFY_TAG_CONTENTS",
        "MINIMAL_KEEP_LIST_PROFILE",
    )
)
KEEP = {"dicom": {"keepList": {"tags": ["Modality"]}}}
REDACT = {"image": {"textRedactionMode": "REDACT_ALL_TEXT"}}
STRICT = (BASIC, CONTENTS, MINIMAL, KEEP, REDACT)
TAIL = b"ZEBROWSKI HN1234"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., bytes]:
    """De-identifies a data set, which may have any values; gives the new file's bytes."""
    for mode in ("reading_validation_mode", "writing_validation_mode"):
        monkeypatch.setattr(pydicom.config.settings, mode, pydicom.config.IGNORE)

    def run(dataset: Dataset, config: dict[str, Any]) -> bytes:
        dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
        return deidentified(
            tmp_path / "a.dcm", read_rules(check_config(config, "v1"), b"k" * 32), b"k" * 32
        )

    return run


def sample(name: str = "CT_small.dcm", **attributes: Any) -> Dataset:
    found = get_testdata_file(name)
    assert isinstance(found, str)
    dataset = pydicom.dcmread(found)
    dataset.PatientID, dataset.BurnedInAnnotation = "HN1234", "NO"
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def reread(content: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(content))


@pytest.mark.parametrize("config", [*STRICT, {}, {"dicom": {"removeList": {"tags": []}}}])
def test_nothing_stands_behind_pixels(run: Callable[..., bytes], config: dict[str, Any]) -> None:
    dataset = sample(PatientName="Nobody", PatientID="1")
    pixels = dataset.PixelData
    dataset.PixelData += TAIL
    out = run(dataset, config)
    assert TAIL not in out and reread(out).PixelData == pixels
    del dataset.PixelData, dataset.BitsStored
    dataset.FloatPixelData = b"\1" * (128 * 128 * 4) + TAIL
    icon = Dataset()
    icon.Rows = icon.Columns = icon.SamplesPerPixel = 1
    icon.BitsAllocated, icon.PhotometricInterpretation = 8, "MONOCHROME2"
    icon.PixelData = b"\7" + TAIL
    dataset.IconImageSequence = Sequence([icon])
    assert TAIL not in run(dataset, config)


def test_pixels_without_a_size_fail_and_icons_without_one_go(run: Callable[..., bytes]) -> None:
    dataset = sample()
    icon = Dataset()
    icon.BitsAllocated, icon.PixelData = 8, TAIL
    dataset.ReferencedImageSequence = Sequence([icon])
    assert TAIL not in run(dataset, CONTENTS)
    del dataset.Rows
    with pytest.raises(UnitError, match="does not say how many pixels"):
        run(dataset, BASIC)


@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize(("high", "used"), [(11, 0x0FFF), (15, 0xFFF0)])
@pytest.mark.parametrize("config", STRICT)
def test_bits_that_an_image_does_not_use_are_cleared(
    run: Callable[..., bytes], config: dict[str, Any], high: int, used: int, signed: int
) -> None:
    dataset = sample(BitsStored=12, HighBit=high, PixelRepresentation=signed)
    dataset.PixelData = np.full(128 * 128, 0xA123, "<u2").tobytes()
    after = np.frombuffer(reread(run(dataset, config)).PixelData, "<u2")
    assert (after == 0xA123 & used).all()


def test_unused_bits_of_compressed_pixels_are_cleared_too(run: Callable[..., bytes]) -> None:
    dataset = sample(BitsStored=12, HighBit=11, PixelRepresentation=0)
    dataset.PixelData = np.full(128 * 128, 0x0123, "<u2").tobytes()
    dataset.compress(RLELossless, generate_instance_uid=False)
    assert reread(run(dataset, BASIC)).file_meta.TransferSyntaxUID == RLELossless
    dataset.decompress(generate_instance_uid=False)
    dataset.PixelData = np.full(128 * 128, 0x8123, "<u2").tobytes()
    dataset.compress(RLELossless, generate_instance_uid=False)
    after = reread(run(dataset, BASIC))
    assert after.file_meta.TransferSyntaxUID.is_compressed is False
    assert (np.frombuffer(after.PixelData, "<u2") == 0x0123).all()


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


@pytest.mark.parametrize(
    ("name", "at", "extra"),
    [
        ("SC_rgb_jpeg_gdcm.dcm", 2, segment(0xFE, TAIL)),
        ("SC_rgb_jpeg_dcmtk.dcm", 2, segment(0xE1, b"Exif\0\0" + TAIL)),
        ("JPEG-LL.dcm", 2, segment(0xEE, b"Adobe\0\x64\0\0\0\0\0" + TAIL)),
        ("SC_rgb_small_odd_jpeg.dcm", 2, segment(0xE0, b"JFIF\0\1\2\0\0\1\0\1\0\0" + TAIL)),
        ("MR_small_jpeg_ls_lossless.dcm", 2, segment(0xE8, TAIL)),
        ("MR_small_jp2klossless.dcm", 45, segment(0x64, b"\0\1" + TAIL)),
        ("SC_rgb_rle_2frame.dcm", 0, b""),
    ],
)
@pytest.mark.parametrize("config", STRICT)
def test_compressed_frames_keep_only_the_image(
    run: Callable[..., bytes], config: dict[str, Any], name: str, at: int, extra: bytes
) -> None:
    dataset = sample(name, PatientName="Nobody", Modality="OT")
    before = pixel_array(dataset)
    count = int(dataset.get("NumberOfFrames") or 1)
    frames = list(generate_frames(dataset.PixelData, number_of_frames=count))
    dataset.PixelData = encapsulate([f[:at] + extra + f[at:] + TAIL for f in frames])
    out = run(dataset, config)
    assert TAIL not in out
    assert (pixel_array(reread(out)) == before).all()
    assert TAIL in run(dataset, {})  # nobody asked


def test_a_comment_of_a_tile_is_blanked_in_its_place() -> None:
    dataset = sample("MR_small_jp2klossless.dcm")
    [frame] = generate_frames(dataset.PixelData, number_of_frames=1)
    tile = frame.index(b"\xff\x90")
    comment = segment(0x64, b"\0\1" + TAIL)
    length = struct.unpack_from(">I", frame, tile + 6)[0]
    new = bytearray(frame[: tile + 12] + comment + frame[tile + 12 :])
    if length:
        struct.pack_into(">I", new, tile + 6, length + len(comment))
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    after = streams.cleaned(bytes(new) + TAIL, syntax, 64 * 64)
    assert TAIL not in after and after[-2:] == b"\xff\xd9"
    assert after[tile:].count(bytes(len(TAIL))) == 1
    assert streams.precision(after, syntax) == 16


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xff\xd8",
        b"\xff\xd8" + TAIL,
        b"\xff\xd8" + segment(0xDB, b"\0" * 65 + TAIL),
        b"\xff\xd8" + segment(0xC4, b"\0" * 17 + TAIL) + b"\xff\xd9",
        b"\xff\xd8" + segment(0xC0, b"\x08\0\1\0\1\1\1\x11\0" + TAIL) + b"\xff\xd9",
        b"\xff\xd8" + segment(0xDA, b"\1\1\0\0\x3f\0") + b"\1\2\3",
        b"\xff\x4f\xff\x51",
        b"\xff\x4f" + segment(0x51, b"\0" * 34 + b"\0\1\7\1\1" + TAIL),
    ],
)
def test_damaged_frames_are_refused(frame: bytes) -> None:
    for syntax in ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90", RLELossless):
        with pytest.raises(streams.UnknownForm):
            streams.cleaned(frame, syntax, 4)


@pytest.mark.parametrize("config", STRICT)
def test_code_streams_that_are_not_known_fail(
    run: Callable[..., bytes], config: dict[str, Any]
) -> None:
    dataset = sample("SC_rgb_jpeg_gdcm.dcm")
    dataset.file_meta.TransferSyntaxUID = MPEG2MPML
    with pytest.raises(UnitError, match="of which cannot be told"):
        run(dataset, config)
    assert reread(run(dataset, {})).PatientID == "HN1234"


def test_text_between_compressed_pixels_fails(run: Callable[..., bytes]) -> None:
    dataset = sample("SC_rgb_jpeg_dcmtk.dcm", PatientName="Zebrowski^T")
    [frame] = generate_frames(dataset.PixelData, number_of_frames=1)
    end = frame.rindex(b"\xff\xd9")
    dataset.PixelData = encapsulate([frame[:end] + b"Zebrowski" + frame[end:]])
    assert dataset.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
    with pytest.raises(UnitError, match="text in it that identifies"):
        run(dataset, BASIC)


@pytest.mark.parametrize("config", [BASIC, CONTENTS, {}])
def test_the_uids_of_an_instance_are_nowhere(
    run: Callable[..., bytes], config: dict[str, Any]
) -> None:
    study, other, source = "1.2.99.1", "1.2.99.2", "1.2.99.3"
    dataset = sample(
        StudyInstanceUID=study,
        RetrieveURL=f"http://pacs/studies/{study}/rendered",
        Manufacturer=f"as in {study}.7",
        FilterType=f"{study} or so",
        SOPInstanceUIDOfConcatenationSource=source,
        CodingSchemeUID=study,
    )
    item = Dataset()
    item.ReferencedSOPInstanceUID = other
    item.CodeMeaning = f"see {other}"
    dataset.ReferencedImageSequence = Sequence([item])
    out = run(dataset, config)
    for uid in (study, other, source):
        assert uid.encode() not in out
    after = reread(out)
    assert after.Manufacturer == f"as in {after.StudyInstanceUID}.7"
    assert after.FilterType == "[CTX]"  # there is no room for another
    assert ("RetrieveURL" in after) is (config == {})
    kept = {"dicom": {"skipIdRedaction": True}}
    assert reread(run(dataset, kept)).SOPInstanceUIDOfConcatenationSource == source


def test_all_uids_that_somebody_gave_are_replaced(run: Callable[..., bytes]) -> None:
    keywords = (
        *("TargetFrameOfReferenceUID", "TableFrameOfReferenceUID", "RepositoryUniqueID"),
        *("ReferencedFiducialUID", "MultiFrameSourceSOPInstanceUID", "RetrieveLocationUID"),
    )
    dataset = sample(**dict.fromkeys(keywords, "1.2.99.4"), ContextUID="1.2.840.10008.6.1.1")
    for config in (BASIC, CONTENTS):
        out = run(dataset, config)
        assert b"1.2.99.4" not in out
        after = reread(out)
        assert (after.SOPClassUID, after.ContextUID) == (dataset.SOPClassUID, dataset.ContextUID)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Weiß^Anna", "for Weiß given"),
        ("Weiß^Anna", "WEISS"),
        ("Weiss^Anna", "bei Weiß"),
        ("Müller^Jo", "Mueller"),
        ("Mueller^Jo", "MÜLLER"),
        ("Sørensen^Jo", "Sorensen"),
        ("Müller^Jo", "Mu\u0308ller, again"),
        ("Wu^Xi", "given to Wu"),
        ("Wu^Xi", "WuXi"),
        ("Wu^Xi", "WUXI1"),
        ("Doe^J", "series of J"),
        ("Yamada^Tarou=山田^太郎", "患者山田様"),
        ("Li^Na=李^娜", "李さん"),
        ("Kim^Su=김^수", "김님"),
        ("Garcia-Lopez^Maria", "MariaGarcia"),
        ("Garcia-Lopez^Maria", "MARIALOPEZ2"),
        ("O'Brien^Pat", "OBrien"),
        ("Ｔａｎａｋａ^Ai", "tanaka"),
        ("Nobody", "id12345678x"),
        ("Nobody", "1234-5678"),
        ("Nobody", "born 3 Feb 1961"),
        ("Nobody", "Feb. 3rd, 1961"),
        ("Nobody", "dob 3.2.61"),
        ("Nobody", "_19610203_"),
    ],
)
def test_names_in_other_texts_in_all_spellings(
    run: Callable[..., bytes], name: str, text: str
) -> None:
    dataset = sample(
        SpecificCharacterSet="ISO_IR 192", PatientName=name, PatientID="1234-5678",
        PatientBirthDate="19610203", ConvolutionKernel=text[:16], Manufacturer=text,
    )  # fmt: skip
    dataset.BodyPartExamined = text if text.isascii() else ""
    for config in (BASIC, CONTENTS):
        after = reread(run(dataset, config))
        assert "[CTX]" in after.Manufacturer and "[CTX]" in after.ConvolutionKernel
        assert after.BodyPartExamined == ""
        for word in (
            "Wei",
            "WEISS",
            "lle",
            "Wu",
            "山",
            "李",
            "김",
            "Garcia",
            "Brien",
            "1961",
            "Lop",
        ):
            assert word not in after.Manufacturer


def test_what_is_no_name_stays(run: Callable[..., bytes]) -> None:
    dataset = sample(
        PatientName="Head^Tom^^Mr", ReferringPhysicianName="No^Ann^^Dr^MD", Modality="MR",
        BodyPartExamined="HEAD", Manufacturer="Gadovist 10 ml", ConvolutionKernel="B30s",
    )  # fmt: skip
    after = reread(run(dataset, BASIC))
    kept = ("Modality", "BodyPartExamined", "Manufacturer", "ConvolutionKernel")
    for keyword in (*kept, "ImageType", "BurnedInAnnotation", "PixelSpacing", "KVP"):
        assert after[keyword].value == dataset[keyword].value


def test_values_that_their_vr_does_not_have_go(run: Callable[..., bytes]) -> None:
    dataset = sample(PatientName="Nobody", ContentTime="Roe", StudyTime="101010")
    dataset[0x00080033].VR = "TM"
    dataset.add_new(0x00180060, "IS", "12")  # KVP
    for config in (BASIC, CONTENTS):
        out = run(dataset, config)
        assert b"Roe" not in out
    assert reread(out).StudyTime == "101010"


@pytest.mark.parametrize("config", [BASIC, CONTENTS])
def test_no_private_element_and_no_overlay_stays(
    run: Callable[..., bytes], config: dict[str, Any]
) -> None:
    dataset = sample(PatientID="12345678", PatientName="Doe^Jane")
    block = dataset.private_block(0x0099, "ACME 1.0", create=True)
    for number, (vr, value) in enumerate(
        [("UL", 12345678), ("FD", 12345678.0), ("US", [*b"Doe^Jane"]), ("CS", "DR DOE JANE")]
    ):
        block.add_new(number, vr, value)
    dataset.add_new(0x60001500, "LO", "OVERLAY XQ77")
    dataset.add_new(0x60004000, "LT", "OVERLAY XQ77")
    after = reread(run(dataset, config))
    assert not [e for e in after if e.tag.is_private or e.tag.group == 0x6000]
