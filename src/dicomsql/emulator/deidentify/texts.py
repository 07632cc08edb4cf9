"""Sensitive texts and what becomes of them: the transformations of a TextConfig.

There is no inspection of language here. A value of an attribute that the Basic Profile would not
leave as it is counts as sensitive as a whole; in other texts `phrases` finds what is.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

__all__ = ["CONTEXT", "LONGEST", "Texts", "Transformation", "default_texts", "info_type"]

CONTEXT = "[CTX]"
GENERIC = "GENERIC_ID"

_DAYS = 100  # a date moves by so many days at most, either way
LONGEST: Mapping[str, int] = {"AE": 16, "SH": 16, "LO": 64, "PN": 64}
_BY_VR: Mapping[str, str] = {"PN": "PERSON_NAME", "DA": "DATE", "DT": "DATE", "AS": "AGE"}
# by what a keyword ends with
_BY_KEYWORD: tuple[tuple[str, str], ...] = (
    ("PatientID", "MEDICAL_RECORD_NUMBER"),
    ("PatientIDs", "MEDICAL_RECORD_NUMBER"),
    ("TelephoneNumbers", "PHONE_NUMBER"),
    ("InstitutionName", "ORGANIZATION_NAME"),
    ("DepartmentName", "ORGANIZATION_NAME"),
    ("Address", "LOCATION"),
    ("Residence", "LOCATION"),
    ("Location", "LOCATION"),
    ("Age", "AGE"),
)


@dataclass(frozen=True, slots=True)
class Transformation:
    """What a sensitive text becomes.

    Attributes:
        kind: the name of a configuration in InfoTypeTransformation.
        key: of hashes and of shifts of dates.
        mask: what each character becomes.
    """

    kind: str
    key: bytes = b""
    mask: str = "*"

    def apply(self, value: str, vr: str, name: str, owner: str) -> str:
        """One value in another form, one that is valid for its VR.

        Args:
            name: the infoType.
            owner: whose dates are shifted by the same number of days.
        """
        if vr in {"DA", "DT"}:
            return self._date(value, owner) if self.kind == "dateShift" else ""
        if vr == "AS" or self.kind in {"dateShift", "redact"}:
            return ""
        if self.kind == "characterMask":
            return re.sub(r"[^\\^=\r\n\t]", self.mask.replace("\\", ""), value)
        if self.kind == "cryptoHash":
            digest = hmac.digest(self.key, value.encode(), hashlib.sha256)
            return base64.b64encode(digest).decode()[: LONGEST.get(vr)]
        return f"[{name}]"[: LONGEST.get(vr)]

    def _date(self, value: str, owner: str) -> str:
        found = re.fullmatch(r"(\d{4})[.]?(\d\d)[.]?(\d\d)(.*)", value.strip(), re.DOTALL)
        if found is None:
            return ""
        digest = hmac.digest(self.key, b"date\0" + owner.encode(), hashlib.sha256)
        days = int.from_bytes(digest[:8]) % (2 * _DAYS) - _DAYS
        try:
            date = datetime.date(int(found[1]), int(found[2]), int(found[3]))
            moved = date + datetime.timedelta(days if days < 0 else days + 1)
        except (ValueError, OverflowError):
            return ""
        return moved.strftime("%Y%m%d").zfill(8) + found[4]


@dataclass(frozen=True, slots=True)
class Texts:
    """Which transformation is for which infoType.

    Attributes:
        own: by infoType.
        other: for all others.
        excluded: the infoTypes that are left as they are.
    """

    own: Mapping[str, Transformation]
    other: Transformation | None
    excluded: frozenset[str] = frozenset()

    def changed(
        self,
        own: Mapping[str, Transformation],
        other: Transformation | None,
        *,
        excluded: frozenset[str],
        empty: bool,
    ) -> Texts:
        """With transformations before these; `empty` is none of these at all."""
        if empty:
            return replace(self, own=own, other=other, excluded=excluded)
        below = {} if other is not None else self.own
        return replace(self, own={**below, **own}, other=other or self.other, excluded=excluded)

    def apply(self, value: str, vr: str, name: str, owner: str) -> str:
        """A sensitive value in the form that it is to have; see `Transformation.apply`."""
        transformation = None if name in self.excluded else self.own.get(name, self.other)
        return value if transformation is None else transformation.apply(value, vr, name, owner)


def default_texts(key: bytes = b"") -> Texts:
    """Dates are shifted, all else becomes the name of its infoType (TextConfig's BASIC)."""
    return Texts({"DATE": Transformation("dateShift", key)}, Transformation("replaceWithInfoType"))


def info_type(keyword: str, vr: str) -> str:
    """The infoType that an attribute's value is of, by its VR and its keyword."""
    found = _BY_VR.get(vr)
    return found or next((name for end, name in _BY_KEYWORD if keyword.endswith(end)), GENERIC)
