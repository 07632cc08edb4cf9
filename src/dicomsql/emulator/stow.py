"""STOW-RS (PS3.18 10.5): instances in, one by one from a stream, and the answer about each.

Where Google leaves the standard: the same bytes under the same UIDs are a success; other bytes, or
no DICOM file, are 409 with FailureReason 272 (processing failure) and a private FailureDetail of
creator GOOGLE. 272 is the only reason that such a store is known to give, so a data set of another
study than the path's gets it too. The answer is XML unless DICOM JSON is asked for.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import re
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from starlette.responses import Response

from dicomsql.dicom import part10
from dicomsql.emulator import attributes, index, multipart, operations
from dicomsql.emulator.call import Call, store_id
from dicomsql.emulator.folder import Folder
from dicomsql.emulator.status import StatusError, invalid

PROCESSING_FAILURE = 272

_UID = re.compile(r"[0-9.]{1,64}")
# so many files are made safe before their rows are committed together
_BATCH = 50


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one part; `failure` is empty where its instance is now in the store."""

    study: str = ""
    series: str = ""
    instance: str = ""
    sop_class: str = ""
    failure: str = ""


@dataclass(frozen=True, slots=True)
class _Upload:
    """A part that is a readable DICOM file, on its way into the store."""

    outcome: Outcome
    path: Path
    entry: index.Entry


# What is done about an instance that is there with other bytes; gives why it fails, or nothing.
_Conflict = Callable[[sqlite3.Connection, int, index.Entry], str]


def store(call: Call) -> Response:
    """storeInstances, at the store and at a study.

    Raises:
        StatusError: 415 for another media type, 400 for a body that is not what it says.
    """
    return _transaction(call, _refuse)


def update(call: Call) -> Response:
    """updateInstances of v1beta1, at the store and at a study: what is there is overwritten.

    Raises: as `store`.
    """
    answer = _transaction(call, _overwrite)
    call.folder.collect_garbage()
    return answer


def _refuse(_db: sqlite3.Connection, _store: int, _entry: index.Entry) -> str:
    return (
        "an instance with the same study, series and SOP instance UIDs exists, and its bytes are"
        " not the same"
    )


def _overwrite(db: sqlite3.Connection, store: int, entry: index.Entry) -> str:
    index.remove_instance(db, index.row_of(db, store, entry.study, entry.series, entry.instance))
    index.add(db, store, entry)
    return ""


def _transaction(call: Call, conflict: _Conflict) -> Response:
    with call.folder.read() as db:
        row = store_id(db, call)
    study = call.names.get("study")
    if study is not None and not _UID.fullmatch(study):
        raise invalid("The study in the path is no UID.")
    outcomes: list[Outcome] = []
    waiting: list[_Upload] = []
    try:
        for body in _bodies(call):
            received = _receive(call.folder, body, study)
            if isinstance(received, Outcome):
                outcomes.append(received)
            else:
                waiting.append(received)
            if len(waiting) >= _BATCH:
                outcomes += _commit(call.folder, row, waiting, conflict)
                waiting.clear()
        outcomes += _commit(call.folder, row, waiting, conflict)
        waiting.clear()
    finally:
        for upload in waiting:
            upload.path.unlink(missing_ok=True)
    if not outcomes:
        raise invalid("The body holds no part to store.")
    return _answer(call, study, outcomes)


def _bodies(call: Call) -> Iterator[Iterator[bytes]]:
    kind, parameters = multipart.media_type(call.headers.get("content-type", ""))
    if kind == "application/dicom":
        yield call.chunks()
        return
    expected = parameters.get("type", "").lower()
    if kind != "multipart/related" or expected != "application/dicom":
        raise StatusError(
            "INVALID_ARGUMENT",
            'Unsupported Content-Type: send multipart/related; type="application/dicom", or one'
            " instance as application/dicom.",
            http=415,
        )
    if not parameters.get("boundary"):
        raise invalid("The Content-Type multipart/related has no boundary.")
    for part in multipart.parts(call.chunks(), parameters["boundary"]):
        declared, _ = multipart.media_type(part.headers.get("content-type", "application/dicom"))
        yield part.body if declared == "application/dicom" else iter(())


def _receive(folder: Folder, body: Iterator[bytes], study: str | None) -> _Upload | Outcome:
    """Write a part to the folder and read what it is."""
    digest, size = hashlib.sha256(), 0
    with folder.incoming() as (path, stream):
        for piece in body:
            digest.update(piece)
            size += len(piece)
            stream.write(piece)
    try:
        instance = _read(path, size)
    except part10.InvalidDicom as error:
        path.unlink()
        return Outcome(failure=f"invalid DICOM file: {error}")
    dataset = instance.dataset
    uids = {
        name: part10.text(dataset, tag)
        for name, tag in (
            ("study", attributes.STUDY_UID),
            ("series", attributes.SERIES_UID),
            ("instance", attributes.INSTANCE_UID),
            ("sop_class", attributes.SOP_CLASS_UID),
        )
    }
    failure = _check_uids(uids, study)
    outcome = Outcome(**uids, failure=failure)
    if failure:
        path.unlink()
        return outcome
    entry = index.Entry(
        **uids,
        transfer_syntax=instance.transfer_syntax,
        file="",
        size=size,
        sha256=digest.digest(),
        dataset=dataset,
    )
    return _Upload(outcome, path, entry)


def _read(path: Path, size: int) -> part10.Instance:
    if not size:
        raise part10.InvalidDicom("the part is empty or not of type application/dicom")
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as view:
        instance = part10.read(view)
        instance.buffer = b""
        return instance


def _check_uids(uids: dict[str, str], study: str | None) -> str:
    keywords = {
        "study": "StudyInstanceUID",
        "series": "SeriesInstanceUID",
        "instance": "SOPInstanceUID",
        "sop_class": "SOPClassUID",
    }
    for name, keyword in keywords.items():
        if not uids[name]:
            return f"the instance has no {keyword}"
        if not _UID.fullmatch(uids[name]):
            return f"the instance's {keyword} is no UID"
    if study is not None and uids["study"] != study:
        return "the instance's StudyInstanceUID is not that of the request's path"
    return ""


def _commit(
    folder: Folder, store: int, uploads: list[_Upload], conflict: _Conflict
) -> list[Outcome]:
    """Make the files safe, then add their rows in one transaction."""
    import dataclasses

    if not uploads:
        return []
    admitted = [(upload, folder.admit(upload.path)) for upload in uploads]
    outcomes, unused = [], []
    with folder.write() as db:
        if not db.execute("SELECT 1 FROM stores WHERE id = ?", (store,)).fetchone():
            unused = [file for _, file in admitted]
            gone = "the DICOM store was deleted during the request"
            outcomes = [dataclasses.replace(u.outcome, failure=gone) for u, _ in admitted]
            admitted = []
        for upload, file in admitted:
            entry = dataclasses.replace(upload.entry, file=file)
            uids = (entry.study, entry.series, entry.instance)
            digest = index.stored_digest(db, store, *uids)
            failure = ""
            if digest is None and operations.blocked(db, store, entry.study, entry.series):
                failure = "the study or series is being deleted; store it again once that is done"
            elif digest is None:
                index.add(db, store, entry)
            elif digest != entry.sha256:
                failure = conflict(db, store, entry)
            if digest == entry.sha256 or failure:
                unused.append(file)
            outcomes.append(dataclasses.replace(upload.outcome, failure=failure))
    for file in unused:
        folder.path(file).unlink(missing_ok=True)
    return outcomes


def _answer(call: Call, study: str | None, outcomes: list[Outcome]) -> Response:
    stored = [outcome for outcome in outcomes if not outcome.failure]
    failed = [outcome for outcome in outcomes if outcome.failure]
    status = 200 if not failed else 202 if stored else 409
    studies = {study} if study else {outcome.study for outcome in outcomes if outcome.study}
    dataset: dict[str, Any] = {}
    if len(studies) == 1:
        dataset["00081190"] = _element("UR", f"{call.web_url}/studies/{studies.pop()}")
    if failed:
        dataset["00081198"] = {"vr": "SQ", "Value": [_failed(outcome) for outcome in failed]}
    if stored:
        items = [_stored(call, outcome) for outcome in stored]
        dataset["00081199"] = {"vr": "SQ", "Value": items}
    for kind, _ in multipart.accepted(call.headers.get("accept", "")):
        if kind in {"application/dicom+json", "application/json"}:
            content = json.dumps(dataset)
            return Response(content, status, media_type="application/dicom+json")
        if kind in {"application/dicom+xml", "*/*", "application/*"}:
            break
    content = f'<?xml version="1.0" encoding="UTF-8"?>\n{_xml(dataset)}'
    return Response(content, status, media_type="application/dicom+xml")


def _stored(call: Call, outcome: Outcome) -> dict[str, Any]:
    path = f"studies/{outcome.study}/series/{outcome.series}/instances/{outcome.instance}"
    return {**_references(outcome), "00081190": _element("UR", f"{call.web_url}/{path}")}


def _failed(outcome: Outcome) -> dict[str, Any]:
    return {
        **_references(outcome),
        "00081197": _element("US", PROCESSING_FAILURE),
        "00090097": _element("LT", outcome.failure),
    }


def _references(outcome: Outcome) -> dict[str, Any]:
    pairs = {"00081150": outcome.sop_class, "00081155": outcome.instance}
    return {tag: _element("UI", uid) for tag, uid in pairs.items() if uid}


def _element(vr: str, value: str | int) -> dict[str, Any]:
    return {"vr": vr, "Value": [value]}


_KEYWORDS = {
    "00081150": "ReferencedSOPClassUID",
    "00081155": "ReferencedSOPInstanceUID",
    "00081190": "RetrieveURL",
    "00081197": "FailureReason",
    "00081198": "FailedSOPSequence",
    "00081199": "ReferencedSOPSequence",
    "00090097": "FailureDetail",
}


def _xml(dataset: dict[str, Any]) -> str:
    """The Native DICOM Model (PS3.19 A.1), without a namespace, as Google writes it."""
    return f"<NativeDicomModel>{_xml_attributes(dataset)}</NativeDicomModel>"


def _xml_attributes(dataset: dict[str, Any]) -> str:
    found = []
    for tag, element in dataset.items():
        creator = ' privateCreator="GOOGLE"' if tag == "00090097" else ""
        head = f'tag="{tag}" vr="{element["vr"]}" keyword={quoteattr(_KEYWORDS[tag])}{creator}'
        values = enumerate(element["Value"], 1)
        if element["vr"] == "SQ":
            inner = "".join(
                f'<Item number="{n}">{_xml_attributes(item)}</Item>' for n, item in values
            )
        else:
            inner = "".join(f'<Value number="{n}">{escape(str(v))}</Value>' for n, v in values)
        found.append(f"<DicomAttribute {head}>{inner}</DicomAttribute>")
    return "".join(found)
