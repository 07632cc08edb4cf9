"""COPY in and out beside the tutorial's loops, dicomweb-client and a bare socket program.

    python benchmarks/copying.py [--files 10000] [--size 500000] [--rounds 3] [--folder DIR]

All talk to the same server (`dicom_server.py`), a process of its own, with and without a delay of
20 ms a request. The tutorial's programs get a token before each call, as the tutorial has it; the
call for it goes to the same server. What takes long per file gets fewer files, and files a second
are compared. Of the two bare programs, which use sockets over as many connections, one sends a
prepared body from memory, or throws away what comes; the other reads files and takes their digests,
or takes digests and writes files, as the product does, and nothing else that it does.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import dicom_server
import pydicom
import requests
from cohort import Cohort
from dicomweb_client.api import DICOMwebClient
from measure import print_machine, print_table

DELAY = 0.02
PARALLEL = 8
# Files of the slower programs, in whole series; bytes of a request of the bare program.
_FEW, _BATCH = 200, 32_000_000
# Instances of a series and of a study, beside the CT's that are the cohort's default.
_RADIOGRAPHS = (2, 4)
_LARGE = 4_000_000_000
_PART = b"\r\n--x\r\nContent-Type: application/dicom\r\n\r\n"
_END = b"\r\n--x--\r\n"
_PIECE = 1 << 20
_NUMBERS = itertools.count()
_STORE = "/v1/projects/p/locations/l/datasets/d/dicomStores/s/dicomWeb"
_PLACE = ("--project=p", "--location=l", "--dataset=d", "--store=s")

T = TypeVar("T")

# Runs the product from a small process, whose own memory its peak would else include, and tells
# the peak on the last line of standard error.
_WATCHED = """
import os, sys
command = [sys.executable, "-m", "dicomsql", *sys.argv[1:]]
_, status, usage = os.wait4(os.posix_spawn(sys.executable, command, os.environ), 0)
print(usage.ru_maxrss, file=sys.stderr)
sys.exit(os.waitstatus_to_exitcode(status))
"""


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
    options = ["--endpoint", url, "--anonymous", *_PLACE, "-o", "json"]
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _WATCHED, "exec", *options, sql], capture_output=True, check=False
    )
    seconds = time.perf_counter() - start
    rows = json.loads(done.stdout or b"[]")
    said = done.stderr.decode().splitlines()
    if done.returncode or {row["status"] for row in rows} - {"stored", "retrieved"}:
        raise RuntimeError("\n".join(["The COPY failed.", *said]))
    size = sum(row["bytes"] for row in rows)
    return Measured(len(rows), size, seconds, int(said[-1]) * 1024)


def copy_in(url: str, folder: Path, options: str = "") -> Measured:
    sql = f"COPY google.healthcare.instances FROM '{folder}' ({options}) RETURNING status, bytes"
    journal = folder.with_name(f"{folder.name}.copy.sqlite")
    journal.unlink(missing_ok=True)
    try:
        return dicomsql(url, sql)
    finally:
        journal.unlink(missing_ok=True)


def copy_out(url: str, folder: Path, options: str = "") -> Measured:
    out = fresh(folder)
    sql = (
        f"COPY (SELECT StudyInstanceUID FROM google.healthcare.studies) TO '{out}' "
        f"(FORMAT dicom{options}) RETURNING status, bytes"
    )
    return dicomsql(url, sql)


def fresh(folder: Path) -> Path:
    """A folder for files that come out, which is left there until the end.

    For minutes after a file was removed ext4 is slow to make another: it looks for a number that
    was not in use of late.
    """
    return folder.with_name(f"out{next(_NUMBERS)}")


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


def client_in(url: str, files: list[Path], together: int) -> None:
    # Bodies with a length: the server takes no others, and chunks would only be slower.
    client = DICOMwebClient(url + _STORE, chunk_size=1 << 40)
    for at in range(0, len(files), together):
        client.store_instances([pydicom.dcmread(p) for p in files[at : at + together]])


def client_out(url: str, series: list[tuple[str, str]]) -> None:
    client = DICOMwebClient(url + _STORE)
    for study, one in series:
        assert client.retrieve_series(study, one)


def bare_in(url: str, of: Cohort) -> None:
    """Send a prepared body again and again, from memory."""
    groups = _groups(of.paths)
    body = b"".join(part for path in groups[0] for part in (_PART, path.read_bytes())) + _END
    _each_connection(url, groups, lambda sock, _: _post(sock, len(body), [body]))


def careful_in(url: str, of: Cohort) -> None:
    """Read the files, send them, and take the digest of each: all that a journal needs."""

    def pieces(paths: list[Path]) -> Iterator[bytes]:
        for path in paths:
            content = path.read_bytes()
            hashlib.sha256(content).digest()
            yield _PART
            yield content
        yield _END

    def send(sock: socket.socket, paths: list[Path]) -> None:
        length = sum(len(_PART) + path.stat().st_size for path in paths) + len(_END)
        _post(sock, length, pieces(paths))

    _each_connection(url, _groups(of.paths), send)


def bare_out(url: str, of: Cohort) -> None:
    """Receive studies and throw them away."""
    _each_connection(url, of.studies, lambda sock, study: _get(sock, study, lambda _: None))


def careful_out(url: str, of: Cohort) -> None:
    """Receive studies, take their digests, write them: a file for each study is enough."""
    out = fresh(of.folder)
    out.mkdir()

    def receive(sock: socket.socket, study: str) -> None:
        digest = hashlib.sha256()
        with (out / study).open("wb", buffering=0) as file:

            def take(piece: memoryview) -> None:
                digest.update(piece)
                file.write(piece)

            _get(sock, study, take)

    _each_connection(url, of.studies, receive)


def _groups(paths: list[Path]) -> list[list[Path]]:
    together = max(1, _BATCH // paths[0].stat().st_size)
    return [paths[at : at + together] for at in range(0, len(paths), together)]


def _post(sock: socket.socket, length: int, pieces: Iterable[bytes]) -> None:
    head = (
        f"POST {_STORE}/studies HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n"
        'Content-Type: multipart/related; type="application/dicom"; boundary=x\r\n\r\n'
    )
    sock.sendall(head.encode())
    for piece in pieces:
        sock.sendall(piece)
    answer = b""
    while not answer.endswith(b"]}}"):
        answer += sock.recv(1 << 16)


def _get(sock: socket.socket, study: str, take: Callable[[memoryview], None]) -> None:
    sock.sendall(f"GET {_STORE}/studies/{study} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        head += sock.recv(4096)
    start, _, rest = head.partition(b"\r\n\r\n")
    left = int(start.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]) - len(rest)
    take(memoryview(rest))
    buffer = memoryview(bytearray(_PIECE))
    while left:
        received = sock.recv_into(buffer, min(left, _PIECE))
        take(buffer[:received])
        left -= received


def _each_connection(
    url: str, jobs: Sequence[T], exchange: Callable[[socket.socket, T], None]
) -> None:
    """Do all jobs, over as many connections as the product has."""
    left = iter(jobs)
    lock = threading.Lock()
    place = urlsplit(url)

    def work() -> None:
        with socket.create_connection((place.hostname, place.port)) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                with lock:
                    job = next(left, None)
                if job is None:
                    return
                exchange(sock, job)

    with ThreadPoolExecutor(PARALLEL) as pool:
        for one in [pool.submit(work) for _ in range(PARALLEL)]:
            one.result()


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
    compare(
        f"In, {DELAY * 1000:.0f} ms a request",
        {
            "dicomsql": lambda: copy_in(url, of.folder),
            "the tutorial": lambda: timed(len(few), size, lambda: tutorial_in(url, few)),
            "dicomweb-client": lambda: timed(
                len(few), size, lambda: client_in(url, few, of.series)
            ),
        },
        rounds,
    )
    out_with_delay(url, of, rounds)


def out_with_delay(url: str, of: Cohort, rounds: int) -> None:
    count = min(of.count, max(_FEW, of.study))
    size = sum(path.stat().st_size for path in of.paths[:count])
    series = list(dict.fromkeys(of.uids(number)[:2] for number in range(count)))
    studies = list(dict.fromkeys(study for study, _ in series))
    compare(
        f"Out, {DELAY * 1000:.0f} ms a request, studies of {of.study}",
        {
            "dicomsql": lambda: copy_out(url, of.folder),
            "the tutorial": lambda: timed(count, size, lambda: tutorial_out(url, studies)),
            "dicomweb-client": lambda: timed(count, size, lambda: client_out(url, series)),
        },
        rounds,
    )


def without_delay(url: str, of: Cohort, rounds: int) -> None:
    total = of.bytes
    compare(
        "In, as fast as it goes",
        {
            "dicomsql": lambda: copy_in(url, of.folder),
            "bare socket": lambda: timed(of.count, total, lambda: bare_in(url, of)),
            "with digests": lambda: timed(of.count, total, lambda: careful_in(url, of)),
        },
        rounds,
    )
    compare(
        "Out, as fast as it goes",
        {
            "dicomsql": lambda: copy_out(url, of.folder),
            "bare socket": lambda: timed(of.count, total, lambda: bare_out(url, of)),
            "to the disk": lambda: timed(of.count, total, lambda: careful_out(url, of)),
        },
        rounds,
    )


def one_large(folder: Path) -> None:
    """The peak of one file of 4 GB."""
    of = Cohort(folder, 1, _LARGE)
    of.make()
    with dicom_server.running(of) as url:
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
        of.make()
        with dicom_server.running(of) as url:
            without_delay(url, of, arguments.rounds)
        with dicom_server.running(of, DELAY) as url:
            with_delay(url, of, arguments.rounds)
        small = Cohort(Path(place, "small"), arguments.files, arguments.size, *_RADIOGRAPHS)
        small.make()
        with dicom_server.running(small, DELAY) as url:
            out_with_delay(url, small, arguments.rounds)
        one_large(Path(place, "large"))


if __name__ == "__main__":
    main()
