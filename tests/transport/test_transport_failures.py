"""Servers' refusals as errors of the tree."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import httpx
import pytest

from dicomsql.errors import (
    ApiError,
    ConflictError,
    IntegrityError,
    NotFoundError,
    PermissionDeniedError,
    QuotaError,
)
from dicomsql.transport.base import Request
from dicomsql.transport.failures import errors_from_response
from dicomsql.transport.gate import Gate

WITHHELD = "The server's own words may be about a patient; --show-phi shows them."

REQUEST = Request(
    "GET",
    "https://example.org",
    "/v1/studies/{studiesId}",
    path_values=(("studiesId", "1.2.3.4.5.6.7.8"),),
    query=(("PatientID", "00123"),),
    resource="google.healthcare.studies.search",
)


def failed(
    status: int, body: bytes | object = b"", gate: Gate | None = None, **headers: str
) -> ApiError:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = httpx.Headers({k.replace("_", "-"): v for k, v in headers.items()})
    return errors_from_response(
        REQUEST, status, named, content, attempts=2, gate=gate or Gate.closed()
    )


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ApiError),
        (401, PermissionDeniedError),
        (403, PermissionDeniedError),
        (404, NotFoundError),
        (409, ConflictError),
        (412, ConflictError),
        (429, QuotaError),
        (500, ApiError),
        (501, ApiError),
    ],
)
def test_each_status_has_its_class(status: int, kind: type[ApiError]) -> None:
    error = failed(status)
    assert type(error) is kind
    assert error.failure.status == status
    assert type(pickle.loads(pickle.dumps(error))) is kind


def test_a_conflict_is_an_integrity_error_too() -> None:
    assert isinstance(failed(409), IntegrityError)


def test_the_whole_of_googles_error_is_told() -> None:
    error = failed(
        400,
        {
            "error": {
                "code": 400,
                "status": "INVALID_ARGUMENT",
                "message": "Invalid value.",
                "details": [
                    {
                        "@type": "type.googleapis.com/google.rpc.BadRequest",
                        "fieldViolations": [
                            {"field": "labels", "description": "not a map"},
                            {"description": "too long"},
                            "odd",
                        ],
                    },
                    {"violations": [{"subject": "projects/p", "description": "Invalid value"}]},
                    "odd",
                ],
            }
        },
        x_guploader_uploadid="req-1",
    )
    assert str(error) == (
        "GET https://example.org/v1/studies/{studiesId}?PatientID=… answered 400 INVALID_ARGUMENT: "
        "Invalid value. labels: not a map; too long; projects/p: Invalid value "
        "(google.healthcare.studies.search, 2 attempts, request id req-1)"
    )


def test_googles_error_in_a_list_and_one_without_words() -> None:
    assert failed(403, [{"error": {"status": "PERMISSION_DENIED", "message": "no"}}]).failure.code
    only_details = {"error": {"details": [{"violations": [{"description": "quota of reads"}]}]}}
    assert failed(429, only_details).failure.message == "quota of reads"
    assert failed(500, {"error": {"message": 3}}).failure.message == "Internal Server Error"


def test_attributes_stay_behind_the_gate() -> None:
    body = {"error": {"message": "patient 00123 has no study 1.2.3.4.5.6.7.8"}}
    assert failed(404, body).failure.message == "patient … has no study …"
    assert "00123" in failed(404, body, Gate.open()).failure.message


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (403, "Forbidden for datasetsId d, dicomStoresId s (or it may not exist)."),
        (404, "Not Found for datasetsId d, dicomStoresId s."),
        (500, "Internal Server Error."),
    ],
)
def test_a_place_that_is_refused_is_named_where_the_servers_words_are_not_shown(
    status: int, said: str
) -> None:
    upload = replace(
        REQUEST,
        path_values=(("datasetsId", "d"), ("dicomStoresId", "s"), ("studiesId", "1.2.3")),
        body=b"instances",
        headers=(("Content-Type", "application/dicom"),),
    )
    words = {"error": {"message": "of patient 00123"}}
    error = errors_from_response(
        upload, status, {}, json.dumps(words).encode(), attempts=1, gate=Gate.closed()
    )
    assert error.failure.message == f"{said} {WITHHELD}"


def test_a_traces_id_stands_in_for_the_requests() -> None:
    assert failed(500, b"", x_cloud_trace_context="abc/1;o=1").failure.request_id == "abc"
    assert failed(500, b"", X_Request_Id="r1", x_cloud_trace_context="t").failure.request_id == "r1"


DICOM_JSON = {
    "00081190": {"vr": "UR", "Value": ["http://h/studies/1.2.3.4.5.6.7.8"]},
    "00081198": {
        "vr": "SQ",
        "Value": [
            {
                "00081155": {"vr": "UI", "Value": ["1.2.3"]},
                "00081197": {"vr": "US", "Value": [272]},
                "00090097": {"vr": "LT", "Value": ["exists with other bytes"]},
            },
            {"00081197": {"vr": "US", "Value": [272]}},
            {"00081197": {"vr": "US", "Value": [99]}},
        ],
    },
}
DICOM_MESSAGE = "failure reason 272 (processing failure), 2 times; failure reason 99; "

DICOM_XML = b"""<?xml version="1.0" encoding="utf-8"?>
<NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM">
 <DicomAttribute tag="00081198" vr="SQ" keyword="FailedSOPSequence"><Item number="1">
  <DicomAttribute tag="00081197" vr="US"><Value number="1">272</Value></DicomAttribute>
  <DicomAttribute tag="00090012" vr="LT" keyword="FailureDetail" privateCreator="GOOGLE">
   <Value number="1">differs
     from 1.2.3.4.5.6.7.8</Value></DicomAttribute>
 </Item></DicomAttribute>
</NativeDicomModel>"""


def test_dicom_datasets_say_why_in_json_and_in_xml() -> None:
    assert failed(409, DICOM_JSON).failure.message == DICOM_MESSAGE + "exists with other bytes"
    assert failed(409, [DICOM_JSON]).failure.message == DICOM_MESSAGE + "exists with other bytes"
    assert failed(409, DICOM_XML).failure.message == (
        "failure reason 272 (processing failure); differs from …"
    )


def test_many_reasons_are_counted() -> None:
    items = [{"00081197": {"Value": [n]}} for n in range(1, 9)]
    message = failed(409, {"00081198": {"Value": items}}).failure.message
    assert message.endswith("failure reason 5; and 3 more")


@pytest.mark.parametrize(
    ("body", "content_type", "message"),
    [
        (b"<html><title>502 &amp; gone</title><p>x</p></html>", "text/html", "502 & gone"),
        (b"<!doctype html><style>p{}</style><p>No\nluck</p>", "", "No luck"),
        (b"<Error><Code>x</Code><Message>No such key</Message></Error>", "", "No such key"),
        (b"<a><b>one</b><c> two </c></a>", "application/xml", "one two"),
        (b"<a>broken & <b>text", "application/xml", "broken & text"),
        (
            b'<!DOCTYPE a [<!ENTITY b "bbbb">]><a>&b;</a>',
            "application/xml",
            "Bad Request",
        ),
        (b"just words", "text/plain", "just words"),
        (b"", "", "Bad Request"),
        (b"\x00\x01", "application/octet-stream", "Bad Request"),
        (b"\x00\x01", "application/dicom; x=y", "Bad Request"),
        (b'{"Message": "Unknown resource", "Details": "d"}', "", "Unknown resource"),
        (b'{"error": "invalid_grant", "error_description": "expired"}', "", "expired"),
        (b'{"error": "invalid_grant"}', "", "Bad Request"),
        (b'{"type": "about:blank", "title": "Bad"}', "", "Bad"),
        (b'["odd"]', "", "Bad Request"),
        (
            b'{"Message": "Bad request", "OrthancStatus": 8, "Details": "no JANE"}',
            "",
            "Bad request: no JANE",
        ),
        (b"{broken", "", "{broken"),
        (b"[" * 100_000, "", "[" * 999 + "…"),
        (b"x" * 5_000, "", "x" * 999 + "…"),
    ],
)
def test_other_bodies(body: bytes, content_type: str, message: str) -> None:
    opened = failed(400, body, Gate.open(), content_type=content_type)
    assert opened.failure.message == message


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b"<p>cannot render study of ZQX</p>", "", "Bad Request. "),
        (b"<html><title>ZQX</title></html>", "", "Bad Request. "),
        (b"<Error><Message>no ZQX</Message></Error>", "", "Bad Request. "),
        (b"no ZQX", "", "Bad Request. "),
        (b"{broken ZQX", "", "Bad Request. "),
        (b'{"title": "ZQX", "status": "ZQX^9", "code": 7}', "", "Bad Request. "),
        (
            b'{"error": "invalid_grant", "error_description": "ZQX"}',
            "invalid_grant",
            "Bad Request. ",
        ),
        (
            b'{"Message": "Bad request", "OrthancStatus": 8, "Details": "no ZQX"}',
            "OrthancStatus 8",
            "Bad request. ",
        ),
        (b'{"00000902": {"Value": ["no ZQX"]}}', "", "Bad Request. "),
        (
            b'{"00000902": {"Value": ["no ZQX"]}, "00081197": {"Value": [99]}}',
            "",
            "failure reason 99. ",
        ),
    ],
)
def test_free_text_stays_behind_the_gate(body: bytes, code: str, message: str) -> None:
    error = failed(400, body)
    assert "ZQX" not in str(error)
    assert error.failure.code == code
    assert error.failure.message == f"{message}{WITHHELD}"
    assert "ZQX" in str(failed(400, body, Gate.open()))


def test_what_a_document_says_of_a_status_stands_for_the_servers_words() -> None:
    request = replace(REQUEST, refusals=((412, "It is there."),))

    def message(status: int, gate: Gate) -> str:
        body = b"ZQX^Ada did not match"
        return errors_from_response(
            request, status, {}, body, attempts=1, gate=gate
        ).failure.message

    assert message(412, Gate.closed()) == "It is there."
    assert message(412, Gate.open()).endswith("The server's words: ZQX^Ada did not match")
    assert "It is there" not in message(409, Gate.closed())


def test_a_message_that_is_shown_whole_withholds_nothing() -> None:
    orthanc = {"Message": "Unknown resource", "OrthancStatus": 17}
    assert failed(404, orthanc).failure.message == "Unknown resource"
    assert failed(400, {"error": "invalid_grant"}).failure.message == "Bad Request"


def test_a_status_that_nobody_knows() -> None:
    error = failed(599)
    assert error.failure.message == ""
    assert " answered 599 (google.healthcare.studies.search, 2 attempts)" in str(error)


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (
            {"error": {"status": "INVALID_ARGUMENT", "message": "PatientID DOE^JANE is bad"}},
            "400 INVALID_ARGUMENT: Bad Request",
        ),
        (
            {"error": {"status": "DOE^JANE is bad", "message": "DOE^JANE is bad"}},
            "Bad Request",
        ),
        (
            {
                "00081198": {
                    "vr": "SQ",
                    "Value": [
                        {
                            "00081197": {"vr": "US", "Value": [43264]},
                            "00090097": {"vr": "LT", "Value": ["DOE^JANE is bad"]},
                        }
                    ],
                }
            },
            "failure reason 43264 (dataset does not match SOP class)",
        ),
        ({"OrthancStatus": 15, "Message": "DOE^JANE is bad"}, "OrthancStatus 15"),
    ],
)
def test_of_words_about_instances_that_were_sent_only_names_and_numbers_show(
    body: object, shown: str
) -> None:
    request = Request("POST", "https://example.org", "/studies", body=lambda: iter([b""]))

    def error(gate: Gate) -> ApiError:
        content = json.dumps(body).encode()
        return errors_from_response(request, 400, {}, content, attempts=1, gate=gate)

    closed = error(Gate.closed())
    text = f"{closed.failure.status} {closed.failure.code}: {closed.failure.message}"
    assert "DOE" not in str(closed) + text
    assert shown in text
    assert WITHHELD in text
    assert "DOE^JANE is bad" in error(Gate.open()).failure.message
