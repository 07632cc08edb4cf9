"""COPY (query) TO a folder (FORMAT png | jpeg): every frame as the server renders it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dicomsql.copying.fetching import Refusals, Unit, Wanted, fetch_one
from dicomsql.copying.filing import Files, Target, columns_of
from dicomsql.copying.folder import BlockedError
from dicomsql.copying.selecting import Selected, select, units
from dicomsql.copying.settling import Settler
from dicomsql.copying.source import Source
from dicomsql.copying.wanted import groups
from dicomsql.copying.work import Work, run_threads
from dicomsql.dicom.pictures import FORMS
from dicomsql.errors import ApiError, EndpointError

if TYPE_CHECKING:
    from dicomsql.copying.journal import Journal
    from dicomsql.copying.progress import Progress
    from dicomsql.copying.report import Report
    from dicomsql.copying.wanted import Group
    from dicomsql.dicom.pictures import Form
    from dicomsql.execution.run import Run
    from dicomsql.planning.plan import Named, RetrievePlan
    from dicomsql.transport.base import Request, Response

__all__ = ["render"]

_LAYOUT = "{StudyInstanceUID}/{SeriesInstanceUID}/{SOPInstanceUID}"


@dataclass(frozen=True, slots=True)
class _Picture:
    """A picture that is to be fetched.

    Attributes:
        frame: from 1; None for an instance whose frames have not been counted.
    """

    chosen: Selected
    frame: int | None = None


def render(
    run: Run, plan: RetrievePlan, report: Report, journal: Journal | None, progress: Progress
) -> None:
    """Retrieve every frame of what the plan's query names; the report gets a row for each.

    Raises: as `retrieving.retrieve`.
    """
    form = FORMS[plan.format]
    template = plan.layout or _LAYOUT + form.extension
    source = Source(run, plan.source)
    with (
        closing(Settler(run, report, journal)) as settler,
        closing(groups(run, plan.query, plan.named, columns_of(template))) as studies,
        closing(Files(plan, template, settler, journal)) as files,
    ):
        work: Work[_Picture] = Work(progress.through(studies))
        fetching = _Fetching(run, source, form, Refusals(source))

        def make() -> _Worker:
            return _Worker(fetching, plan.named, files, work, progress=progress)

        run_threads(run, run.limits.parallel, work, make)


@dataclass(frozen=True, slots=True)
class _Fetching:
    """What all threads share."""

    run: Run
    source: Source
    form: Form
    refusals: Refusals


class _Worker:
    """What one thread does."""

    def __init__(
        self,
        fetching: _Fetching,
        named: Named,
        files: Files,
        work: Work[_Picture],
        *,
        progress: Progress,
    ) -> None:
        self._run = fetching.run
        self._source = fetching.source
        self._form = fetching.form
        self._refusals = fetching.refusals
        self._named = named
        self._files = files
        self._work = work
        self._progress = progress

    def begin(self, group: Group) -> None:
        """List what a study's rows mean, and put it in the work."""
        selection = select(self._source, self._named, group)
        self._progress.expect(selection.count)
        for row, reason in selection.failed:
            self._files.nothing(row, reason)
        for unit, _ in units(self._source.moves, group, selection, _Picture):
            self._work.put(unit, whole=False)

    def stream(self, _unit: Unit[_Picture]) -> bool:
        """Pictures come one by one."""
        return False

    def one(self, wanted: Wanted[_Picture]) -> None:
        """Fetch a picture, or find out how many an instance has."""
        picture = wanted.about
        if picture.frame is not None:
            self._fetch(wanted, picture.frame)
            return
        frames, reason = picture.chosen.frames, "the server does not say how many frames it has"
        try:
            frames = frames or self._source.frames(wanted.instance)
        except (ApiError, EndpointError) as error:
            reason = self._refusals.reason(self._run, wanted.instance.place, error)
        if frames is None:
            for target in self._files.meant(picture.chosen):
                self._files.failed(wanted.instance, target, reason)
            return
        if frames == 1:
            self._fetch(wanted, None)
            return
        self._progress.expect(len(picture.chosen.values) * (frames - 1))
        at = wanted.instance
        free = {
            (at.series, f"{at.instance} {frame}"): Wanted(at, _Picture(picture.chosen, frame))
            for frame in range(1, frames + 1)
        }
        unit = Unit(at.place, at.study, at.series, free, frozenset())
        self._work.put(unit, whole=False)

    def pause(self) -> None:
        """Nothing is held back here."""

    def _fetch(self, wanted: Wanted[_Picture], frame: int | None) -> None:
        """Fetch the picture of a frame; None for the only one."""
        targets = self._files.targets(wanted.about.chosen, frame)
        if not targets:
            return
        request = self._request(wanted, frame)
        reason = "the server renders no single frames"
        if request is not None:
            reason = fetch_one(
                self._run,
                self._refusals,
                wanted.instance.place,
                request,
                lambda response: self._take(wanted, targets, response),
            )
        if reason:
            for target in targets:
                self._files.failed(wanted.instance, target, reason)

    def _request(self, wanted: Wanted[_Picture], frame: int | None) -> Request | None:
        moves, at = self._source.moves, wanted.instance
        uids = {"study": at.study, "series": at.series, "instance": at.instance}
        if frame is None and moves.rendered is not None:
            return self._source.request(moves.rendered, at.place, uids, accept=self._form.media)
        if moves.rendered_frame is None:
            return None
        return self._source.request(
            moves.rendered_frame, at.place, uids, frame=frame or 1, accept=self._form.media
        )

    def _take(
        self, wanted: Wanted[_Picture], targets: tuple[Target, ...], response: Response
    ) -> str:
        """Write a picture to its files; why that cannot be, empty where it was."""
        form = self._form
        media = response.header("content-type").partition(";")[0].strip().lower()
        # A picture is small enough to be held.
        content = response.read()
        self._progress.moved(len(content))
        if media != form.media:
            return f"the server answered with {media or 'no media type'} instead of {form.media}"
        if not form.is_whole(content):
            return f"what the server gave is no whole picture of the type {form.media}"
        for target in targets:
            landing = self._files.begin(wanted.instance, target)
            if landing is None:
                continue
            try:
                landing.write(content)
            except BlockedError as error:
                landing.drop()
                self._files.failed(wanted.instance, target, str(error))
                continue
            except BaseException:
                landing.drop()
                raise
            self._files.finish(wanted.instance, target, landing)
        return ""
