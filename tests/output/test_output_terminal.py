"""Rows, pages and progress on a real terminal: first rows at once, less, Ctrl-C, resizing."""

from __future__ import annotations

import json
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from terminal import Terminal

PARENT = "projects/p/locations/l/datasets/d"
# Pages of stores, so many each.
SIZE = 50

QUERY = (
    "SELECT name, labels FROM google.healthcare.dicom_stores "
    "WHERE projectsId = 'p' AND locationsId = 'l' AND datasetsId = 'd';"
)


class Server(ThreadingHTTPServer):
    """A list of DICOM stores in pages; those from `held` on wait until `release` is set."""

    daemon_threads = True

    def __init__(self, pages: int, held: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages, self.held = pages, held
        self.release = threading.Event()
        self.asked = 0

    def handle_error(self, *_: object) -> None:
        """Calls are broken off."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        server = self.server
        server.asked += 1
        page = int(parse_qs(urlsplit(self.path).query).get("pageToken", ["0"])[0])
        if page >= server.held:
            server.release.wait(60)
        names = [f"{PARENT}/dicomStores/store-{page * SIZE + n:05}" for n in range(SIZE)]
        body: dict[str, object] = {"dicomStores": [{"name": name} for name in names]}
        if page + 1 < server.pages:
            body["nextPageToken"] = str(page + 1)
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def serving(pages: int, held: int = 1_000_000) -> Iterator[tuple[Server, list[str]]]:
    """A server, and the options with which it is used."""
    server = Server(pages, held)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server, ["--anonymous", "--endpoint", f"http://127.0.0.1:{server.server_port}"]
    finally:
        server.release.set()
        server.shutdown()
        server.server_close()
        thread.join()


def test_first_rows_are_there_while_the_next_are_waited_for(tmp_path: Path) -> None:
    with (
        serving(3, held=1) as (server, options),
        Terminal(["exec", *options, QUERY], home=tmp_path, columns=70, rows=70) as terminal,
    ):
        terminal.wait_for("store-00049")
        terminal.wait_for_pattern(r"\n50 rows, 1 request, [\d.]+ kB.*, 0:\d\d")
        assert "store-00050" not in terminal.text()
        server.release.set()
        assert terminal.wait() == 0
        text = "\n".join(terminal.all_lines())
        assert text.count("dicomStores/store-") == 150
        assert "1 request" not in text
        assert "(150 rows)" in text


@pytest.mark.skipif(shutil.which("less") is None, reason="there is no less to page with")
def test_pages_are_fetched_as_less_scrolls(tmp_path: Path) -> None:
    less = {"PAGER": "less", "LESS": "-RSX"}
    with (
        serving(400) as (server, options),
        Terminal(["shell", *options], home=tmp_path, columns=60, environment=less) as terminal,
    ):
        terminal.wait_for("dicomsql>")
        terminal.type(f"{QUERY}\r")
        # Too wide for the screen: less cuts it, and scrolls sideways.
        terminal.wait_for("store-00020")
        terminal.wait_for_pattern(r"\n:$")
        asked = server.asked
        assert asked < 100
        terminal.type("500\r")
        terminal.wait_for("store-00500")
        terminal.type("\x1b)")
        terminal.wait_until(lambda: "projects/" not in terminal.text(), "less to scroll sideways")
        terminal.type("q")
        terminal.wait_for("dicomsql>")
        assert server.asked < 300
        assert "error" not in terminal.text()


@pytest.mark.skipif(shutil.which("less") is None, reason="there is no less to page with")
def test_ctrl_c_in_less_ends_the_statement_and_not_the_shell(tmp_path: Path) -> None:
    less = {"PAGER": "less", "LESS": "-RSX"}
    with (
        serving(400, held=2) as (_, options),
        Terminal(["shell", *options], home=tmp_path, environment=less) as terminal,
    ):
        terminal.wait_for("dicomsql>")
        terminal.type(f"{QUERY}\r")
        terminal.wait_for("store-00020")
        terminal.type("G")
        terminal.press("c-c")

        def is_at_the_end() -> bool:
            # less drops what was typed before a Ctrl-C that it has not seen yet.
            terminal.type("G")
            return "-- stopped here" in terminal.text()

        terminal.wait_until(is_at_the_end, "the end of the rows in less")
        terminal.type("q")
        terminal.wait_for("dicomsql>")
        terminal.type("SELECT 40 + 2 AS answer;\r")
        terminal.wait_for_pattern(r"\b42\b")


def test_the_next_result_has_the_new_width(tmp_path: Path) -> None:
    query = "SELECT 'left' AS a_first_column, 'right' AS a_second_column;"
    with (
        serving(1) as (_, options),
        Terminal(["shell", *options], home=tmp_path, columns=100) as terminal,
    ):
        terminal.wait_for("dicomsql>")
        terminal.type(f"{query}\r")
        terminal.wait_for_pattern(r"\nleft +\| right")
        terminal.resize(20, 30)
        terminal.type(f"{query}\r")
        terminal.wait_for_pattern(r"\na_first_column\n +left\n")


@pytest.mark.parametrize(
    ("environment", "null"), [({"TERM": "dumb"}, b"NULL"), ({}, b"\x1b[2;3mNULL\x1b[0m")]
)
def test_null_is_told_by_its_color_where_there_are_colors(
    tmp_path: Path, environment: dict[str, str], null: bytes
) -> None:
    arguments = ["exec", "SELECT NULL AS a, 'NULL' AS b"]
    with Terminal(arguments, home=tmp_path, environment=environment) as terminal:
        terminal.wait_for("(1 row)")
        assert null in terminal.output
        assert b"'NULL'" in terminal.output
        assert (b"\x1b" in terminal.output) is (b"\x1b" in null)


def test_a_reader_of_a_table_may_go_away(tmp_path: Path) -> None:
    command = 'python=$0; $python -m dicomsql exec -o table "$1" | head -n 1; echo ${PIPESTATUS[*]}'
    query = "SELECT * FROM range(1000000)"
    program = ["bash", "-c", command, sys.executable, query]
    with Terminal(home=tmp_path, program=program) as terminal:
        terminal.wait_for("141 0")
        assert "rror" not in terminal.text()
