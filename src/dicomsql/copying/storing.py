"""COPY instances FROM files: batches of files, sent side by side, resumed by the journal.

Each of a few threads takes the next files, reads their headers, sends them as one request and
writes down what became of each. Where several files are one instance, all but one of them wait
until everything else is done, and then go one after the other.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dicomsql.copying.journal import ENDING, files_of
from dicomsql.copying.ledger import Ledger, Numbered, Repeated, Sent, supersede
from dicomsql.copying.outcomes import OTHER_BYTES, Outcome, Status
from dicomsql.copying.storer import Stored, Storer, Verdicts
from dicomsql.copying.upload import CHANGED, Part, PartError, PartFailedError, digest_of
from dicomsql.files.find import find
from dicomsql.files.headers import InvalidFileError, read_header
from dicomsql.planning.plan import Conflict
from dicomsql.waiting import wait_for

if TYPE_CHECKING:
    from dicomsql.copying.journal import Journal
    from dicomsql.copying.progress import Progress
    from dicomsql.copying.report import Report
    from dicomsql.execution.run import Run
    from dicomsql.files.local import LocalFile
    from dicomsql.planning.plan import StorePlan

__all__ = ["Part", "Stored", "Storer", "candidates", "kept_folder", "store"]

# Bytes of a file that are read at a time: few enough to stay in the processor's cache until they
# are sent.
_PIECE = 1 << 19
# Instances of a request at most: small ones are spread over the connections.
_MOST_PARTS = 200
# Files that are known ahead of those under way, so that the last ones are shared out evenly.
_AHEAD = 5_000
# A request is not made smaller than this to share out what is left.
_LEAST = 1_000_000

Work = Callable[[threading.Event], None]

_TWICE = "{} is the same instance with other bytes, and is in the store"
_LATER = "{}, a later file of the same instance with other bytes, is in the store"


def kept_folder(journal: Journal | None) -> Path | None:
    """Where a target's bytes are kept before they are deleted to be replaced."""
    if journal is None:
        return None
    name = journal.path.name
    # By its name it is no source of instances, whatever the journal is called.
    ending = "" if name.endswith(ENDING) else ENDING
    return journal.path.with_name(f"{name}{ending}.kept")


def candidates(plan: StorePlan, journal: Path | None) -> Iterator[LocalFile]:
    """The files that a plan's paths name, without those of its journal.

    Raises:
        InterfaceError: one of the paths matches nothing.
    """
    own = {str(path) for path in files_of(journal.resolve())} if journal is not None else set()
    found = find(plan.paths, exact=bool(plan.column))
    if not own:
        return found
    names = {Path(path).name for path in own}
    return (
        file
        for file in found
        if Path(file.path).name not in names or str(Path(file.path).resolve()) not in own
    )


def store(
    run: Run, plan: StorePlan, report: Report, journal: Journal | None, progress: Progress
) -> None:
    """Store the plan's files; the report gets a row for each.

    Raises:
        InterfaceError: no file matches the paths, or instances are to be replaced by deleting and
            there is no journal.
        NotSupportedError: the server cannot store, or cannot replace.
        ApiError, EndpointError, CredentialsError, BudgetError: the server is gone for good, or
            takes nothing more; what was done is in the report and the journal.
        CancelledError: the statement was cancelled.
    """
    storer = Storer(
        run,
        plan.target,
        plan.conflict,
        study=plan.study,
        kept=kept_folder(journal),
        sent=progress.moved,
        most=plan.most,
        superseding=partial(supersede, journal) if journal is not None else None,
    )
    width = run.limits.parallel
    ledger = Ledger(plan, report, journal)
    files = _Files(
        run, candidates(plan, journal.path if journal is not None else None), ledger, progress
    )
    work = _Work(run, plan, storer, files, ledger)
    try:
        _run_threads(run, width, work.send)
        work.put_off = deque(ledger.repeated())
        _run_threads(run, width, work.send_again)
    finally:
        ledger.close()


def _run_threads(run: Run, width: int, work: Work) -> None:
    """Run the same work in so many threads; the first failure ends all, after their requests."""
    stop = threading.Event()
    pool = run.pool(width, "store")
    futures = [pool.submit(work, stop) for _ in range(width)]
    try:
        wait_for(futures, return_when=FIRST_EXCEPTION)
    except BaseException:
        run.cancel.set()
        if run.abort is not None:
            run.abort()
        raise
    finally:
        # What was sent by now is written down before the statement ends.
        stop.set()
        pool.shutdown(cancel_futures=True)
    for future in futures:
        future.result()


# -- the files -------------------------------------------------------------------------------------


class _Files:
    """The files that are still to be sent, handed out to threads in groups."""

    def __init__(
        self, run: Run, found: Iterable[LocalFile], ledger: Ledger, progress: Progress
    ) -> None:
        self._found: Iterator[LocalFile] | None = iter(found)
        self._run = run
        self._ledger = ledger
        self._progress = progress
        self._ahead: deque[Numbered] = deque()
        self._bytes = 0
        self._count = 0
        self._lock = threading.Lock()
        progress.growing(True)
        # Nothing is sent where a path matches nothing.
        self._look_ahead()

    def take(self, limit: int) -> list[Numbered]:
        """The next files, of so many bytes together at most or just one; empty at the end."""
        with self._lock:
            self._look_ahead()
            if self._found is None:
                limit = min(limit, max(_LEAST, self._bytes // self._run.limits.parallel))
            taken: list[Numbered] = []
            size = 0
            while self._ahead and len(taken) < _MOST_PARTS:
                size += self._ahead[0].file.size
                if taken and size > limit:
                    break
                taken.append(self._ahead.popleft())
                self._bytes -= taken[-1].file.size
            return taken

    def _look_ahead(self) -> None:
        if self._found is None or len(self._ahead) > _AHEAD // 2:
            return
        while len(self._ahead) < _AHEAD:
            self._run.check()
            file = next(self._found, None)
            if file is None:
                self._found = None
                self._progress.growing(False)
                break
            self._count += 1
            self._progress.expect(1, file.size)
            if not self._ledger.is_done(file, self._count):
                self._ahead.append(Numbered(self._count, file))
                self._bytes += file.size


def _pieces(file: LocalFile) -> Iterator[bytes]:
    """A file's bytes, given to their end only where they are still those that were found."""
    left = file.size
    try:
        with file.open() as stream:
            # A byte more than there should be, so that growth shows.
            while piece := stream.read(min(_PIECE, max(left, 0) + 1)):
                left -= len(piece)
                yield piece
    except InvalidFileError as error:
        raise PartError(str(error)) from error
    if not file.unchanged():
        raise PartError(CHANGED)


# -- the work of a thread --------------------------------------------------------------------------


class _Work:
    """What each of the threads does.

    Attributes:
        put_off: the files of instances that others are too.
    """

    def __init__(
        self, run: Run, plan: StorePlan, storer: Storer, files: _Files, ledger: Ledger
    ) -> None:
        self.put_off: deque[list[Repeated]] = deque()
        self._run = run
        self._plan = plan
        self._storer = storer
        self._files = files
        self._ledger = ledger

    def send(self, stop: threading.Event) -> None:
        """Send files, group by group, until there are none."""
        batch = self._plan.settings.batch
        while not stop.is_set():
            self._run.check()
            taken = self._files.take(min(batch, self._storer.limit or batch))
            if not taken:
                return
            self._send_group(self._readable(taken))

    def send_again(self, stop: threading.Event) -> None:
        """Send what was put off, the files of one instance after each other."""
        while self.put_off and not stop.is_set():
            try:
                group = self.put_off.popleft()
            except IndexError:
                return  # another thread was faster
            for one in group:
                self._run.check()
                for verdicts in self._again(one):
                    self._ledger.write((one.numbered, stored) for _, stored in verdicts)

    def _readable(self, taken: list[Numbered]) -> dict[str, tuple[Numbered, Part]]:
        """Of some files those that can be sent together, by their SOP Instance UIDs."""
        found: dict[str, tuple[Numbered, Part]] = {}
        failed: list[tuple[Numbered, Stored]] = []
        for numbered in taken:
            try:
                part = _part(numbered.file)
            except InvalidFileError as error:
                failed.append((numbered, _invalid(numbered.file, str(error))))
                continue
            if not self._ledger.claim(numbered, part):
                continue
            if part.instance in found:
                # An answer names instances by this UID alone.
                self._ledger.put_off(numbered, part)
                continue
            found[part.instance] = (numbered, part)
        if failed:
            self._ledger.write(failed)
        return found

    def _send_group(self, group: dict[str, tuple[Numbered, Part]]) -> None:
        for verdicts in self._storer.store_parts([part for _, part in group.values()]):
            self._ledger.write((group[part.instance][0], stored) for part, stored in verdicts)

    def _again(self, one: Repeated) -> Iterator[Verdicts]:
        """What becomes of a file whose instance an earlier one had too."""
        part, conflict = one.part, self._plan.conflict
        sent = self._ledger.sent(part)
        try:
            own = digest_of(part) if sent is not None else ""
        except PartFailedError as error:
            yield [(part, _result(part, Status.FAILED, error.reason))]
            return
        is_other = sent is not None and sent.digest != own
        is_later = sent is not None and sent.number > one.numbered.number
        if sent is not None and is_other and is_later and conflict is Conflict.REPLACE:
            yield [(part, _result(part, Status.SKIPPED, _LATER.format(sent.path), own))]
        elif sent is None or not sent.is_proven:
            # What an earlier run stored is no proof of what is there.
            for verdicts in self._storer.store_parts([part]):
                yield [(of, _beside(stored, sent if is_other else None)) for of, stored in verdicts]
        elif not is_other:
            yield [(part, _result(part, Status.PRESENT, "", own))]
        elif conflict is Conflict.REPLACE:
            yield from self._storer.replace(part)
        elif conflict is Conflict.SKIP:
            yield [(part, _result(part, Status.SKIPPED, _TWICE.format(sent.path), own))]
        else:
            yield [(part, _result(part, Status.FAILED, _TWICE.format(sent.path), own))]


def _part(file: LocalFile) -> Part:
    """A file as a part of a request.

    Raises:
        InvalidFileError: it cannot be read, or is no instance.
    """
    header = read_header(file)
    return Part(
        header.study,
        header.series,
        header.instance,
        open=lambda: _pieces(file),
        size=file.size,
        path=file.name,
    )


def _invalid(file: LocalFile, reason: str) -> Stored:
    return Stored(Outcome(Status.FAILED, file.name, reason=reason, size=file.size))


def _beside(stored: Stored, sent: Sent | None) -> Stored:
    """A conflict with what the store has, and the file that it was stored from, if one is known."""
    if sent is None or stored.outcome.reason != OTHER_BYTES:
        return stored
    reason = f"{OTHER_BYTES}; {sent.path} was stored as it"
    return replace(stored, outcome=replace(stored.outcome, reason=reason))


def _result(part: Part, status: Status, reason: str, digest: str = "") -> Stored:
    outcome = Outcome(status, part.path, part.study, part.series, part.instance, reason, part.size)
    return Stored(outcome, digest)
