"""DICOM attributes as columns: those of a table, those of the standard, parts of them, and tags."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from dicomsql.shell.completion.match import Candidate

if TYPE_CHECKING:
    from dicomsql.catalog.model import DicomTable

__all__ = ["attributes", "attributes_of_level", "parts_of_attributes"]

_LEVELS = ("study", "series", "instance")
_SUFFIXES = {
    "raw": ("", "the text as the server sent it"),
    "utc": ("DT", "the instant, where an offset is known"),
    "Ideographic": ("PN", "the name's ideographic form"),
    "Phonetic": ("PN", "the name's phonetic form"),
}
_WHOLE = (("dataset", "JSON, as the server sent it"), ("dropped", "what the server left out of it"))


def attributes(table: DicomTable, *, all_: bool) -> Iterator[Candidate]:
    """The columns of a table of datasets.

    Args:
        all_: those of the standard too that are not part of `*`.
    """
    usual = set()
    for attribute in table.attributes:
        if attribute.usual:
            usual.add(attribute.keyword)
            yield _attribute(attribute.keyword, 2)
    if table.preview is not None:
        yield Candidate("preview", "BLOB  a small picture", 4)
    if all_:
        level = "instance" if table.source == "metadata" else table.level
        yield from attributes_of_level(level, 7)
    yield from (Candidate(name, about, 6) for name, about in _WHOLE)


@cache
def attributes_of_level(level: str, rank: int) -> tuple[Candidate, ...]:
    from dicomsql.dicom.tags import keywords, lookup

    levels = _LEVELS[: _LEVELS.index(level) + 1]
    found = (tag for keyword in keywords() if (tag := lookup(keyword)) is not None)
    return tuple(
        Candidate(tag.keyword, _described(tag.keyword, tag.vr, tag.tag), rank, loose=False)
        for tag in found
        if tag.level in levels
    )


@lru_cache(maxsize=1024)
def _attribute(keyword: str, rank: int) -> Candidate:
    from dicomsql.dicom.tags import lookup

    tag = lookup(keyword)
    about = _described(keyword, tag.vr, tag.tag) if tag is not None else ""
    return Candidate(keyword, about, rank)


def parts_of_attributes(typed: str) -> Iterator[Candidate]:
    """Columns that hold a part of an attribute, `PatientName_Ideographic`, and tags."""
    from dicomsql.dicom.tags import keywords, lookup

    keyword = typed.rpartition("_")[0]
    if (tag := lookup(keyword)) is not None and tag.keyword:
        for suffix, (vr, about) in _SUFFIXES.items():
            if not vr or vr == tag.vr:
                yield Candidate(f"{tag.keyword}_{suffix}", about, 6)
    if typed.lower().startswith("tag_"):
        for name in keywords():
            if (tag := lookup(name)) is not None:
                yield Candidate(f"tag_{tag.tag}", _described(name, tag.vr, name), 6, loose=False)


def _described(keyword: str, vr: str, where: str) -> str:
    from dicomsql.catalog.about import words_of

    return f"{vr}  {words_of(keyword)}  {where}"
