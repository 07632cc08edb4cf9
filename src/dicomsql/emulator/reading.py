"""Stored files, opened for reading with bounded memory, whatever stands in them.

A file is mapped, not read. What its JSON would hold at length is given by a BulkDataURI instead, as
a Google-hosted store leaves sequences of more than about 1 MB out of metadata; and a deflated data
set is inflated to a file without a name, up to a limit.
"""

from __future__ import annotations

import contextlib
import mmap
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from dicomsql.dicom import part10

__all__ = ["File", "opened"]

LONGEST = 1024 * 1024  # bytes of a value in metadata
_METADATA = 16 * 1024 * 1024  # bytes of all of them
_INFLATED = 1024 * 1024 * 1024  # bytes that a deflated data set may come to
_PIECE = 256 * 1024


@dataclass(frozen=True, slots=True)
class File:
    """An open file.

    Attributes:
        meta: its meta information.
        instance: its data set; the places of its bulk data count in `data`.
        data: the file, or its inflated data set.
        start: where the data set begins in `data`.
    """

    meta: part10.Dataset
    instance: part10.Instance
    data: BinaryIO
    start: int


@contextlib.contextmanager
def opened(path: Path, scratch: Path) -> Iterator[File]:
    """A DICOM file.

    Args:
        scratch: the folder for a deflated data set while the file is open.

    Raises:
        InvalidDicom: as `part10.read`; also where it inflates to more than the limit.
    """
    with contextlib.ExitStack() as stack:
        data: BinaryIO = stack.enter_context(path.open("rb"))
        view = stack.enter_context(_mapped(data))
        meta, start = part10.head(view)
        syntax = part10.text(meta, "00020010")
        if syntax == part10.DEFLATED_LITTLE:
            packed, data = data, stack.enter_context(tempfile.TemporaryFile(dir=scratch))
            packed.seek(start)
            _inflate(packed, data)
            view, start = stack.enter_context(_mapped(data)), 0
        instance = part10.body(view, start, syntax, part10.Budget(LONGEST, _METADATA))
        try:
            yield File(meta, instance, data, start)
        finally:
            instance.buffer = b""  # the map cannot be closed while it is referred to


@contextlib.contextmanager
def _mapped(stream: BinaryIO) -> Iterator[mmap.mmap]:
    try:
        view = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except ValueError:  # nothing can be mapped of an empty file
        raise part10.InvalidDicom("the file is empty or not of type application/dicom") from None
    with view:
        yield view


def _inflate(packed: BinaryIO, out: BinaryIO) -> None:
    inflating = zlib.decompressobj(-zlib.MAX_WBITS)
    left = _INFLATED
    try:
        while not inflating.eof:
            data = inflating.unconsumed_tail or packed.read(_PIECE)
            piece = inflating.decompress(data, _PIECE)
            if not data and not piece and not inflating.eof:
                raise part10.InvalidDicom("the deflated data set is not complete")
            left -= len(piece)
            if left < 0:
                raise part10.InvalidDicom(
                    f"the deflated data set is larger than {_INFLATED} bytes once inflated"
                )
            out.write(piece)
    except zlib.error:
        raise part10.InvalidDicom("the deflated data set is damaged") from None
    out.flush()
