"""The emulator as a process: its URL, its log, its end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from dicomsql.emulator.errors import EmulatorError
from dicomsql.emulator.faults import Behaviour
from dicomsql.emulator.server import Server, serve

SERVER = """
import pathlib, sys
from dicomsql.emulator.server import serve
serve(pathlib.Path(sys.argv[1]), verbose=True, ready=lambda url: print(url, flush=True))
print("ended", flush=True)
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(tmp_path / "root")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in found for child in file.read_text().split()]


def wait_for(found: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 30
    while not (value := found()):
        assert time.monotonic() < deadline
    return value


def has_gone(pid: int) -> bool:
    """Once it has, within half a minute."""
    return bool(wait_for(lambda: not Path(f"/proc/{pid}").exists()))


def failing(client: httpx.Client, path: str, body: dict[str, Any]) -> None:
    with contextlib.suppress(httpx.HTTPError):
        client.post(path, json=body)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_interrupted(
    server: subprocess.Popen[str], number: signal.Signals
) -> None:
    assert server.stdout is not None
    url = server.stdout.readline().strip()
    assert url.startswith("http://127.0.0.1:")
    location = "/v1/projects/p/locations/eu"
    with httpx.Client(base_url=url) as client:
        client.post(location + "/datasets", params={"datasetId": "secret-id"})
        query = {"PatientID": "secret-id", "limit": "5", "^Doe": "1"}
        path = location + "/datasets/secret-id/dicomStores/s/dicomWeb/studies"
        assert client.get(path, params=query).status_code == 404
        assert client.get("/secret-id").status_code == 404
    server.send_signal(number)
    output, log = server.communicate(timeout=10)
    assert output == "ended\n"
    assert server.returncode == 0
    lines = [line.rsplit(" ", 2)[0] for line in log.splitlines()]
    store = "/v1/projects/{project}/locations/{location}/datasets/{dataset}/dicomStores/{store}"
    assert lines == [
        "POST /v1/projects/{project}/locations/{location}/datasets?datasetId 200",
        f"GET {store}/dicomWeb/studies?(other)&PatientID&limit 404",
        "GET (unknown) 404",
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_request_that_stalls_does_not_keep_it(number: signal.Signals, tmp_path: Path) -> None:
    command = (sys.executable, "-m", "dicomsql", "emulator", "--root", str(tmp_path / "root"))
    with subprocess.Popen(
        [*command, "--verbose", "--fault", "rate=1,kinds=stall"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            port = int(process.stdout.readline().rpartition(":")[2])
            with socket.create_connection(("127.0.0.1", port)) as raw:
                raw.sendall(b"GET /v1/projects/p/locations/eu HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert "fails on purpose: stall" in process.stderr.readline()
                process.send_signal(number)
                with pytest.raises(ConnectionResetError):
                    raw.recv(1)
            _, log = process.communicate(timeout=10)
        finally:
            process.kill()
    assert process.returncode == 0
    assert "Traceback" not in log


@pytest.mark.skipif(sys.platform != "linux", reason="children are found by /proc")
def test_a_query_keeps_neither_its_server_nor_its_process(server: subprocess.Popen[str]) -> None:
    assert server.stdout is not None
    url = server.stdout.readline().strip()
    numbers = "UNNEST(GENERATE_ARRAY(1, 1000000))"
    sql = f"SELECT SUM(a * b) FROM {numbers} AS a, {numbers} AS b"
    ask = {"query": sql, "useLegacySql": False}
    with httpx.Client(base_url=url, timeout=60) as client:
        path = "/bigquery/v2/projects/p/queries"
        assert client.post(path, json={**ask, "query": "SELECT 1"}).status_code == 200
        (child,) = children(server.pid)
        with pytest.raises(httpx.ReadTimeout):
            client.post(path, json=ask, timeout=0.2)
        assert has_gone(child), "the client is gone"
        asking = threading.Thread(target=lambda: failing(client, path, ask))
        asking.start()
        (child,) = wait_for(lambda: children(server.pid))
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=30)
        asking.join()
    assert server.returncode == 0
    assert has_gone(child), "the server is gone"


def test_a_stream_goes_up_and_down_without_being_held(
    server: subprocess.Popen[str], make_dicom: Any
) -> None:
    assert server.stdout is not None
    url = server.stdout.readline().strip()
    location = "/v1/projects/p/locations/eu/datasets"
    web = location + "/d/dicomStores/s/dicomWeb"
    document = bytes(range(256)) * 40_000
    file = make_dicom(EncapsulatedDocument=document)

    def body() -> Iterator[bytes]:
        for n in range(3):
            yield b"--b\r\nContent-Type: application/dicom\r\n\r\n"
            content = file.replace(b"1.1.1.1\0", f"1.1.1.{n}\0".encode())
            yield from (content[i : i + 70_000] for i in range(0, len(content), 70_000))
            yield b"\r\n"
        yield b"--b--"

    with httpx.Client(base_url=url) as client:
        client.post(location, params={"datasetId": "d"})
        client.post(location + "/d/dicomStores", params={"dicomStoreId": "s"})
        kind = 'multipart/related; type="application/dicom"; boundary=b'
        answer = client.post(web + "/studies", content=body(), headers={"content-type": kind})
        assert answer.status_code == 200
        study = client.get(web + "/studies/1.1")
        assert study.content.count(document) == 3


def test_an_upload_that_breaks_off_stores_nothing(
    server: subprocess.Popen[str], make_dicom: Any, tmp_path: Path
) -> None:
    assert server.stdout is not None
    assert server.stderr is not None
    url = server.stdout.readline().strip()
    location = "/v1/projects/p/locations/eu/datasets"
    with httpx.Client(base_url=url) as client:
        client.post(location, params={"datasetId": "d"})
        client.post(location + "/d/dicomStores", params={"dicomStoreId": "s"})
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as raw:
            head = (
                f"POST {location}/d/dicomStores/s/dicomWeb/studies HTTP/1.1\r\nHost: localhost\r\n"
                "Content-Type: application/dicom\r\nContent-Length: 1000000\r\n\r\n"
            )
            raw.sendall(head.encode() + make_dicom())
        lines = [server.stderr.readline() for _ in range(3)]
        assert "dicomWeb/studies 499" in lines[2]
        metrics = client.get(location + "/d/dicomStores/s:getDICOMStoreMetrics").json()
        assert metrics["instanceCount"] == "0"
        assert not list((tmp_path / "root" / "incoming").iterdir())


def test_a_quiet_connection_is_kept_and_ends_with_the_server(tmp_path: Path) -> None:
    running = Server(tmp_path, behaviour=Behaviour())
    ready, config = threading.Event(), running._uvicorn.config
    assert config.timeout_keep_alive >= 600, "Google's client repeats no POST"
    thread = threading.Thread(target=running.run, args=(ready.set,))
    thread.start()
    assert ready.wait(30)
    address = urlsplit(running.url)
    with contextlib.closing(socket.create_connection((address.hostname, address.port))) as client:
        client.sendall(b"GET /v1/projects/p/locations HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 200")
        client.settimeout(60)
        running.stop()
        while client.recv(1 << 16):
            pass
    thread.join(30)
    assert not thread.is_alive()


def test_an_address_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EmulatorError, match="Give another port"):
            serve(tmp_path, port=port, ready=lambda url: None)
    with pytest.raises(EmulatorError, match="Cannot listen"):
        serve(tmp_path, host="host.invalid", ready=lambda url: None)


def test_it_runs_in_a_thread_where_signals_are_not_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import uvicorn

    servers: list[uvicorn.Server] = []
    construct = uvicorn.Server.__init__

    def remember(self: uvicorn.Server, config: uvicorn.Config) -> None:
        construct(self, config)
        servers.append(self)

    monkeypatch.setattr(uvicorn.Server, "__init__", remember)
    urls: list[str] = []
    ready = threading.Event()

    def note(url: str) -> None:
        urls.append(url)
        ready.set()

    thread = threading.Thread(target=serve, args=(tmp_path,), kwargs={"ready": note, "host": "::1"})
    thread.start()
    assert ready.wait(10)
    assert httpx.get(urls[0] + "/v1/projects/p/locations/eu").status_code == 200
    servers[0].should_exit = True
    thread.join(10)
    assert not thread.is_alive()
