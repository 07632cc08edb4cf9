"""Instances into a store, wherever they come from: received, read, made safe, indexed.

A caller hands over the bytes of one file after the other to `receive`, and now and then what was
received to `commit`, which makes it durable. What is neither committed nor discarded is removed by
the folder itself once it is a day old.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dicomsql.dicom import part10
from dicomsql.emulator import attributes, index, operations, reading
from dicomsql.emulator.folder import Folder

__all__ = [
    "BATCH",
    "UID",
    "Conflict",
    "Outcome",
    "Upload",
    "commit",
    "discard",
    "overwrite",
    "receive",
    "refuse",
]

# so many files are made safe before their rows are committed together
BATCH = 50

# PS3.18 table I.2-2, B007: the data set does not match the SOP class
MISMATCH = 45063

UID = re.compile(r"[0-9.]{1,64}")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file.

    Attributes:
        study, series, instance, sop_class: its UIDs, as far as it has any.
        failure: why it is not in the store; empty where it is.
        warning: the WarningReason of PS3.18 I.2.2 of an instance that is; 0 for none.
        row: of the instance in the index, where this request put it there; 0 where it stood there
            before with the same bytes, and where it failed.
    """

    study: str = ""
    series: str = ""
    instance: str = ""
    sop_class: str = ""
    failure: str = ""
    warning: int = 0
    row: int = 0


@dataclass(frozen=True, slots=True)
class Upload:
    """A readable DICOM file on its way into a store."""

    outcome: Outcome
    path: Path
    entry: index.Entry


# What is done about an instance that is there with other bytes; gives why it fails, or nothing.
Conflict = Callable[[sqlite3.Connection, int, index.Entry], str]


def refuse(_db: sqlite3.Connection, _store: int, _entry: index.Entry) -> str:
    """The conflict of a store: what is there stays."""
    return (
        "an instance with the same study, series and SOP instance UIDs exists, and its bytes are"
        " not the same"
    )


def overwrite(db: sqlite3.Connection, store: int, entry: index.Entry) -> str:
    """The conflict of an update: what is there is replaced; collect the folder's garbage after."""
    index.remove_instance(db, index.row_of(db, store, entry.study, entry.series, entry.instance))
    return ""


def receive(folder: Folder, content: Iterable[bytes], study: str | None = None) -> Upload | Outcome:
    """Write one file to the folder and read what it is; memory is bounded whatever comes.

    Args:
        study: the StudyInstanceUID that it has to have.

    Returns:
        What `commit` takes, or why the file cannot be stored; of that nothing is left behind.
    """
    digest, size = hashlib.sha256(), 0
    with folder.incoming() as (path, stream):
        for piece in content:
            digest.update(piece)
            size += len(piece)
            stream.write(piece)
    try:
        with reading.opened(path, path.parent) as file:
            meta, instance = file.meta, file.instance
            instance.buffer = b""
    except part10.InvalidDicom as error:
        path.unlink()
        return Outcome(failure=f"invalid DICOM file: {error}")
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    dataset = instance.dataset
    uids = {name: part10.text(dataset, tag) for name, (tag, _) in _UIDS.items()}
    outcome = Outcome(uids["study"], uids["series"], uids["instance"], uids["sop_class"])
    if failure := _check_uids(uids, study):
        path.unlink()
        return dataclasses.replace(outcome, failure=failure)
    outcome = dataclasses.replace(outcome, warning=_warning(meta, uids))
    entry = index.Entry(
        study=uids["study"],
        series=uids["series"],
        instance=uids["instance"],
        sop_class=uids["sop_class"],
        transfer_syntax=instance.transfer_syntax,
        file="",
        size=size,
        sha256=digest.digest(),
        dataset=dataset,
    )
    return Upload(outcome, path, entry)


def commit(
    folder: Folder,
    store: int,
    uploads: Sequence[Upload],
    conflict: Conflict = refuse,
    note: Callable[[sqlite3.Connection, list[int]], None] | None = None,
) -> list[Outcome]:
    """Make files safe, then add their rows in one transaction; what fails is removed.

    Args:
        store: its row.
        note: called in the same transaction with the rows that came.
    """
    if not uploads:
        return []
    admitted = list(zip(uploads, folder.admit_all([u.path for u in uploads]), strict=True))
    outcomes, unused = [], []
    with folder.write() as db:
        gone = not db.execute("SELECT 1 FROM stores WHERE id = ?", (store,)).fetchone()
        for upload, file in admitted:
            entry = dataclasses.replace(upload.entry, file=file)
            digest = None if gone else index.stored_digest(db, store, *_path(entry))
            failure, row = "", 0
            if gone:
                failure = "the DICOM store was deleted during the request"
            elif operations.blocked(db, store, entry.study, entry.series):
                failure = "the study or series is being deleted; store it again once that is done"
            elif digest is not None and digest != entry.sha256:
                failure = conflict(db, store, entry)
            if not failure and digest != entry.sha256:
                row = index.add(db, store, entry)
            else:
                unused.append(file)
            outcomes.append(dataclasses.replace(upload.outcome, failure=failure, row=row))
        if note is not None:
            note(db, [outcome.row for outcome in outcomes if outcome.row])
    for file in unused:
        folder.path(file).unlink(missing_ok=True)
    return outcomes


def discard(uploads: Iterable[Upload]) -> None:
    """Remove what was received and will not be committed."""
    for upload in uploads:
        upload.path.unlink(missing_ok=True)


_UIDS = {
    "study": (attributes.STUDY_UID, "StudyInstanceUID"),
    "series": (attributes.SERIES_UID, "SeriesInstanceUID"),
    "instance": (attributes.INSTANCE_UID, "SOPInstanceUID"),
    "sop_class": (attributes.SOP_CLASS_UID, "SOPClassUID"),
}
# what the file's meta information says of the data set (PS3.10 7.1)
_SAID_CLASS = "00020002"


def _path(entry: index.Entry) -> tuple[str, str, str]:
    return entry.study, entry.series, entry.instance


def _check_uids(uids: dict[str, str], study: str | None) -> str:
    for name, (_, keyword) in _UIDS.items():
        if not uids[name]:
            return f"the instance has no {keyword}"
        if not UID.fullmatch(uids[name]):
            return f"the instance's {keyword} is no UID"
    if study is not None and uids["study"] != study:
        return "the instance's StudyInstanceUID is not that of the request's path"
    return ""


def _warning(meta: part10.Dataset, uids: dict[str, str]) -> int:
    said = part10.text(meta, _SAID_CLASS)
    return MISMATCH if said and said != uids["sop_class"] else 0
