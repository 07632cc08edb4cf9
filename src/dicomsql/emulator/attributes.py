"""Which attributes a search knows, by level: filters, defaults, computed ones, names to tags.

The filters and the study's defaults are those of Google-hosted stores. The defaults of series and
instances are PS3.18 tables 10.6.3-4 and 10.6.3-5 without what such a store leaves to includefield
(the parents' UIDs, counts, URLs).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from dicomsql.emulator.status import invalid


class Attribute(NamedTuple):
    """An attribute with its tag as eight hexadecimal digits."""

    tag: str
    vr: str
    keyword: str


@dataclass(frozen=True, slots=True)
class Level:
    """What a search at one level answers.

    Attributes:
        defaults: in each result, even where the instance has no value for them.
        filters: tag -> column of the index.
        computed: counted over what is below, on demand.
    """

    name: str
    defaults: tuple[Attribute, ...]
    filters: dict[str, str]
    computed: tuple[Attribute, ...]
    default_limit: int
    largest_limit: int


MAX_OFFSET = 1_000_000

STUDY_DATE = "00080020"
PATIENT_NAME = "00100010"
STUDY_UID = "0020000D"
SERIES_UID = "0020000E"
INSTANCE_UID = "00080018"
SOP_CLASS_UID = "00080016"
MODALITY = "00080060"
MODALITIES_IN_STUDY = "00080061"
STUDY_SERIES_COUNT = "00201206"
STUDY_INSTANCE_COUNT = "00201208"
SERIES_INSTANCE_COUNT = "00201209"

_STUDY_DEFAULTS = (
    Attribute(STUDY_DATE, "DA", "StudyDate"),
    Attribute("00080030", "TM", "StudyTime"),
    Attribute("00080050", "SH", "AccessionNumber"),
    Attribute("00080090", "PN", "ReferringPhysicianName"),
    Attribute(PATIENT_NAME, "PN", "PatientName"),
    Attribute("00100020", "LO", "PatientID"),
    Attribute("00100030", "DA", "PatientBirthDate"),
    Attribute("00100040", "CS", "PatientSex"),
    Attribute(STUDY_UID, "UI", "StudyInstanceUID"),
    Attribute("00200010", "SH", "StudyID"),
)
_SERIES_DEFAULTS = (
    Attribute(MODALITY, "CS", "Modality"),
    Attribute("0008103E", "LO", "SeriesDescription"),
    Attribute(SERIES_UID, "UI", "SeriesInstanceUID"),
    Attribute("00200011", "IS", "SeriesNumber"),
    Attribute("00400244", "DA", "PerformedProcedureStepStartDate"),
    Attribute("00400245", "TM", "PerformedProcedureStepStartTime"),
)
_INSTANCE_DEFAULTS = (
    Attribute(SOP_CLASS_UID, "UI", "SOPClassUID"),
    Attribute(INSTANCE_UID, "UI", "SOPInstanceUID"),
    Attribute("00200013", "IS", "InstanceNumber"),
    Attribute("00280008", "IS", "NumberOfFrames"),
    Attribute("00280010", "US", "Rows"),
    Attribute("00280011", "US", "Columns"),
    Attribute("00280100", "US", "BitsAllocated"),
)
_STUDY_FILTERS = {
    STUDY_UID: "st.uid",
    PATIENT_NAME: "st.patient_name",
    "00100020": "st.patient_id",
    "00080050": "st.accession_number",
    "00080090": "st.referring_physician",
    STUDY_DATE: "st.study_date",
}
_SERIES_FILTERS = {**_STUDY_FILTERS, SERIES_UID: "se.uid", MODALITY: "se.modality"}
_INSTANCE_FILTERS = {**_SERIES_FILTERS, INSTANCE_UID: "i.uid"}
_COUNTS_OF_STUDY = (
    Attribute(MODALITIES_IN_STUDY, "CS", "ModalitiesInStudy"),
    Attribute(STUDY_SERIES_COUNT, "IS", "NumberOfStudyRelatedSeries"),
    Attribute(STUDY_INSTANCE_COUNT, "IS", "NumberOfStudyRelatedInstances"),
)
_COUNTS_OF_SERIES = (Attribute(SERIES_INSTANCE_COUNT, "IS", "NumberOfSeriesRelatedInstances"),)

STUDY = Level("study", _STUDY_DEFAULTS, _STUDY_FILTERS, _COUNTS_OF_STUDY, 100, 5_000)
SERIES = Level(
    "series",
    _SERIES_DEFAULTS,
    _SERIES_FILTERS,
    _COUNTS_OF_STUDY + _COUNTS_OF_SERIES,
    1_000,
    5_000,
)
INSTANCE = Level(
    "instance",
    _INSTANCE_DEFAULTS,
    _INSTANCE_FILTERS,
    _COUNTS_OF_STUDY + _COUNTS_OF_SERIES,
    1_000,
    50_000,
)

# The attributes that `includefield=all` adds to a study and to a series: those which PS3.3 gives
# to the patient and study modules (C.7.1.1, C.7.2.1, C.7.2.2), and to the series, equipment and
# frame of reference modules (C.7.3.1, C.7.4.1, C.7.5.1). An instance has all of its own.
_OF_STUDY = (
    "00080020 00080030 00080050 00080051 00080080 00080081 00080090 00080096 0008009C 00080201"
    " 00081030 00081032 00081048 00081060 00081080 00081084 00081110 00081120 00100010 00100020"
    " 00100021 00100024 00100030 00100032 00100040 00101000 00101001 00101002 00101010 00101020"
    " 00101030 00102000 00102110 00102160 00102180 001021B0 001021C0 00104000 00120062 00120063"
    " 0020000D 00200010 00321032 00321060 00321064 00401012"
)
_OF_SERIES = (
    "00080021 00080031 00080060 00080064 00080070 0008103E 0008103F 00081010 00081040 00081050"
    " 00081070 00081072 00081090 00081111 00081250 00180015 00181000 00181020 00181030 00181050"
    " 00181200 00181201 00185100 0020000E 00200011 00200052 00200060 00201040 00400244 00400245"
    " 00400250 00400251 00400253 00400254 00400260 00400275 00400280"
)
OF_LEVEL = {"study": frozenset(_OF_STUDY.split()), "series": frozenset(_OF_SERIES.split())}

_BY_TAG = {
    attribute.tag: attribute
    for level in (STUDY, SERIES, INSTANCE)
    for attribute in level.defaults + level.computed
}
_BY_KEYWORD = {attribute.keyword: attribute for attribute in _BY_TAG.values()}
# Known to DICOM, refused by a Google-hosted store: bulk data, and what describes an encoding,
# AvailableTransferSyntaxUID among it
_REFUSED = frozenset({"00080005", "00083002", "7FE00008", "7FE00009", "7FE00010"})
_HEXADECIMAL = re.compile(r"[0-9A-Fa-f]{8}")


def filter_tag(name: str, level: Level) -> str:
    """The tag of an attribute to filter by, from its keyword or its eight digits.

    Raises:
        StatusError: 400 for one that cannot be filtered at this level.
    """
    attribute = _BY_KEYWORD.get(name) or _BY_TAG.get(name.upper())
    if attribute is None or attribute.tag not in level.filters:
        raise _unknown(name)
    return attribute.tag


def include_tag(name: str) -> str:
    """The tag of an attribute to include.

    Raises:
        StatusError: 400 for an unknown name, and for bulk data.
    """
    known = _BY_KEYWORD.get(name) or _BY_TAG.get(name.upper())
    tag = known.tag if known else _dictionary_tag(name)
    if tag is None or tag in _REFUSED:
        raise _unknown(name)
    return tag


def _dictionary_tag(name: str) -> str | None:
    from pydicom.datadict import dictionary_has_tag, tag_for_keyword

    if _HEXADECIMAL.fullmatch(name):
        private = int(name[3], 16) & 1
        return name.upper() if private or dictionary_has_tag(int(name, 16)) else None
    tag = tag_for_keyword(name)
    return None if tag is None else f"{tag:08X}"


def _unknown(name: str) -> Exception:
    # names that look like neither are not repeated: they may be a value that went astray
    shown = name if re.fullmatch(r"[A-Za-z][A-Za-z0-9.]{0,63}|[0-9A-Fa-f]{8}", name) else "?"
    return invalid(f"generic::invalid_argument: unknown/unsupported QIDO attribute: {shown}")
