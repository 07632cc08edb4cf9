"""Where a COPY's journal is where none is named: beside the folder or archive that it is about."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from dicomsql.copying.journal import ENDING, OTHER
from dicomsql.errors import InterfaceError

__all__ = ["beside", "beside_folder", "folders"]


def folders(paths: Iterable[str]) -> tuple[Path, ...]:
    """The places that paths begin at: of each the part before its first wildcard.

    They have no links, `.` or `..` in them, so that a place has one name. A file that is no archive
    stands for its folder, and so does a DICOMDIR, which may be on a medium that takes no journal.
    """
    found: list[Path] = []
    for path in paths:
        fixed: list[str] = []
        for part in _outside(path).parts:
            if any(c in part for c in "*?["):
                break
            fixed.append(part)
        place = Path(*fixed).resolve()
        found.append(place.parent if place.name == "DICOMDIR" or _is_plain(place) else place)
    return tuple(dict.fromkeys(found))


def beside(paths: Iterable[str]) -> Path | None:
    """The journal's path where none is named: beside the first folder or archive.

    `in/**/*.dcm` and `in/` have `in.copy.sqlite`, `scans.zip` has `scans.zip.copy.sqlite`. None
    where all paths are single files, which leave nothing to go on with.

    Raises:
        InterfaceError: there is nothing that it could be beside.
    """
    larger = [path for path in paths if not _is_plain(_outside(path))]
    if not larger:
        return None
    return beside_folder(folders(larger)[0])


def beside_folder(folder: Path) -> Path:
    """The path of the journal of a folder, whatever its name is, or of an archive.

    Raises:
        InterfaceError: it is the root, which nothing is beside of.
    """
    place = folder.resolve()
    if not place.name:
        raise InterfaceError(f"There is no place for a journal beside {place}. {OTHER}")
    return place.with_name(f"{place.name}{ENDING}")


def _outside(path: str) -> Path:
    """The place of a path on the disk: of a file in an archive that of the archive."""
    from dicomsql.files.local import addressed

    address = addressed(path)
    if address is not None:
        return Path(address[0])
    place = Path(path).expanduser()
    if "!/" in path and not os.path.lexists(place):
        return Path(path.partition("!/")[0]).expanduser()
    return place


def _is_plain(path: Path) -> bool:
    """Whether it is a file that holds no others."""
    import zipfile

    try:
        return path.is_file() and path.name != "DICOMDIR" and not zipfile.is_zipfile(path)
    except OSError:
        return False
