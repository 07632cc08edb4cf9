"""COPY instances FROM (query): from one server to another, through memory.

What comes is held until it is a batch, and stored; an instance that is larger goes on as it comes.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from dicomsql.copying.arriving import Arrival, UnreadableError, arrive, files_of
from dicomsql.copying.fetching import Fetcher, Refusals, Unit, Wanted
from dicomsql.copying.journal import SUPERSEDED, Entry
from dicomsql.copying.outcomes import Outcome, Status
from dicomsql.copying.selecting import Selected, select, units
from dicomsql.copying.source import Source
from dicomsql.copying.storer import Stored, Storer, Verdicts
from dicomsql.copying.storing import kept_folder
from dicomsql.copying.there import Target
from dicomsql.copying.upload import Part, PartError
from dicomsql.copying.wanted import groups
from dicomsql.copying.work import Work, run_threads
from dicomsql.errors import ApiError, EndpointError, Error, IncompleteError
from dicomsql.planning.moving import same_store
from dicomsql.planning.plan import Conflict

if TYPE_CHECKING:
    from pathlib import Path

    from dicomsql.copying.journal import Journal
    from dicomsql.copying.progress import Progress
    from dicomsql.copying.report import Report
    from dicomsql.copying.source import Instance, Place
    from dicomsql.copying.wanted import Group
    from dicomsql.execution.run import Run
    from dicomsql.planning.plan import TransferPlan

__all__ = ["transfer"]

# Bytes that all threads together hold at most, however large a batch may be.
_HELD = 96_000_000
# Instances of a request at most.
_MOST_PARTS = 200
# Statuses after which an instance is not sent again.
_IN_THE_STORE = frozenset({Status.STORED, Status.PRESENT, Status.REPLACED})

_THERE = "the store has an instance with these UIDs; its bytes were not compared"
_CHANGED = "the bytes that were sent are not those that came"


def transfer(
    run: Run, plan: TransferPlan, report: Report, journal: Journal | None, progress: Progress
) -> None:
    """Store what the plan's query names in its target; the report gets a row for each instance.

    Raises:
        InterfaceError: instances are to be replaced by deleting, and there is no journal.
        NotSupportedError: one of the servers has no method for it.
        ApiError, EndpointError, CredentialsError, BudgetError: one of them is gone for good; what
            was done is in the report and the journal.
        CancelledError: the statement was cancelled.
    """
    copy = _Copy(run, plan, _Ledger(report, journal), kept_folder(journal), progress)
    try:
        with closing(groups(run, plan.query, plan.named, ())) as studies:
            copy.run(Work(progress.through(studies)), run.limits.parallel)
        # Several stores have these: what becomes of them is not left to chance.
        again: Work[Selected] = Work(iter(()))
        for unit in copy.later:
            again.put(unit, whole=False)
        copy.run(again, 1)
    except _TargetError as error:
        raise error.error from error.error.__cause__


class _TargetError(Exception):
    """The target failed; it is not mistaken for the source."""

    def __init__(self, error: Error) -> None:
        super().__init__(str(error))
        self.error = error


class _Ledger:
    """Writes down what became of each instance, in the journal first."""

    def __init__(self, report: Report, journal: Journal | None) -> None:
        self._report = report
        self._journal = journal

    def done(self, instance: Instance) -> Entry | None:
        """What a run before this one has made of it, if that needs nothing more.

        An instance in whose place another store's was put is left at that, or each run would put
        one in the place of the other.
        """
        known = self._journal
        entry = known.find(_key(instance)) if known is not None and not known.is_new else None
        if entry is None:
            return None
        return entry if entry.status in _IN_THE_STORE or entry.reason == SUPERSEDED else None

    def report(self, outcome: Outcome, *, known: bool = False) -> None:
        """What became of an instance is nothing for the journal, or `known` from it."""
        self._report.add(outcome, known=known)

    def write(self, results: list[tuple[Instance, Stored]]) -> None:
        """Take down results, in the journal first, but its failure hides nothing."""
        try:
            if self._journal is not None:
                self._journal.write(_entry(instance, stored) for instance, stored in results)
        finally:
            for _, stored in results:
                self._report.add(stored.outcome)

    def superseding(self, part: Part) -> None:
        """What the target has of an instance is about to be replaced."""
        if self._journal is not None:
            self._journal.supersede(part.study, part.series, part.instance)


class _Copy:
    """What all threads share.

    Attributes:
        later: instances that another store has as well.
    """

    def __init__(
        self, run: Run, plan: TransferPlan, ledger: _Ledger, kept: Path | None, progress: Progress
    ) -> None:
        self.later: list[Unit[Selected]] = []
        self.ledger = ledger
        self.progress = progress
        self.storer = Storer(
            run, plan.target, plan.conflict, kept=kept, superseding=ledger.superseding
        )
        self.source = Source(run, plan.source)
        self.batch = max(1, min(plan.settings.batch, _HELD // run.limits.parallel))
        self._run = run
        self._plan = plan
        self._target = Target(run, plan.target)
        self._refusals = Refusals(self.source)
        self._lock = threading.Lock()
        self._seen: set[bytes] = set()

    def run(self, work: Work[Selected], width: int) -> None:
        """Do the work in so many threads."""

        def make() -> _Worker:
            taker = _Taker(self._run, self)
            fetcher = Fetcher(self._run, self.source, work, taker, self._refusals)
            return _Worker(self, work, fetcher, taker)

        run_threads(self._run, width, work, make)
        work.strays.tell(self._run)

    def begin(self, group: Group, work: Work[Selected]) -> None:
        """List what a study's rows mean, and put what has to be copied in the work."""
        selection = select(self.source, self._plan.named, group)
        self.progress.expect(selection.count)
        for row, reason in selection.failed:
            outcome = Outcome(Status.FAILED, None, row.study, row.series, row.instance, reason)
            self.ledger.report(outcome)
        itself = self._is_target(group.place)
        prepared = units(
            self.source.moves,
            group,
            selection,
            lambda one: None if itself else self._prepared(one),
        )
        if itself:
            for chosen in selection.series.values():
                for one in chosen:
                    self.ledger.report(_outcome(one.instance, Status.PRESENT))
        for unit, whole in prepared:
            work.put(unit, whole=whole)

    def _prepared(self, chosen: Selected) -> Selected | None:
        """The instance, where it has to be copied."""
        at = chosen.instance
        is_first = not at.place or self._is_first(at)
        entry = self.ledger.done(at)
        if entry is not None:
            is_there = entry.status in _IN_THE_STORE
            outcome = _outcome(at, Status.PRESENT if is_there else entry.status, entry.reason)
            self.ledger.report(replace(outcome, size=entry.size), known=True)
            return None
        if not is_first:
            free = {(at.series, at.instance): Wanted(at, chosen)}
            with self._lock:
                self.later.append(Unit(at.place, at.study, at.series, free, frozenset(free)))
            return None
        if self._plan.conflict is Conflict.SKIP and self._target.listed(_part(at, ())):
            self.ledger.write([(at, Stored(_outcome(at, Status.SKIPPED, _THERE)))])
            return None
        return chosen

    def _is_first(self, at: Instance) -> bool:
        """Whether no other store had the instance before."""
        uids = f"{at.study} {at.series} {at.instance}"
        digest = hashlib.blake2b(uids.encode(), digest_size=16).digest()
        with self._lock:
            is_new = digest not in self._seen
            self._seen.add(digest)
        return is_new

    def _is_target(self, place: Place) -> bool:
        store = self._plan.source
        values = dict(store.values) | dict(place)
        return same_store(replace(store, values=tuple(values.items())), self._plan.target)


class _Taker:
    """Holds what comes to one thread until it is a batch, and stores it."""

    def __init__(self, run: Run, copy: _Copy) -> None:
        self._run = run
        self._copy = copy
        self._held: dict[str, tuple[Instance, Part, str]] = {}
        self._size = 0

    def take(self, wanted: Wanted[Selected], arrival: Arrival) -> None:
        """Take an instance; it is stored by the next `pause` at the latest."""
        at = wanted.instance
        limit = min(self._copy.batch, self._copy.storer.limit or self._copy.batch)
        if at.instance in self._held:
            # An answer names instances by this UID alone.
            self.pause()
        begin: list[bytes] = []
        size = 0
        digest = hashlib.sha256()
        for piece in arrival.pieces:
            self._copy.progress.moved(len(piece))
            begin.append(piece)
            size += len(piece)
            if self._size + size > limit:
                # What is held and what comes are never more than a batch together.
                self.pause()
            if size > limit:
                self._stream(at, _Streamed(self._run, self._copy, at, begin, arrival.pieces))
                return
            digest.update(piece)
        if len(self._held) >= _MOST_PARTS:
            self.pause()
        self._held[at.instance] = (at, _part(at, tuple(begin), size), digest.hexdigest())
        self._size += size

    def failed(self, wanted: Wanted[Selected], reason: str) -> None:
        """An instance cannot be had from the source."""
        outcome = _outcome(wanted.instance, Status.FAILED, reason)
        self._copy.ledger.write([(wanted.instance, Stored(outcome))])

    def pause(self) -> None:
        """Store what is held."""
        held, self._held, self._size = list(self._held.values()), {}, 0
        if not held:
            return
        came = {part.instance: (at, digest) for at, part, digest in held}
        for verdicts in self._stored([part for _, part, _ in held]):
            results: list[tuple[Instance, Stored]] = []
            for part, stored in verdicts:
                at, digest = came[part.instance]
                results.append((at, _compared(stored, digest)))
            self._copy.ledger.write(results)

    def _stream(self, at: Instance, streamed: _Streamed) -> None:
        """Store one instance as it comes."""
        for verdicts in self._stored([replace(_part(at, ()), open=streamed.open)]):
            for _, stored in verdicts:
                if streamed.broken:
                    raise IncompleteError(streamed.broken)
                self._copy.ledger.write([(at, _compared(stored, streamed.digest))])

    def _stored(self, parts: list[Part]) -> Iterator[Verdicts]:
        try:
            yield from self._copy.storer.store_parts(parts)
        except (ApiError, EndpointError, IncompleteError) as error:
            raise _TargetError(error) from error


class _Streamed:
    """The bytes of an instance that is too large to be held, on their way through.

    Attributes:
        digest: SHA-256 of what came from the source, hex, once all has come.
        broken: why it did not come to its end; empty where it did.
    """

    def __init__(
        self, run: Run, copy: _Copy, at: Instance, begin: list[bytes], rest: Iterator[bytes]
    ) -> None:
        self._run = run
        self._copy = copy
        self._at = at
        self._first: tuple[list[bytes], Iterator[bytes]] | None = (begin, rest)
        self.digest = ""
        self.broken = ""

    def open(self) -> Iterator[bytes]:
        """The bytes: those that are coming already, and for another attempt from the source anew.

        Raises:
            PartError: they do not come to their end.
        """
        self.broken = ""
        digest = hashlib.sha256()
        try:
            for piece in self._pieces():
                digest.update(piece)
                yield piece
        except (IncompleteError, EndpointError, ApiError, UnreadableError) as error:
            self._run.check()
            self.broken = f"the source's answer was cut off: {error}"
            raise PartError(self.broken) from error
        self.digest = digest.hexdigest()

    def _pieces(self) -> Iterator[bytes]:
        if self._first is not None:
            (begin, rest), self._first = self._first, None
            while begin:
                yield begin.pop(0)
            for piece in rest:
                self._copy.progress.moved(len(piece))
                yield piece
            return
        at = self._at
        request = self._copy.source.files(at.place, at.study, at.series, at.instance)
        with self._run.send(request, stream=True) as response:
            for file in files_of(response):
                arrival = arrive(file)
                if (arrival.study, arrival.series, arrival.instance) != _uids(at):
                    raise IncompleteError("The server gave another instance.")
                yield from arrival.pieces
                return
        raise IncompleteError("The server's answer holds no instance.")


class _Worker:
    """What one thread does."""

    def __init__(
        self, copy: _Copy, work: Work[Selected], fetcher: Fetcher[Selected], taker: _Taker
    ) -> None:
        self._copy = copy
        self._work = work
        self.stream = fetcher.stream
        self.one = fetcher.one
        self.pause = taker.pause

    def begin(self, group: Group) -> None:
        """List what a study's rows mean, and put it in the work."""
        self._copy.begin(group, self._work)


def _uids(at: Instance) -> tuple[str, str, str]:
    return at.study, at.series, at.instance


def _part(at: Instance, pieces: tuple[bytes, ...], size: int | None = None) -> Part:
    return Part(*_uids(at), open=lambda: pieces, size=size)


def _compared(stored: Stored, digest: str) -> Stored:
    """The result, unless other bytes were sent than came."""
    if stored.digest in {"", digest}:
        return stored
    return replace(stored, outcome=replace(stored.outcome, status=Status.FAILED, reason=_CHANGED))


def _outcome(at: Instance, status: Status, reason: str = "") -> Outcome:
    return Outcome(status, None, *_uids(at), reason)


def _key(at: Instance) -> str:
    return " ".join([*(value for _, value in at.place), *_uids(at)])


def _entry(at: Instance, stored: Stored) -> Entry:
    outcome = stored.outcome
    return Entry(
        _key(at),
        outcome.status,
        None,
        outcome.size,
        None,
        stored.digest,
        *_uids(at),
        outcome.reason,
    )
