"""A server's refusal made an error of the tree: Google's JSON, DICOM datasets, HTML, or nothing.

Whatever a server says reaches people through the gate, on one line and cut to a length. What is
free text may be about a patient, in values that the request did not send: it shows through an open
gate only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from dicomsql.dicom.stow import FAILURE_DETAILS, FAILURE_REASONS
from dicomsql.errors import (
    ApiError,
    ApiFailure,
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    QuotaError,
)
from dicomsql.transport.base import Request
from dicomsql.transport.gate import PLAIN_PARAMETERS, Gate, Reveal

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

# HTTP status -> error class; any other is an ApiError.
_CLASSES: dict[int, type[ApiError]] = {
    401: PermissionDeniedError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    412: ConflictError,
    429: QuotaError,
}

# Headers in which servers name the request, best first: several, Google's front end, Google's
# tracing.
_REQUEST_ID_HEADERS = ("x-request-id", "x-goog-request-id", "x-guploader-uploadid")

# Members in which servers that are not Google's put their words, lower case: OAuth, RFC 9457,
# and others.
_MESSAGE_MEMBERS = ("message", "error_description", "detail", "title", "error", "details")
# Members in which they put a name or number of what is wrong, and what such a name looks like.
_CODE_MEMBERS = ("code", "error", "status")
_CODE = re.compile(r"[a-z]+(?:_[a-z]+)*|[A-Z]+(?:_[A-Z]+)*")
# Of Orthanc's errors: its number of what is wrong, which has one message each.
_ORTHANC_STATUS = "orthancstatus"

_FAILURE_REASON = "00081197"
_ERROR_COMMENT = "00000902"

# Statuses by which servers refuse a place, and what else they may mean: some answer 403 for what
# is not there, so that nobody learns of it.
_OF_A_PLACE = {403: " (or it may not exist)", 404: ""}

_MESSAGE_LIMIT = 1_000
# A body larger than this is not parsed: no server has that much to say about an error.
_BODY_LIMIT = 1_000_000
_DISTINCT_REASONS = 5

WITHHELD = "The server's own words may be about a patient; --show-phi shows them."

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\s]+")
_HTML_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_HTML_HIDDEN = re.compile(r"<(script|style)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_HTML_TAG = re.compile(r"<[^>]*>")


@dataclass(frozen=True, slots=True)
class _Said:
    """What the body of an error says.

    Attributes:
        code: a name or number of what is wrong.
        message: what is about the request or the server only.
        words: the whole of it, free text included.
        numbers: what of the message is no text of the server's, but of DICOM's tables.
    """

    code: str = ""
    message: str = ""
    words: str = ""
    numbers: str = ""

    def through(self, gate: Gate, request: Request, status: int) -> str:
        """What people may see of it."""
        meant = dict(request.refusals).get(status, "")
        if gate.reveal is Reveal.VALUES:
            words = self.words or self.message or _reason_phrase(status)
            return f"{meant} The server's words: {words}" if meant else words
        if meant:
            return meant
        # About instances that were sent, a server may say anything that is in them.
        message = self.message if gate.knows(request) else self.numbers
        shown = message or _reason_phrase(status) + _place(request, status)
        if not self.words or self.words == message:
            return shown
        return f"{shown.rstrip('.')}. {WITHHELD}".lstrip(". ")


def errors_from_response(
    request: Request,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    attempts: int,
    gate: Gate,
) -> ApiError:
    """The error for an answer that is no success.

    Parameters:
        headers: the answer's headers, whose names are lower case or found whatever their case.
        body: the answer's body, decoded from its transfer; may be empty.
        attempts: how many times the call was made.
    """
    said = _said(headers.get("content-type", ""), body[:_BODY_LIMIT])
    return api_error(
        request,
        status,
        said.through(gate, request, status),
        code=said.code,
        request_id=_request_id(headers),
        attempts=attempts,
        gate=gate,
    )


def api_error(
    request: Request,
    status: int,
    message: str,
    *,
    code: str = "",
    request_id: str = "",
    attempts: int,
    gate: Gate,
) -> ApiError:
    """The error of a status and a message, which passes the gate here."""
    failure = ApiFailure(
        method=request.method,
        url=gate.show_url(request),
        status=status,
        code=_one_line(code),
        message=_one_line(gate.scrub(message, request)),
        attempts=attempts,
        request_id=_one_line(request_id),
        resource=request.resource,
    )
    return _CLASSES.get(status, ApiError)(failure)


def _request_id(headers: Mapping[str, str]) -> str:
    found = next((headers[name] for name in _REQUEST_ID_HEADERS if headers.get(name)), "")
    return found or headers.get("x-cloud-trace-context", "").partition("/")[0]


def _reason_phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _place(request: Request, status: int) -> str:
    """Where a call was refused, for statuses that are mostly of the place."""
    named = [f"{n} {v}" for n, v in request.path_values if n in PLAIN_PARAMETERS]
    if status not in _OF_A_PLACE or not named:
        return ""
    return f" for {', '.join(named)}{_OF_A_PLACE[status]}"


def _one_line(text: str) -> str:
    text = _CONTROL.sub(" ", text).strip()
    return text if len(text) <= _MESSAGE_LIMIT else text[: _MESSAGE_LIMIT - 1] + "…"


def _said(content_type: str, body: bytes) -> _Said:
    """What an error's body says, which itself says what it is.

    Servers are careless about the type of their errors.
    """
    text = body.decode("utf-8", "replace").strip().lstrip("\ufeff")
    if text[:1] in ("{", "["):
        try:
            return _from_json(json.loads(text))
        except (ValueError, RecursionError):
            return _Said(words=text)
    if text[:1] == "<":
        if "html" in content_type.lower() or re.match(r"<(!doctype\s+html|html)\b", text, re.I):
            return _Said(words=_from_html(text))
        return _from_xml(text)
    if "octet-stream" in content_type or content_type.partition(";")[0] == "application/dicom":
        return _Said()
    return _Said(words=text)


def _from_json(content: Any) -> _Said:
    datasets = content if isinstance(content, list) else [content]
    members = next((item for item in datasets if isinstance(item, dict)), {})
    error = members.get("error")
    if isinstance(error, dict):
        return _from_google(error)
    said = _from_reasons(list(_json_reasons(content)))
    if said.words:
        return said
    by_lower = {str(name).lower(): value for name, value in members.items()}
    if _ORTHANC_STATUS in by_lower:
        return _from_orthanc(by_lower)
    found = (by_lower.get(name) for name in _MESSAGE_MEMBERS)
    words = next((text for text in found if isinstance(text, str) and text), "")
    found = (by_lower.get(name) for name in _CODE_MEMBERS)
    code = next((text for text in found if isinstance(text, str) and _CODE.fullmatch(text)), "")
    return _Said(code, "", "" if words == code else words)


def _from_orthanc(members: dict[str, Any]) -> _Said:
    message = str(members.get("message") or "")
    words = ": ".join(filter(None, (message, str(members.get("details") or ""))))
    return _Said(f"OrthancStatus {members[_ORTHANC_STATUS]}", message, words)


def _from_google(error: dict[str, Any]) -> _Said:
    """A `google.rpc.Status` in JSON, the violations among its details appended."""
    status = error.get("status")
    message = error.get("message")
    text = message.strip() if isinstance(message, str) else ""
    found = _violations(error.get("details"))
    # Servers have been seen to repeat their message as the description of the violation.
    notes = [note for note, parts in found if not all(part in text for part in parts)]
    if notes:
        text = f"{text.rstrip('.')}. {'; '.join(notes)}" if text else "; ".join(notes)
    code = status if isinstance(status, str) and _CODE.fullmatch(status) else ""
    return _Said(code, text, text)


def _violations(details: Any) -> Iterator[tuple[str, list[str]]]:
    """What `google.rpc.BadRequest`, `QuotaFailure` and `PreconditionFailure` complain about.

    Each as a note, with its parts beside it: subject and description.
    """
    for detail in details if isinstance(details, list) else ():
        if not isinstance(detail, dict):
            continue
        for member in ("fieldViolations", "violations"):
            found = detail.get(member)
            for violation in found if isinstance(found, list) else ():
                if not isinstance(violation, dict):
                    continue
                subject = violation.get("field") or violation.get("subject")
                given = (subject, violation.get("description"))
                parts = [part for part in given if isinstance(part, str) and part]
                yield ": ".join(parts), parts


def _from_html(text: str) -> str:
    title = _HTML_TITLE.search(text)
    if title and title.group(1).strip():
        return _unescaped(title.group(1))
    return _unescaped(_HTML_TAG.sub(" ", _HTML_HIDDEN.sub(" ", text)))


def _unescaped(text: str) -> str:
    import html

    return html.unescape(text)


def _from_xml(text: str) -> _Said:
    """What a NativeDicomModel (PS3.19, annex A) or any other small document says."""
    from xml.etree import ElementTree

    # A document type may define entities that grow without bound; no error needs one.
    if "<!DOCTYPE" in text.upper():
        return _Said()
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - no document type, bounded size
    except ElementTree.ParseError:
        return _Said(words=_HTML_TAG.sub(" ", text))
    said = _from_reasons(list(_xml_reasons(root)))
    if said.words:
        return said
    for element in root.iter():
        if element.tag.rpartition("}")[2].lower() == "message" and (element.text or "").strip():
            return _Said(words=element.text or "")
    return _Said(words=" ".join(piece.strip() for piece in root.itertext() if piece.strip()))


def _from_reasons(found: list[tuple[str, str]]) -> _Said:
    """The failure reasons and details that a dataset holds; its comments are free text."""
    own = [(kind, value) for kind, value in found if kind != _ERROR_COMMENT]
    numbers = [(kind, value) for kind, value in own if kind == _FAILURE_REASON and value.isdigit()]
    return _Said("", _dicom_message(own), _dicom_message(found), _dicom_message(numbers))


def _dicom_message(found: list[tuple[str, str]]) -> str:
    """A sentence of failure reasons and details, each kind once."""
    reasons: dict[str, int] = {}
    details: dict[str, None] = {}
    for kind, value in found:
        if kind == _FAILURE_REASON:
            reasons[value] = reasons.get(value, 0) + 1
        else:
            details[value] = None
    parts = [_reason_text(value, count) for value, count in reasons.items()]
    parts += list(details)
    shown = "; ".join(parts[:_DISTINCT_REASONS])
    return shown + (f"; and {len(parts) - _DISTINCT_REASONS} more" if parts[5:] else "")


def _reason_text(value: str, count: int) -> str:
    meaning = FAILURE_REASONS.get(int(value), "") if value.isascii() and value.isdigit() else ""
    text = f"failure reason {value}" + (f" ({meaning})" if meaning else "")
    return text if count == 1 else f"{text}, {count} times"


def _json_reasons(content: Any) -> Iterator[tuple[str, str]]:
    """(tag, value) of the failure attributes anywhere in DICOM JSON (PS3.18, annex F)."""
    if isinstance(content, list):
        for item in content:
            yield from _json_reasons(item)
        return
    if not isinstance(content, dict):
        return
    for tag, attribute in content.items():
        values = attribute.get("Value") if isinstance(attribute, dict) else None
        if not isinstance(values, list):
            continue
        kind = _kind(str(tag).upper())
        if not kind:
            yield from _json_reasons(values)
        else:
            for value in values:
                if isinstance(value, str | int) and str(value).strip():
                    yield kind, str(value).strip()


def _xml_reasons(root: Element) -> Iterator[tuple[str, str]]:
    """The same in XML."""
    for element in root.iter():
        if element.tag.rpartition("}")[2] != "DicomAttribute":
            continue
        kind = _kind(element.get("tag", "").upper())
        if not kind and element.get("keyword") == "FailureDetail":
            kind = FAILURE_DETAILS[0]
        if kind:
            for child in element:
                value = (child.text or "").strip()
                if child.tag.rpartition("}")[2] == "Value" and value:
                    yield kind, value


def _kind(tag: str) -> str:
    if tag in FAILURE_DETAILS:
        return FAILURE_DETAILS[0]
    return tag if tag in (_FAILURE_REASON, _ERROR_COMMENT) else ""
