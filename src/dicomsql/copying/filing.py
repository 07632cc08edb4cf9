"""The files that a COPY makes of instances: where each belongs, what is there, how it ends."""

from __future__ import annotations

import hashlib
import re
import threading
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from dicomsql.copying.folder import BlockedError, Folder, Found, Landing
from dicomsql.copying.journal import Entry, files_of
from dicomsql.copying.layout import Layout, folded
from dicomsql.copying.outcomes import OTHER_FILE, Outcome, Status
from dicomsql.copying.settling import Settled, Settler

if TYPE_CHECKING:
    from dicomsql.copying.journal import Journal
    from dicomsql.copying.selecting import Selected
    from dicomsql.copying.source import Instance
    from dicomsql.copying.wanted import Row
    from dicomsql.planning.plan import RetrievePlan

__all__ = ["Files", "Target", "Targets"]

# The names that every instance fills by itself.
_OF_INSTANCES = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
_FRAME = "frame"
# The end of a template, without dots that belong to folders or values.
_EXTENSION = re.compile(r"(?:\.[^./{}]*)?\Z")

_JOURNAL = "the journal of this COPY has the same path by the layout"
_TWICE = "another instance has the same path by the layout"


@dataclass(frozen=True, slots=True)
class Target:
    """A file that is to be.

    Attributes:
        name: its path below the folder, as text: there are many of these at a time.
    """

    name: str

    @property
    def path(self) -> PurePosixPath:
        return PurePosixPath(self.name)


Targets = tuple[Target, ...]


class Files:
    """The files of a COPY; safe for many threads.

    Parameters:
        template: of their paths.

    Attributes:
        columns: of the query, whose values the layout needs.

    Raises:
        OperationalError: the folder cannot be made or written to.
    """

    def __init__(
        self, plan: RetrievePlan, template: str, settler: Settler, journal: Journal | None
    ) -> None:
        self._plan = plan
        self._layout = Layout(template)
        self._framed = Layout(framed(template))
        self.columns = columns_of(template)
        self._folder = Folder(Path(plan.folder).expanduser())
        # What comes before a file's name for people.
        self._shown = f"{Path(plan.folder, '_')}"[:-1]
        self._settler = settler
        self._journal = journal
        self._lock = threading.Lock()
        # Digests of the paths that are given away.
        self._paths: set[bytes] = set()
        self._own = _below(self._folder.path.resolve(), journal) if journal is not None else ()

    def close(self) -> None:
        """Let go of the folder; files that are settled after this still get their names."""
        self._folder.close()

    def targets(self, chosen: Selected, frame: int | None = None) -> Targets:
        """The files that an instance is to become and is not yet.

        What is there by the journal, and what cannot be, is settled at once.

        Args:
            frame: where each frame is a file, and there are several.
        """
        found: list[Target] = []
        for target in self.meant(chosen, frame):
            if self._own and folded(target.path) in self._own:
                self.failed(chosen.instance, target, _JOURNAL)
            elif not self._claim(target.path):
                self.failed(chosen.instance, target, _TWICE)
            elif not self._is_done(chosen.instance, target):
                found.append(target)
        return tuple(found)

    def meant(self, chosen: Selected, frame: int | None = None) -> Targets:
        """The files that an instance is to become, each once."""
        at = chosen.instance
        uids = (at.study, at.series, at.instance)
        own = dict(zip(_OF_INSTANCES, uids, strict=True)) | {_FRAME: str(frame or 1)}
        layout = self._layout if frame is None else self._framed
        # Of paths that some systems take for the same, one is enough: they are one instance.
        paths: dict[str, PurePosixPath] = {}
        for values in chosen.values:
            path = layout.path({**dict(zip(self.columns, values, strict=True)), **own})
            paths.setdefault(folded(path), path)
        return tuple(Target(str(path)) for path in paths.values())

    def begin(self, instance: Instance, target: Target) -> Landing | None:
        """Begin a file; None where it cannot be, which is settled."""
        try:
            return self._folder.begin(target.path)
        except BlockedError as error:
            self.failed(instance, target, str(error))
            return None

    def finish(self, instance: Instance, target: Target, landing: Landing) -> None:
        """A file is complete: it is compared with what is there, and settled."""
        changed, path = None, landing.path
        try:
            there = self._folder.found(path)
            status, reason = self._verdict(path, landing, there)
            changed = there.changed if there is not None else None
        except BlockedError as error:
            status, reason = Status.FAILED, str(error)
        outcome = self._outcome(status, instance, target, reason, landing.size)
        entry = _entry(instance, target, outcome, landing.digest, changed)
        if status in {Status.PRESENT, Status.FAILED}:
            landing.drop()
            self._settler.add(Settled(outcome, entry))
        else:
            landing.replaces = status is Status.REPLACED
            self._settler.add(Settled(outcome, entry, landing))

    def failed(self, instance: Instance, target: Target, reason: str) -> None:
        """A file cannot be had."""
        outcome = self._outcome(Status.FAILED, instance, target, reason, None)
        self._settler.add(Settled(outcome, _entry(instance, target, outcome)))

    def nothing(self, row: Row, reason: str) -> None:
        """A row means no instance."""
        outcome = Outcome(Status.FAILED, None, row.study, row.series, row.instance, reason)
        self._settler.add(Settled(outcome))

    def _claim(self, path: PurePosixPath) -> bool:
        """Whether no other file has the path, nor one that some systems take for the same."""
        digest = hashlib.blake2b(folded(path).encode(), digest_size=16).digest()
        with self._lock:
            is_new = digest not in self._paths
            self._paths.add(digest)
        return is_new

    def _is_done(self, instance: Instance, target: Target) -> bool:
        """Whether a run before this one has written the file, and it is there as it was."""
        known = self._journal
        if known is None or known.is_new:
            return False
        entry = known.find(_key(instance, target))
        if entry is None or entry.status is Status.FAILED:
            return False
        try:
            there = self._folder.found(target.path)
            if there is None or there.size != entry.size:
                return False
            if there.changed != entry.changed and self._folder.digest(target.path) != entry.digest:
                return False
        except BlockedError:
            return False
        self._settler.add(Settled(self._outcome(Status.PRESENT, instance, target, "", there.size)))
        return True

    def _verdict(
        self, path: PurePosixPath, landing: Landing, there: Found | None
    ) -> tuple[Status, str]:
        """What becomes of a complete file, by what is in its place."""
        if there is None:
            return Status.RETRIEVED, ""
        if there.size == landing.size and self._folder.digest(path) == landing.digest:
            return Status.PRESENT, ""
        return (Status.REPLACED, "") if self._plan.overwrite else (Status.FAILED, OTHER_FILE)

    def _outcome(
        self, status: Status, instance: Instance, target: Target, reason: str, size: int | None
    ) -> Outcome:
        return Outcome(
            status,
            f"{self._shown}{target.name}",
            instance.study,
            instance.series,
            instance.instance,
            reason,
            size,
        )


def _below(folder: Path, journal: Journal) -> tuple[str, ...]:
    """The paths below a folder that a journal's files have, folded."""
    return tuple(
        folded(PurePosixPath(path.relative_to(folder).as_posix()))
        for path in files_of(journal.path.resolve())
        if path.is_relative_to(folder)
    )


def _key(instance: Instance, target: Target) -> str:
    """The journal's key of a file."""
    places = (value for _, value in instance.place)
    uids = (instance.study, instance.series, instance.instance)
    return " ".join([*places, *uids, target.name])


def _entry(
    instance: Instance,
    target: Target,
    outcome: Outcome,
    digest: str = "",
    changed: int | None = None,
) -> Entry:
    return Entry(
        _key(instance, target),
        outcome.status,
        outcome.path,
        outcome.size,
        changed,
        digest,
        outcome.study,
        outcome.series,
        outcome.instance,
        outcome.reason,
    )


def columns_of(template: str) -> tuple[str, ...]:
    """The columns of the query that a layout names."""
    own = {*_OF_INSTANCES, _FRAME}
    return tuple(name for name in Layout(template).names if name not in own)


def framed(template: str) -> str:
    """The layout of an instance of several frames: with the frame before the extension."""
    if f"{{{_FRAME}}}" in template:
        return template
    return _EXTENSION.sub(lambda m: f"_{{{_FRAME}}}{m[0]}", template, count=1)
