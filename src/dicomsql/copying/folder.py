"""The folder that files land in: each is written beside its name, and gets the name when complete.

Nothing is written outside the folder, whatever stands in it: its folders are opened one below the
other, and no link among them is followed.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dicomsql.errors import OperationalError

__all__ = ["BlockedError", "Folder", "Found", "Landing"]

_PIECE = 1 << 20

# Faults of the disk or the process: no other file would fare better.
_FATAL = frozenset(
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EROFS", "EIO", "EMFILE", "ENFILE", "ENODEV", "ESTALE")
    if hasattr(errno, name)
)
_REASONS = {
    errno.ENOTDIR: "a file or a link stands where its folder has to be",
    errno.ELOOP: "a link stands in its place, and is not followed",
    errno.EISDIR: "a folder stands in its place",
    errno.EACCES: "its folder may not be written to (permission denied)",
    errno.EPERM: "its folder may not be written to (permission denied)",
    errno.ENAMETOOLONG: "its name is too long for this system",
}
_LINK = "a link stands in its place, and is not followed"
_TAKEN = "another program is writing it"

_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_BINARY = getattr(os, "O_BINARY", 0)
# Whether the system opens names below a folder that is open already.
_BELOW = {os.open, os.mkdir, os.rename, os.unlink, os.stat} <= os.supports_dir_fd


class BlockedError(Exception):
    """One file cannot be written, or not be read; the text says why."""


@dataclass(frozen=True, slots=True)
class Found:
    """A regular file that is there.

    Attributes:
        size: its bytes.
        changed: when it was last changed, in nanoseconds since 1970.
    """

    size: int
    changed: int


@dataclass(frozen=True, slots=True)
class _Place:
    """A folder below which names are opened: by its descriptor, or by its path."""

    descriptor: int | None
    path: str

    def at(self, name: str) -> str:
        return name if self.descriptor is not None else f"{self.path}/{name}"


class Folder:
    """A folder for files; safe for many threads.

    Parameters:
        path: is made where it is missing, with the folders above it.

    Raises:
        OperationalError: it cannot be made or written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Names in it may tell of patients.
            path.mkdir(0o700, exist_ok=True)
            writable = os.access(path, os.W_OK | os.X_OK)
        except OSError as error:
            raise self._unusable(error) from None
        if not writable:
            raise self._unusable(PermissionError(errno.EACCES, os.strerror(errno.EACCES)))

    def found(self, path: PurePosixPath) -> Found | None:
        """The file of that path; None where there is none.

        Raises:
            BlockedError: something else has its place.
        """
        try:
            with self._parent(path, make=False) as place:
                status = os.stat(
                    place.at(path.name), dir_fd=place.descriptor, follow_symlinks=False
                )
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._told(error) from None
        _check_regular(status)
        return Found(status.st_size, status.st_mtime_ns)

    def digest(self, path: PurePosixPath) -> str:
        """SHA-256 of the file of that path, hex.

        Raises:
            BlockedError: it cannot be read.
        """
        found = hashlib.sha256()
        try:
            with self._parent(path, make=False) as place:
                descriptor = os.open(
                    place.at(path.name),
                    os.O_RDONLY | _NO_FOLLOW | _BINARY | getattr(os, "O_NONBLOCK", 0),
                    dir_fd=place.descriptor,
                )
            with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123 - of a descriptor
                while piece := file.read(_PIECE):
                    found.update(piece)
        except OSError as error:
            raise self._told(error) from None
        return found.hexdigest()

    def begin(self, path: PurePosixPath) -> Landing:
        """Begin a file; it is not there under its name before `Landing.publish`.

        Raises:
            BlockedError: it cannot be written there.
            OperationalError: nothing can be written any more.
        """
        name = f".{path.name}.part"
        try:
            with self._parent(path, make=True) as place:
                descriptor = _open_part(place, name)
        except OSError as error:
            raise self._told(error) from None
        return Landing(self, path, path.with_name(name), descriptor)

    def publish(self, part: PurePosixPath, path: PurePosixPath) -> None:
        """Give a complete file its name, in place of what has it."""
        try:
            with self._parent(path, make=False) as place:
                os.replace(
                    place.at(part.name),
                    place.at(path.name),
                    src_dir_fd=place.descriptor,
                    dst_dir_fd=place.descriptor,
                )
        except OSError as error:
            raise self._told(error) from None

    def remove(self, path: PurePosixPath) -> None:
        """Take a file away, if that can be."""
        with suppress(OSError), self._parent(path, make=False) as place:
            os.unlink(place.at(path.name), dir_fd=place.descriptor)

    @contextmanager
    def _parent(self, path: PurePosixPath, *, make: bool) -> Iterator[_Place]:
        """The folder that a path's file is in.

        Raises:
            OSError: it is not there, or cannot be made or opened.
        """
        if not _BELOW:
            yield self._parent_by_path(path, make=make)
            return
        flags = os.O_RDONLY | os.O_DIRECTORY
        descriptor = os.open(self.path, flags)
        try:
            for step in path.parent.parts:
                try:
                    inner = os.open(step, flags | _NO_FOLLOW, dir_fd=descriptor)
                except FileNotFoundError:
                    if not make:
                        raise
                    # Another thread may make it at the same time.
                    with suppress(FileExistsError):
                        os.mkdir(step, 0o700, dir_fd=descriptor)
                    inner = os.open(step, flags | _NO_FOLLOW, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = inner
            yield _Place(descriptor, "")
        finally:
            os.close(descriptor)

    def _parent_by_path(self, path: PurePosixPath, *, make: bool) -> _Place:
        at = self.path
        for step in path.parent.parts:
            at /= step
            if make:
                at.mkdir(0o700, exist_ok=True)
            if at.is_symlink() or not at.is_dir():
                missing = not at.exists() and not at.is_symlink()
                raise OSError(errno.ENOENT if missing else errno.ENOTDIR, "no folder")
        return _Place(None, str(at))

    def _told(self, error: OSError) -> BlockedError | OperationalError:
        """The error as that of one file, or as that of all."""
        if error.errno in _FATAL:
            return self._unusable(error)
        known = _REASONS.get(error.errno or 0)
        return BlockedError(known or f"it cannot be written ({error.strerror or 'unknown error'})")

    def _unusable(self, error: OSError) -> OperationalError:
        said = error.strerror or type(error).__name__
        return OperationalError(f"Cannot write to the folder {self.path}: {said}.")


class Landing:
    """A file on its way, under a name of its own beside the one that it will have.

    Attributes:
        path: that it will have.
        size: bytes written.
    """

    def __init__(
        self, folder: Folder, path: PurePosixPath, part: PurePosixPath, descriptor: int
    ) -> None:
        self.path = path
        self.size = 0
        self._folder = folder
        self._part = part
        self._descriptor = descriptor
        self._digest = hashlib.sha256()

    @property
    def digest(self) -> str:
        """SHA-256 of what was written, hex."""
        return self._digest.hexdigest()

    def write(self, piece: bytes) -> None:
        """Write what comes next.

        Raises:
            BlockedError: this file cannot be written.
            OperationalError: nothing can be written any more.
        """
        self._digest.update(piece)
        view = memoryview(piece)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            raise self._folder._told(error) from None
        self.size += len(piece)

    def hasten(self) -> None:
        """Have the system begin to write the file to the disk, and do not wait for it.

        Files that were all begun go to the disk together, which takes about as long as one does.
        """
        if hasattr(os, "posix_fadvise"):
            with suppress(OSError):
                os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def publish(self) -> int:
        """Bring the file to the disk, and then give it its name, in place of what has it.

        Returns: when it was last changed, in nanoseconds since 1970.

        Raises:
            BlockedError: it cannot have its name.
            OperationalError: the disk does not take it.
        """
        try:
            # Some systems give the name to a file whose bytes never came to the disk.
            getattr(os, "fdatasync", os.fsync)(self._descriptor)
            changed = os.fstat(self._descriptor).st_mtime_ns
            if sys.platform == "win32":
                self._close()  # a file that is open cannot be renamed there
        except OSError as error:
            raise self._folder._told(error) from None
        self._folder.publish(self._part, self.path)
        self._close()
        return changed

    def drop(self) -> None:
        """Take the file away; does nothing once it has its name, and may be called again."""
        if self._descriptor < 0:
            return
        if sys.platform == "win32":
            self._close()
        self._folder.remove(self._part)
        self._close()

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with suppress(OSError):
                os.close(descriptor)


def _check_regular(status: os.stat_result) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise BlockedError(_LINK)
    if not stat.S_ISREG(status.st_mode):
        raise BlockedError("something that is no file stands in its place")


def _open_part(place: _Place, name: str) -> int:
    """Open the file that is written to, empty, for this process alone.

    One that a process left behind which was killed is taken over; one that a living process writes
    to is not.

    Raises:
        BlockedError: another process has it.
        OSError: it cannot be opened.
    """
    # A pipe in its place must not be waited for.
    flags = os.O_WRONLY | os.O_CREAT | _NO_FOLLOW | _BINARY | getattr(os, "O_NONBLOCK", 0)
    while True:
        descriptor = os.open(place.at(name), flags, 0o600, dir_fd=place.descriptor)
        try:
            _lock(descriptor)
            own = os.fstat(descriptor)
            _check_regular(own)
            try:
                named = os.stat(place.at(name), dir_fd=place.descriptor, follow_symlinks=False)
            except FileNotFoundError:
                named = None
            if named is not None and os.path.samestat(own, named):
                _check_own(own)
                os.ftruncate(descriptor, 0)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        # It got its name, or was taken away, between the opening and the lock.
        os.close(descriptor)


def _check_own(status: os.stat_result) -> None:
    """Make sure that what is written goes to a file of ours and to no other name of it."""
    if status.st_nlink > 1 or (sys.platform != "win32" and status.st_mode & 0o077):
        raise BlockedError("the file that it is written to beforehand belongs to somebody else")


def _lock(descriptor: int) -> None:
    """Make sure that no other process, and no other file object, writes there."""
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            raise BlockedError(_TAKEN) from None
        return
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BlockedError(_TAKEN) from None
    except OSError as error:
        # File systems without locks exist.
        if error.errno not in {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}:
            raise
