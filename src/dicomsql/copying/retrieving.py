"""COPY (query) TO a folder: the instances that its rows name, each as a file.

What a study holds is listed first; what is in the folder already is not fetched. The rest comes as
the server's streams, each file beside its name until it is complete and known to be what was asked
for. `rendering` makes pictures instead.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from dicomsql.copying.arriving import Arrival
from dicomsql.copying.fetching import Fetcher, Refusals, Wanted
from dicomsql.copying.filing import Files, Target, Targets, columns_of
from dicomsql.copying.folder import BlockedError, Landing
from dicomsql.copying.selecting import select, units
from dicomsql.copying.settling import Settler
from dicomsql.copying.source import Source
from dicomsql.copying.wanted import groups
from dicomsql.copying.work import Work, run_threads

if TYPE_CHECKING:
    from dicomsql.copying.journal import Journal
    from dicomsql.copying.progress import Progress
    from dicomsql.copying.report import Report
    from dicomsql.copying.source import Instance
    from dicomsql.copying.wanted import Group
    from dicomsql.execution.run import Run
    from dicomsql.planning.plan import Named, RetrievePlan

__all__ = ["retrieve"]

_LAYOUT = "{StudyInstanceUID}/{SeriesInstanceUID}/{SOPInstanceUID}.dcm"


def retrieve(
    run: Run, plan: RetrievePlan, report: Report, journal: Journal | None, progress: Progress
) -> None:
    """Retrieve what the plan's query names; the report gets a row for each file.

    Raises:
        OperationalError: the folder or the journal cannot be written to (any more).
        ApiError, EndpointError, CredentialsError, BudgetError: the server is gone for good, or
            gives nothing more; what was done is in the report and the journal.
        NotSupportedError: the server has no method for it.
        CancelledError: the statement was cancelled.
    """
    if plan.format != "dicom":
        from dicomsql.copying.rendering import render

        render(run, plan, report, journal, progress)
        return
    template = plan.layout or _LAYOUT
    source = Source(run, plan.source, plan.transfer_syntax)
    with (
        closing(Settler(run, report, journal)) as settler,
        closing(groups(run, plan.query, plan.named, columns_of(template))) as studies,
        closing(Files(plan, template, settler, journal)) as files,
    ):
        work: Work[Targets] = Work(progress.through(studies))
        refusals = Refusals(source)

        def make() -> _Worker:
            taker = _Taker(plan.transfer_syntax, files, progress)
            fetcher = Fetcher(run, source, work, taker, refusals)
            return _Worker(source, plan.named, files, work, fetcher=fetcher, progress=progress)

        run_threads(run, run.limits.parallel, work, make)
    work.strays.tell(run)


class _Taker:
    """Writes what comes into files."""

    def __init__(self, transfer_syntax: str, files: Files, progress: Progress) -> None:
        self._syntax = transfer_syntax
        self._files = files
        self._progress = progress

    def take(self, wanted: Wanted[Targets], arrival: Arrival) -> None:
        """Write an instance; it stays beside its name until all of it has come."""
        at = wanted.instance
        if self._syntax not in {"*", arrival.transfer_syntax}:
            self.failed(
                wanted,
                f"the server gave it in the transfer syntax {arrival.transfer_syntax}, not in the "
                f"one that was asked for",
            )
            return
        landings: dict[Target, Landing] = {}
        try:
            for target in wanted.about:
                landing = self._files.begin(at, target)
                if landing is not None:
                    landings[target] = landing
            for piece in arrival.pieces:
                self._progress.moved(len(piece))
                for target, landing in list(landings.items()):
                    if not self._written(at, target, landing, piece):
                        del landings[target]
        except BaseException:
            for landing in landings.values():
                landing.drop()
            raise
        for target, landing in landings.items():
            self._files.finish(at, target, landing)

    def failed(self, wanted: Wanted[Targets], reason: str) -> None:
        """None of an instance's files can be had."""
        for target in wanted.about:
            self._files.failed(wanted.instance, target, reason)

    def pause(self) -> None:
        """Nothing is held back here."""

    def _written(self, at: Instance, target: Target, landing: Landing, piece: bytes) -> bool:
        try:
            landing.write(piece)
        except BlockedError as error:
            landing.drop()
            self._files.failed(at, target, str(error))
            return False
        return True


class _Worker:
    """What one thread does."""

    def __init__(
        self,
        source: Source,
        named: Named,
        files: Files,
        work: Work[Targets],
        *,
        fetcher: Fetcher[Targets],
        progress: Progress,
    ) -> None:
        self._source = source
        self._named = named
        self._files = files
        self._work = work
        self._progress = progress
        self.stream = fetcher.stream
        self.one = fetcher.one

    def begin(self, group: Group) -> None:
        """List what a study's rows mean, and put it in the work."""
        selection = select(self._source, self._named, group)
        self._progress.expect(selection.count)
        for row, reason in selection.failed:
            self._files.nothing(row, reason)
        for unit, whole in units(
            self._source.moves, group, selection, lambda one: self._files.targets(one) or None
        ):
            self._work.put(unit, whole=whole)

    def pause(self) -> None:
        """Nothing is held back here."""
