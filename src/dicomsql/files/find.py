"""Paths as people write them to files: files, folders, globs, zip archives, DICOMDIRs.

What a wildcard matches is taken as if it had been named: of a folder all files below it, of an
archive all in it. Only names that systems hide, and those of their own files (`names`), are passed
over by wildcards and in folders. Links are followed; a folder that is reached twice is read once.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

from dicomsql.errors import InterfaceError
from dicomsql.files.local import InvalidFileError, LocalFile, addressed, opened, reason_of, shown
from dicomsql.files.names import has_wildcards, is_passed_over, matcher, steps_of

__all__ = ["InvalidFileError", "LocalFile", "find"]


def find(paths: Iterable[str], *, exact: bool = False) -> Iterator[LocalFile]:
    """The files that paths name, those of each path sorted, each file once.

    What cannot be read is given too, and its `problem` says why. Folders and archives are read as
    the files are taken.

    Args:
        paths: relative to the current folder, or absolute; `~/` is the user's own folder. Of an
            archive, `x.zip!/a` is the file `a` in it, or all in the folder `a`. An address that
            `LocalFile` gives is one too.
        exact: none of them is a pattern, whatever it holds: a query gives them.

    Raises:
        InterfaceError: one of the paths matches nothing; before the first file is given.
    """
    paths = tuple(paths)
    if not paths:
        raise InterfaceError("There is no path to take files from. Name a file, folder or glob.")
    finder = _Finder(exact)
    if len(paths) == 1:
        return _begun(finder, paths[0], 1)
    # Of many single files none is kept; folders and patterns are few, and have begun.
    begun = {
        number: _begun(finder, path, number)
        for number, path in enumerate(paths, start=1)
        if not finder.is_there(path)
    }
    return _once(
        file
        for number, path in enumerate(paths, start=1)
        for file in begun.pop(number, None) or finder.files(path)
    )


def _begun(finder: _Finder, path: str, number: int) -> Iterator[LocalFile]:
    """The files of a path, of which there is one."""
    files = finder.files(path)
    first = next(files, None)
    if first is None:
        # What a query gives is data, and not what somebody wrote.
        named = f"path {number:,} of the query" if finder.exact else f"'{shown(path)}'"
        raise InterfaceError(
            f"No file matches {named}. Check its spelling, and the folder that it is relative to"
            " (the one where the program runs). Files that systems hide are passed over unless"
            " they are named."
        )
    return chain((first,), files)


def _once(files: Iterable[LocalFile]) -> Iterator[LocalFile]:
    seen: set[bytes] = set()
    for file in files:
        # What was refused may have no place of its own.
        key = repr((file.path, file.packed, file.written if file.problem else ""))
        # Of many files a digest takes less than the name.
        digest = hashlib.blake2b(key.encode(), digest_size=16).digest()
        if digest not in seen:
            seen.add(digest)
            yield file


# Archives whose listings are kept while files in them are named one by one.
_ARCHIVES = 8

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
        if not self.name and (entry == "~" or entry.startswith("file:")):
            # At the beginning of a path these mean something else.
            return _Place(os.path.join(self.path, entry), f"./{entry}")  # noqa: PTH118
        separator = "" if self.name.endswith(("/", os.sep)) or not self.name else "/"
        return _Place(os.path.join(self.path, entry), f"{self.name}{separator}{entry}")  # noqa: PTH118

    def refused(self, problem: str) -> LocalFile:
        """A file that cannot be had."""
        return LocalFile(self.name, self.path, problem=problem)


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


class _Finder:
    """What paths mean; archives of which single files are named are listed once.

    Attributes:
        exact: none of the paths is a pattern.
    """

    def __init__(self, exact: bool) -> None:
        self.exact = exact
        self._archives: dict[str, _Listing] = {}

    def files(self, path: str) -> Iterator[LocalFile]:
        """The files that a path names; none where it matches nothing."""
        if not path:
            return
        address = addressed(path)
        if address is not None:
            place, member = address
            if member:
                yield from self._packed(_Place(place, place), member)
            elif os.path.lexists(place):
                yield from _named(_Place(place, place))
            return
        here = _place(path)
        if os.path.lexists(here.path):
            yield from _named(here)
        elif "!/" in path:
            archive, _, member = path.partition("!/")
            yield from self._packed(_place(archive), member)
        elif has_wildcards(path) and not self.exact:
            folder, steps = steps_of(path)
            start = _place(folder or ".")._replace(name=folder)
            if os.path.isdir(start.path):  # noqa: PTH112
                yield from _Glob(steps).files(start)

    def is_there(self, path: str) -> bool:
        """Whether a path is known to name a single file; quick, and nothing stays open."""
        here = _place(path)
        address = addressed(path)
        if address is not None:
            here = _Place(address[0], address[0])
        try:
            found = os.stat(here.path)  # noqa: PTH116 - names that are no UTF-8 stay what they are
        except (OSError, ValueError):
            return "!/" in path and next(self.files(path), None) is not None
        if address is not None and address[1]:
            return next(self.files(path), None) is not None
        is_plain = stat.S_ISREG(found.st_mode) and os.path.basename(here.path).lower() != "dicomdir"  # noqa: PTH119
        return is_plain and not _is_zip(here)

    def _packed(self, archive: _Place, member: str) -> Iterator[LocalFile]:
        """The files of that name, or below that folder, in an archive."""
        listing = self._archives.get(archive.name)
        if listing is None:
            if not os.path.isfile(archive.path):  # noqa: PTH113
                return
            listing = _Listing(archive)
            if len(self._archives) >= _ARCHIVES:
                del self._archives[next(iter(self._archives))]
            self._archives[archive.name] = listing
        yield from listing.named(member)


class _Listing:
    """The files in an archive by their names in it."""

    def __init__(self, archive: _Place) -> None:
        self._files: dict[str, list[LocalFile]] = {}
        self._refused: list[LocalFile] = []
        for file in _named(archive):
            if file.packed is None:
                self._refused.append(file)
            else:
                self._files.setdefault(file.packed.member, []).append(file)

    def named(self, member: str) -> list[LocalFile]:
        """Those of that name, or below that folder; the archive itself where it is refused."""
        found = self._files.get(member)
        if found is None:
            below = member if member.endswith("/") else f"{member}/"
            found = [f for n, files in self._files.items() if n.startswith(below) for f in files]
        return self._refused + found


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
    if not is_archive:
        yield LocalFile(place.name, place.path, found.st_size, found.st_mtime_ns)
        return
    from dicomsql.files.archives import members

    yield from members(place.path, place.name, found.st_size, found.st_mtime_ns)


def _is_zip(place: _Place) -> bool:
    if place.path.lower().endswith(".zip"):
        return True
    try:
        with opened(place.path) as stream:
            return stream.read(4) == b"PK\x03\x04"
    except (InvalidFileError, OSError):
        return False


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
