"""`dicomsql provider`: what there is, what is wrong in a document, and documents made of others."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from dicomsql.cli import main

Capture = pytest.CaptureFixture[str]

ITEMS = [{"id": "a", "size": 1}, {"id": "b"}]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        found = {"/lists": ITEMS, "/lists/a": ITEMS[0], "/v1/rooms": {"rooms": ITEMS}}[self.path]
        body = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{made.server_port}"
        made.shutdown()
        thread.join()


OPENAPI = """\
openapi: 3.1.0
info: {title: Worklists, version: "1"}
paths:
  /lists:
    get:
      operationId: listLists
      responses:
        200:
          content:
            application/json: {schema: {type: array, items: {$ref: '#/components/schemas/Item'}}}
    post:
      operationId: createList
      requestBody: {$ref: '#/components/requestBodies/Item'}
      responses: {201: {description: made}}
  /lists/{id}:
    parameters: [{$ref: '#/components/parameters/id'}]
    get:
      responses:
        200: {content: {application/json: {schema: {$ref: '#/components/schemas/Item'}}}}
    delete: {responses: {204: {description: gone}}}
  /v1/rooms:
    get:
      responses:
        200: {content: {application/json: {schema: {$ref: '#/components/schemas/Rooms'}}}}
  /beds:
    get:
      parameters: [{name: page, in: query, schema: {type: integer}}]
      responses:
        200: {content: {application/json: {schema: {$ref: '#/components/schemas/Rooms'}}}}
  /pictures: {get: {responses: {200: {content: {image/png: {}}}}}}
components:
  parameters: {id: {name: id, in: path, required: true, schema: {type: string}}}
  requestBodies:
    Item: {content: {application/json: {schema: {$ref: '#/components/schemas/Item'}}}}
  schemas:
    Item: {type: object, properties: {id: {type: string}, size: {type: [integer, 'null']}}}
    Rooms:
      type: object
      properties: {rooms: {type: array, items: {$ref: '#/components/schemas/Item'}}}
"""


@pytest.fixture
def registry(tmp_path: Path, capsys: Capture) -> Path:
    """The documents made of that one."""
    source = tmp_path / "openapi.yaml"
    source.write_text(OPENAPI)
    root = tmp_path / "registry"
    built = ["provider", "build", str(source), "--name", "his.work", "--into", str(root)]
    assert main(built) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2
    assert [line.split(": ")[1] for line in err.splitlines()] == [
        "the document names no server",
        "GET /beds",
        "GET /pictures",
    ]
    assert main(built) == 2
    assert "is there already" in capsys.readouterr().err
    return root


def test_rows_of_what_was_built(registry: Path, server: str, capsys: Capture) -> None:
    asked = ["exec", "--endpoint", server, "--providers", str(registry), "-o", "jsonl"]
    assert main([*asked, "SELECT * FROM his.work.lists; SELECT size FROM his.work.rooms"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows == [{"id": "a", "size": 1}, {"id": "b", "size": None}, {"size": 1}, {"size": None}]
    assert main([*asked, "SELECT id FROM his.work.lists WHERE id = 'a'"]) == 0
    assert capsys.readouterr().out == '{"id":"a"}\n'
    # A page of beds would look like all of them; a deletion is not sent unasked.
    assert main([*asked, "SELECT * FROM his.work.beds"]) == 1
    assert main([*asked, "DELETE FROM his.work.lists WHERE id = 'a'"]) == 1
    assert main([*asked, "EXEC his.work.lists.delete @id = 'a'"]) == 1
    assert capsys.readouterr().err.count("Allow exactly this with") == 2


def test_list_and_show(registry: Path, capsys: Capture) -> None:
    assert main(["provider", "list"]) == 0
    out = capsys.readouterr().out
    assert "dicomweb  v00.00.00000  DICOMweb (comes with dicomsql)\n  standard" in out
    assert main(["provider", "list", "--json", "--providers", str(registry)]) == 0
    listed = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert listed["his"]["from"] == str(registry)
    assert [service["name"] for service in listed["his"]["services"]] == ["work"]
    assert main(["provider", "show", "his.work", "--providers", str(registry)]) == 0
    assert "lists     SELECT, DELETE, EXEC\n" in capsys.readouterr().out
    assert main(["provider", "show", "google.healthcare.locations"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == [
        "get  SELECT  GET /v1/projects/{projectsId}/locations/{locationsId}",
        "  required: projectsId, locationsId",
    ]
    assert main(["provider", "show", "google.helthcare"]) == 2
    assert "Did you mean healthcare?" in capsys.readouterr().err


def test_check(registry: Path, capsys: Capture, tmp_path: Path) -> None:
    assert main(["provider", "check", str(registry)]) == 0
    assert capsys.readouterr().out.count(": right\n") == 2
    service = next(registry.rglob("work.yaml"))
    document = yaml.safe_load(service.read_text())
    del document["paths"]["/lists/{id}"]["get"]["parameters"]
    service.write_text(yaml.safe_dump(document))
    assert main(["provider", "check", str(service), str(registry)]) == 1
    out = capsys.readouterr().out
    assert f"wrong: {service}#/paths/~1lists~1{{id}}/get: the path holds {{id}}" in out
    assert main(["provider", "check", str(tmp_path / "none.yaml")]) == 1
    assert "cannot be read" in capsys.readouterr().out
    service.write_text("a: [")
    assert main(["provider", "check", str(service)]) == 1
    assert "no YAML" in capsys.readouterr().out


def test_a_discovery_document_is_built(tmp_path: Path, capsys: Capture) -> None:
    import googleapiclient

    documents = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents"
    source, root = documents / "pubsub.v1.json", tmp_path / "r"
    built = ["provider", "build", str(source), "--name", "g.pubsub", "--into", str(root)]
    assert main(built) == 0
    assert main(["provider", "check", str(root)]) == 0
    capsys.readouterr()
    assert main(["provider", "show", "g.pubsub.topics", "--json", "--providers", str(root)]) == 0
    methods = {m["name"]: m for m in json.loads(capsys.readouterr().out)}
    assert methods["list"]["verb"] == "select"
    assert methods["publish"]["verb"] == "exec"
    assert methods["delete"]["required"] == ["projectsId", "topicsId"]


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("swagger: '2.0'", "a.b", "neither an OpenAPI 3 document nor"),
        ("openapi: 3.0.0\npaths: {}", "a.b", "has no operation"),
        ("openapi: 3.0.0\npaths: {}", "a", "the provider and the service"),
        ("openapi: 3.0.0\npaths: {}", "a.b-c", "is no name"),
        (
            "openapi: 3.0.0\npaths: {/x: {get: {parameters: [{$ref: '#/y'}]}}}",
            "a.b",
            "nothing is at '#/y'",
        ),
    ],
)
def test_what_cannot_be_built(
    tmp_path: Path, capsys: Capture, text: str, name: str, said: str
) -> None:
    source = tmp_path / "x.yaml"
    source.write_text(text)
    into = tmp_path / "r"
    assert main(["provider", "build", str(source), "--name", name, "--into", str(into)]) in {1, 2}
    assert said in capsys.readouterr().err
    assert not into.exists()
