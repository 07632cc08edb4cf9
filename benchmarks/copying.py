"""COPY in and out beside the tutorial's loops, dicomweb-client and a bare socket program.

    python benchmarks/copying.py [--files 10000] [--size 500000] [--rounds 3] [--folder DIR]

All talk to the same server (`dicom_server.py`), a process of its own, with and without a delay of
20 ms a request. The tutorial's programs get a token before each call, as the tutorial has it; the
call for it goes to the same server. What takes long per file gets fewer files, and files a second
are compared. The bare program sends one prepared body from memory over as many connections.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import cohort
import dicom_server
import pydicom
import requests
from dicomweb_client.api import DICOMwebClient
from measure import print_machine, print_table

DELAY = 0.02
PARALLEL = 8
# Files of the slower programs, in whole series; bytes of a request of the bare program.
_FEW, _BATCH = 200, 32_000_000
_LARGE = 4_000_000_000
_STORE = "/v1/projects/p/locations/l/datasets/d/dicomStores/s/dicomWeb"
_PLACE = ("--project=p", "--location=l", "--dataset=d", "--store=s")


@dataclass(frozen=True)
class Cohort:
    """The files that are copied."""

    folder: Path
    count: int
    size: int

    @property
    def paths(self) -> list[Path]:
        return [cohort.path_of(self.folder, number) for number in range(self.count)]

    @property
    def bytes(self) -> int:
        return sum(path.stat().st_size for path in self.paths)


@dataclass(frozen=True)
class Measured:
    """A program's run; `peak` in bytes of memory, 0 where it is not measured."""

    files: int
    bytes: int
    seconds: float
    peak: int = 0

    @property
    def rate(self) -> float:
        return self.files / self.seconds

    @property
    def flow(self) -> float:
        return self.bytes / self.seconds


def timed(files: int, size: int, work: Callable[[], object]) -> Measured:
    start = time.perf_counter()
    work()
    return Measured(files, size, time.perf_counter() - start)


# -- the product -----------------------------------------------------------------------------------


def dicomsql(url: str, sql: str) -> Measured:
    """A statement of the command line in a process of its own: all of its time, and its peak."""
    command = [sys.executable, "-m", "dicomsql", "exec", "--endpoint", url, "--anonymous", *_PLACE]
    start = time.perf_counter()
    with subprocess.Popen([*command, "-o", "json", sql], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        rows = json.loads(process.stdout.read())
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    if process.returncode or {row["status"] for row in rows} - {"stored", "retrieved"}:
        raise RuntimeError("The COPY failed.")
    size = sum(row["bytes"] for row in rows)
    return Measured(len(rows), size, seconds, usage.ru_maxrss * 1024)


def copy_in(url: str, folder: Path, options: str = "") -> Measured:
    sql = f"COPY google.healthcare.instances FROM '{folder}' ({options}) RETURNING status, bytes"
    journal = folder.with_name(f"{folder.name}.copy.sqlite")
    journal.unlink(missing_ok=True)
    try:
        return dicomsql(url, sql)
    finally:
        journal.unlink(missing_ok=True)


def copy_out(url: str, folder: Path, options: str = "") -> Measured:
    out = folder.with_name("out")
    sql = (
        f"COPY (SELECT StudyInstanceUID FROM google.healthcare.studies) TO '{out}' "
        f"(FORMAT dicom{options}) RETURNING status, bytes"
    )
    try:
        return dicomsql(url, sql)
    finally:
        shutil.rmtree(out, ignore_errors=True)
        out.with_name("out.copy.sqlite").unlink(missing_ok=True)


# -- its peers -------------------------------------------------------------------------------------


def token(url: str) -> str:
    """A token, for which the tutorial asks before each call."""
    return str(requests.post(f"{url}/token", data={"grant_type": "x"}).json()["access_token"])


def tutorial_in(url: str, files: list[Path]) -> None:
    for path in files:
        headers = {
            "Authorization": f"Bearer {token(url)}",
            "Content-Type": "application/dicom",
            "Accept": "application/dicom+json",
        }
        with path.open("rb") as file:
            data = file.read()
        requests.post(f"{url}{_STORE}/studies", headers=headers, data=data).raise_for_status()


def tutorial_out(url: str, studies: list[str]) -> None:
    for study in studies:
        headers = {
            "Authorization": f"Bearer {token(url)}",
            "Accept": "multipart/related; type=application/dicom",
        }
        answer = requests.get(f"{url}{_STORE}/studies/{study}", headers=headers)
        assert len(answer.content) > 1_000


def client_in(url: str, files: list[Path]) -> None:
    client = DICOMwebClient(url + _STORE)
    for at in range(0, len(files), cohort.SERIES):
        client.store_instances([pydicom.dcmread(p) for p in files[at : at + cohort.SERIES]])


def client_out(url: str, series: list[tuple[str, str]]) -> None:
    client = DICOMwebClient(url + _STORE)
    for study, one in series:
        assert client.retrieve_series(study, one)


def bare_in(url: str, files: list[Path], total: int) -> None:
    """Send a prepared body again and again from as many threads as the product has connections."""
    parts = [
        b"--x\r\nContent-Type: application/dicom\r\n\r\n" + path.read_bytes() + b"\r\n"
        for path in files[: max(1, _BATCH // files[0].stat().st_size)]
    ]
    body = b"".join(parts) + b"--x--\r\n"
    head = (
        f"POST {_STORE}/studies HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        'Content-Type: multipart/related; type="application/dicom"; boundary=x\r\n\r\n'
    ).encode()
    left = [max(1, total // len(body))]

    def send(sock: socket.socket) -> None:
        sock.sendall(head)
        sock.sendall(body)
        answer = b""
        while not answer.endswith(b"]}}"):
            answer += sock.recv(1 << 16)

    _each_connection(url, left, send)


def bare_out(url: str, studies: list[str]) -> None:
    """Receive studies and throw them away."""
    left = [len(studies)]
    memory = threading.local()

    def receive(sock: socket.socket) -> None:
        buffer = memory.__dict__.setdefault("buffer", memoryview(bytearray(1 << 20)))
        study = studies[left[0] % len(studies)]
        sock.sendall(f"GET {_STORE}/studies/{study} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += sock.recv(4096)
        size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        size -= len(head.partition(b"\r\n\r\n")[2])
        while size:
            size -= sock.recv_into(buffer, min(size, 1 << 20))

    _each_connection(url, left, receive)


def _each_connection(url: str, left: list[int], exchange: Callable[[socket.socket], None]) -> None:
    """Make exchanges side by side until none is left."""
    lock = threading.Lock()
    place = urlsplit(url)

    def work() -> None:
        with socket.create_connection((place.hostname, place.port)) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                with lock:
                    if not left[0]:
                        return
                    left[0] -= 1
                exchange(sock)

    threads = [threading.Thread(target=work) for _ in range(PARALLEL)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# -- measuring -------------------------------------------------------------------------------------


def compare(
    title: str, tasks: dict[str, Callable[[], Measured]], rounds: int
) -> dict[str, Measured]:
    """Run all tasks in turn so many times; the run of each with the median time."""
    runs: dict[str, list[Measured]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            runs[name].append(task())
    found: dict[str, Measured] = {}
    for name, some in runs.items():
        middle = statistics.median_low(run.seconds for run in some)
        found[name] = next(run for run in some if run.seconds == middle)
    ours = found["dicomsql"]
    rows = [
        (
            name,
            f"{run.files:,}",
            f"{run.rate:,.0f}",
            f"{run.flow / 1e6:,.0f}",
            "" if run is ours else f"{ours.rate / run.rate:.2f}",
            f"{run.peak / 1e6:.0f}" if run.peak else "",
        )
        for name, run in found.items()
    ]
    header = ("", "files", "files/s", "MB/s", "dicomsql is times", "peak MB")
    print_table(title, header, rows)
    return found


def with_delay(url: str, of: Cohort, rounds: int) -> None:
    few = of.paths[:_FEW]
    size = sum(path.stat().st_size for path in few)
    series = list(dict.fromkeys(cohort.uids(number)[:2] for number in range(len(few))))
    study = cohort.uids(0).study
    in_study = min(cohort.STUDY, of.count)
    compare(
        f"In, {DELAY * 1000:.0f} ms a request",
        {
            "dicomsql": lambda: copy_in(url, of.folder),
            "the tutorial": lambda: timed(len(few), size, lambda: tutorial_in(url, few)),
            "dicomweb-client": lambda: timed(len(few), size, lambda: client_in(url, few)),
        },
        rounds,
    )
    compare(
        f"Out, {DELAY * 1000:.0f} ms a request",
        {
            "dicomsql": lambda: copy_out(url, of.folder),
            "the tutorial": lambda: timed(
                in_study, in_study * of.size, lambda: tutorial_out(url, [study])
            ),
            "dicomweb-client": lambda: timed(len(few), size, lambda: client_out(url, series)),
        },
        rounds,
    )


def without_delay(url: str, of: Cohort, rounds: int) -> None:
    studies = list(dict.fromkeys(cohort.uids(number).study for number in range(of.count)))
    total = of.bytes
    compare(
        "In, as fast as it goes",
        {
            "dicomsql": lambda: copy_in(url, of.folder),
            "bare socket": lambda: timed(of.count, total, lambda: bare_in(url, of.paths, total)),
        },
        rounds,
    )
    compare(
        "Out, as fast as it goes",
        {
            "dicomsql": lambda: copy_out(url, of.folder),
            "bare socket": lambda: timed(of.count, total, lambda: bare_out(url, studies)),
        },
        rounds,
    )


def one_large(folder: Path) -> None:
    """The peak of one file of 4 GB."""
    cohort.make(folder, 1, _LARGE)
    with dicom_server.running(folder, 1) as url:
        rows = [
            (name, f"{run.flow / 1e6:,.0f}", f"{run.peak / 1e6:.0f}")
            for name, run in (("in", copy_in(url, folder)), ("out", copy_out(url, folder)))
        ]
    print_table("One file of 4 GB", ("", "MB/s", "peak MB"), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=500_000, help="bytes of pixels in a file")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the files are made and removed")
    arguments = parser.parse_args()
    print_machine()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as place:
        of = Cohort(Path(place, "in"), arguments.files, arguments.size)
        cohort.make(of.folder, of.count, of.size)
        with dicom_server.running(of.folder, of.count) as url:
            without_delay(url, of, arguments.rounds)
        with dicom_server.running(of.folder, of.count, DELAY) as url:
            with_delay(url, of, arguments.rounds)
        one_large(Path(place, "large"))


if __name__ == "__main__":
    main()
