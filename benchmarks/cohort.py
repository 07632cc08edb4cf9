"""A cohort of DICOM files for the benchmarks: real headers before pixels that take no disk.

A file is a header of some hundred bytes and a hole of the size of its pixels, which the system
reads as zeros. Everything about an instance follows from its number.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

SERIES, STUDY = 100, 500  # instances in each
_ROOT = "1.2.826.0.1.3680043.8.498.77"
_CLASS = "1.2.840.10008.5.1.4.1.1.2"
_LONG = frozenset({"OB", "OW"})


class Uids(NamedTuple):
    """The UIDs of an instance."""

    study: str
    series: str
    instance: str


def uids(number: int) -> Uids:
    """Those of the instance of that number, from 0."""
    study = f"{_ROOT}.{number // STUDY + 1}"
    return Uids(
        study, f"{study}.{number // SERIES + 1}", f"{study}.{number // SERIES + 1}.{number}"
    )


def header(of: Uids, pixels: int) -> bytes:
    """A file in explicit little endian up to its pixels, of so many bytes."""
    meta = b"".join(
        (
            _element(0x00020001, "OB", b"\0\1"),
            _element(0x00020002, "UI", _CLASS.encode()),
            _element(0x00020003, "UI", of.instance.encode()),
            _element(0x00020010, "UI", b"1.2.840.10008.1.2.1"),
        )
    )
    side = 500
    rows = pixels // (2 * side)
    body = b"".join(
        (
            _element(0x00080016, "UI", _CLASS.encode()),
            _element(0x00080018, "UI", of.instance.encode()),
            _element(0x00080020, "DA", b"20240131"),
            _element(0x00080060, "CS", b"CT"),
            _element(0x00100010, "PN", b"Doe^Jane"),
            _element(0x00100020, "LO", of.study[-8:].encode()),
            _element(0x0020000D, "UI", of.study.encode()),
            _element(0x0020000E, "UI", of.series.encode()),
            _element(0x00280002, "US", struct.pack("<H", 1)),
            _element(0x00280004, "CS", b"MONOCHROME2"),
            _element(0x00280010, "US", struct.pack("<H", min(rows, 65_535))),
            _element(0x00280011, "US", struct.pack("<H", side)),
            _element(0x00280100, "US", struct.pack("<H", 16)),
            _element(0x00280101, "US", struct.pack("<H", 16)),
            _element(0x00280102, "US", struct.pack("<H", 15)),
            _element(0x00280103, "US", struct.pack("<H", 0)),
        )
    )
    group = _element(0x00020000, "UL", struct.pack("<I", len(meta)))
    pixel = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, pixels)
    return bytes(128) + b"DICM" + group + meta + body + pixel


def path_of(folder: Path, number: int) -> Path:
    """Where the file of that number is."""
    of = uids(number)
    return folder / of.study / of.series / f"{of.instance}.dcm"


def make(folder: Path, count: int, pixels: int) -> None:
    """Make so many files."""
    for number in range(count):
        path = path_of(folder, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            start = header(uids(number), pixels)
            file.write(start)
            file.truncate(len(start) + pixels)


def _element(tag: int, vr: str, value: bytes) -> bytes:
    value += (b"\0" if vr == "UI" else b" ") * (len(value) % 2)
    start = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
    length = struct.pack("<HI", 0, len(value)) if vr in _LONG else struct.pack("<H", len(value))
    return start + length + value
