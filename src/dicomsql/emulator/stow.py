"""STOW-RS (PS3.18 10.5): instances in, one by one from a stream, and the answer about each.

Where Google leaves the standard: the same bytes under the same UIDs are a success; other bytes, or
no DICOM file, are 409 with FailureReason 272 (processing failure) and a private FailureDetail of
creator GOOGLE. 272 is the only reason that such a store is known to give, so a data set of another
study than the path's gets it too. A warning is given where the file says another SOP class than
its data set, and makes it 202 (PS3.18 table 10.5.3-1). The answer is XML unless DICOM JSON is asked
for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from starlette.responses import Response

from dicomsql.emulator import events, multipart
from dicomsql.emulator.call import Call, accept, store_id
from dicomsql.emulator.status import StatusError, invalid
from dicomsql.emulator.storing import (
    BATCH,
    UID,
    Conflict,
    Outcome,
    Upload,
    commit,
    discard,
    overwrite,
    receive,
    refuse,
)

PROCESSING_FAILURE = 272
_JSON, _XML = "application/dicom+json", "application/dicom+xml"


def store(call: Call) -> Response:
    """storeInstances, at the store and at a study.

    Raises:
        StatusError: 415 for another media type, 406 for an answer in another, 400 for a body
            that is not what it says.
    """
    return _transaction(call, refuse, "StoreInstances")


def update(call: Call) -> Response:
    """updateInstances of v1beta1, at the store and at a study: what is there is overwritten.

    Raises: as `store`.
    """
    answer = _transaction(call, overwrite, "UpdateInstances")
    call.folder.collect_garbage()
    return answer


def _transaction(call: Call, conflict: Conflict, action: str) -> Response:
    with call.folder.read() as db:
        row = store_id(db, call)
    _form(call)  # asked now: what cannot be answered is not begun
    events.check(call, row)
    study = call.names.get("study")
    if study is not None and not UID.fullmatch(study):
        raise invalid("The study in the path is no UID.")
    outcomes: list[Outcome] = []
    waiting: list[Upload] = []
    try:
        for body in _bodies(call):
            received = receive(call.folder, body, study)
            if isinstance(received, Outcome):
                outcomes.append(received)
            else:
                waiting.append(received)
            if len(waiting) >= BATCH:
                outcomes += _commit(call, row, waiting, conflict, action=action)
        outcomes += _commit(call, row, waiting, conflict, action=action)
    finally:
        discard(waiting)
    if not outcomes:
        raise invalid("The body holds no part to store.")
    return _answer(call, study, outcomes)


def _commit(
    call: Call, store: int, uploads: list[Upload], conflict: Conflict, *, action: str
) -> list[Outcome]:
    """Commit what waits, and tell of what is new."""
    outcomes = commit(call.folder, store, uploads, conflict)
    uploads.clear()
    new = [outcome.row for outcome in outcomes if outcome.row]
    events.stored(call, store, new, action=action)
    return outcomes


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


def _form(call: Call) -> str:
    """The media type of the answer; where several are as good, XML."""
    return accept(call, {_XML: _XML, _JSON: _JSON, "application/json": _JSON, "text/xml": _XML})


def _answer(call: Call, study: str | None, outcomes: list[Outcome]) -> Response:
    stored = [outcome for outcome in outcomes if not outcome.failure]
    failed = [outcome for outcome in outcomes if outcome.failure]
    warned = any(outcome.warning for outcome in stored)
    status = 409 if not stored else 202 if failed or warned else 200
    studies = {study} if study else {outcome.study for outcome in outcomes if outcome.study}
    dataset: dict[str, Any] = {}
    if len(studies) == 1:
        dataset["00081190"] = _element("UR", f"{call.web_url}/studies/{studies.pop()}")
    if failed:
        dataset["00081198"] = {"vr": "SQ", "Value": [_failed(outcome) for outcome in failed]}
    if stored:
        items = [_stored(call, outcome) for outcome in stored]
        dataset["00081199"] = {"vr": "SQ", "Value": items}
    if _form(call) == _JSON:
        return Response(json.dumps(dataset), status, media_type=_JSON)
    content = f'<?xml version="1.0" encoding="UTF-8"?>\n{_xml(dataset)}'
    return Response(content, status, media_type=_XML)


def _stored(call: Call, outcome: Outcome) -> dict[str, Any]:
    path = f"studies/{outcome.study}/series/{outcome.series}/instances/{outcome.instance}"
    item = {**_references(outcome), "00081190": _element("UR", f"{call.web_url}/{path}")}
    if outcome.warning:
        item["00081196"] = _element("US", outcome.warning)
    return dict(sorted(item.items()))


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
    "00081196": "WarningReason",
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
