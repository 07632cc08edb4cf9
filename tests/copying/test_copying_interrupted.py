"""Ctrl-C in a COPY of the command line: what is done stays, is told, and is not done again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from storing_bench import dicom

PLACE = ("--project", "p", "--location", "l", "--dataset", "d", "--store", "s")
COPY = "COPY google.healthcare.instances FROM 'in' (parallel 1, batch_mb 0.001) RETURNING status"
UIDS = tuple(f"1.2.826.0.1.3680043.8.498.{n}" for n in range(100, 104))


class Server(ThreadingHTTPServer):
    """Stores what it is sent; the second request waits until it is let go."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.stored: list[str] = []
        self.requests = 0
        self.second = threading.Event()
        self.go_on = threading.Event()


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.requests += 1
        if self.server.requests == 2:
            self.server.second.set()
            self.server.go_on.wait(60)
            self.close_connection = True
            return
        found = [uid for uid in UIDS if uid.encode() in body]
        self.server.stored += found
        items = [{"00081155": {"vr": "UI", "Value": [uid]}} for uid in found]
        answer = json.dumps({"00081199": {"vr": "SQ", "Value": items}}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/dicom+json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.go_on.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for uid in UIDS:
        (folder / f"{uid}.dcm").write_bytes(dicom("1.2.3", "1.2.4", uid, padding=1000))
    return tmp_path


def test_ctrl_c_says_what_is_done_and_the_next_run_does_the_rest(
    server: Server, folder: Path
) -> None:
    endpoint = f"http://127.0.0.1:{server.server_port}"
    command = [sys.executable, "-m", "dicomsql", "exec", "--endpoint", endpoint, "--anonymous"]
    command += [*PLACE, COPY]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert server.second.wait(60)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err == (
        "interrupted: The COPY was stopped: 1 stored by then, as far as the store has "
        "answered; what was under way may be stored too. What is done stays done and stands "
        f"in {folder}/in.copy.sqlite; the same statement goes on from there.\n"
    )
    assert server.stored == [UIDS[0]]
    server.go_on.set()
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert sorted(server.stored) == sorted(UIDS)
    assert done.stdout.split() == ["status", "present", "stored", "stored", "stored"]
    assert sorted(p.name for p in folder.iterdir()) == ["in", "in.copy.sqlite"]
