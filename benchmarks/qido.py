"""Made-up answers of an instance search: 20 attributes of studies, series and instances."""

from __future__ import annotations

import json
import random

# Keyword -> tag of what each dataset holds, in the order of the tags.
ATTRIBUTES = {
    "SpecificCharacterSet": "00080005",
    "SOPClassUID": "00080016",
    "SOPInstanceUID": "00080018",
    "StudyDate": "00080020",
    "StudyTime": "00080030",
    "AccessionNumber": "00080050",
    "InstanceAvailability": "00080056",
    "Modality": "00080060",
    "ReferringPhysicianName": "00080090",
    "RetrieveURL": "00081190",
    "PatientName": "00100010",
    "PatientID": "00100020",
    "PatientSex": "00100040",
    "StudyInstanceUID": "0020000D",
    "SeriesInstanceUID": "0020000E",
    "InstanceNumber": "00200013",
    "NumberOfFrames": "00280008",
    "Rows": "00280010",
    "Columns": "00280011",
    "PixelSpacing": "00280030",
}

_SERVICE = "https://dicomweb.example/v1/projects/p/locations/l/datasets/d/dicomStores/s/dicomWeb"


def pages(instances: int, page_size: int) -> list[bytes]:
    """The answers that `instances` results come in; the same for the same numbers."""
    chosen = random.Random(instances)
    datasets: list[dict[str, object]] = []
    while len(datasets) < instances:
        study = _study(chosen)
        for _ in range(chosen.randint(1, 4)):
            series = _series(chosen, study)
            datasets += [_instance(chosen, series, n) for n in range(1, chosen.randint(40, 300))]
    del datasets[instances:]
    return [
        json.dumps(datasets[start : start + page_size], separators=(",", ":")).encode()
        for start in range(0, instances, page_size)
    ]


def _study(chosen: random.Random) -> dict[str, object]:
    date = f"20{chosen.randint(5, 26):02}{chosen.randint(1, 12):02}{chosen.randint(1, 28):02}"
    time = f"{chosen.randint(0, 23):02}{chosen.randint(0, 59):02}{chosen.randint(0, 59):02}"
    family = chosen.choice(["Adams", "Börjesson", "Chen", "Dvořák", "Evans"])
    return {
        "SpecificCharacterSet": _element("CS", "ISO_IR 192"),
        "StudyDate": _element("DA", date),
        "StudyTime": _element("TM", time),
        "AccessionNumber": _element("SH", *[f"A{chosen.randrange(10**8)}"][: chosen.randint(0, 9)]),
        "ReferringPhysicianName": _element("PN", {"Alphabetic": f"{family}^R"}),
        "PatientName": _element("PN", {"Alphabetic": f"{family}^{chosen.randrange(10**4)}"}),
        "PatientID": _element("LO", f"{chosen.randrange(10**7):07}"),
        "PatientSex": _element("CS", chosen.choice("FMO")),
        "StudyInstanceUID": _element("UI", _uid(chosen)),
    }


def _series(chosen: random.Random, study: dict[str, object]) -> dict[str, object]:
    uid = _uid(chosen)
    size = chosen.choice([256, 512, 1024])
    spacing = round(chosen.uniform(0.2, 1.5), 6)
    return {
        **study,
        "SOPClassUID": _element("UI", "1.2.840.10008.5.1.4.1.1.2"),
        "InstanceAvailability": _element("CS", "ONLINE"),
        "Modality": _element("CS", chosen.choice(["CT", "MR", "PT"])),
        "RetrieveURL": _element("UR", f"{_SERVICE}/studies/{_uid(chosen)}/series/{uid}"),
        "SeriesInstanceUID": _element("UI", uid),
        "NumberOfFrames": _element("IS", 1),
        "Rows": _element("US", size),
        "Columns": _element("US", size),
        "PixelSpacing": _element("DS", spacing, spacing),
    }


def _instance(chosen: random.Random, series: dict[str, object], number: int) -> dict[str, object]:
    elements = {
        **series,
        "SOPInstanceUID": _element("UI", _uid(chosen)),
        "InstanceNumber": _element("IS", number),
    }
    return {tag: elements[keyword] for keyword, tag in ATTRIBUTES.items()}


def _element(vr: str, *values: object) -> dict[str, object]:
    return {"vr": vr, "Value": list(values)} if values else {"vr": vr}


def _uid(chosen: random.Random) -> str:
    return f"2.25.{chosen.randrange(10**38)}"
