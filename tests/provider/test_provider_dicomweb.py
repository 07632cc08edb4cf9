"""The documents of DICOMweb servers: what they promise, and that calls made by them are right."""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from dicomsql.catalog.load import Catalog
from dicomsql.catalog.model import DicomTable, OffsetPaging
from dicomsql.config import Settings
from dicomsql.connections import Connection
from dicomsql.dicom.tags import lookup
from dicomsql.errors import InterfaceError
from dicomsql.planning.read_plan import ReadPlan
from dicomsql.session import Session

REPOSITORY = Path(__file__).resolve().parents[2]
SERVICES = ("standard", "orthanc", "dcm4chee")
LEVELS = ("study", "series", "instance")


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return Catalog.open(cache=tmp_path_factory.mktemp("compiled"))


def table(catalog: Catalog, service: str, resource: str) -> DicomTable:
    found = catalog.resource("dicomweb", service, resource).dicom
    assert found is not None
    return found


def matches(found: DicomTable) -> dict[str, tuple[str, ...]]:
    return {a.keyword: a.match for a in found.attributes if a.match}


# -- what the documents say ----------------------------------------------------------------------


def test_resources_are_named_as_google_s(catalog: Catalog) -> None:
    google = set(catalog.service("google", "healthcare").resource_names)
    for name in SERVICES:
        service = catalog.service("dicomweb", name)
        assert set(service.resource_names) <= google
        for resource in service.resource_names:
            methods = catalog.resource("dicomweb", name, resource).methods.values()
            parameters = {p for m in methods for p in m.path_parameters}
            assert parameters <= {
                "studiesId",
                "seriesId",
                "instancesId",
                "framesId",
                "rejectionsId",
            }
            assert all(m.servers == () for m in methods)
    assert catalog.provider("dicomweb").auth == "none"


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("level", LEVELS)
def test_what_a_search_is_said_to_return_and_match(
    catalog: Catalog, service: str, level: str
) -> None:
    names = {"study": "studies", "series": "series", "instance": "instances"}
    found = table(catalog, service, names[level])
    assert (found.level, found.source, found.include_any) == (level, "search", False)
    assert found.split == "StudyDate"
    assert found.fuzzy == ("", "")
    for attribute in found.attributes:
        tag = lookup(attribute.keyword)
        assert tag is not None, attribute.keyword
        assert LEVELS.index(tag.level) <= LEVELS.index(level), attribute.keyword
        # A sequence or a long text is cut or left out by some server or other.
        assert tag.vr not in {"SQ", "LT", "ST", "UT", "UC"}
        if "range" in attribute.match:
            assert tag.vr == "DA"
        if "wildcard" in attribute.match:
            assert tag.vr in {"LO", "SH", "CS"}
        if tag.vr in {"IS", "DS", "US", "TM"}:
            assert not attribute.match, attribute.keyword


def test_the_standard_s_server_is_not_asked_for_more_than_it_must_give(catalog: Catalog) -> None:
    for name in ("studies", "series", "instances"):
        found = table(catalog, "standard", name)
        own = [a.keyword for a in found.attributes if a.returned == "default"]
        # What SELECT * shows costs no further call.
        assert set(own) >= {a.keyword for a in found.attributes if a.usual} - {
            "StudyInstanceUID",
            "SeriesInstanceUID",
        }
    assert matches(table(catalog, "standard", "studies")) == {
        "StudyInstanceUID": ("exact",),
        "StudyDate": ("exact", "range"),
        "StudyID": ("exact",),
        "AccessionNumber": ("exact",),
        "PatientID": ("exact",),
        "ModalitiesInStudy": ("exact",),
    }
    series = table(catalog, "standard", "series")
    assert "ModalitiesInStudy" not in {a.keyword for a in series.attributes}


def test_pages_are_walked_as_each_server_gives_them(catalog: Catalog) -> None:
    found = {
        name: catalog.resource("dicomweb", name, "instances").methods["search"].paging
        for name in SERVICES
    }
    assert found == {
        "standard": OffsetPaging("limit", "offset", 1000, 0, capped=True),
        "orthanc": OffsetPaging("limit", "offset", 5000, 0, capped=False),
        "dcm4chee": OffsetPaging("limit", "offset", 5000, 99_999, capped=True),
    }


def test_what_servers_do_otherwise(catalog: Catalog) -> None:
    orthanc = table(catalog, "orthanc", "series")
    assert matches(orthanc)["Modality"] == ("exact", "list", "wildcard")
    assert "PatientName" not in matches(orthanc)
    assert orthanc.include_all == ""
    assert orthanc.sendable == table(catalog, "standard", "series").sendable
    assert re.fullmatch(orthanc.sendable, "A-1*")
    assert not re.fullmatch(orthanc.sendable, "A 1")
    assert table(catalog, "dcm4chee", "series").sendable == ""
    chee = catalog.resource("dicomweb", "dcm4chee", "studies")
    assert matches(table(catalog, "dcm4chee", "studies"))["PatientName"] == ("exact",)
    assert [m.name for m in chee.for_verb("delete")] == ["delete"]
    consents = {m.name: m.consent.kind for m in chee.methods.values() if m.consent}
    assert consents == {"delete": "destructive", "reject": "destructive"}
    for name in ("standard", "orthanc"):
        assert not catalog.resource("dicomweb", name, "studies").for_verb("delete")
    # Where a server may lack a path, its 404 must not be taken for an empty study.
    assert "search_in_study" not in catalog.resource("dicomweb", "standard", "instances").methods
    assert "search_in_study" in catalog.resource("dicomweb", "orthanc", "instances").methods


def test_an_overlay_takes_away_only_what_is_there() -> None:
    sys.path.insert(0, str(REPOSITORY))
    try:
        from scripts.dicomweb_documents import laid_over
    finally:
        sys.path.remove(str(REPOSITORY))
    base = {"a": {"b": [1], "c": 2}, "d": 3}
    assert laid_over(base, {"a": {"b": [4], "c": None}, "e": 5}) == {
        "a": {"b": [4]},
        "d": 3,
        "e": 5,
    }
    assert base["a"] == {"b": [1], "c": 2}
    with pytest.raises(ValueError, match="has no f"):
        laid_over(base, {"a": {"f": None}})


# -- the page of what differs --------------------------------------------------------------------


def test_the_page_says_what_the_documents_say(catalog: Catalog) -> None:
    page = (REPOSITORY / "docs" / "dicomweb.md").read_text("utf-8")
    for line in _difference_lines(catalog):
        assert line in page, line


def _difference_lines(catalog: Catalog) -> Iterator[str]:
    def row(name: str, values: list[str]) -> str:
        return f"| {name} | {' | '.join(values)} |"

    searches = [catalog.resource("dicomweb", s, "instances").methods["search"] for s in SERVICES]
    paging = [m.paging for m in searches if isinstance(m.paging, OffsetPaging)]
    yield row("results asked for at a time", [f"{p.max_limit:,}" for p in paging])
    yield row("largest offset", [f"{p.max_offset:,}" if p.max_offset else "none" for p in paging])
    yield row("a short page may not be the last", ["yes" if p.capped else "no" for p in paging])
    tables = [table(catalog, s, "instances") for s in SERVICES]
    for keyword in dict.fromkeys(k for t in tables for k in matches(t)):
        yield row(keyword, [", ".join(matches(t).get(keyword, ())) for t in tables])
    studies = [matches(table(catalog, s, "studies")) for s in SERVICES]
    yield row("ModalitiesInStudy", [", ".join(m["ModalitiesInStudy"]) for m in studies])
    deletes = [catalog.resource("dicomweb", s, "studies").for_verb("delete") for s in SERVICES]
    yield row("DELETE", ["studies" if d else "no" for d in deletes])


def test_the_page_s_statements_can_be_planned() -> None:
    page = (REPOSITORY / "docs" / "dicomweb.md").read_text("utf-8")
    texts = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    texts += re.findall(r'"(SELECT .*?)"', page, re.DOTALL)
    pacs = Connection("pacs", "dicomweb.orthanc", "http://pacs.example/dicom-web")
    with Session(Settings(connections={"pacs": pacs})) as session:
        plans = [session.plan(statement) for text in texts for statement in session.parse(text)]
    assert len(plans) == 5
    connected = [scan for p in plans if isinstance(p, ReadPlan) for scan in p.scans]
    assert {scan.base_url for scan in connected if "pacs" in scan.resource} == {pacs.endpoint}


# -- calls ---------------------------------------------------------------------------------------


class Server(ThreadingHTTPServer):
    """Answers searches from a list of pages, and keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.queries: list[str] = []
        self.bodies: list[bytes] = []
        self.studies: list[str] = []
        self.cap = 60

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/pacs/rs"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query))
        self.server.asked.append(("GET", url.path, query))
        self.server.queries.append(url.query)
        start = int(query.get("offset", "0"))
        size = min(self.server.cap, int(query.get("limit", "1000")))
        found = [
            {"0020000D": {"vr": "UI", "Value": [uid]}, "00100020": {"vr": "LO", "Value": ["P"]}}
            for uid in self.server.studies[start : start + size]
        ]
        self._answer(found)

    def do_POST(self) -> None:
        self.server.asked.append(("POST", self.path, dict(self.headers)))
        if self.headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers["content-length"]))
        self.server.bodies.append(body)
        self._answer({"00081190": {"vr": "UR", "Value": ["u"]}})

    def _answer(self, found: Any) -> None:
        body = json.dumps(found).encode() if found else b""
        self.send_response(200 if found else 204)
        self.send_header("content-type", "application/dicom+json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def rows(server: Server, sql: str) -> list[tuple[Any, ...]]:
    with Session(Settings(endpoint=server.url)) as session:
        (statement,) = session.parse(sql)
        result = session.execute(statement)
        return [tuple(r.values()) for b in result.batches() for r in b.to_pylist()]


def test_a_server_that_caps_its_pages_is_read_to_the_end(server: Server) -> None:
    server.studies = [f"1.2.{n}" for n in range(150)]
    found = rows(server, "SELECT StudyInstanceUID FROM dicomweb.standard.studies")
    assert found == [(uid,) for uid in server.studies]
    assert {path for _, path, _ in server.asked} == {"/pacs/rs/studies"}


def test_a_path_is_the_standard_s(server: Server) -> None:
    rows(server, "SELECT SOPInstanceUID FROM dicomweb.orthanc.instances WHERE studiesId = '1.2'")
    assert server.asked[0][1] == "/pacs/rs/studies/1.2/instances"


def test_a_wildcard_is_sent_bare_and_what_would_be_encoded_is_not_sent(server: Server) -> None:
    study = "SELECT StudyInstanceUID FROM dicomweb.orthanc.studies WHERE"
    rows(server, f"{study} PatientID LIKE 'A-1%'")
    rows(server, f"{study} PatientID = 'A 1'")
    rows(server, f"{study} PatientName = 'Smith^John'")
    assert server.queries[0].startswith("PatientID=A-1*&")
    assert not any(q.startswith("Patient") for q in server.queries[1:])


def test_a_file_is_stored_as_the_only_part(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "one.dcm"
    file.write_bytes(b"\0" * 128 + b"DICM rest")
    rows(server, f"EXEC dicomweb.orthanc.dicom_stores.store_instances @@file = '{file}'")
    ((_, path, headers),) = server.asked
    assert path == "/pacs/rs/studies"
    media, _, boundary = headers["Content-Type"].rpartition("boundary=")
    assert media == 'multipart/related; type="application/dicom"; '
    head = b"--" + boundary.encode() + b"\r\nContent-Type: application/dicom\r\n\r\n"
    tail = b"\r\n--" + boundary.encode() + b"--\r\n"
    assert server.bodies == [head + file.read_bytes() + tail]


def test_a_server_that_nobody_named_is_asked_for() -> None:
    with Session(Settings()) as session:
        (statement,) = session.parse("SELECT PatientID FROM dicomweb.standard.studies")
        with pytest.raises(InterfaceError, match=r"--endpoint or endpoint=, or name a connection"):
            list(session.execute(statement).batches())
