"""What the gate lets out and what it keeps back."""

from __future__ import annotations

import json

import pytest

from dicomsql import embedded
from dicomsql.transport.base import Request
from dicomsql.transport.gate import Gate, scrub_secrets

UID = "1.2.276.0.7230010.3.1.2.8323329.1234"

SEARCH = Request(
    "GET",
    "https://user:hunter2@example.org",
    "/v1/projects/{projectsId}/dicomWeb/studies/{studiesId}",
    path_values=(("projectsId", "my-project"), ("studiesId", UID)),
    query=(
        ("PatientName", "Doe^John"),
        ("PatientSex", "M"),
        ("StudyDate", "20260101-20260131"),
        ("PatientID", "00123"),
        ("includefield", "PatientName"),
        ("includefield", "Modality"),
        ("key", "s3cret"),
    ),
)


def test_a_closed_gate_shows_the_template_and_each_name_once() -> None:
    assert Gate.closed().show_url(SEARCH) == (
        "https://example.org/v1/projects/{projectsId}/dicomWeb/studies/{studiesId}"
        "?PatientName=…&PatientSex=…&StudyDate=…&PatientID=…&includefield=…&key=…"
    )


def test_an_open_gate_shows_values_but_no_secret() -> None:
    url = Gate.open().show_url(SEARCH)
    assert url.startswith(f"https://example.org/v1/projects/my-project/dicomWeb/studies/{UID}?")
    assert "PatientName=Doe%5EJohn" in url
    assert "includefield=PatientName&includefield=Modality" in url
    assert url.endswith("&key=…")


def test_a_url_without_a_query_has_no_question_mark() -> None:
    request = Request("GET", "http://127.0.0.1:9", "/v1/a")
    assert (
        Gate.closed().show_url(request)
        == Gate.open().show_url(request)
        == "http://127.0.0.1:9/v1/a"
    )


def test_the_embedded_emulator_has_a_name_instead_of_an_address() -> None:
    request = Request("GET", embedded.BASE_URL, "/v1/{name}", (("name", "a"),), (("q", "b"),))
    assert Gate.closed().show_url(request) == "the embedded emulator's /v1/{name}?q=…"
    assert Gate.open().show_url(request) == "the embedded emulator's /v1/a?q=b"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("invalid value Doe^John", "invalid value …"),
        ("no DOE, no john", "no …, no …"),
        ("name=Doe%5EJohn", "name=…"),
        ("The Method wants M or F", "The Method wants … or F"),
        ("00123 but not 001234", "… but not 001234"),
        ("bad range 20260101 to 20260131", "bad range … to …"),
        (f"study {UID} of my-project", "study … of my-project"),
        (f"file {UID}.77.dcm", "file ….77.dcm"),
        ("series 1.2.840.113619.2.55.3.604688 gone", "series … gone"),
        ("transfer syntax 1.2.840.10008.1.2.4.50", "transfer syntax 1.2.840.10008.1.2.4.50"),
        ("the key s3cret is wrong", "the key … is wrong"),
    ],
)
def test_a_servers_words_lose_what_the_request_sent(text: str, shown: str) -> None:
    assert Gate.closed().scrub(text, SEARCH) == shown


def test_an_open_gate_keeps_values_in_a_servers_words_but_no_secret() -> None:
    text = f"Doe^John in {UID}, key s3cret, Bearer abc.def"
    assert Gate.open().scrub(text, SEARCH) == f"Doe^John in {UID}, key …, …"


def test_values_of_a_body_that_may_be_about_a_patient_are_kept_back() -> None:
    body = json.dumps(
        [{"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Roe^Jane"}]}, "n": 4711, "b": True}]
    ).encode()
    headers = (("Content-Type", "application/dicom+json; charset=utf-8"),)
    request = Request("PUT", "https://h", "/x", headers=headers, body=body)
    assert Gate.closed().scrub("Jane Roe, 4711, true", request) == "… …, …, true"
    settings = Request(
        "PATCH", "https://h", "/x", headers=(("content-type", "application/json"),), body=body
    )
    assert Gate.closed().scrub("Jane Roe", settings) == "Jane Roe"
    broken = Request("PUT", "https://h", "/x", headers=headers, body=b"\xff not json")
    assert Gate.closed().scrub("Jane Roe", broken) == "Jane Roe"


@pytest.mark.parametrize(
    "secret",
    [
        "Bearer abc.DEF-123",
        "authorization: bearer xyz",
        "Authorization: Basic YW5uOmh1bnRlcjI=",
        "basic YW5uOmh1bnRlcjI",
        "ya29.a0AfH6SMBx_-123",
        "AIzaSyA1234567890abcdefghijklmnopqrstuv",
        "eyJhbGciOi.eyJzdWIi.c2ln",
        "refresh_token=1//0abc",
        "access_token=abc&",
        "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----",
    ],
)
def test_whatever_looks_like_a_secret_is_hidden(secret: str) -> None:
    shown = scrub_secrets(f"before {secret} after")
    assert shown.startswith("before ")
    assert shown.endswith(" after")
    assert "…" in shown
    for piece in ("abc", "xyz", "YW5u", "a0AfH6", "AIza", "c2ln", "MIIE"):
        assert piece not in shown


def test_words_are_no_secrets() -> None:
    for text in ("Basic Authentication is required.", "basic auth", "BASIC REALM"):
        assert scrub_secrets(text) == text


def test_single_values() -> None:
    assert Gate.closed().show_value("PatientID", "00123") == "…"
    assert Gate.closed().show_value("projectsId", "p") == "p"
    assert Gate.open().show_value("PatientID", "00123") == "00123"
    assert Gate.open().show_value("access_token", "t") == "…"


def test_words_about_what_is_not_looked_through_cannot_be_freed_of_it() -> None:
    store = Request("POST", "https://h", "/studies", body=lambda: iter([b"DOE^JANE"]))
    dicom = (("Content-Type", "application/dicom"),)
    assert not Gate.closed().knows(store)
    assert not Gate.closed().knows(Request("POST", "https://h", "/x", headers=dicom, body=b"DICM"))
    assert Gate.open().knows(store)
    for known in (SEARCH, Request("POST", "https://h", "/x", body=b'{"a": 1}')):
        assert Gate.closed().knows(known)


@pytest.mark.parametrize("uid", ["1.1.1", "2.25.329800735698586629295641978511506172918"])
def test_short_uids_are_kept_back_too(uid: str) -> None:
    assert uid not in Gate.closed().scrub(f"Instance {uid} is bad", SEARCH)
