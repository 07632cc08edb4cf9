"""Writes src/dicomsql/dicom/tags.tsv, the table of DICOM's attributes, from pydicom's dictionary.

    python scripts/build_tags.py            write the file
    python scripts/build_tags.py --check    exit with 1 where the committed file differs

The levels come from PS3.3's tables, which highdicom (0.28.2 made the committed file) carries as
data: `pip install --no-deps highdicom==0.28.2` is all that is needed of it. Where it is not
installed, the levels stay as the file has them.

Left out: the elements of command messages (group 0000, PS3.7), which no dataset holds, and the
delimiters of sequence items, which are no attributes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

TARGET = Path(__file__).resolve().parent.parent / "src" / "dicomsql" / "dicom" / "tags.tsv"
NO_VR = "NONE"

LEVELS = ("study", "series", "instance")
# Information entities of PS3.3 -> level; all others are an instance's own.
ENTITIES = {
    "Patient": "study",
    "Study": "study",
    "Series": "series",
    "Equipment": "series",
    "Frame of Reference": "series",
}
# A module that this many IODs have is meant for every object. What it lists is of its level also
# where the module of a single kind of object lists it again; what only the series module of one
# modality lists may differ among the instances of another modality.
GENERAL = 50
# Modules of worklists and normalized objects, about the patient, the visit and the order.
OF_THE_STUDY = (
    "patient-identification",
    "patient-demographic",
    "patient-medical",
    "visit-identification",
    "visit-status",
    "visit-admission",
    "imaging-service-request",
    "requested-procedure",
)
# Groups of the patient, the order and the visit, for retired attributes that no module lists.
STUDY_GROUPS = ("0010", "0032", "0038")
# What only searches know (PS3.4 section C.3, PS3.18 section 10.6.3). Each level has its own
# availability and address, so they are columns of all.
OF_SEARCHES = {
    **dict.fromkeys(
        (
            "AnatomicRegionsInStudyCodeSequence",
            "InstanceAvailability",
            "ModalitiesInStudy",
            "NumberOfPatientRelatedInstances",
            "NumberOfPatientRelatedSeries",
            "NumberOfPatientRelatedStudies",
            "NumberOfStudyRelatedInstances",
            "NumberOfStudyRelatedSeries",
            "QueryRetrieveLevel",
            "RetrieveAETitle",
            "RetrieveLocationUID",
            "RetrieveURI",
            "RetrieveURL",
            "SOPClassesInStudy",
            "StorageMediaFileSetID",
            "StorageMediaFileSetUID",
        ),
        "study",
    ),
    "NumberOfSeriesRelatedInstances": "series",
}


def build(levels: Mapping[str, str]) -> str:
    """The table's text: a line of keyword, tag, VR, VM and level per attribute, in tag order.

    The tag of an attribute that repeats over groups or elements has `x` for the digits that vary.
    The keyword is empty for the few retired attributes that have none.

    Args:
        levels: keyword -> level, of those that are not the instance's own.
    """
    from pydicom._dicom_dict import DicomDictionary, RepeatersDictionary

    rows = [
        (f"{tag:08X}", keyword, vr, vm)
        for tag, (vr, vm, _, _, keyword) in DicomDictionary.items()
        if tag > 0x0000FFFF and vr != NO_VR
    ]
    rows += [(tag, keyword, vr, vm) for tag, (vr, vm, _, _, keyword) in RepeatersDictionary.items()]
    return "".join(
        f"{keyword}\t{tag}\t{vr}\t{vm}\t{levels.get(keyword, 'instance')}\n"
        for tag, keyword, vr, vm in sorted(rows)
    )


def standard_levels(folder: Path) -> dict[str, str]:
    """The level of each attribute: the highest entity among whose modules PS3.3 lists it.

    Args:
        folder: with highdicom's JSON files.
    """
    from pydicom._dicom_dict import DicomDictionary

    modules = json.loads((folder / "module_attribute_map.json").read_bytes())
    iods = json.loads((folder / "iod_module_map.json").read_bytes())
    uses: dict[str, int] = {}
    module_level: dict[str, str] = {}
    for iod in iods.values():
        for module in iod:
            name = module["key"]
            uses[name] = uses.get(name, 0) + 1
            level = ENTITIES.get(module["ie"], "instance")
            module_level[name] = min(level, module_level.get(name, level), key=LEVELS.index)
    listed: dict[str, dict[str, int]] = {}
    for name, level in module_level.items():
        for attribute in modules.get(name, ()):
            if not attribute["path"]:
                found = listed.setdefault(attribute["keyword"], {})
                found[level] = max(found.get(level, 0), uses[name])
    levels = {keyword: _highest(found) for keyword, found in listed.items()}
    for name in OF_THE_STUDY:
        for attribute in modules[name]:
            if not attribute["path"]:
                levels.setdefault(attribute["keyword"], "study")
    for tag, (*_, keyword) in DicomDictionary.items():
        if f"{tag:08X}".startswith(STUDY_GROUPS):
            levels.setdefault(keyword, "study")
    return levels | OF_SEARCHES


def _highest(found: Mapping[str, int]) -> str:
    """The level of an attribute that is listed at these levels, by modules of so many IODs."""
    if len(found) == 1:
        return next(iter(found))
    general = [level for level, uses in found.items() if uses >= GENERAL]
    return min(general, key=LEVELS.index) if general else max(found, key=LEVELS.index)


def written_levels() -> dict[str, str]:
    """The levels as the file has them."""
    lines = TARGET.read_text(encoding="ascii").splitlines()
    return {keyword: level for keyword, _, _, _, level in (line.split("\t") for line in lines)}


def levels() -> dict[str, str]:
    """The levels by PS3.3 where its tables are installed, else those of the file."""
    found = find_spec("highdicom")
    if found is None or not found.submodule_search_locations:
        print("highdicom is not installed: the levels are those of the file.", file=sys.stderr)
        return written_levels()
    return standard_levels(Path(found.submodule_search_locations[0]) / "_standard")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    arguments = parser.parse_args()
    text = build(levels())
    if not arguments.check:
        TARGET.write_text(text, encoding="ascii", newline="\n")
        return 0
    if TARGET.read_text(encoding="ascii") == text:
        return 0
    print(f"{TARGET} is out of date; run python scripts/build_tags.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
