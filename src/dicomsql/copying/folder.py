"""The folder that files land in: each is written beside its name, and gets the name when complete.

Nothing is written outside the folder, whatever stands in it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dicomsql.copying.below import HAS_DESCRIPTORS, Below, Place
from dicomsql.copying.locking import TakenError, lock
from dicomsql.errors import OperationalError

__all__ = ["BlockedError", "Folder", "Found", "Landing"]

_PIECE = 1 << 20
# Folders above the one for files that may have been made with it.
_MADE = 3

# Faults of the disk or the process: no other file would fare better.
_FATAL = frozenset(
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EROFS", "EIO", "EMFILE", "ENFILE", "ENODEV", "ESTALE")
    if hasattr(errno, name)
)
# What systems say to a second name for a file where there can be none.
_NO_LINKS = frozenset(
    getattr(errno, name)
    for name in ("EPERM", "EACCES", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK", "EXDEV")
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
_CAME = "a file came to be in its place in the meantime, and is left (overwrite true replaces it)"
_TAKEN = "another program is writing it"

_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_BINARY = getattr(os, "O_BINARY", 0)


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


class Folder:
    """A folder for files; safe for many threads.

    Parameters:
        path: is made where it is missing, with the folders above it.

    Raises:
        OperationalError: it cannot be made or written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._below = Below(path)
        self._is_durable = path.is_dir()
        # Whoever finds that nothing was made knows by it that it is on the disk.
        self._syncing = threading.Lock()
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
            with self._below.open(path.parent, make=False) as place:
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
            with self._below.open(path.parent, make=False) as place:
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
            with self._below.open(path.parent, make=True) as place:
                descriptor = _open_part(place, name, path.name)
        except OSError as error:
            raise self._told(error) from None
        return Landing(self, path, path.with_name(name), descriptor)

    def publish(self, part: PurePosixPath, path: PurePosixPath, *, replaces: bool) -> None:
        """Give a complete file its name.

        Args:
            replaces: in place of what has it; else nothing may have it.

        Raises:
            BlockedError: it cannot have its name.
        """
        try:
            with self._below.open(path.parent, make=False) as place:
                if replaces:
                    os.replace(
                        place.at(part.name),
                        place.at(path.name),
                        src_dir_fd=place.descriptor,
                        dst_dir_fd=place.descriptor,
                    )
                else:
                    _rename_new(place, part.name, path.name)
        except FileExistsError:
            raise BlockedError(_CAME) from None
        except OSError as error:
            raise self._told(error) from None

    def sync(self, paths: Iterable[PurePosixPath]) -> None:
        """Bring the names of files to the disk, and those of the folders that they are in.

        Raises:
            BlockedError, OperationalError: the disk does not take them.
        """
        if not HAS_DESCRIPTORS:
            return
        try:
            parents = {path.parent for path in paths}
            for parent in parents:
                self._sync(parent)
            with self._syncing:
                for above in {above for parent in parents for above in parent.parents}:
                    self._sync_made(above)
                # Those above the folder itself may have been made for it, too.
                if not self._is_durable:
                    for outer in (self.path.parent, *self.path.parent.parents[:_MADE]):
                        _sync_path(outer)
                    self._is_durable = True
        except OSError as error:
            raise self._told(error) from None

    def _sync_made(self, folder: PurePosixPath) -> None:
        """Bring the names in a folder to the disk if folders were made in it."""
        if not self._below.take_made(folder):
            return
        try:
            self._sync(folder)
        except BaseException:
            self._below.give_back_made(folder)
            raise

    def _sync(self, folder: PurePosixPath) -> None:
        with self._below.open(folder, make=False) as place:
            assert place.descriptor is not None
            _sync_descriptor(place.descriptor)

    def remove(self, path: PurePosixPath) -> None:
        """Take a file away, if that can be."""
        with suppress(OSError), self._below.open(path.parent, make=False) as place:
            os.unlink(place.at(path.name), dir_fd=place.descriptor)

    def close(self) -> None:
        """Let go of the folders that are held open."""
        self._below.close()

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
        folder: in which it is.
        path: that it will have, below the folder.
        size: bytes written.
        replaces: whether it takes the place of what has its name when it gets it.
    """

    def __init__(
        self, folder: Folder, path: PurePosixPath, part: PurePosixPath, descriptor: int
    ) -> None:
        self.path = path
        self.size = 0
        self.replaces = False
        self.folder = folder
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
            raise self.folder._told(error) from None
        self.size += len(piece)

    def hasten(self) -> None:
        """Have the system begin to write the file to the disk, and do not wait for it.

        Files that were all begun go to the disk together, which takes about as long as one does.
        """
        if hasattr(os, "posix_fadvise"):
            with suppress(OSError):
                os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def publish(self) -> int:
        """Bring the file to the disk, and then give it its name.

        The name is on the disk after `Folder.sync`.

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
            raise self.folder._told(error) from None
        self.folder.publish(self._part, self.path, replaces=self.replaces)
        self._close()
        return changed

    def drop(self) -> None:
        """Take the file away; does nothing once it has its name, and may be called again."""
        if self._descriptor < 0:
            return
        if sys.platform == "win32":
            self._close()
        self.folder.remove(self._part)
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


def _rename_new(place: Place, part: str, name: str) -> None:
    """Give a file a name that nothing has.

    Raises:
        FileExistsError: something has it.
        OSError: it cannot have it.
    """
    old, new, at = place.at(part), place.at(name), place.descriptor
    if sys.platform == "win32":
        Path(old).rename(new)
        return
    try:
        os.link(old, new, src_dir_fd=at, dst_dir_fd=at, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # On file systems without a second name for a file a look has to do.
        with suppress(FileNotFoundError):
            os.stat(new, dir_fd=at, follow_symlinks=False)
            raise FileExistsError(errno.EEXIST, "a file is there") from None
        os.rename(old, new, src_dir_fd=at, dst_dir_fd=at)
        return
    os.unlink(old, dir_fd=at)


def _sync_descriptor(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems do so by themselves and refuse it.
        if error.errno not in {errno.EINVAL, errno.ENOTSUP, errno.EBADF}:
            raise


def _sync_path(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:
        return  # made by somebody else then, and before
    try:
        _sync_descriptor(descriptor)
    finally:
        os.close(descriptor)


def _open_part(place: Place, name: str, final: str) -> int:
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
            if own.st_nlink > 1 and _is_published(place, own, final):
                # A process was killed between giving it its name and taking this one away.
                os.unlink(place.at(name), dir_fd=place.descriptor)
            elif named is not None and os.path.samestat(own, named):
                _check_own(own)
                if own.st_size:
                    os.ftruncate(descriptor, 0)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        # It got its name, or was taken away, between the opening and the lock.
        os.close(descriptor)


def _is_published(place: Place, own: os.stat_result, final: str) -> bool:
    """Whether the file that was opened has the name, too, that it is to have."""
    try:
        there = os.stat(place.at(final), dir_fd=place.descriptor, follow_symlinks=False)
    except OSError:
        return False
    return os.path.samestat(own, there)


def _check_own(status: os.stat_result) -> None:
    """Make sure that what is written goes to a file of ours and to no other name of it."""
    if status.st_nlink > 1 or (sys.platform != "win32" and status.st_mode & 0o077):
        raise BlockedError("the file that it is written to beforehand belongs to somebody else")


def _lock(descriptor: int) -> None:
    """Make sure that no other process, and no other file object, writes there."""
    try:
        lock(descriptor)
    except TakenError:
        raise BlockedError(_TAKEN) from None
