"""Files and folders that begin with a path."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from dicomsql.shell.completion.match import Candidate, Form

__all__ = ["files"]

# Entries of a folder that are looked at, so that none is too large to be typed in.
_MOST = 2000
_UNITS = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


def files(typed: str, *, form: Form = Form.TEXT) -> Iterator[Candidate]:
    """What is in the folder that a path ends in, folders first, hidden ones if asked for.

    A folder that cannot be read has nothing.
    """
    folder, name = os.path.split(typed)
    at = Path(os.path.expanduser(folder or "."))  # noqa: PTH111 - a user who is unknown is kept
    front = f"{folder}/" if folder and not folder.endswith("/") else folder
    if typed in {"~", ".", ".."} and not folder:
        yield Candidate(f"{typed}/", "folder", 0, form)
        if typed != ".":
            return
    try:
        with os.scandir(at) as entries:
            found = sorted(islice(entries, _MOST), key=lambda entry: entry.name)
    except (OSError, ValueError):
        return
    for entry in found:
        if entry.name.startswith(".") != name.startswith("."):
            continue
        try:
            is_folder = entry.is_dir()
            about = "folder" if is_folder else _size(entry.stat().st_size)
        except OSError:
            is_folder, about = False, ""
        slash = "/" if is_folder else ""
        yield Candidate(
            f"{front}{entry.name}{slash}", about, 0 if is_folder else 1, form, key=entry.name
        )


def _size(size: int) -> str:
    for unit, of in _UNITS:
        if size >= of:
            return f"{size / of:.1f} {unit}"
    return f"{size} B"
