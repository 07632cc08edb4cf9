"""De-identified files: nothing that identifies is in them, and they are still what they were."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import JPEGBaseline8Bit

from dicomsql.dicom import part10
from dicomsql.emulator.deidentify.config import check_config, read_rules
from dicomsql.emulator.deidentify.rewrite import deidentified
from dicomsql.emulator.jobs import UnitError

KEY = b"k" * 32
BASIC = {"dicom": {"filterProfile": "ATTRIBUTE_CONFIDENTIALITY_BASIC_PROFILE"}}
CONTENTS = {"dicom": {"filterProfile": "DEIDENTIFY_TAG_CONTENTS"}}
MINIMAL = {"dicom": {"filterProfile": "MINIMAL_KEEP_LIST_PROFILE"}}
REDACT = {"image": {"textRedactionMode": "REDACT_ALL_TEXT"}}
PLAIN = ["ORIGINAL", "PRIMARY"]
PRIMARY = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Dataset]:
    """De-identifies a file's bytes; gives the data set, with the new bytes as `content`."""
    path = tmp_path_factory.mktemp("deidentify") / "a.dcm"

    def run(
        content: bytes, config: dict[str, Any], *, version: str = "v1", key: bytes = KEY
    ) -> Dataset:
        path.write_bytes(content)
        rules = read_rules(check_config(config, version), key)
        out = deidentified(path, rules, key)
        assert path.read_bytes() == content
        dataset = pydicom.dcmread(io.BytesIO(out))
        dataset.content = out
        return dataset

    return run


@cache
def real_files() -> list[Path]:
    """All files of pydicom that a store takes, but large ones, which are large in pixels only."""
    folder = Path(pydicom.__file__).parent / "data" / "test_files"
    found = []
    for path in sorted(folder.rglob("*")):
        large = path.stat().st_size > 150_000
        if path.is_file() and path.suffix in {"", ".dcm"} and not large:
            try:
                dataset = part10.read(path.read_bytes()).dataset
            except part10.InvalidDicom:
                continue
            if all(part10.text(dataset, tag) for tag in ("0020000D", "0020000E", "00080018")):
                found.append(path)
    return found


# Attributes whose values may be in no copy: by VR, and by what keywords end with.
_IDENTIFYING = (
    *("PatientID", "AccessionNumber", "StudyID", "InstitutionAddress", "SerialNumber"),
    *("PatientAddress", "TelephoneNumbers", "StationName", "BirthDate", "OtherPatientIDs"),
    *("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"),
    *("StudyDate", "SeriesDate", "ContentDate", "AcquisitionDate"),
)


def identifying(dataset: Dataset, *, private: bool = False) -> Iterator[bytes]:
    """The raw values that identify, at whatever depth, all long texts of private ones included."""
    for tag in list(dataset.keys()):
        raw = dataset.get_item(tag).value
        element = dataset[tag]
        inside = private or tag.is_private
        if tag.is_private_creator:
            continue  # says which machine it was, as Manufacturer does
        if element.VR == "SQ":
            for item in element.value or ():
                yield from identifying(item, private=inside)
            continue
        if not isinstance(raw, bytes):
            raw = str(element.value).encode()
        shown = element.VR == "PN" or element.keyword.endswith(_IDENTIFYING)
        long = inside and element.VR in {"LO", "LT", "ST", "UT", "PN", "UI"} and len(raw) > 16
        if shown or long:
            values = (value.strip(b"\0 ") for value in raw.split(b"\\"))
            yield from (value for value in values if len(value) >= 5)


@pytest.mark.parametrize("config", [BASIC, MINIMAL, CONTENTS], ids=["basic", "minimal", "contents"])
def test_no_value_that_identifies_is_left_of_any_real_file(
    run: Callable[..., Dataset], config: dict[str, Any]
) -> None:
    checked, refused = 0, set()
    for path in real_files():
        content = path.read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            before = pydicom.dcmread(io.BytesIO(content))
            values = set(identifying(before)) | {before.SOPInstanceUID.encode()}
            try:
                after = run(content, config)
            except UnitError:
                refused.add(path.name)
                continue
            out = after.content
            if after.file_meta.TransferSyntaxUID in part10_native():
                out = out.replace(after.get("PixelData") or b"-", b"")
        left = {value for value in values if value in out}
        assert not left - {b"ANONYMIZED", b"anonymous"}, path.name
        for keyword in ("SOPClassUID", "Rows", "Columns"):
            assert after.get(keyword) == before.get(keyword), path.name
        checked += len(values)
    assert checked > 500
    # a whole file of JPEG 2000 as a frame, and a number of frames that is none
    assert refused <= {"GDCMJ2K_TextGBR.dcm", "badVR.dcm"}


def part10_native() -> set[str]:
    return {part10.IMPLICIT_LITTLE, part10.EXPLICIT_LITTLE, part10.EXPLICIT_BIG}


def planted(make_dicom: Callable[..., bytes], **more: Any) -> bytes:
    """A file with a patient's name and number wherever one can put them."""
    item = Dataset()
    item.ReferencedSOPInstanceUID = "1.2.3.4"
    item.CodeMeaning = "Seen by Zebrowski, chart ZX-81920"
    dataset = pydicom.dcmread(
        io.BytesIO(
            make_dicom(
                instance="1.2.3.4",
                PatientName="Zebrowski^Tadeusz",
                PatientID="ZX-81920",
                PatientBirthDate="19410228",
                StudyDate="20200131",
                StudyDescription="for zebrowski",
                ReferringPhysicianName="Quill^Ada",
                Manufacturer="Zebrowski & Sons",
                SoftwareVersions="ZX-81920_1",
                Modality="CT",
                ImageType=["ORIGINAL", "PRIMARY"],
                SpecificCharacterSet="ISO_IR 192",
                PurposeOfReferenceCodeSequence=Sequence([item]),
                **more,
            )
        )
    )
    block = dataset.private_block(0x0029, "ZEBROWSKI PRIVATE", create=True)
    block.add_new(0x01, "OB", b"header of Zebrowski\0")
    block.add_new(0x02, "LO", "Tadeusz")
    nested = Dataset()
    nested.PatientName = "Zebrowski"
    block.add_new(0x03, "SQ", Sequence([nested]))
    dataset.file_meta.PrivateInformationCreatorUID = "1.2.3"
    dataset.file_meta.PrivateInformation = b"Zebrowski\0"
    dataset.file_meta.SourceApplicationEntityTitle = "ZEBROWSKI"
    dataset.preamble = b"Zebrowski".ljust(128, b"\0")
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue() + b"\0\0Zebrowski"


@pytest.mark.parametrize("config", [BASIC, MINIMAL, CONTENTS], ids=["basic", "minimal", "contents"])
def test_what_was_planted_everywhere_is_nowhere(
    run: Callable[..., Dataset], make_dicom: Callable[..., bytes], config: dict[str, Any]
) -> None:
    after = run(planted(make_dicom), config)
    found = after.content.lower()
    names = (b"zebrowski", b"tadeusz", b"quill", b"zx-81920", b"19410228", b"20200131", b"1.2.3.4")
    assert not any(element.tag.is_private for element in after)
    for name in names:
        assert name not in found, name


def test_basic_says_what_was_done_and_keeps_the_rest(
    run: Callable[..., Dataset], make_dicom: Callable[..., bytes]
) -> None:
    after = run(planted(make_dicom), BASIC)
    assert (after.PatientIdentityRemoved, after.LongitudinalTemporalInformationModified) == (
        "YES",
        "REMOVED",
    )
    assert after.PatientName == after.StudyDate == ""
    assert after.PatientID == "ANONYMIZED"
    assert (after.Modality, after.Manufacturer) == ("CT", "[CTX] & Sons")
    assert "StudyDescription" not in after
    assert not any(element.tag.is_private for element in after)
    assert after.preamble == b"\0" * 128
    assert after.file_meta.MediaStorageSOPInstanceUID == after.SOPInstanceUID
    item = after.PurposeOfReferenceCodeSequence[0]
    assert item.ReferencedSOPInstanceUID == after.SOPInstanceUID


def test_uids_are_the_same_in_an_operation_and_others_in_the_next(
    run: Callable[..., Dataset], make_dicom: Callable[..., bytes]
) -> None:
    first = run(make_dicom("1.5", "1.5.1", "1.5.1.1"), {})
    second = run(make_dicom("1.5", "1.5.2", "1.5.2.1"), {})
    other = run(make_dicom("1.5", "1.5.1", "1.5.1.1"), {}, key=b"o" * 32)
    assert first.StudyInstanceUID == second.StudyInstanceUID
    assert first.StudyInstanceUID.startswith("2.25.") and first.StudyInstanceUID.is_valid
    assert len({d[k].value for d in (first, second, other) for k in PRIMARY}) == 8
    again = run(make_dicom("1.5", "1.5.1", "1.5.1.1"), {})
    assert again.content == first.content


def test_keep_and_remove_lists(
    run: Callable[..., Dataset], make_dicom: Callable[..., bytes]
) -> None:
    content = planted(make_dicom)
    kept = run(content, {"dicom": {"keepList": {"tags": ["Modality", "00100020"]}}})
    assert (kept.PatientID, kept.Modality) == ("ZX-81920", "CT")
    assert {e.keyword for e in kept} == {
        *("SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "Modality", "PatientID"),
        *("StudyInstanceUID", "SeriesInstanceUID"),
    }
    removed = run(
        content,
        {
            "dicom": {
                "removeList": {"tags": ["PatientName", "CodeMeaning"]},
                "skipIdRedaction": True,
            }
        },
    )
    assert "PatientName" not in removed and removed.PatientID == "ZX-81920"
    assert "CodeMeaning" not in removed.PurposeOfReferenceCodeSequence[0]
    assert "PatientName" not in removed[0x00291003].value[0]
    assert removed.StudyInstanceUID == "1.1" and removed.SOPInstanceUID == "1.2.3.4"


def test_a_list_leaves_texts_in_any_character_set_as_they_are(
    run: Callable[..., Dataset], make_dicom: Callable[..., bytes]
) -> None:
    content = make_dicom(SpecificCharacterSet="ISO_IR 192", InstitutionName="Łódź", PatientID="1")
    kept = run(content, {"dicom": {"keepList": {"tags": ["InstitutionName"]}}})
    assert kept.InstitutionName == "Łódź"


@pytest.mark.parametrize("vr", ["OB", "UN", "LT", "CS", "DS"])
def test_a_wrong_vr_hides_nothing(
    run: Callable[..., Dataset], make_dicom: Callable[..., bytes], vr: str
) -> None:
    content = make_dicom(PatientID="ZX-81920", FrameOfReferenceUID="1.2.3.4.5.6")
    for tag, right in ((b"\x10\0\x20\0", b"LO"), (b"\x20\0\x52\0", b"UI")):
        start = content.index(tag + right)
        length = content[start + 6 : start + 8]
        wrong = vr.encode() + (b"\0\0" + length + b"\0\0" if vr in {"OB", "UN"} else length)
        content = content[: start + 4] + wrong + content[start + 8 :]
    for config in (BASIC, CONTENTS, MINIMAL):
        try:
            out = run(content, config).content
        except UnitError:
            continue
        assert b"81920" not in out and b"1.2.3.4.5.6" not in out


def test_bytes_that_stay_need_not_be_understood(
    run: Callable[..., Dataset], make_dicom: Callable[..., bytes]
) -> None:
    content = make_dicom(SpecificCharacterSet="ISO_IR 192", StudyDescription="ABCD", PatientID="1")
    content = content.replace(b"ABCD", b"\xff\xfe\xc3(")  # nothing in UTF-8
    for config in ({}, {"dicom": {"removeList": {"tags": ["PatientID"]}}}):
        assert b"\xff\xfe\xc3(" in run(content, config).content
    assert b"\xff" not in run(content, CONTENTS).content


def test_texts_are_transformed_as_the_configuration_says(
    run: Callable[..., Dataset], make_dicom: Callable[..., bytes]
) -> None:
    content = make_dicom(
        PatientName="Doe^Jane", PatientID="A1", StudyDate="20200228", AccessionNumber="77-1",
        PatientAge="044Y", InstitutionName="St Elsewhere", ContentDate="20200301",
    )  # fmt: skip
    key = "a" * 22 + "=="
    text = {
        "additionalTransformations": [
            {"infoTypes": ["PERSON_NAME"], "characterMaskConfig": {"maskingCharacter": "#"}},
            {"infoTypes": ["MEDICAL_RECORD_NUMBER"], "cryptoHashConfig": {"cryptoKey": key}},
            {"infoTypes": ["GENERIC_ID"], "redactConfig": {}},
        ],
        "excludeInfoTypes": ["ORGANIZATION_NAME"],
    }  # fmt: skip
    after = run(content, {**CONTENTS, "text": text})
    assert after.PatientName == "###^####"
    assert len(after.PatientID) == 44 and after.PatientID.endswith("=")
    assert (after.AccessionNumber, after.PatientAge) == ("", "")
    assert after.InstitutionName == "St Elsewhere"
    days = [
        np.datetime64(f"{d[:4]}-{d[4:6]}-{d[6:]}") for d in (after.StudyDate, after.ContentDate)
    ]
    moved = (days[0] - np.datetime64("2020-02-28")).astype(int)
    assert moved and -100 <= moved <= 100
    assert (days[1] - days[0]).astype(int) == 2  # the same for all dates of a patient
    default = run(make_dicom(TextValue="as his wife said", PatientName="A"), CONTENTS)
    assert default.TextValue == "[GENERIC_ID]"  # anything may be said in a long text
    default = run(content, CONTENTS)
    assert default.PatientName == "[PERSON_NAME]"
    assert default.AccessionNumber == "[GENERIC_ID]"


def test_actions_of_v1beta1(run: Callable[..., Dataset], make_dicom: Callable[..., bytes]) -> None:
    config = {
        "dicomTagConfig": {
            "profileType": "ATTRIBUTE_CONFIDENTIALITY_BASIC_PROFILE",
            "options": {"primaryIds": "KEEP", "cleanDescriptors": {}},
            "actions": [
                {"queries": ["PatientSex", "PatientID"], "keepTag": {}},
                {"queries": ["00080070"], "deleteTag": {}},
                {"queries": ["PN"], "resetTag": {}},
                {"queries": ["ReferringPhysicianName"], "removeTag": {}},
                {"queries": ["SoftwareVersions"], "cleanTextTag": {}},
            ],
        }
    }
    after = run(planted(make_dicom, PatientSex="F"), config, version="v1beta1")
    assert (after.PatientSex, after.PatientID, after.SOPInstanceUID) == ("F", "ZX-81920", "1.2.3.4")
    assert "Manufacturer" not in after
    assert (after.PatientName, after.ReferringPhysicianName) == ("ANONYMIZED", "")
    assert after.SoftwareVersions == "[CTX]_1"
    assert after.StudyDescription == "[GENERIC_ID]"
    only = {"profileType": "KEEP_ALL_PROFILE", "actions": [config["dicomTagConfig"]["actions"][-1]]}
    kept = run(planted(make_dicom), {"dicomTagConfig": only}, version="v1beta1")
    assert (kept.SoftwareVersions, kept.Manufacturer) == ("[CTX]_1", "Zebrowski & Sons")


def image(make_dicom: Callable[..., bytes], pixels: np.ndarray[Any, Any], **more: Any) -> bytes:
    """An image file of 8 bits."""
    grey = pixels.ndim == 2
    return make_dicom(
        Rows=pixels.shape[0], Columns=pixels.shape[1], SamplesPerPixel=1 if grey else 3,
        PhotometricInterpretation=more.pop("photometric", "MONOCHROME2" if grey else "RGB"),
        PlanarConfiguration=None if grey else 0, BitsAllocated=8, BitsStored=8, HighBit=7,
        PixelRepresentation=0, PixelData=pixels.tobytes(), **more,
    )  # fmt: skip


def region(left: int, top: int, right: int, bottom: int) -> Dataset:
    item = Dataset()
    item.RegionLocationMinX0, item.RegionLocationMinY0 = left, top
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = right, bottom
    return item


def test_what_is_outside_of_ultrasound_regions_is_blanked(
    run: Callable[..., Dataset], make_dicom: Callable[..., bytes]
) -> None:
    pixels = np.full((8, 10, 3), 200, np.uint8)
    regions = Sequence([region(2, 3, 5, 6)])
    after = run(
        image(make_dicom, pixels, Modality="US", SequenceOfUltrasoundRegions=regions), REDACT
    )
    kept = np.zeros((8, 10), bool)
    kept[3:7, 2:6] = True
    assert (after.pixel_array == np.where(kept[..., None], 200, 0)).all()
    assert after.BurnedInAnnotation == "NO"


def test_the_recipes_of_known_machines_are_used(
    run: Callable[..., Dataset], make_dicom: Callable[..., bytes]
) -> None:
    known = {
        "Modality": "CT", "Manufacturer": "GE MEDICAL SYSTEMS", "BurnedInAnnotation": "YES",
        "SeriesDescription": "Dose Report", "ImageType": ["DERIVED", "SECONDARY"],
    }  # fmt: skip
    after = run(image(make_dicom, np.full((512, 512), 9, np.uint8), **known), {**BASIC, **REDACT})
    assert not after.pixel_array[:110].any()
    assert (after.pixel_array[210:] == 9).all()


@pytest.mark.parametrize(
    ("attributes", "passes"),
    [
        ({"Modality": "CT", "ImageType": PLAIN}, True),
        ({"Modality": "XA", "BurnedInAnnotation": "NO"}, True),
        ({"Modality": "CT", "ImageType": ["DERIVED", "SECONDARY"]}, False),
        ({"Modality": "CT", "ImageType": PLAIN, "BurnedInAnnotation": "YES"}, False),
        ({"Modality": "US"}, False),
        ({"Modality": "OT"}, False),
        # a region that is the whole image says nothing of where text is
        ({"Modality": "US", "SequenceOfUltrasoundRegions": Sequence([region(0, 0, 3, 3)])}, False),
        ({"Modality": "US", "SequenceOfUltrasoundRegions": Sequence([Dataset()])}, False),
    ],
)  # fmt: skip
def test_pixels_that_cannot_be_made_safe_fail(
    run: Callable[..., Dataset],
    make_dicom: Callable[..., bytes],
    attributes: dict[str, Any],
    passes: bool,
) -> None:
    content = image(make_dicom, np.full((4, 4), 7, np.uint8), **attributes)
    if passes:
        assert (run(content, REDACT).pixel_array == 7).all()
    else:
        with pytest.raises(UnitError, match="may have text in its pixels"):
            run(content, REDACT)
    assert (run(content, {}).pixel_array == 7).all()  # nobody asked


@pytest.mark.parametrize(
    ("name", "black"),
    [
        ("examples_palette.dcm", (0,)),
        ("SC_rgb_jpeg_dcmtk.dcm", (0, 0, 0)),
        ("SC_ybr_full_422_uncompressed.dcm", (0, 128, 128)),
        ("SC_rgb_rle_2frame.dcm", (0, 0, 0)),
        ("MR_small_bigendian.dcm", (0,)),
        ("MR_small_RLE.dcm", (0,)),
    ],
)
def test_pixels_of_all_forms_are_blanked(
    run: Callable[..., Dataset], name: str, black: tuple[int, ...]
) -> None:
    found = get_testdata_file(name)
    assert isinstance(found, str)
    before = pydicom.dcmread(found)
    before.Manufacturer = "of no recipe"
    before.SequenceOfUltrasoundRegions = Sequence([region(4, 6, 21, 30)])
    out = io.BytesIO()
    before.save_as(out)
    after = run(out.getvalue(), REDACT)
    shape = (-1, before.Rows, before.Columns, before.SamplesPerPixel)
    old, new = (pydicom.pixels.pixel_array(d, raw=True).reshape(shape) for d in (before, after))
    outside = np.ones(shape[1:3], bool)
    outside[6:31, 4:22] = False
    assert (new[:, outside] == black).all()
    assert after.file_meta.TransferSyntaxUID in part10_native()
    if before.file_meta.TransferSyntaxUID not in {JPEGBaseline8Bit}:
        assert (new[:, ~outside] == old[:, ~outside]).all()


def test_icons_and_overlays_go_with_the_text(
    run: Callable[..., Dataset], make_dicom: Callable[..., bytes]
) -> None:
    pixels = np.full((4, 4), 0x1005, np.uint16)
    dataset = pydicom.dcmread(
        io.BytesIO(image(make_dicom, np.zeros((4, 4), np.uint8), BurnedInAnnotation="NO"))
    )
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelData = pixels.tobytes()
    dataset.add_new(0x60000102, "US", 12)
    dataset.add_new(0x60003000, "OW", b"\1\2")
    dataset.IconImageSequence = Sequence([Dataset()])
    out = io.BytesIO()
    dataset.save_as(out)
    after = run(out.getvalue(), REDACT)
    assert "IconImageSequence" not in after and 0x60003000 not in after
    assert (after.pixel_array == 5).all()


def test_files_that_cannot_be_worked_on_fail_and_say_no_value(
    run: Callable[..., Dataset], make_dicom: Callable[..., bytes]
) -> None:
    content = image(make_dicom, np.zeros((4, 4), np.uint8), Modality="US", PatientName="Zebrowski")
    dataset = pydicom.dcmread(io.BytesIO(content))
    dataset.SequenceOfUltrasoundRegions = Sequence([region(0, 0, 1, 1)])
    dataset.PixelData = b"\0\0"  # of sixteen
    out = io.BytesIO()
    dataset.save_as(out)
    with pytest.raises(UnitError) as failure:
        run(out.getvalue(), REDACT)
    assert "Zebrowski" not in str(failure.value)


def test_sequences_in_sequences_without_end_fail(
    run: Callable[..., Dataset], make_dicom: Callable[..., bytes]
) -> None:
    down = struct.pack("<HH2sHIHHI", 0x0040, 0xA730, b"SQ", 0, 2**32 - 1, 0xFFFE, 0xE000, 2**32 - 1)
    up = struct.pack("<HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    with pytest.raises(UnitError, match="cannot be read or written"):
        run(make_dicom() + down * 5000 + up * 5000, BASIC)
