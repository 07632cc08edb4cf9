"""Zip archives: the files in them, read where they stand; nothing is unpacked to the disk.

The names in an archive are never used as paths. Still, one that leads out of the archive marks a
file that somebody tampered with, so it is refused.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from struct import Struct
from typing import TYPE_CHECKING, BinaryIO, cast

from dicomsql.dicom.inflated import Forwards, Inflated
from dicomsql.files.local import InvalidFileError, LocalFile, Packed, opened
from dicomsql.files.names import is_passed_over

if TYPE_CHECKING:
    from zipfile import ZipInfo

__all__ = ["members", "open_member"]

_STORED, _DEFLATED = 0, 8
_ENCRYPTED = 0x1
# What deflating makes of data is at least 1/1032 of it; more comes only of data that are counted
# several times.
_MOST = 1100
# APPNOTE.TXT 4.3.7; the lengths of the name and of the extra field are at its end.
_LOCAL = Struct("<4s22xHH")
_OUTSIDE = re.compile(r"^[/\\]|^[A-Za-z]:|(?:^|[/\\])\.\.(?:[/\\]|$)")


def members(path: str, name: str, size: int, changed: int) -> Iterator[LocalFile]:
    """The files in an archive, sorted by name; hidden ones are passed over as in a folder.

    An archive that cannot be read is one file with a problem, and so is each file in it that
    cannot be had.

    Args:
        path: absolute.
        name: as people wrote it.
        size, changed: of the archive.
    """
    import zipfile

    def refused(problem: str) -> LocalFile:
        return LocalFile(name, path, 0, changed, problem=problem)

    try:
        with opened(path) as raw, zipfile.ZipFile(raw) as archive:
            found = [info for info in archive.infolist() if not info.is_dir()]
    except InvalidFileError as error:
        yield refused(str(error))
        return
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, OSError):
        yield refused("the zip archive is damaged, or no zip archive")
        return
    if sum(info.file_size for info in found) > _MOST * max(size, 1):
        yield refused("the zip archive claims to hold more than can be packed into its size")
        return
    seen: set[str] = set()
    for info in sorted(found, key=lambda info: info.filename.split("/")):
        member = info.filename
        if any(map(is_passed_over, member.split("/"))) and not _OUTSIDE.search(member):
            continue
        packed = Packed(
            member, info.header_offset, info.compress_size, info.compress_type, info.CRC, size
        )
        problem = _problem(info)
        if not problem and member in seen:
            problem = "another file of the archive has the same name"
        seen.add(member)
        whole = f"{name}!/{member}"
        bytes_ = 0 if problem else info.file_size
        yield LocalFile(whole, path, bytes_, changed, packed, problem)


def _problem(info: ZipInfo) -> str:
    """Why a member cannot be had; empty where nothing is known against it."""
    if _OUTSIDE.search(info.filename):
        return "its name leads out of the zip archive"
    if info.flag_bits & _ENCRYPTED:
        return "it is encrypted in the zip archive"
    if info.compress_type not in (_STORED, _DEFLATED):
        return f"it is packed by a method of zip that is not known here ({info.compress_type})"
    if info.file_size > _MOST * max(info.compress_size, 1):
        return "it claims to be larger than can be packed into its size"
    return ""


def open_member(path: str, packed: Packed, size: int) -> BinaryIO:
    """The bytes of a file in an archive.

    Args:
        size: the bytes that it unpacks to.

    Raises:
        InvalidFileError: the archive cannot be read, or the file is not where it was.
    """
    raw = opened(path)
    try:
        raw.seek(packed.offset)
        local = raw.read(_LOCAL.size)
        if len(local) < _LOCAL.size or local[:4] != b"PK\x03\x04":
            raise InvalidFileError("the zip archive is damaged")
        _, name, extra = _LOCAL.unpack(local)
        start = packed.offset + _LOCAL.size + name + extra
        return cast(BinaryIO, _Member(raw, start, packed, size))
    except BaseException:
        raw.close()
        raise


class _Member(Forwards):
    """A member's bytes, of which none is skipped unread, so that the CRC of them all is checked."""

    def __init__(self, archive: BinaryIO, start: int, packed: Packed, size: int) -> None:
        super().__init__(size)
        self._archive = archive
        self._size = size
        self._crc = packed.crc
        self._inner, self._start = archive, start
        if packed.method == _DEFLATED:
            self._inner, self._start = cast(BinaryIO, Inflated(archive, start, packed.size)), 0
        self._rewind()

    def _rewind(self) -> None:
        self._inner.seek(self._start)
        self._position = self._sum = 0

    def _go_back(self, target: int) -> None:  # noqa: ARG002 - its digest is one of all bytes
        self._rewind()

    def readinto(self, buffer: object) -> int:
        with memoryview(buffer) as view:  # type: ignore[arg-type]
            wanted = min(view.nbytes, self._size - self._position)
            if wanted <= 0:
                return 0
            with _telling():
                found = self._inner.read(wanted)
            view.cast("B")[: len(found)] = found
        self._position += len(found)
        self._sum = zlib.crc32(found, self._sum)
        if not found or (self._position == self._size and self._sum != self._crc):
            raise InvalidFileError(_DAMAGED)
        return len(found)

    def close(self) -> None:
        if not self.closed:
            self._archive.close()
        super().close()


_DAMAGED = "it is damaged in the zip archive"


@contextmanager
def _telling() -> Iterator[None]:
    """Raise what inflating raises as what people may see."""
    try:
        yield
    except (zlib.error, EOFError):
        raise InvalidFileError(_DAMAGED) from None
