"""A local file that may hold an instance: what people call it, and how its bytes are had."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple
from urllib.parse import quote, unquote_to_bytes

__all__ = ["InvalidFileError", "LocalFile", "Packed", "addressed", "opened", "reason_of", "shown"]

_URI = "file:///"


class InvalidFileError(Exception):
    """One file cannot be taken; the text says why, and holds no value of it."""


class Packed(NamedTuple):
    """Where a file stands in a zip archive.

    Attributes:
        member: its name in the archive.
        offset: of its local header, in bytes from the archive's beginning.
        size: bytes that it takes up in the archive.
        method: 0 where it is stored, 8 where it is deflated (APPNOTE.TXT 4.4.5).
        crc: CRC-32 of its bytes.
        archive_size: bytes of the archive.
    """

    member: str
    offset: int
    size: int
    method: int
    crc: int
    archive_size: int


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file that was named or found; it can be sent to other processes.

    Attributes:
        written: its name as people wrote it, or would: `in/a.dcm`, and `scans.zip!/b/c.dcm` in an
            archive.
        path: where it, or its archive, is: an absolute path as the system has it.
        size: its bytes; 0 where `problem` says that there are none to be had.
        changed: when it, or its archive, was last changed, in nanoseconds since 1970.
        packed: its place in its archive; None where it is in none.
        problem: why it cannot be read, as far as that is known without opening it.
        literal: whether `written` is how the system spells it.
    """

    written: str
    path: str
    size: int = 0
    changed: int = 0
    packed: Packed | None = None
    problem: str = ""
    literal: bool = True

    @property
    def name(self) -> str:
        """For people: what cannot be printed is escaped, so that no two files have one name."""
        return shown(self.written)

    @property
    def address(self) -> str:
        """A text by which `find` gives this file and no other: as written where that does.

        Else it is a URI (RFC 8089): of a name that is no text, since its bytes are no UTF-8, and of
        one that could mean another file.
        """
        if self.literal and _is_text(self.written) and not self._is_doubtful():
            return self.written
        address = Path(self.path).as_uri()
        return address if self.packed is None else f"{address}!/{quote(self.packed.member)}"

    def _is_doubtful(self) -> bool:
        """Whether a file in an archive has the name of one in a folder, which comes first."""
        return self.packed is not None and os.path.lexists(f"{self.path}!")

    @property
    def key(self) -> str:
        """What tells it from all others, wherever the program is started: its absolute name."""
        whole = shown(self.path)
        return whole if self.packed is None else f"{whole}!/{shown(self.packed.member)}"

    def open(self) -> BinaryIO:
        """Its bytes from the first, which the caller closes; it may be opened again and again.

        The stream can be sought in, and is not buffered: read pieces of a size that suits. That of
        a file in an archive goes backwards by beginning again, and raises InvalidFileError from
        `read` where the archive is damaged.

        Raises:
            InvalidFileError: it cannot be read, or its archive is not what it was.
        """
        if self.problem:
            raise InvalidFileError(self.problem)
        if self.packed is None:
            return opened(self.path)
        from dicomsql.files.archives import open_member

        return open_member(self.path, self.packed, self.size)

    def unchanged(self) -> bool:
        """Whether the file, or its archive, still has its size and its time of change."""
        try:
            now = os.stat(self.path)  # noqa: PTH116 - names that are no UTF-8 stay what they are
        except OSError:
            return False
        size = self.size if self.packed is None else self.packed.archive_size
        return (now.st_size, now.st_mtime_ns) == (size, self.changed)


def opened(path: str) -> BinaryIO:
    """A regular file, to read from.

    Raises:
        InvalidFileError: it cannot be opened, or is none.
    """
    # A pipe that took the file's place in the meantime must not be waited for.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        raise InvalidFileError(reason_of(error)) from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise InvalidFileError("it is no regular file")
        return open(descriptor, "rb", buffering=0)  # noqa: PTH123
    except BaseException:
        os.close(descriptor)
        raise


_REASONS = {
    errno.ENOENT: "it is not there any more",
    errno.EACCES: "it may not be read (permission denied)",
    errno.EPERM: "it may not be read (permission denied)",
    errno.ELOOP: "its links lead in a circle",
    errno.EMFILE: "too many files are open",
    errno.ENFILE: "too many files are open",
    errno.EIO: "it cannot be read (input/output error)",
    errno.ENAMETOOLONG: "its name is too long for this system",
}


def reason_of(error: OSError) -> str:
    """Why a file could not be read, without its name."""
    known = _REASONS.get(error.errno or 0)
    return known or f"it cannot be read ({error.strerror or type(error).__name__})"


def addressed(text: str) -> tuple[str, str] | None:
    """The path, and the name within that archive, which a URI names; None where it is none."""
    if not text.startswith(_URI):
        return None
    from urllib.request import url2pathname

    path, _, member = text.removeprefix("file://").partition("!/")
    place = url2pathname(path) if os.name == "nt" else os.fsdecode(unquote_to_bytes(path))
    return place, unquote_to_bytes(member).decode(errors="replace")


def _is_text(written: str) -> bool:
    try:
        written.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(path: str) -> str:
    """A path as people may see it: what cannot be printed is escaped, and so is the escape."""
    if path.isprintable() and ("\\" not in path or os.sep == "\\"):
        return path
    return "".join(map(_escaped, path))


def _escaped(character: str) -> str:
    if character == "\\" and os.sep != "\\":
        return "\\\\"
    if character.isprintable():
        return character
    code = ord(character)
    # A byte that is no UTF-8 (PEP 383).
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
