"""Files that have arrived: brought to the disk, given their names, journaled, reported.

Threads of their own do it, several files at a time, so that those that fetch do not wait for the
disk. The journal says that a file is there once it is, and the report once the journal has it.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dicomsql.copying.folder import BlockedError, Landing
from dicomsql.copying.outcomes import Status
from dicomsql.errors import OperationalError
from dicomsql.waiting import wait_for

if TYPE_CHECKING:
    from concurrent.futures import Future
    from pathlib import PurePosixPath

    from dicomsql.copying.folder import Folder
    from dicomsql.copying.journal import Entry, Journal
    from dicomsql.copying.outcomes import Outcome
    from dicomsql.copying.report import Report
    from dicomsql.execution.run import Run

__all__ = ["Settled", "Settler"]

# Threads: each waits for the disk, which does better with several; but every one more takes turns
# at the interpreter with those that fetch.
_WIDTH = 3
# Files of one transaction of the journal, and those that may wait.
_TOGETHER = 32
_WAITING = 64
# Seconds after which a thread that waits looks whether another has failed.
_LOOK = 0.2


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a file, or will have become of it.

    Attributes:
        landing: the file, where it is still to get its name.
        entry: for the journal; None where that need not know.
    """

    outcome: Outcome
    entry: Entry | None = None
    landing: Landing | None = None

    def blocked(self, reason: str) -> Settled:
        """The same as failed."""
        entry = self.entry and replace(self.entry, status=Status.FAILED, reason=reason)
        return Settled(replace(self.outcome, status=Status.FAILED, reason=reason), entry)


class Settler:
    """Takes finished files from any thread; ended by `close`."""

    def __init__(self, run: Run, report: Report, journal: Journal | None) -> None:
        self._report = report
        self._journal = journal
        self._queue: queue.Queue[Settled | None] = queue.Queue(_WAITING)
        self._broken = threading.Event()
        pool = run.pool(_WIDTH, "settle")
        self._futures: list[Future[None]] = [pool.submit(self._settle) for _ in range(_WIDTH)]

    def add(self, settled: Settled) -> None:
        """Take what became of a file.

        Raises: what keeps files from being settled, as `close` does.
        """
        while True:
            if self._broken.is_set():
                if settled.landing is not None:
                    settled.landing.drop()
                self._raise()
            with suppress(queue.Full):
                self._queue.put(settled, timeout=_LOOK)
                return

    def close(self) -> None:
        """Settle what is left, and end.

        Raises:
            OperationalError: the disk does not take the files, or the journal cannot be written.
        """
        for _ in self._futures:
            while not self._broken.is_set():
                with suppress(queue.Full):
                    self._queue.put(None, timeout=_LOOK)
                    break
        wait_for(self._futures)
        self._drop()
        self._raise()

    def _settle(self) -> None:
        try:
            while (first := self._next()) is not None:
                self._together([first, *self._more()])
        except BaseException:
            self._broken.set()
            raise

    def _next(self) -> Settled | None:
        """The next file; None for the end."""
        while not self._broken.is_set():
            with suppress(queue.Empty):
                return self._queue.get(timeout=_LOOK)
        return None

    def _more(self) -> Iterable[Settled]:
        """What waits besides, as far as it goes into one transaction."""
        for _ in range(_TOGETHER - 1):
            try:
                following = self._queue.get_nowait()
            except queue.Empty:
                return
            if following is None:
                self._queue.put(None)  # another's end
                return
            yield following

    def _together(self, files: list[Settled]) -> None:
        settled: list[Settled] = []
        try:
            for one in files:
                if one.landing is not None:
                    one.landing.hasten()
            for one in files:
                settled.append(_published(one))
        except BaseException:
            for one in files[len(settled) :]:
                if one.landing is not None:
                    one.landing.drop()
            raise
        finally:
            self._write(settled)

    def _write(self, settled: list[Settled]) -> None:
        """Take down what became of files whose names are on the disk."""
        _sync(settled)
        try:
            if self._journal is not None:
                self._journal.write(one.entry for one in settled if one.entry is not None)
        finally:
            for one in settled:
                self._report.add(one.outcome)

    def _drop(self) -> None:
        """Take away what was not settled."""
        while True:
            try:
                left = self._queue.get_nowait()
            except queue.Empty:
                return
            if left is not None and left.landing is not None:
                left.landing.drop()

    def _raise(self) -> None:
        for future in self._futures:
            if future.done():
                future.result()


def _sync(settled: Iterable[Settled]) -> None:
    """Bring the names of files that have them to the disk.

    Raises:
        OperationalError: the disk does not take them.
    """
    named: dict[Folder, list[PurePosixPath]] = {}
    for one in settled:
        if one.landing is not None:
            named.setdefault(one.landing.folder, []).append(one.landing.path)
    for folder, paths in named.items():
        try:
            folder.sync(paths)
        except BlockedError as error:
            raise OperationalError(
                f"The names of files in {folder.path} cannot be brought to the disk: {error}."
            ) from None


def _published(one: Settled) -> Settled:
    """A file with its name, on the disk."""
    if one.landing is None:
        return one
    try:
        changed = one.landing.publish()
    except BlockedError as error:
        one.landing.drop()
        return one.blocked(str(error))
    return replace(one, entry=one.entry and replace(one.entry, changed=changed))
