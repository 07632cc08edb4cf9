"""Locks on files that are there for nothing else, held against processes and threads alike."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["LockFile", "TakenError", "lock"]

# File systems without locks exist.
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
_OPEN = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


class TakenError(Exception):
    """Somebody else has the lock."""


class LockFile:
    """A file that is locked from its making until `release`, which takes it away.

    Such a lock belongs to the open file: nothing else that this process opens and closes ends it,
    as it would the locks that SQLite has.

    Raises:
        TakenError: another process, or another part of this one, has it.
        OSError: the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        while self._descriptor is None:
            descriptor = os.open(path, _OPEN, 0o600)
            try:
                lock(descriptor)
                # Who had it before may have taken the name away since it was opened.
                if self._is_named(descriptor):
                    self._descriptor = descriptor
            finally:
                if self._descriptor is None:
                    os.close(descriptor)

    def release(self) -> None:
        """Let others have it; may be called again."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        if sys.platform == "win32":
            # A file that is open there keeps its name.
            os.close(descriptor)
            descriptor = None
        with suppress(OSError):
            self._path.unlink()
        if descriptor is not None:
            os.close(descriptor)

    def _is_named(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.lstat())
        except FileNotFoundError:
            return False


def lock(descriptor: int) -> None:
    """Lock an open file against other processes, and other file objects, while it is open.

    Where the file system has no locks, nothing is locked.

    Raises:
        TakenError: it is locked.
        OSError: it cannot be locked.
    """
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            raise TakenError from None
        return
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise TakenError from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
