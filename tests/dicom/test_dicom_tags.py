"""The tag table against pydicom's dictionary, and how names are found in it."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydicom.datadict import dictionary_VM, dictionary_VR, keyword_for_tag

from dicomsql.dicom.tags import Tag, keywords, lookup, meant

ROOT = Path(__file__).resolve().parents[2]


def test_the_committed_table_is_what_the_script_makes() -> None:
    script = ROOT / "scripts" / "build_tags.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_keyword_is_found_with_what_pydicom_says() -> None:
    found = [lookup(keyword) for keyword in keywords()]
    assert len(found) > 5000
    for tag in found:
        assert tag is not None
        number = int(tag.tag, 16)
        assert keyword_for_tag(number) == tag.keyword
        assert (dictionary_VR(number), dictionary_VM(number)) == (tag.vr, tag.vm)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("PatientName", Tag("PatientName", "00100010", "PN", "1", "study")),
        ("patientNAME", Tag("PatientName", "00100010", "PN", "1", "study")),
        ("0020000d", Tag("StudyInstanceUID", "0020000D", "UI", "1", "study")),
        ("tag_0020000D", Tag("StudyInstanceUID", "0020000D", "UI", "1", "study")),
        ("OverlayRows", Tag("OverlayRows", "60000010", "US", "1")),
        ("601E0010", Tag("OverlayRows", "601E0010", "US", "1")),
        ("00203105", Tag("SourceImageIDs", "00203105", "CS", "1-n")),
        ("00280020", Tag("", "00280020", "OB", "1")),
        ("00091001", Tag("", "00091001", "UN", "1-n")),
        ("tag_000910ff", Tag("", "000910FF", "UN", "1-n")),
        ("00090010", Tag("", "00090010", "LO", "1")),
        ("60010010", Tag("", "60010010", "LO", "1")),  # an odd group is private, overlay or not
    ],
)
def test_lookup(name: str, expected: Tag) -> None:
    assert lookup(name) == expected


@pytest.mark.parametrize(
    "name", ["", "NoSuch", "0010001", "0010ZZZZ", "00100009", "tag_", "60xx0010"]
)
def test_lookup_of_what_is_no_attribute(name: str) -> None:
    assert lookup(name) is None


@pytest.mark.parametrize(
    ("level", "names"),
    [
        (
            "study",
            "PatientName PatientAge PatientWeight OtherPatientIDs StudyInstanceUID StudyDate "
            "StudyDescription AccessionNumber ReferringPhysicianName ClinicalTrialProtocolID "
            "RequestedProcedureDescription ModalitiesInStudy NumberOfStudyRelatedInstances "
            "InstanceAvailability RetrieveURL",
        ),
        (
            "series",
            "SeriesInstanceUID SeriesDescription Modality BodyPartExamined StationName "
            "Manufacturer InstitutionName ProtocolName PatientPosition Laterality "
            "FrameOfReferenceUID PerformedProcedureStepID PerformedProcedureStepStartDate "
            "RequestAttributesSequence NumberOfSeriesRelatedInstances",
        ),
        (
            "instance",
            "SOPInstanceUID SOPClassUID SpecificCharacterSet InstanceCreationDate ImageType Rows "
            "InstanceNumber ContentDate AcquisitionDate KVP TimezoneOffsetFromUTC SliceThickness "
            # Of a series by the module of one modality, of an image by that of another.
            "ConvolutionKernel ViewPosition FilterType OverlayRows 00091001",
        ),
    ],
)
def test_level_as_a_reader_of_the_standard_expects(level: str, names: str) -> None:
    found = {name: lookup(name) for name in names.split()}
    assert {name: tag and tag.level for name, tag in found.items()} == dict.fromkeys(found, level)


def test_many_and_private() -> None:
    def tag(name: str) -> Tag:
        found = lookup(name)
        assert found is not None
        return found

    assert tag("ImageType").many
    assert tag("PixelSpacing").many
    assert not tag("PatientID").many
    assert tag("00091001").private
    assert not tag("PatientID").private


def test_importing_the_names_imports_nothing_heavy() -> None:
    code = (
        "import sys; from dicomsql.dicom.columns import column; column('StudyDate').sql_type;"
        "heavy = {'pyarrow', 'msgspec', 'pydicom', 'numpy', 'importlib.resources'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "keyword"),
    [
        ("0010,0020", "PatientID"),
        ("(0010, 0020)", "PatientID"),
        ("0010-0020", "PatientID"),
        ("X00100020", "PatientID"),
        ("patient_id", "PatientID"),
        ("Patient ID", "PatientID"),
        ("PatientIDs", None),
        ("0019,1001", None),
        ("0010,00201", None),
        ("", None),
    ],
)
def test_what_other_spellings_mean(name: str, keyword: str | None) -> None:
    found = meant(name)
    assert (found.keyword if found is not None else None) == keyword
