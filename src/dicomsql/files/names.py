"""Names and patterns of files: which are passed over, and which a glob's step matches."""

from __future__ import annotations

import fnmatch
import os
import re

__all__ = ["has_wildcards", "is_passed_over", "matcher", "steps_of"]

# What systems and DICOM media put beside people's files.
_SYSTEMS = frozenset({"thumbs.db", "desktop.ini", "__macosx", "dicomdir"})
# What a COPY leaves beside folders: its journal, SQLite's files beside that, what was replaced.
_JOURNALS = re.compile(r".*\.copy\.sqlite(-wal|-shm|-journal|\.kept)?", re.IGNORECASE | re.DOTALL)
_WILDCARDS = re.compile(r"[*?\[]")


def is_passed_over(name: str) -> bool:
    """Whether a folder's walk, or a wildcard, leaves a file or folder of that name alone."""
    return (
        name.startswith(".")
        or name.lower() in _SYSTEMS
        or ("copy" in name.lower() and _JOURNALS.fullmatch(name) is not None)
    )


def has_wildcards(path: str) -> bool:
    """Whether a path, or a step of it, is a pattern."""
    return _WILDCARDS.search(path) is not None


def matcher(step: str) -> re.Pattern[str]:
    """What matches a name that a step of a glob means, whether it is passed over or not."""
    flags = re.IGNORECASE if os.name == "nt" else 0
    return re.compile(fnmatch.translate(step), flags)


def steps_of(path: str) -> tuple[str, list[str]]:
    """A glob's folder, as written and up to its first wildcard, and the steps below it.

    The folder is empty for the current one, and ends with a separator else.
    """
    separators = "/\\" if os.sep == "\\" else "/"
    place = path.rfind("/", 0, _first_wildcard(path))
    if os.sep == "\\":
        place = max(place, path.rfind("\\", 0, _first_wildcard(path)))
    folder, rest = path[: place + 1], path[place + 1 :]
    steps = [step for step in re.split(f"[{re.escape(separators)}]", rest) if step not in {"", "."}]
    return folder, steps


def _first_wildcard(path: str) -> int:
    found = _WILDCARDS.search(path)
    return found.start() if found else len(path)
