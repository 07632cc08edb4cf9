"""The datasets that all worlds get: real files of pydicom's packages, and made ones from a seed.

The made ones are unusual on purpose: dates that are missing, broken or written as before DICOM,
names in three scripts, identifiers that differ in zeros, case and spaces alone, several modalities
in a study, private blocks that move, sequences, empty members in lists. What belongs to a patient,
a study or a series is the same in all of its instances.
"""

from __future__ import annotations

import io
import random
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
from pydicom import config
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

SEED = 20_260_131
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
ROOT = "1.2.826.0.1.3680043.10.1555"
CREATOR = "ACME WORKS 1.0"

# VRs whose texts pydicom would read as numbers and dates before it writes them.
_AS_WRITTEN = {"DA", "DS", "DT", "IS", "TM"}

_Attributes = dict[str, Any]

# PatientID, PatientName, sex, birth date: leading zeros, case, spaces and apostrophes; no two
# patients share an identifier, since servers keep one name for each.
PATIENTS: tuple[tuple[str, str | None, str | None, str | None], ...] = (
    ("00123", "Smith^Ann", "F", "19700101"),
    ("123", "Smith^Anna", "F", "19700102"),
    ("0123", "SMITH^ANN", "F", None),
    ("abc", "smith^ann", "O", "19991231"),
    ("ABC", "Smythe^Bo^X^Dr^Jr", "M", "20000229"),
    ("Abc", None, None, None),
    ("P 4", "O'Neil^Pat", "M", "1955.07.04"),
    ("O'NEIL-7", "de la Cruz^Ana Maria", "F", "19880808"),
    ("P*5", "Star^A*b?", "M", "19450615"),
    ("p-9", "Müller^Jörg", "M", "19600229"),
    ("P-9", "Yamada^Tarou=山田^太郎=やまだ^たろう", "M", "19810314"),
    ("K-1", "Hong^Gildong=洪^吉洞=홍^길동", None, "19801010"),
    ("LONG" + "0" * 56 + "LONG", "Single", "M", "19801301"),
    ("%_", "Percent^Under_Score", "F", "19700230"),
    ("1e3", "Brown^Bob", "M", "19301224"),
    ("1000", "Brown^Bobby", "M", "19301225"),
    ("", "Nobody^No Id", "O", None),
)
# (value, weight); a broken one is no date and NULL in its column
DATES: tuple[tuple[str | None, int], ...] = ((None, 4), ("20241301", 1), ("2004.01.01", 1))
DESCRIPTIONS = (
    *(None, None, "Head", "HEAD", "head and neck", "CT Thorax/Abdomen", "100%_sure", "a,b"),
    *("Knie rechts", "Schädel nativ", "it's", "  leading", "x*y?", "Ganzkörper + KM"),
)
MODALITIES = ("CT", "MR", "US", "SR", "CR", "PT")
IMAGE_TYPES = (
    None,
    ["ORIGINAL", "PRIMARY", "AXIAL"],
    ["ORIGINAL", "PRIMARY", "LOCALIZER"],
    ["DERIVED", "SECONDARY"],
    ["DERIVED", "PRIMARY", "", "MIP"],
    ["original"],
)


def made(instances: int, seed: int = SEED) -> Iterator[bytes]:
    """So many files, study by study; always the same ones for the same numbers."""
    chance = random.Random(seed)
    left = instances
    number = 0
    while left:
        number += 1
        implicit = number % 5 == 0
        for dataset in _study(chance, number):
            if implicit:  # what the private elements are would not be said
                dataset.remove_private_tags()
            yield part10(dataset, implicit=implicit)
            left -= 1
            if not left:
                return


def _study(chance: random.Random, number: int) -> Iterator[Dataset]:
    identifier, name, sex, born = PATIENTS[chance.randrange(len(PATIENTS))]
    study: _Attributes = {
        "SpecificCharacterSet": "ISO_IR 192",
        "StudyInstanceUID": f"{ROOT}.{number}",
        "PatientID": identifier,
        "PatientName": name,
        "PatientSex": sex,
        "PatientBirthDate": born,
        "OtherPatientNames": chance.choice((None, ["Roe^Jane", "Doe^J"])),
        "StudyDate": _date(chance, number),
        "StudyTime": chance.choice((None, "08", "0830", "083000", "143015.250000", "235960", "9")),
        "AccessionNumber": chance.choice((None, f"A{number:04}", f"a{number:04}", "0007", "7")),
        "ReferringPhysicianName": chance.choice((None, "House^Gregory", "Who^Dr", "O'Hara^S")),
        "StudyID": chance.choice((None, str(number), f"{number:05}")),
        "StudyDescription": chance.choice(DESCRIPTIONS),
        "PatientAge": chance.choice((None, "045Y", "003M", "45")),
        "PatientWeight": chance.choice((None, "70.5", "1e2", "heavy")),
        "TimezoneOffsetFromUTC": chance.choice((None, "+0100", "-0530")),
    }
    for row in range(1, chance.choice((1, 1, 2, 2, 3, 4)) + 1):
        series = study | {
            "SeriesInstanceUID": f"{study['StudyInstanceUID']}.{row}",
            "Modality": chance.choice(MODALITIES),
            "SeriesNumber": chance.choice((None, row, row * 1000, "-1", "00" + str(row))),
            "SeriesDescription": chance.choice(DESCRIPTIONS),
            "BodyPartExamined": chance.choice((None, "HEAD", "CHEST", "KNEE")),
            "Laterality": chance.choice((None, "L", "R")),
            "SeriesDate": _date(chance, number),
            "ProtocolName": chance.choice((None, "T1 ax", "t1 AX", "routine")),
            "Manufacturer": chance.choice((None, "ACME", "Acme Works", "SIEMENS")),
            "OperatorsName": chance.choice((None, ["Op^One"], ["Op^One", "Op^Two"])),
            "RequestAttributesSequence": chance.choice((None, [], ["SPS1"], ["SPS1", "SPS2"])),
        }
        for place in range(1, chance.choice((1, 1, 2, 3, 5, 8)) + 1):
            yield _dataset(chance, series, place)


def _dataset(chance: random.Random, series: _Attributes, place: int) -> Dataset:
    spacing = chance.choice((None, ["0.5", "0.5"], ["0.7421875", "0.7421875"], ["1", ""]))
    instance = series | {
        "SOPClassUID": chance.choice((SECONDARY_CAPTURE, "1.2.840.10008.5.1.4.1.1.2")),
        "SOPInstanceUID": f"{series['SeriesInstanceUID']}.{place}",
        "InstanceNumber": chance.choice((place, place, None, 2**31 - 1)),
        "ImageType": chance.choice(IMAGE_TYPES),
        "Rows": chance.choice((1, 512, 65535)),
        "Columns": chance.choice((1, 512)),
        "BitsAllocated": chance.choice((8, 16, None)),
        "NumberOfFrames": chance.choice((None, None, 1, 40)),
        "SliceThickness": chance.choice((None, "0.5", "1.25", "-0", "1E-3")),
        "PixelSpacing": spacing,
        "ContentDate": _date(chance, place),
        "AcquisitionDateTime": chance.choice(
            (None, "20240229123456.789", "20240229", "2024", "20240229123456+0100", "20240230")
        ),
        "ImageComments": chance.choice((None, "two words", "  kept at its start", "ünïcode")),
        "KVP": chance.choice((None, "120", "80.0")),
        "TableSpeed": chance.choice((None, 0.1, 1e300)),  # FD
    }
    dataset = Dataset()
    for keyword, value in instance.items():
        if keyword == "RequestAttributesSequence":
            _add_requests(dataset, value)
        elif value is not None or chance.random() < 0.5:  # absent, or there without a value
            dataset.add(_element(keyword, value))
    _add_private(chance, dataset)
    return dataset


def _date(chance: random.Random, number: int) -> str | None:
    values, weights = zip(*DATES, strict=True)
    date = f"{2020 + number % 6}{chance.randint(1, 12):02}{chance.randint(1, 28):02}"
    found: str | None = chance.choices((*values, date), (*weights, 24))[0]
    return found


def _element(keyword: str, value: Any) -> DataElement | RawDataElement:
    """An element that is not checked, since some values are wrong on purpose."""
    tag = Tag(keyword)
    vr = dictionary_VR(tag)
    if value is None or vr not in _AS_WRITTEN:
        return DataElement(tag, vr, value, validation_mode=config.IGNORE)
    text = "\\".join(value) if isinstance(value, list) else str(value)
    content = text.encode("ascii") + b" " * (len(text) % 2)
    return RawDataElement(
        tag, vr, len(content), content, 0, is_implicit_VR=False, is_little_endian=True
    )


def _add_requests(dataset: Dataset, steps: list[str] | None) -> None:
    if steps is None:
        return
    items = []
    for step in steps:
        item = Dataset()
        item.ScheduledProcedureStepID = step
        item.RequestedProcedureID = "R1"
        items.append(item)
    dataset.RequestAttributesSequence = items


def _add_private(chance: random.Random, dataset: Dataset) -> None:
    """A private element in the first free block, which is not always the same."""
    if chance.random() < 0.3:
        dataset.private_block(0x0019, "SOMEBODY ELSE", create=True).add_new(1, "LO", "other")
    if chance.random() < 0.7:
        block = dataset.private_block(0x0019, CREATOR, create=True)
        block.add_new(1, "LO", chance.choice(("alpha", "beta", "it's")))


def part10(dataset: Dataset, *, implicit: bool = False) -> bytes:
    """The dataset as a DICOM file."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    dataset.file_meta = meta
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the values that are wrong on purpose
        dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def real_paths() -> list[Path]:
    """The files that come with pydicom and pydicom-data, the smaller ones."""
    folders = [Path(pydicom.__file__).parent / "data" / "test_files"]
    try:
        import data_store
    except ModuleNotFoundError:
        pass
    else:
        folders.append(Path(data_store.__file__).parent / "data")
    return sorted(
        (p for f in folders for p in f.rglob("*.dcm") if p.stat().st_size < 600_000),
        key=lambda path: path.name,
    )
