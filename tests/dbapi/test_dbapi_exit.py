"""A program that ends without closing what it opened: it ends at once, and without a word."""

from __future__ import annotations

import subprocess
import sys

import pytest

# A server whose later pages are never answered, a query on it, and one row.
PROGRAM = """
import json, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

never = threading.Event()

class Pacs(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        query = parse_qs(urlsplit(self.path).query)
        at, size = int(query.get("offset", ["0"])[0]), int(query["limit"][0])
        if at > 60_000:
            never.wait()
        rows = [
            {
                "0020000D": {"vr": "UI", "Value": [f"1.2.{n}"]},
                "00100020": {"vr": "LO", "Value": [f"p{n}"]},
                "00080020": {"vr": "DA", "Value": ["20240101"]},
            }
            for n in range(at, at + size)
        ]
        body = json.dumps(rows).encode()
        self.send_response(200)
        self.send_header("content-type", "application/dicom+json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

server = ThreadingHTTPServer(("127.0.0.1", 0), Pacs)
server.daemon_threads = True
server.handle_error = lambda *_: None  # calls are broken off
threading.Thread(target=server.serve_forever, daemon=True).start()

import dicomsql

connection = dicomsql.connect(endpoint=f"http://127.0.0.1:{server.server_port}")
cursor = connection.cursor()
cursor.execute(f"SELECT PatientID FROM dicomweb.standard.studies {sys.argv[1]}")
print(cursor.fetchone())
"""


@pytest.mark.parametrize("condition", ["", "WHERE StudyDate > '20200101'"])
def test_a_result_that_was_read_in_part(condition: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, condition],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.stdout, ended.stderr, ended.returncode) == ("('p0',)\n", "", 0)


@pytest.mark.parametrize(
    "end", ["", "asyncio.ensure_future(cursor.fetchall()); await asyncio.sleep(0)"]
)
def test_an_awaited_result_that_was_read_in_part(end: str) -> None:
    program = (
        PROGRAM.partition("import dicomsql\n")[0]
        + f"""
import asyncio
import dicomsql.aio

async def main():
    connection = await dicomsql.aio.connect(endpoint=f"http://127.0.0.1:{{server.server_port}}")
    cursor = await connection.execute("SELECT PatientID FROM dicomweb.standard.studies")
    print(await cursor.fetchone())
    {end}

asyncio.run(main())
"""
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.stdout, ended.stderr, ended.returncode) == ("('p0',)\n", "", 0)


def test_a_session_that_another_thread_still_uses_is_left_to_it() -> None:
    program = """
import threading
import dicomsql

connection = dicomsql.connect()
connection.execute("SELECT 1").fetchall()
session = connection._session
held, ended = threading.Event(), threading.Event()

def work():
    with session._working():
        held.set()
        threading.main_thread().join()
        print("closed" if connection.closed else "open")

threading.Thread(target=work).start()
held.wait()
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.stdout, ended.returncode) == ("open\n", 0)
