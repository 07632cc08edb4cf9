"""Phrases that identify: what an instance says about its patient, looked for in what is kept.

A name or number that is removed where it belongs may stand in a comment, a code's meaning or a
private element as well (PS3.15 E.3.5, contextual phrases). What is short, or a common word, cannot
be told from another meaning; it is taken all the same.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from dicomsql.emulator.deidentify.folding import fold, folded, spellings
from dicomsql.emulator.deidentify.texts import CONTEXT

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement

__all__ = ["Phrases", "phrases_of", "texts_of"]

# The attributes, besides all names of persons, whose values are phrases, by what keywords end with.
_IDS = (
    *("PatientID", "PatientIDs", "AccessionNumber", "AdmissionID", "TrialSubjectID"),
    *("MedicalRecordLocator",),
)
_ENDINGS = (
    *("IssuerOfPatientID", "StudyID", "ProcedureID", "ProcedureStepID"),
    *("Address", "TelephoneNumbers", "TelecomInformation", "InstitutionName", "DepartmentName"),
    *("Residence", "SerialNumber", "StationName", "BirthDate", "PlanIdentification", "Location"),
    *("OrderNumberImagingServiceRequest", "SpecimenIdentifier", "ContainerIdentifier"),
)
# The characters from which on a number, and any other value that is none, is a phrase; and those of
# a word that is taken inside of others too, of one at their begin or end, and of a binary value's.
_LEAST_ID, _LEAST_OTHER, _INSIDE, _AT_EDGE, _LEAST_BINARY = 2, 4, 4, 3, 5
# what stands for a value that is not there, and so is in no one's name
_NO_NAMES = """
    anonymous anonymized anonymised unknown none null test patient name phantom the and
    hospital clinic department radiology university street road mr mrs ms dr md prof
"""
_COMMON = frozenset(_NO_NAMES.split())
_MOST_PARTS = 8  # of a name that are joined with each other
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DATE = r"(?<!\d)(?<!\d\.)(?:19|20)\d\d[-./]?(?:0[1-9]|1[0-2])[-./]?(?:0[1-9]|[12]\d|3[01])(?!\d)"
_PATTERNS = (
    r"[\w.+-]+@[\w-]+\.[\w.-]+",  # addresses of mail
    _DATE,
    r"(?<!\d)\d{1,2}[-./]\d{1,2}[-./](?:19|20)\d\d(?!\d)",
    r"\+?(?<!\d)(?<!\d\.)\d[\d ()/-]{7,}\d(?!\d)",  # telephone and other long numbers
)
# a UID that somebody was given; versions of software have fewer parts
_UID = r"(?<![\d.])[012](?:\.(?:0|[1-9]\d*)){5,}(?!\d)"
_GAP = r"[\W_]*"


@dataclass(frozen=True)
class Phrases:
    """The phrases of an instance.

    Attributes:
        words: folded, of letters and digits, where a space is any gap or none; and as they are
            written, in small letters.
        births: patterns of dates of birth.
        uids: the instance's own and those that it refers to.
        new: gives another UID for one.
    """

    words: frozenset[str]
    births: frozenset[str] = frozenset()
    uids: frozenset[str] = frozenset()
    new: Callable[[str], str] = str

    @cached_property
    def _search(self) -> re.Pattern[str]:
        words = sorted(self.words, key=len, reverse=True)
        patterns = [*map(_pattern, words), *sorted(self.births)]
        return re.compile("|".join([*patterns, *_PATTERNS]))

    @cached_property
    def _short(self) -> re.Pattern[str] | None:
        """For words at whose ends only the kind of character changes, as in WuXi and XI2."""
        words = sorted(word for word in self.words if len(word) < _INSIDE)
        return re.compile("|".join(map(_pattern, words))) if words else None

    @cached_property
    def _known(self) -> re.Pattern[str] | None:
        """Also of a UID that goes on behind one of these it is the first part."""
        known = sorted(self.uids, key=len, reverse=True)
        patterns = [rf"(?<!\d)(?<!\d\.){re.escape(uid)}(?!\d)" for uid in known]
        return re.compile("|".join(patterns)) if patterns else None

    @cached_property
    def _uids(self) -> re.Pattern[str]:
        return re.compile(f"{self._known.pattern}|{_UID}" if self._known else _UID)

    def cleaned(self, text: str) -> str:
        """The text with each phrase, and what looks like a date or a number to call, replaced, and
        with other UIDs.
        """
        # a UID is a long number too, so what is between those that there are now is looked at
        pieces, at = [], 0
        for found in self._uids.finditer(text):
            pieces += [self._without_words(text[at : found.start()]), self.new(found[0])]
            at = found.end()
        return "".join([*pieces, self._without_words(text[at:])])

    def with_other_uids(self, text: str) -> str:
        """The text with nothing changed but the instance's UIDs."""
        return self._known.sub(lambda found: self.new(found[0]), text) if self._known else text

    def _without_words(self, text: str) -> str:
        spans = []
        for pattern, (plain, places) in (
            (self._search, folded(text)),
            (self._short, _spaced(text)),
        ):
            for found in pattern.finditer(plain) if pattern else ():
                if found[0]:
                    spans.append((places[found.start()], places[found.end() - 1] + 1))
        out, at = [], 0
        for start, end in sorted(spans):
            if start >= at:
                out += [text[at:start], CONTEXT]
            at = max(at, end)
            while at < len(text) and unicodedata.combining(text[at]):
                at += 1
        return "".join([*out, text[at:]])

    def within(self, content: bytes, least: int = 0) -> bool:
        """Whether binary content, such as a colour profile, has a phrase of so many bytes in it."""
        plain = content.lower()
        return any(form in plain for form in self._forms if len(form) >= least)

    @cached_property
    def _forms(self) -> tuple[bytes, ...]:
        words = {form for word in self.words for form in (word, word.replace(" ", ""))}
        texts = {word for word in words if len(word) >= _LEAST_BINARY} | self.uids
        return tuple(
            {
                text.encode(codec, "ignore").lower()
                for word in texts
                for text in (word, word.upper())
                for codec in ("utf-8", "latin-1", "utf-16-le", "utf-16-be")
                if codec != "latin-1" or max(text) < "\u0100"
            }
        )


def phrases_of(
    elements: Iterable[DataElement], uids: frozenset[str], new: Callable[[str], str]
) -> Phrases:
    """The phrases in the elements of an instance, those in sequences included."""
    words: set[str] = set()
    births: set[str] = set()
    for element in _all(elements):
        if element.VR == "PN":
            for value in texts_of(element):
                words |= _names(value)
        elif element.keyword.endswith((*_IDS, *_ENDINGS)) and element.VR not in {"SQ", "UI"}:
            least = _LEAST_ID if element.keyword.endswith(_IDS) else _LEAST_OTHER
            for value in texts_of(element):
                if len(plain := _words(value)) >= least and plain not in _COMMON:
                    words |= {plain, value.strip().casefold()}
        if element.keyword.endswith("BirthDate"):
            births |= {form for value in texts_of(element) for form in _dates(value)}
    return Phrases(frozenset(words), frozenset(births), uids, new)


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


def _words(text: str) -> str:
    """The words of a text, folded, with a space between."""
    return " ".join(re.findall(r"[^\W_]+", fold(text)))


def _names(value: str) -> set[str]:
    """The parts of a name, and each two of them joined, in all spellings."""
    found: set[str] = set()
    for group in value.split("="):
        # a prefix or suffix is no name, and often a code
        parts = [p for c in group.split("^")[:3] for p in re.findall(r"[^\W_]+", c)]
        parts += [p for c in group.split("^")[3:] for p in re.findall(r"[^\W_]+", c) if len(p) > 2]
        kept = [part for part in dict.fromkeys(parts) if fold(part) not in _COMMON][:_MOST_PARTS]
        for part in parts:
            if fold(part) not in _COMMON:
                found |= {*spellings(part), part.casefold()}
        for pair in itertools.permutations(kept, 2):
            if min(map(len, pair)) < _INSIDE:  # longer ones are found wherever they stand
                found |= {" ".join(two) for two in itertools.product(*map(_spelled, pair))}
    return {word for word in found if word}


def _spelled(part: str) -> list[str]:
    return list(dict.fromkeys(spellings(part)))


def _dates(value: str) -> Iterator[str]:
    """Patterns of the forms in which a date of birth is written, in figures and in English."""
    found = re.fullmatch(r"(\d\d)(\d\d)[.]?(\d\d)[.]?(\d\d)", value.strip())
    if found is None or not 1 <= int(found[3]) <= 12:
        return
    century, short, month, day = found.groups()
    name = _MONTHS[int(month) - 1] + "[a-z]*"
    loose = (
        f"(?:{century})?{short}",
        f"(?:0?{int(month)}|{name})",
        f"0?{int(day)}(?:st|nd|rd|th)?",
    )
    tight = (f"(?:{century})?{short}", f"(?:{month}|{name})", day)
    for parts, gap in ((loose, r"[\W_]{1,3}"), (tight, "")):
        for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
            yield r"(?<![\d])" + gap.join(parts[n] for n in order) + r"(?!\d)"


def _pattern(phrase: str) -> str:
    """Long ones are found inside of other words, and all in scripts that put no spaces between."""
    words = phrase.split(" ")
    body = _GAP.join(map(re.escape, words))
    length = sum(map(len, words))
    if length >= _INSIDE or any(unicodedata.category(c) == "Lo" for c in phrase):
        return body
    before, after = rf"(?<![^\W_]){body}", rf"{body}(?![^\W_])"
    return rf"(?:{before}|{after})" if length >= _AT_EDGE else rf"(?<![^\W_]){body}(?![^\W_])"


_SEAMS = re.compile(r"(?<=[^\W\d_A-Z])(?=[A-Z])|(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])")


def _spaced(text: str) -> tuple[str, list[int]]:
    """The text folded, with a space put in at its seams, and where each character is from."""
    plain, places = folded(text)
    seams = {found.start() for found in _SEAMS.finditer(text)}
    if not seams:
        return plain, places
    out, origin = [], []
    last = -1
    for character, place in zip(plain, places, strict=True):
        if place in seams and place != last:
            out.append("\x1f")
            origin.append(place)
        out.append(character)
        origin.append(place)
        last = place
    return "".join(out), origin
