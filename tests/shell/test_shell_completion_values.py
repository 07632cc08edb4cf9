"""Values that servers list for the prompt: behind its back, never a patient's, at no one's cost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.completion import Completion as Completed
from prompt_toolkit.document import Document
from tests.conftest import PLACE

from dicomsql.catalog.load import Catalog
from dicomsql.config import Settings
from dicomsql.session import Session
from dicomsql.shell.completion import Completion

STORES = "SELECT * FROM google.healthcare.dicom_stores WHERE "
ASKED = CompleteEvent(completion_requested=True)


def at_once(completion: Completion, text: str) -> list[Completed]:
    """What is offered now, before anything that is asked for is there."""
    return list(completion.get_completions(Document(text), ASKED))


def offered(completion: Completion, text: str) -> list[str]:
    """What is offered once all that is asked for is there."""
    at_once(completion, text)
    assert completion.settle(30)
    return [c.text for c in at_once(completion, text)]


@contextmanager
def completing(settings: Settings) -> Iterator[Completion]:
    with Session(settings) as session:
        completion = Completion(session, lambda: session.defaults)
        try:
            yield completion
        finally:
            completion.close()


@dataclass
class Server:
    """A server that answers with what it is told, and keeps what it was asked for."""

    url: str = ""
    status: int = 200
    body: bytes = b"{}"
    paths: list[str] = field(default_factory=list)
    asked: threading.Event = field(default_factory=threading.Event)
    goes_on: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.paths.append(self.path.partition("?")[0])
            made.asked.set()
            assert made.goes_on.wait(30)
            self.send_response(made.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(made.body)))
            self.end_headers()
            self.wfile.write(made.body)

        def log_message(self, *_: object) -> None:
            pass

    made.goes_on.set()
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    yield made
    made.goes_on.set()
    http.shutdown()
    http.server_close()
    thread.join()


def test_places_are_listed_by_what_the_statement_has_bound(filled_root: Path) -> None:
    with completing(Settings(local=filled_root)) as completion:
        assert offered(completion, f"{STORES}projectsId = '") == ["p'"]
        text = f"{STORES}projectsId = 'p' AND locationsId = "
        assert "'us-central1'" in offered(completion, text)
        text = f"{STORES}projectsId = 'p' AND locationsId = 'us-central1' AND datasetsId IN ('"
        assert offered(completion, text) == ["d'"]
        whole = (
            "SELECT * FROM google.healthcare.studies WHERE dicomStoresId = '| "
            "AND projectsId = 'p' AND locationsId = 'us-central1' AND datasetsId = 'd'"
        )
        document = Document(whole.replace("|", ""), whole.index("|"))
        list(completion.get_completions(document, ASKED))
        assert completion.settle(30)
        (store,) = completion.get_completions(document, ASKED)
        assert (store.text, store.display_meta_text) == ("s'", "dicom stores")


@pytest.mark.parametrize(
    "text",
    [
        "EXEC google.healthcare.dicom_stores.list @datasetsId = '",
        "SET datasetsId = '",
        "COPY google.healthcare.instances FROM 'x' (datasetsId '",
        "INSERT INTO google.healthcare.dicom_stores (dicomStoreId, datasetsId) VALUES ('x', '",
        "DELETE FROM google.healthcare.dicom_stores WHERE datasetsId = '",
        "\\defaults dataset=",
        "\\set datasetsId ",
    ],
)
def test_they_are_offered_wherever_a_place_is_named(filled_root: Path, text: str) -> None:
    settings = Settings(local=filled_root, project="p", location="us-central1")
    with completing(settings) as completion:
        assert offered(completion, text) == ["d" if text.startswith("\\") else "d'"]


def test_nothing_is_asked_for_without_a_place(server: Server) -> None:
    with completing(Settings(endpoint=server.url)) as completion:
        for column in ("locationsId", "datasetsId", "dicomStoresId"):
            assert offered(completion, f"{STORES}{column} = '") == []
    assert server.paths == []


def test_nothing_of_a_patient_is_asked_for(server: Server) -> None:
    """For no parameter of any resource, even where all others have values."""
    offering: set[str] = set()
    with completing(Settings(endpoint=server.url)) as completion:
        catalog = Catalog.open()
        for provider in catalog.providers():
            for entry in catalog.entries(provider.name):
                for name in catalog.service(provider.name, entry.name).resource_names:
                    resource = catalog.resource(provider.name, entry.name, name)
                    if resource.offered:
                        assert resource.dicom is None
                        offering.add(resource.full_name)
                    names = {p.name for m in resource.for_verb("select") for p in m.parameters}
                    for one in names:
                        said = [f"{other} = 'x'" for other in sorted(names - {one})]
                        where = " AND ".join([*said, f"{one} = '"])
                        at_once(completion, f"SELECT * FROM {resource.full_name} WHERE {where}")
        assert completion.settle(60)
    assert server.paths
    ends = {path.rsplit("/", 1)[1] for path in server.paths}
    assert ends == {
        *("locations", "datasets", "dicomStores", "fhirStores", "hl7V2Stores", "consentStores"),
        *("topics", "subscriptions", "b", "tables", "projects", "projects:search"),
    }
    assert offering == {
        *(
            f"google.healthcare.{name}"
            for name in ("locations", "datasets", "dicom_stores", "fhir_stores", "hl7_v2_stores")
        ),
        *("google.healthcare.consent_stores", "google.pubsub.topics", "google.storage.buckets"),
        *("google.pubsub.subscriptions", "google.bigquery.datasets", "google.bigquery.tables"),
        "google.cloudresourcemanager.projects",
    }


def test_a_list_is_asked_for_once_and_kept(server: Server) -> None:
    server.body = b'{"datasets": [{"name": "projects/p/locations/l/datasets/one"}]}'
    server.goes_on.clear()
    text = "SELECT * FROM google.healthcare.studies WHERE datasetsId = '"
    with completing(Settings(endpoint=server.url, project="p", location="l")) as completion:
        for _ in range(5):
            assert at_once(completion, text) == []
        assert server.asked.wait(30)
        assert at_once(completion, text) == []
        server.goes_on.set()
        assert completion.settle(30)
        for _ in range(5):
            assert [c.text for c in at_once(completion, text)] == ["one'"]
        assert server.paths == ["/v1/projects/p/locations/l/datasets"]
        completion.refresh()
        assert offered(completion, text) == ["one'"]
        assert len(server.paths) == 2


def test_a_refusal_is_told_in_the_menu_and_nowhere_else(
    server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    server.status = 403
    server.body = b'{"error": {"code": 403, "message": "secret words of the server"}}'
    with completing(Settings(endpoint=server.url, project="p", location="l")) as completion:
        text = "SELECT * FROM google.healthcare.studies WHERE datasetsId = 'ab"
        at_once(completion, text)
        assert completion.settle(30)
        (told,) = at_once(completion, text)
        assert told.display_meta_text == "datasets cannot be listed: 403"
        # Taking it changes nothing.
        assert (told.text, told.start_position) == ("ab", -2)
        assert len(server.paths) == 1
    assert capfd.readouterr() == ("", "")


def test_closing_ends_a_call_that_is_on_its_way(server: Server) -> None:
    server.goes_on.clear()
    with completing(Settings(endpoint=server.url, project="p", location="l")) as completion:
        at_once(completion, f"{STORES}datasetsId = '")
        assert server.asked.wait(30)
        completion.close()
        assert not [t for t in threading.enumerate() if t.name == "dicomsql-completion"]
        # It is over for good.
        assert at_once(completion, f"{STORES}datasetsId = '") == []


def test_a_write_of_the_session_makes_lists_old(tmp_path: Path) -> None:
    with Session(Settings(local=tmp_path, project="p", location="us-central1")) as session:
        completion = Completion(session, lambda: session.defaults)
        (insert,) = session.parse("INSERT INTO google.healthcare.datasets (datasetId) SELECT ?")
        session.execute(insert, ["first"])
        text = f"{STORES}datasetsId = '"
        assert offered(completion, text) == ["first'"]
        session.execute(insert, ["second"])
        # What was known stands there until more is.
        assert [c.text for c in at_once(completion, text)] == ["first'"]
        assert completion.settle(30)
        assert [c.text for c in at_once(completion, text)] == ["first'", "second'"]
        completion.close()


def test_nobody_is_told_how_far_it_is_and_no_statement_pays(filled_root: Path) -> None:
    told: list[object] = []
    settings = Settings(local=filled_root, **PLACE, max_calls=1)
    with Session(settings, progress=told.append) as session:
        completion = Completion(session, lambda: session.defaults)
        (query,) = session.parse("SELECT StudyInstanceUID FROM google.healthcare.studies")
        result = session.execute(query)
        assert offered(completion, f"{STORES}datasetsId = '") == ["d'"]
        assert sum(batch.num_rows for batch in result.batches()) == 5
        assert result.statistics.requests == 1
        completion.close()
    assert told == []


def test_local_tables_and_functions_come_from_the_engine(tmp_path: Path) -> None:
    with Session(Settings(local=tmp_path)) as session:
        completion = Completion(session, lambda: session.defaults)

        def run(text: str) -> None:
            for statement in session.parse(text):
                session.execute(statement)

        # Typing starts no engine.
        at_once(completion, "SELECT * FROM ")
        assert session.local_version is None
        run('CREATE TABLE Mine AS SELECT 1 AS first, 2 AS "a b"; CREATE VIEW seen AS SELECT 1 AS x')
        assert offered(completion, "SELECT * FROM mi")[0] == "Mine"
        assert offered(completion, "SELECT * FROM ")[:2] == ["Mine", "seen"]
        text = "SELECT "
        document = Document(f"{text} FROM mine", len(text))
        names = [c.text for c in completion.get_completions(document, ASKED)]
        assert names[:2] == ["first", '"a b"']
        run("DROP TABLE Mine")
        assert "Mine" not in offered(completion, "SELECT * FROM ")
        assert offered(completion, "SELECT date_tr")[0] == "date_trunc("
        assert "read_parquet(" in offered(completion, "SELECT * FROM read_")
        completion.close()


def test_tables_of_a_database_file_are_known_from_the_start(tmp_path: Path) -> None:
    file = tmp_path / "own.duckdb"
    with Session(Settings(local=tmp_path / "root", database=file)) as session:
        (create,) = session.parse("CREATE TABLE kept AS SELECT 1 AS one")
        session.execute(create)
    with completing(Settings(local=tmp_path / "root", database=file)) as completion:
        assert offered(completion, "SELECT * FROM ")[0] == "kept"


def test_what_is_asked_for_comes_while_a_statement_runs(filled_root: Path) -> None:
    """The engine is busy for long, and the session's lists are asked for beside it."""
    settings = Settings(local=filled_root, project="p", location="us-central1")
    with Session(settings) as session:
        completion = Completion(session, lambda: session.defaults)
        (query,) = session.parse("SELECT count(*) FROM range(10_000_000_000) a, range(1000) b")
        running = threading.Thread(target=_until_cancelled, args=(lambda: session.execute(query),))
        running.start()
        assert offered(completion, f"{STORES}datasetsId = '") == ["d'"]
        session.cancel()
        running.join()
        completion.close()


def _until_cancelled(run: Callable[[], object]) -> None:
    from dicomsql.errors import CancelledError

    try:
        result = run()
        list(result.batches())  # type: ignore[attr-defined]
    except CancelledError:
        return
