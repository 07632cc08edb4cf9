"""The files that a DICOMDIR names (PS3.3 annex F, PS3.10 section 8)."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from functools import cache

from dicomsql.dicom import part10
from dicomsql.dicom.skim import choose, survey
from dicomsql.files.local import InvalidFileError, LocalFile, opened, reason_of

__all__ = ["listed"]

_RECORDS = "00041220"
_IN_USE = "00041410"
_FILE = "00041500"


def listed(path: str, name: str, size: int) -> Iterator[LocalFile]:
    """The files that a DICOMDIR names, sorted, each once; or itself with a problem.

    A file that is not there, or that would not be in the DICOMDIR's folder, is given with a
    problem. Names are found whatever the case of their letters, since media are often copied so.

    Args:
        path: absolute.
        name: as people wrote it.
        size: of the DICOMDIR.
    """
    try:
        with opened(path) as stream:
            found = survey(stream, size, choose([_RECORDS]))
    except (InvalidFileError, part10.InvalidDicom) as error:
        yield LocalFile(name, path, problem=f"the DICOMDIR cannot be read: {error}")
        return
    except OSError as error:
        yield LocalFile(name, path, problem=reason_of(error))
        return
    if found.broken:
        problem = f"the DICOMDIR cannot be read: {found.broken}"
        yield LocalFile(name, path, problem=problem)
        return
    records = found.dataset.get(_RECORDS, {}).get("Value", [])
    folder = os.path.dirname(path)  # noqa: PTH120 - names that are no UTF-8 stay what they are
    beside = name[: len(name) - len(os.path.basename(path))]  # noqa: PTH119
    names_in = cache(_names_in)
    for steps in sorted({steps for record in records if (steps := _file(record))}):
        whole = beside + "/".join(steps)
        place: str | None = folder
        if any(step in _NO_NAMES or _SEPARATOR.search(step) for step in steps):
            yield LocalFile(whole, folder, problem="its name leads out of the DICOMDIR's folder")
            continue
        for step in steps:
            place = _below(place, step, names_in) if place is not None else None
        yield _found(whole, place, os.path.join(folder, *steps))  # noqa: PTH118


_NO_NAMES = frozenset({"", ".", ".."})
_SEPARATOR = re.compile(r"[/\\:\0]")


def _file(record: part10.Dataset) -> tuple[str, ...]:
    """The steps of the path to a record's file; none where it has none, or is not in use."""
    if record.get(_IN_USE, {}).get("Value") == [0]:
        return ()
    return tuple(str(step or "") for step in record.get(_FILE, {}).get("Value", []))


def _names_in(folder: str) -> dict[str, list[str]]:
    """The names in a folder, by what they are in lower case."""
    found: dict[str, list[str]] = {}
    try:
        for name in os.listdir(folder):  # noqa: PTH208
            found.setdefault(name.lower(), []).append(name)
    except OSError:
        return {}
    return found


def _below(folder: str, step: str, names_in: Callable[[str], dict[str, list[str]]]) -> str | None:
    """The path of a step in a folder; None where it is not there, or may be one of several."""
    names = names_in(folder).get(step.lower(), [])
    if step in names:
        names = [step]
    return os.path.join(folder, names[0]) if len(names) == 1 else None  # noqa: PTH118


def _found(name: str, path: str | None, expected: str) -> LocalFile:
    if path is None:
        problem = "the DICOMDIR names it, but it is not there"
        return LocalFile(name, expected, problem=problem)
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError as error:
        return LocalFile(name, path, problem=reason_of(error))
    if not stat.S_ISREG(found.st_mode):
        return LocalFile(name, path, problem="it is no regular file")
    return LocalFile(
        name, path, found.st_size, found.st_mtime_ns, literal=_is_spelled(path, expected)
    )


def _is_spelled(path: str, expected: str) -> bool:
    """Whether the DICOMDIR spells the names as the system does."""
    return path == expected
