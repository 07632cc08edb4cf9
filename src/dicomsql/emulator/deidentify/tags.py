"""What becomes of an attribute: the actions, and the profiles that name one for each attribute.

The Basic Application Level Confidentiality Profile (PS3.15 Table E.1-1) is the one that the package
dicom-anonymizer keeps, in the edition 2026c; it names all that the edition 2018e of Google's names,
and more. Where the table leaves a choice by the IOD (such as X/Z/D), what keeps any IOD valid is
taken.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from dicomsql.emulator.status import StatusError

__all__ = [
    "MINIMAL",
    "PRIMARY",
    "TEXT_VRS",
    "Action",
    "BasicProfile",
    "basic_profile",
    "is_address",
    "is_graphic",
    "is_known",
    "names_instance",
    "tag_of",
    "vr_of",
]


class Action(Enum):
    """What becomes of an attribute."""

    KEEP = "keep"  # unchanged; of a sequence, the items are worked on by the same rules
    KEEP_WHOLE = "keep whole"  # unchanged, with everything in a sequence
    DELETE = "delete"
    EMPTY = "empty"
    DUMMY = "dummy"  # a value of the VR that says nothing
    UID = "uid"  # another UID, the same for the same one
    CLEAN = "clean"  # what is sensitive in the text is transformed


# The UIDs that say which instance it is, and that other instances refer to it by.
PRIMARY = frozenset(
    {
        *(0x0020000D, 0x0020000E, 0x00080018, 0x00020003, 0x00081155),
        *(0x00041511, 0x00080058, 0x00081167, 0x00200242),
    }
)

# The VRs that are inspected for text, as DicomConfig.filterProfile lists them.
TEXT_VRS = frozenset({"AE", "LO", "LT", "PN", "SH", "ST", "UC", "UT", "DA", "DT", "AS"})

# Without these an instance is not valid, or its pixels or its text cannot be read.
_MINIMAL = """
    SpecificCharacterSet SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID
    MediaStorageSOPClassUID MediaStorageSOPInstanceUID TransferSyntaxUID
    Rows Columns SamplesPerPixel PhotometricInterpretation PlanarConfiguration NumberOfFrames
    BitsAllocated BitsStored HighBit PixelRepresentation PixelAspectRatio
    SmallestImagePixelValue LargestImagePixelValue PixelData FloatPixelData DoubleFloatPixelData
    RedPaletteColorLookupTableDescriptor GreenPaletteColorLookupTableDescriptor
    BluePaletteColorLookupTableDescriptor RedPaletteColorLookupTableData
    GreenPaletteColorLookupTableData BluePaletteColorLookupTableData ICCProfile ColorSpace
    WindowCenter WindowWidth VOILUTFunction ExtendedOffsetTable ExtendedOffsetTableLengths
"""
MINIMAL: tuple[str, ...] = tuple(_MINIMAL.split())

_CODES: Mapping[str, Action] = {
    "D_TAGS": Action.DUMMY,
    "Z_TAGS": Action.EMPTY,
    "X_TAGS": Action.DELETE,
    "U_TAGS": Action.UID,
    "Z_D_TAGS": Action.DUMMY,
    "X_Z_TAGS": Action.EMPTY,
    "X_D_TAGS": Action.DUMMY,
    "X_Z_D_TAGS": Action.DUMMY,
    # sequences of references: they stay, with the UIDs in them replaced
    "X_Z_U_STAR_TAGS": Action.KEEP,
}
_PUBLIC_UIDS = re.compile("SOPClass|TransferSyntax|CodingScheme|MappingResource|DeviceClass")
# ContextGroupExtensionCreatorUID and ContextUID of a coded entry (PS3.3 8.3), PrivateRecordUID
_OF_CODES = frozenset({0x0008010D, 0x00080117, 0x00041432})
_URN_CODE = 0x00080120
_EDITION = "dicomfields_2026c"


@dataclass(frozen=True, slots=True)
class BasicProfile:
    """PS3.15 Table E.1-1.

    Attributes:
        actions: by tag.
        groups: for attributes of repeating groups: value, mask, and what becomes of them.
    """

    actions: Mapping[int, Action]
    groups: tuple[tuple[int, int, Action], ...]

    def action(self, tag: int) -> Action:
        """What becomes of an attribute; private ones, and those that no edition of the standard
        has, are deleted.
        """
        found = self.actions.get(tag)
        if found is not None:
            return found
        if (tag >> 16) & 1 or not is_known(tag) or is_graphic(tag):
            return Action.DELETE
        return next((a for value, mask, a in self.groups if tag & mask == value), Action.KEEP)


@functools.cache
def basic_profile() -> BasicProfile:
    """The table.

    Raises:
        StatusError: the package is not installed.
    """
    try:
        from dicomanonymizer.dicomfields_selector import dicom_anonymization_database_selector
    except ImportError:
        raise StatusError(
            "UNIMPLEMENTED",
            "De-identification needs packages that are not installed: pip install"
            " 'dicomsql[deidentify]'.",
        ) from None
    table = dicom_anonymization_database_selector(_EDITION)
    actions: dict[int, Action] = {}
    groups: list[tuple[int, int, Action]] = []
    for code, action in _CODES.items():
        for entry in table[code]:
            tag = entry[0] << 16 | entry[1]
            if len(entry) == 2:
                actions[tag] = action
            else:
                mask = entry[2] << 16 | entry[3]
                groups.append((tag & mask, mask, action))
    return BasicProfile(actions, tuple(groups))


def is_known(tag: int) -> bool:
    """Whether an edition of the standard has an attribute of this tag."""
    from pydicom.datadict import dictionary_has_tag, repeater_has_tag

    return bool(dictionary_has_tag(tag) or repeater_has_tag(tag))


def is_address(tag: int) -> bool:
    """Whether it says where something can be had, such as the original; codes are no such."""
    return vr_of(tag) == "UR" and tag != _URN_CODE


def is_graphic(tag: int) -> bool:
    """Whether it is of a curve or an overlay: without their data, which the table removes, what
    describes them is of no use.
    """
    return tag >> 16 & 0xFF01 in {0x5000, 0x6000}


def names_instance(tag: int, vr: str) -> bool:
    """Whether a UID is one that somebody gave to something of a patient's: all but those of
    classes, transfer syntaxes and codes.
    """
    from pydicom.datadict import keyword_for_tag

    if "UI" not in {vr, vr_of(tag)}:
        return False
    return not (_PUBLIC_UIDS.search(keyword_for_tag(tag)) or tag in _OF_CODES)


def tag_of(name: str) -> int | None:
    """The tag of a keyword or of 8 hexadecimal digits; None where it is neither."""
    from pydicom.datadict import tag_for_keyword

    if len(name) == 8:
        try:
            return int(name, 16)
        except ValueError:
            pass
    return tag_for_keyword(name)


@functools.lru_cache(maxsize=8192)
def vr_of(tag: int) -> str:
    """The VR that the standard gives an attribute; empty for one that it does not know."""
    from pydicom.datadict import dictionary_VR

    return str(dictionary_VR(tag)) if is_known(tag) else ""
