"""The folders below one: opened step by step, with no link followed, and held for the next file.

Files that come one after the other are mostly of the same folders. Those are held open, and a look
at the path tells whether they still are what stands there.
"""

from __future__ import annotations

import errno
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

__all__ = ["HAS_DESCRIPTORS", "Below", "Place"]

# Folders that are held open.
_MOST_HELD = 32

_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_FLAGS = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)
# Whether the system opens names below a folder that is open already.
HAS_DESCRIPTORS = {os.open, os.mkdir, os.rename, os.unlink, os.stat} <= os.supports_dir_fd


@dataclass(frozen=True, slots=True)
class Place:
    """A folder below which names are opened: by its descriptor, or by its path."""

    descriptor: int | None
    path: str

    def at(self, name: str) -> str:
        """A name in it, as calls with the descriptor take it."""
        return name if self.descriptor is not None else f"{self.path}/{name}"


@dataclass(slots=True)
class _Held:
    """An open folder.

    Attributes:
        identity: its device and number, which another in its place does not have.
        users: threads that are at it; it is not closed before they have left.
    """

    descriptor: int
    identity: tuple[int, int]
    users: int = 0
    is_dropped: bool = False


class Below:
    """The folders below a folder; safe for many threads.

    Parameters:
        root: is there.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._held: OrderedDict[PurePosixPath, _Held] = OrderedDict()
        self._most = _MOST_HELD
        # Folders in which others were made whose names are not known to be on the disk.
        self._made: set[PurePosixPath] = set()

    @contextmanager
    def open(self, folder: PurePosixPath, *, make: bool) -> Iterator[Place]:
        """A folder for as long as the context is open.

        Args:
            make: it and those above it are made where they are missing.

        Raises:
            OSError: it is not there, or cannot be made or opened.
        """
        if not HAS_DESCRIPTORS:
            yield self._by_path(folder, make=make)
            return
        held = self._taken(folder) or self._hold(folder, self._opened(folder, make=make))
        try:
            yield Place(held.descriptor, "")
        finally:
            with self._lock:
                held.users -= 1
                is_over = held.is_dropped and not held.users
            if is_over:
                os.close(held.descriptor)

    def take_made(self, folder: PurePosixPath) -> bool:
        """Whether folders were made in it since this was asked last."""
        with self._lock:
            is_made = folder in self._made
            self._made.discard(folder)
        return is_made

    def give_back_made(self, folder: PurePosixPath) -> None:
        """What was made in it is not on the disk after all."""
        with self._lock:
            self._made.add(folder)

    def close(self) -> None:
        """Hold none open any more; what is asked for later is opened and closed by itself."""
        with self._lock:
            self._most = 0
            over = self._over()
        for descriptor in over:
            os.close(descriptor)

    def _taken(self, folder: PurePosixPath) -> _Held | None:
        """One that is held and still has its path."""
        with self._lock:
            held = self._held.get(folder)
            if held is None:
                return None
            held.users += 1
            self._held.move_to_end(folder)
        identity = None
        with suppress(OSError):
            identity = _identity((self._root / folder).lstat())
        if identity == held.identity:
            return held
        with self._lock:
            if self._held.get(folder) is held:
                del self._held[folder]
                held.is_dropped = True
            held.users -= 1
            is_over = held.is_dropped and not held.users
        if is_over:
            os.close(held.descriptor)
        return None

    def _hold(self, folder: PurePosixPath, descriptor: int) -> _Held:
        try:
            held = _Held(descriptor, _identity(os.fstat(descriptor)), users=1)
        except BaseException:
            os.close(descriptor)
            raise
        with self._lock:
            if folder in self._held:
                held.is_dropped = True  # another thread was faster
            else:
                self._held[folder] = held
            over = self._over()
        for one in over:
            os.close(one)
        return held

    def _over(self) -> list[int]:
        """Descriptors beyond those that are held, to be closed by the caller."""
        over: list[int] = []
        while len(self._held) > self._most:
            _, held = self._held.popitem(last=False)
            held.is_dropped = True
            if not held.users:
                over.append(held.descriptor)
        return over

    def _opened(self, folder: PurePosixPath, *, make: bool) -> int:
        descriptor = os.open(self._root, _FLAGS)
        at = PurePosixPath()
        try:
            for step in folder.parts:
                inner = self._step(descriptor, at, step, make=make)
                os.close(descriptor)
                descriptor = inner
                at /= step
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _step(self, above: int, at: PurePosixPath, name: str, *, make: bool) -> int:
        flags = _FLAGS | _NO_FOLLOW
        try:
            return os.open(name, flags, dir_fd=above)
        except FileNotFoundError:
            if not make:
                raise
        # Another thread may make it at the same time.
        with self._lock:
            with suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=above)
            self._made.add(at)
        return os.open(name, flags, dir_fd=above)

    def _by_path(self, folder: PurePosixPath, *, make: bool) -> Place:
        at = self._root
        for step in folder.parts:
            at /= step
            if make:
                at.mkdir(0o700, exist_ok=True)
            if at.is_symlink() or not at.is_dir():
                missing = not at.exists() and not at.is_symlink()
                raise OSError(errno.ENOENT if missing else errno.ENOTDIR, "no folder")
        return Place(None, str(at))


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
