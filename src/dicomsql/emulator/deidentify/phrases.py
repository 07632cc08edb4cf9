"""Phrases that identify: what an instance says about its patient, looked for in what is kept.

A name or number that is removed where it belongs may stand in a comment, a code's meaning or a
private element as well (PS3.15 E.3.5, contextual phrases).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from dicomsql.emulator.deidentify.texts import CONTEXT

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement

__all__ = ["Phrases", "phrases_of", "texts_of"]

# The attributes, besides all names of persons, whose values are phrases, by what keywords end with.
_ENDINGS = (
    *("PatientID", "PatientIDs", "IssuerOfPatientID", "AccessionNumber", "StudyID", "AdmissionID"),
    *("Address", "TelephoneNumbers", "TelecomInformation", "InstitutionName", "DepartmentName"),
    *("Residence", "SerialNumber", "StationName", "BirthDate", "PlanIdentification", "Location"),
    *("OrderNumberImagingServiceRequest", "SpecimenIdentifier", "ContainerIdentifier"),
    *("ProcedureID", "ProcedureStepID", "TrialSubjectID", "MedicalRecordLocator"),
)
_LEAST_NAME, _LEAST_OTHER, _LEAST_BINARY = 3, 4, 6
# what stands for a value that is not there, and so is in no one's name
_NO_NAMES = """
    anonymous anonymized anonymised unknown none null test patient name phantom the and
    hospital clinic department radiology university street road
"""
_COMMON = frozenset(_NO_NAMES.split())
_DATE = r"\b(?:19|20)\d\d[-./]?(?:0[1-9]|1[0-2])[-./]?(?:0[1-9]|[12]\d|3[01])\b"
_PATTERNS = (
    r"[\w.+-]+@[\w-]+\.[\w.-]+",  # addresses of mail
    _DATE,
    r"\b\d{1,2}[-./]\d{1,2}[-./](?:19|20)\d\d\b",
    r"\+?\d[\d ()/-]{7,}\d\b",  # telephone and other long numbers
)


@dataclass(frozen=True)
class Phrases:
    """The phrases of an instance."""

    words: frozenset[str]

    @cached_property
    def _search(self) -> re.Pattern[str]:
        words = sorted(self.words, key=len, reverse=True)
        # an underline stands between words, as a space does
        found = [rf"(?<![^\W_]){re.escape(word)}(?![^\W_])" for word in words]
        return re.compile("|".join([*found, *_PATTERNS]), re.IGNORECASE)

    def cleaned(self, text: str) -> str:
        """The text with each phrase, and what looks like a date or a number to call, replaced."""
        return self._search.sub(CONTEXT, text)

    def holds(self, value: str) -> bool:
        """Whether a whole value is a phrase or a date."""
        plain = value.strip()
        return plain.casefold() in self.words or re.fullmatch(_DATE, plain) is not None

    def within(self, content: bytes) -> bool:
        """Whether binary content, such as a compressed image's comment, has a phrase in it."""
        return any(form in content for form in self._forms)

    @cached_property
    def _forms(self) -> tuple[bytes, ...]:
        words = [word for word in self.words if len(word) >= _LEAST_BINARY]
        texts = {form for word in words for form in (word, word.upper(), word.title())}
        encoded = {text.encode(codec) for text in texts for codec in ("utf-8", "utf-16-le")}
        return tuple(encoded)


def phrases_of(elements: Iterable[DataElement]) -> Phrases:
    """The phrases in the elements of an instance, those in sequences included."""
    words: set[str] = set()
    for element in _all(elements):
        if element.VR == "PN":
            for value in texts_of(element):
                words |= _usable(re.split(r"[\^=\s,]+", value), _LEAST_NAME)
                words |= _usable([value], _LEAST_OTHER)
        elif element.keyword.endswith(_ENDINGS) and element.VR not in {"SQ", "UI"}:
            words |= _usable(texts_of(element), _LEAST_OTHER)
    return Phrases(frozenset(words))


def texts_of(element: DataElement) -> list[str]:
    """An element's values as text; of binary ones, those that can be read as ASCII."""
    value: Any = element.value
    if value is None:
        return []
    if isinstance(value, bytes):
        plain = value.rstrip(b"\0 ")
        return [plain.decode("ascii")] if plain.isascii() else []
    values = value if element.VM > 1 else [value]
    return [str(part) for part in values]


def _all(elements: Iterable[DataElement]) -> Iterator[DataElement]:
    left = [iter(elements)]
    while left:
        element = next(left[-1], None)
        if element is None:
            left.pop()
        elif element.VR == "SQ":
            left += [iter(item) for item in element.value or ()]
        else:
            yield element


def _usable(values: Iterable[str], least: int) -> set[str]:
    plain = (value.strip().casefold() for value in values)
    return {
        value
        for value in plain
        if len(value) >= least and value not in _COMMON and re.search(r"\w\w", value)
    }
