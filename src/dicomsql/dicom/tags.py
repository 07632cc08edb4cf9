"""The DICOM data dictionary (PS3.6): what an attribute's keyword or tag stands for.

The table is a text file beside this module, made by `scripts/build_tags.py`; it is read when the
first name is looked up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["Tag", "keywords", "lookup", "meant"]

_HEX_NAME = re.compile(r"(?:tag_)?([0-9a-f]{8})", re.IGNORECASE)
# Tags as other tools write them: (0008,1030), 0008|1030, 0x00081030.
_WRITTEN = re.compile(
    r"\(?(?:tag_|0?x)?([0-9a-f]{4})(?:\W|_){0,2}(?:0?x)?([0-9a-f]{4})\)?", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Tag:
    """An attribute as PS3.6 lists it.

    Attributes:
        keyword: such as `PatientName`; empty for a private attribute and for the few retired ones
            that have none.
        tag: eight upper-case hexadecimal digits, as DICOM JSON writes them.
        vr: value representation; `US or SS` and the like where the dataset decides, `UN` where the
            dictionary does not know the attribute.
        vm: value multiplicity, such as `1`, `1-n`, `3`.
        level: `study`, `series` or `instance`: the highest of them that has the attribute as its
            own (PS3.3: patient and study; series, frame of reference and equipment; all else).
            Addresses and availability, which each level has, count as the study's.
    """

    keyword: str
    tag: str
    vr: str
    vm: str
    level: str = "instance"

    @property
    def many(self) -> bool:
        """Whether a dataset may hold more than one value."""
        return self.vm != "1"

    @property
    def private(self) -> bool:
        """Whether the tag is of an odd group, whose meaning its private creator decides."""
        return int(self.tag[:4], 16) % 2 == 1


def lookup(name: str) -> Tag | None:
    """The attribute of that name, or None where there is none.

    `name` is a keyword in any case, or a tag of eight hexadecimal digits, with `tag_` before them
    or not. The keyword of an attribute that repeats over groups means its first group:
    `OverlayRows` is (6000,0010); the others are reached by tag. Every private tag is found, with VR
    UN but for private creator elements (PS3.5 section 7.8).
    """
    table = _table()
    line = table.by_keyword.get(name.lower())
    if line is not None:
        return _parsed(line)
    written = _HEX_NAME.fullmatch(name)
    if written is None:
        return None
    tag = written[1].upper()
    if int(tag[:4], 16) % 2 == 1:
        return _private(tag)
    line = table.by_tag.get(tag)
    if line is None:
        line = next((text for mask, text in table.repeating if _covers(mask, tag)), None)
    return None if line is None else _parsed(line, tag)


def meant(name: str) -> Tag | None:
    """The attribute of the dictionary that a name means which `lookup` does not take, or None.

    That is a keyword written in words (`study_description`, `Study Description`), and a tag as
    other tools write it (`0008,1030`, `(0008,1030)`, `x00081030`).
    """
    written = _WRITTEN.fullmatch(name)
    found = lookup("".join(written.groups()) if written else re.sub(r"[\W_]", "", name))
    return found if found is not None and found.keyword else None


def keywords() -> tuple[str, ...]:
    """All keywords, in the order of their tags."""
    return tuple(line.partition("\t")[0] for line in _table().by_keyword.values())


@dataclass(frozen=True, slots=True)
class _Table:
    """The file's lines by what they are found with; a line is taken apart when it is wanted."""

    by_keyword: dict[str, str]
    by_tag: dict[str, str]
    repeating: tuple[tuple[str, str], ...]


@cache
def _table() -> _Table:
    # importlib.resources would cost more than reading and splitting the table.
    text = Path(__file__).with_name("tags.tsv").read_text(encoding="ascii")
    by_keyword: dict[str, str] = {}
    by_tag: dict[str, str] = {}
    repeating: list[tuple[str, str]] = []
    for line in text.splitlines():
        keyword, _, rest = line.partition("\t")
        if keyword:
            by_keyword[keyword.lower()] = line
        tag = rest[:8]
        by_tag[tag] = line
        if "x" in tag:
            repeating.append((tag, line))
    return _Table(by_keyword, by_tag, tuple(repeating))


def _covers(mask: str, tag: str) -> bool:
    return all(digit in ("x", other) for digit, other in zip(mask, tag, strict=True))


def _parsed(line: str, tag: str = "") -> Tag:
    keyword, written, vr, vm, level = line.split("\t")
    if not tag:
        # The first of an attribute that repeats, past those that mean something of their own.
        every = (written.replace("x", digit) for digit in "0123456789ABCDEF")
        tag = written if "x" not in written else next(t for t in every if t not in _table().by_tag)
    return Tag(keyword, tag, vr, vm, level)


def _private(tag: str) -> Tag:
    creator = tag[4:6] == "00" and int(tag[6:], 16) >= 0x10
    return Tag("", tag, "LO", "1") if creator else Tag("", tag, "UN", "1-n")
