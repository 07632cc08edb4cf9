"""Statements over servers with names of their own, kept answers, and the budget of bytes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dicomsql import cli
from dicomsql.config import Settings
from dicomsql.connections import Connection, Login
from dicomsql.errors import BudgetError, PlanningError
from dicomsql.result import Statistics
from dicomsql.session import Session


class Pacs(BaseHTTPRequestHandler):
    """Has one study, whose patient is the first segment of the path."""

    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, str]]

    def do_GET(self) -> None:
        place = self.path.partition("?")[0]
        self.seen.append((f"{self.command} {place}", self.headers.get("authorization", "")))
        study = {
            "0020000D": {"vr": "UI", "Value": ["1.2.3"]},
            "00100020": {"vr": "LO", "Value": [place.split("/")[1]]},
        }
        last = "offset" in self.path and "offset=0" not in self.path
        body = json.dumps([] if last else [study]).encode()
        self.send_response(200)
        self.send_header("content-type", "application/dicom+json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_DELETE = do_GET

    def log_message(self, *args: object) -> None:
        pass


Seen = list[tuple[str, str]]


@pytest.fixture
def pacs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[str, Seen]]:
    """The URL of a server, and what it was asked."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "kept"))
    seen: Seen = []
    handler = type("Handler", (Pacs,), {"seen": seen})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", seen
    server.shutdown()
    thread.join()
    server.server_close()


def connections(url: str) -> dict[str, Connection]:
    basic, bearer = Login("basic", "ann", "p"), Login("bearer", secret="t")
    return {
        "north": Connection("north", "dicomweb.orthanc", f"{url}/n", basic),
        "south": Connection("south", "dicomweb.standard", f"{url}/s", bearer),
    }


def run(session: Session, text: str) -> tuple[list[dict[str, object]], Statistics]:
    (statement,) = session.parse(text)
    result = session.execute(statement)
    rows = [row for batch in result.batches() for row in batch.to_pylist()]
    return rows, result.statistics


JOIN = """
    SELECT a.PatientID AS first, b.PatientID AS second
    FROM dicomweb.north.studies AS a JOIN dicomweb.south.studies AS b USING (StudyInstanceUID)
"""


@pytest.mark.parametrize("place", ["nowhere", "endpoint", "local"])
def test_two_servers_in_one_statement(pacs: tuple[str, Seen], tmp_path: Path, place: str) -> None:
    """Each is asked as its own user, wherever the session itself is."""
    url, seen = pacs
    settings = {
        "nowhere": Settings(connections=connections(url)),
        "endpoint": Settings(connections=connections(url), endpoint=f"{url}/x", token="other"),
        "local": Settings(connections=connections(url), local=tmp_path / "emulator"),
    }[place]
    with Session(settings) as session:
        assert run(session, JOIN)[0] == [{"first": "n", "second": "s"}]
    assert {(call.split("/")[1], who) for call, who in seen} == {
        ("n", "Basic YW5uOnA="),
        ("s", "Bearer t"),
    }


def test_a_chosen_connection_is_the_service_itself(pacs: tuple[str, Seen]) -> None:
    url, seen = pacs
    with Session(Settings(connections=connections(url), connection="north")) as session:
        rows, _ = run(session, "SELECT PatientID FROM dicomweb.orthanc.studies")
    assert rows == [{"PatientID": "n"}]
    assert {who for _, who in seen} == {"Basic YW5uOnA="}


def test_answers_are_kept_where_that_is_asked_for(
    pacs: tuple[str, Seen], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url, _ = pacs
    query = "SELECT PatientID FROM dicomweb.north.studies"
    with Session(Settings(connections=connections(url))) as session:
        assert run(session, query)[1].from_cache == 0
        assert not (tmp_path / "kept" / "dicomsql" / "answers").exists()
        run(session, "SET cache = '10m'")
        _, first = run(session, query)
        rows, second = run(session, query)
        assert rows == [{"PatientID": "n"}]
        assert first.requests > 0
        assert (first.from_cache, second.requests) == (0, 0)
        assert second.from_cache == first.requests
        lines = [str(row["plan"]) for row in run(session, f"EXPLAIN ANALYZE {query}")[0]]
        assert any(line.startswith("  cached") for line in lines)
        (read,) = (line for line in lines if line.startswith("  read"))
        assert read.startswith("  read      dicomweb.north.studies: 0 requests, 1 row, 0 bytes, ")
        assert read.endswith(" from the cache")
    # Another process finds them too; another user does not.
    with Session(Settings(connections=connections(url), cache=600)) as session:
        assert run(session, query)[1].requests == 0
        run(session, "SET cache = 'off'")
        assert run(session, query)[1].from_cache == 0
        run(session, "RESET cache")
        assert run(session, query)[1].requests == 0
        with pytest.raises(PlanningError, match="SET cache takes an age"):
            run(session, "SET cache = 'soon'")
    login = Login("basic", "bob", "p")
    other = {"north": Connection("north", "dicomweb.orthanc", f"{url}/n", login)}
    with Session(Settings(connections=other, cache=600)) as session:
        assert run(session, query)[1].from_cache == 0
    assert cli.main(["cache", "info"]) == 0
    assert cli.main(["cache", "clear"]) == 0
    assert cli.main(["cache", "info"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].split(" in ")[0] == told[1].removeprefix("removed ").split(" from ")[0]
    assert told[2].startswith("0 answers of 0 bytes in ")


def test_a_write_asks_and_empties_what_was_kept(pacs: tuple[str, Seen]) -> None:
    url, seen = pacs
    query = "SELECT StudyInstanceUID FROM dicomweb.east.studies WHERE PatientID = 'e'"
    east = Connection("east", "dicomweb.dcm4chee", f"{url}/e")
    with Session(Settings(connections={"east": east}, cache=600, yes=True)) as session:
        run(session, query)
        assert run(session, query)[1].requests == 0
        before = len(seen)
        run(session, "DELETE FROM dicomweb.east.studies WHERE PatientID = 'e'")
        # It looks for its rows anew, however young what was kept of them.
        done = [call for call, _ in seen[before:]]
        assert done[0].startswith("GET /e/studies")
        assert "DELETE /e/studies/1.2.3" in done
        assert run(session, query)[1].from_cache == 0


def test_a_statement_may_receive_so_much_and_no_more(pacs: tuple[str, Seen]) -> None:
    url, _ = pacs
    with Session(Settings(connections=connections(url), max_bytes=1_000_000)) as session:
        received = run(session, JOIN)[1].bytes_received
        run(session, "SET max_bytes = '0.01kB'")
        with pytest.raises(PlanningError, match="SET max_bytes: it must be a number of bytes"):
            run(session, "SET max_bytes = '10 apples'")
        with pytest.raises(BudgetError, match=r"it may receive 10\. .* SET max_bytes"):
            run(session, JOIN)
        run(session, f"SET max_bytes = {received}")
        assert run(session, JOIN)[1].bytes_received == received


def test_a_password_is_asked_for_or_told(
    pacs: tuple[str, Seen], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url, seen = pacs
    command = ["exec", "--endpoint", f"{url}/n", "--user", "ann"]
    command.append("SELECT PatientID FROM dicomweb.orthanc.studies")
    assert cli.main(command) == 2
    assert "DICOMSQL_PASSWORD" in capsys.readouterr().err
    assert seen == []
    monkeypatch.setenv("DICOMSQL_PASSWORD", "p")
    assert cli.main(command) == 0
    assert {who for _, who in seen} == {"Basic YW5uOnA="}
    monkeypatch.delenv("DICOMSQL_PASSWORD")
    monkeypatch.setattr("dicomsql.cli.console.Console.interactive", True)
    monkeypatch.setattr("getpass.getpass", lambda prompt: "q" if "ann" in prompt else "")
    assert cli.main(command) == 0
    assert seen[-1][1] == "Basic YW5uOnE="
