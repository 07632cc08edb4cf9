"""Paths as people write them to files: files, folders, globs, zip archives, DICOMDIRs.

What a wildcard matches is taken as if it had been named: of a folder all files below it, of an
archive all in it. Only names that systems hide, and those of their own files (`names`), are passed
over by wildcards and in folders. Links are followed; a folder that is reached twice is read once.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

from dicomsql.errors import InterfaceError
from dicomsql.files.local import InvalidFileError, LocalFile, Packed, opened, reason_of, shown
from dicomsql.files.names import has_wildcards, is_passed_over, matcher, steps_of

__all__ = ["InvalidFileError", "LocalFile", "find"]


def find(paths: Iterable[str]) -> Iterator[LocalFile]:
    """The files that paths name, those of each path sorted, each file once.

    What cannot be read is given too, and its `problem` says why. Folders are read as the files are
    taken.

    Args:
        paths: relative to the current folder, or absolute; `~/` is the user's own folder. Of an
            archive, `x.zip!/a` is the file `a` in it, or all in the folder `a`.

    Raises:
        InterfaceError: one of the paths matches nothing; before the first file is given.
    """
    found = [_begun(path, number) for number, path in enumerate(paths, start=1)]
    if not found:
        raise InterfaceError("There is no path to take files from. Name a file, folder or glob.")
    return found[0] if len(found) == 1 else _once(chain.from_iterable(found))


def _begun(path: str, number: int) -> Iterator[LocalFile]:
    """The files of a path, of which there is one."""
    files = _files(path)
    first = next(files, None)
    if first is None:
        raise InterfaceError(
            f"No file matches path {number:,} of the statement. Check its spelling, and the folder"
            " that it is relative to (the one where the program runs). Files that systems hide"
            " are passed over unless they are named."
        )
    return chain((first,), files)


def _once(files: Iterable[LocalFile]) -> Iterator[LocalFile]:
    seen: set[tuple[str, Packed | None, str]] = set()
    for file in files:
        # What was refused may have no place of its own.
        key = (file.path, file.packed, file.name if file.problem else "")
        if key not in seen:
            seen.add(key)
            yield file


_NOT_REGULAR = "it is no regular file"
_DANGLING = "it is a link to something that is not there"


class _Place(NamedTuple):
    """A file or folder.

    Attributes:
        path: as the system has it; absolute.
        name: as people wrote it.
    """

    path: str
    name: str

    def below(self, entry: str) -> _Place:
        """A file or folder in this folder."""
        separator = "" if self.name.endswith(("/", os.sep)) or not self.name else "/"
        return _Place(os.path.join(self.path, entry), f"{self.name}{separator}{entry}")  # noqa: PTH118

    def refused(self, problem: str) -> LocalFile:
        """A file that cannot be had."""
        return LocalFile(shown(self.name), self.path, problem=problem)


def _place(written: str) -> _Place:
    given = os.path.expanduser(written) if written.startswith("~/") else written  # noqa: PTH111
    if ".." in given.replace(os.sep, "/").split("/"):
        # What is above a link is above what it leads to.
        folder, name = os.path.split(given.rstrip("/"))
        if name == "..":
            folder, name = given, ""
        whole = os.path.join(os.path.realpath(folder), name)  # noqa: PTH118
        return _Place(whole.rstrip(os.sep) or os.sep, written)
    return _Place(os.path.abspath(given), written)  # noqa: PTH100 - other links stay as they are


def _files(path: str) -> Iterator[LocalFile]:
    place = _place(path)
    if not path:
        return
    if os.path.lexists(place.path):
        yield from _named(place)
    elif "!/" in path:
        archive, _, member = path.partition("!/")
        yield from _packed(_place(archive), member)
    elif has_wildcards(path):
        folder, steps = steps_of(path)
        start = _place(folder or ".")._replace(name=folder)
        if os.path.isdir(start.path):  # noqa: PTH112
            yield from _Glob(steps).files(start)


def _named(place: _Place) -> Iterator[LocalFile]:
    """What a path means that is there."""
    try:
        found = os.stat(place.path)  # noqa: PTH116 - names that are no UTF-8 stay what they are
    except FileNotFoundError:
        yield place.refused(_DANGLING)
        return
    except OSError as error:
        yield place.refused(reason_of(error))
        return
    if stat.S_ISDIR(found.st_mode):
        yield from _Glob([]).files(place)
    elif not stat.S_ISREG(found.st_mode):
        yield place.refused(_NOT_REGULAR)
    elif os.path.basename(place.path).lower() == "dicomdir":  # noqa: PTH119
        from dicomsql.files.dicomdir import listed

        yield from listed(place.path, place.name, found.st_size)
    else:
        yield from _content(place, found, is_archive=_is_zip(place))


def _content(place: _Place, found: os.stat_result, *, is_archive: bool) -> Iterator[LocalFile]:
    """A regular file, or the files in it where it is an archive."""
    name = shown(place.name)
    if not is_archive:
        yield LocalFile(name, place.path, found.st_size, found.st_mtime_ns)
        return
    from dicomsql.files.archives import members

    yield from members(place.path, name, found.st_size, found.st_mtime_ns)


def _is_zip(place: _Place) -> bool:
    if place.path.lower().endswith(".zip"):
        return True
    try:
        with opened(place.path) as stream:
            return stream.read(4) == b"PK\x03\x04"
    except (InvalidFileError, OSError):
        return False


def _packed(archive: _Place, member: str) -> Iterator[LocalFile]:
    """The files of that name, or below that folder, in an archive."""
    if not os.path.isfile(archive.path):  # noqa: PTH113
        return
    whole = f"{shown(archive.name)}!/{member}"
    below = whole if whole.endswith("/") else f"{whole}/"
    for file in _named(archive):
        if file.packed is None or file.name == whole or file.name.startswith(below):
            yield file


class _Entry(NamedTuple):
    """An entry of a folder, or what came of asking for it.

    Attributes:
        found: what its link leads to, if it is one; None where that is not there.
        problem: why that is.
    """

    name: str
    found: os.stat_result | None
    problem: str = ""

    @property
    def is_folder(self) -> bool:
        return self.found is not None and stat.S_ISDIR(self.found.st_mode)

    @property
    def is_file(self) -> bool:
        return self.found is not None and stat.S_ISREG(self.found.st_mode)


def _entries(folder: str) -> list[_Entry]:
    """What is in a folder, sorted; raises OSError."""
    with os.scandir(folder) as listing:
        return sorted(map(_entry, listing))


def _entry(entry: os.DirEntry[str]) -> _Entry:
    try:
        return _Entry(entry.name, entry.stat())
    except FileNotFoundError as error:
        problem = _DANGLING if entry.is_symlink() else reason_of(error)
        return _Entry(entry.name, None, problem)
    except OSError as error:
        return _Entry(entry.name, None, reason_of(error))


class _Glob:
    """A walk that follows the steps of a pattern below a folder; without steps, to every file.

    A state is a step that the entries of a folder may match. The one behind the last step is that
    of a folder which matched as a whole: all below it belongs to it.
    """

    def __init__(self, steps: list[str]) -> None:
        self._steps = [_Step(step) for step in steps]
        self._all = len(steps)
        self._met: set[tuple[int, int, frozenset[int]]] = set()

    def files(self, top: _Place) -> Iterator[LocalFile]:
        """The files that match, folder by folder, in the order of their names."""
        stack = [self._folder(top, self._closed({0}))]
        while stack:
            for found in stack[-1]:
                if isinstance(found, LocalFile):
                    yield found
                else:
                    stack.append(self._folder(*found))
                    break
            else:
                stack.pop()

    def _closed(self, states: set[int]) -> frozenset[int]:
        """These states, and those behind a `**`, which may be no folder at all."""
        found = set(states)
        for number, step in enumerate(self._steps):
            if number in found and step.is_deep:
                found.add(number + 1)
        return frozenset({self._all} if self._all in found else found)

    def _folder(
        self, place: _Place, states: frozenset[int]
    ) -> Iterator[LocalFile | tuple[_Place, frozenset[int]]]:
        """The files of a folder that match, and the folders in it in which more may."""
        try:
            itself = os.stat(place.path)  # noqa: PTH116 - names that are no UTF-8 stay what they are
            met = (itself.st_dev, itself.st_ino, states)
            entries = [] if met in self._met else _entries(place.path)
        except OSError as error:
            yield place.refused(f"the folder cannot be read: {reason_of(error)}")
            return
        self._met.add(met)
        for entry in entries:
            below = place.below(entry.name)
            following = self._following(states, entry.name)
            if entry.is_folder:
                if following:
                    yield below, self._closed(following)
            elif self._all in following:
                yield from self._entry(below, entry, states)

    def _following(self, states: frozenset[int], name: str) -> set[int]:
        """The states of what is in an entry of that name."""
        visible = not is_passed_over(name)
        found = set()
        for state in states:
            if state == self._all or self._steps[state].is_deep:
                if visible:
                    found.add(state)
            elif self._steps[state].matches(name):
                found.add(state + 1)
        return found

    def _entry(self, place: _Place, entry: _Entry, states: frozenset[int]) -> Iterator[LocalFile]:
        """What matches and is no folder."""
        if any(s < self._all and self._steps[s].names(entry.name) for s in states):
            yield from _named(place)
        elif entry.is_file and entry.found is not None:
            is_archive = entry.name.lower().endswith(".zip")
            yield from _content(place, entry.found, is_archive=is_archive)
        elif entry.found is None:
            yield place.refused(entry.problem)
        elif self._all not in states:
            yield place.refused(_NOT_REGULAR)


class _Step:
    """One step of a pattern."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._pattern = matcher(text) if has_wildcards(text) else None
        self.is_deep = text == "**"

    def names(self, name: str) -> bool:
        """Whether the step is that name, without any wildcard."""
        return self._pattern is None and name == self._text

    def matches(self, name: str) -> bool:
        """Whether a file or folder of that name is meant."""
        if self._pattern is None:
            return name == self._text
        if is_passed_over(name) and not (name.startswith(".") and self._text.startswith(".")):
            return False
        return self._pattern.fullmatch(name) is not None
