"""A cohort of DICOM files for the benchmarks: real headers before pixels that take no disk.

A file is a header of some hundred bytes and a hole of the size of its pixels, which the system
reads as zeros. Everything about an instance follows from its number.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_ROOT = "1.2.826.0.1.3680043.8.498.77"
_CLASS = "1.2.840.10008.5.1.4.1.1.2"
_LONG = frozenset({"OB", "OW"})


class Uids(NamedTuple):
    """The UIDs of an instance."""

    study: str
    series: str
    instance: str


@dataclass(frozen=True)
class Cohort:
    """The files of a cohort.

    Attributes:
        count: of the files, which are numbered from 0.
        pixels: bytes of each file's pixels.
        series, study: instances in each; a study is a multiple of a series.
    """

    folder: Path
    count: int
    pixels: int = 500_000
    series: int = 100
    study: int = 500

    @property
    def paths(self) -> list[Path]:
        """All files, in their order."""
        return [self.path(number) for number in range(self.count)]

    @property
    def bytes(self) -> int:
        """Bytes of all files."""
        return sum(path.stat().st_size for path in self.paths)

    @property
    def studies(self) -> list[str]:
        """The UIDs of all studies."""
        return [self.uids(number).study for number in range(0, self.count, self.study)]

    def uids(self, number: int) -> Uids:
        """Those of the instance of that number."""
        study = f"{_ROOT}.{number // self.study + 1}"
        series = f"{study}.{number // self.series + 1}"
        return Uids(study, series, f"{series}.{number + 1}")

    def path(self, number: int) -> Path:
        """Where the file of that number is."""
        of = self.uids(number)
        return self.folder / of.study / of.series / f"{of.instance}.dcm"

    def numbers(self, study: str | None, series: str | None, instance: str | None) -> range:
        """The numbers of the instances that UIDs name, the finest of which counts."""
        if instance is not None:
            at, size = _last(instance), 1
        elif series is not None:
            at, size = _last(series) * self.series, self.series
        elif study is not None:
            at, size = _last(study) * self.study, self.study
        else:
            at, size = 0, self.count
        return range(at, min(self.count, at + size))

    def make(self) -> None:
        """Make the files."""
        for number, path in enumerate(self.paths):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                start = header(self.uids(number), self.pixels)
                file.write(start)
                file.truncate(len(start) + self.pixels)


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


def _last(uid: str) -> int:
    return int(uid.rpartition(".")[2]) - 1


def _element(tag: int, vr: str, value: bytes) -> bytes:
    value += (b"\0" if vr == "UI" else b" ") * (len(value) % 2)
    start = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
    length = struct.pack("<HI", 0, len(value)) if vr in _LONG else struct.pack("<H", len(value))
    return start + length + value
