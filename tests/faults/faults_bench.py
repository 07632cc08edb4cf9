"""Two real servers that instances are copied into and out of, and what they hold in the end."""

from __future__ import annotations

import hashlib
import random
import re
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import orthanc
import pydicom
from pydicom.data import get_testdata_file
from storing_bench import dicom

PLACE = {"project": "p", "location": "us-central1", "dataset": "d"}

_STUDY, _INSTANCE = "0020000D", "00080018"
_DATASETS = "/v1/projects/p/locations/us-central1/datasets"
# Rows of a search's page, and calls at a time, when a server's contents are looked at.
_PAGE, _CALLS = 1_000, 4
_EMULATOR = """
import pathlib, sys
from dicomsql.emulator.server import serve
serve(pathlib.Path(sys.argv[1]), ready=lambda url: print(url, flush=True))
"""

# SOP Instance UID -> digest of the file; a list, so that what is there twice shows.
Contents = list[tuple[str, str]]


@dataclass(frozen=True)
class Server:
    """A server that runs.

    Attributes:
        url: its base URL.
        table: the resource of its instances.
        contents: what it holds, read without the product.
    """

    url: str
    table: str
    contents: Callable[[], Contents]


@contextmanager
def emulator(folder: Path, stores: tuple[str, ...] = ("s",)) -> Iterator[str]:
    """The URL of an emulator in a process of its own, with empty stores."""
    command = [sys.executable, "-c", _EMULATOR, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            with httpx.Client(base_url=url, trust_env=False) as client:
                made = client.post(_DATASETS, params={"datasetId": "d"}, json={})
                for store in stores:
                    made.raise_for_status()
                    place = {"dicomStoreId": store}
                    made = client.post(f"{_DATASETS}/d/dicomStores", params=place, json={})
                made.raise_for_status()
            yield url
        finally:
            process.terminate()


def emulated(url: str, store: str = "s") -> Server:
    """A store of the emulator."""
    web = f"{url}{_DATASETS}/d/dicomStores/{store}/dicomWeb"

    def contents() -> Contents:
        with httpx.Client(base_url=web, trust_env=False, timeout=60) as client:
            rows: list[tuple[str, str]] = []
            while True:
                window = {
                    "limit": str(_PAGE),
                    "offset": str(len(rows)),
                    "includefield": "StudyInstanceUID",
                }
                got = client.get("/instances", params=window).raise_for_status()
                page = got.json() if got.content else []
                rows += [(row[_STUDY]["Value"][0], row[_INSTANCE]["Value"][0]) for row in page]
                if len(page) < _PAGE:
                    break
            found: Contents = []
            for study in {study for study, _ in rows}:
                accept = {"accept": 'multipart/related; type="application/dicom"'}
                got = client.get(f"/studies/{study}", headers=accept).raise_for_status()
                found += [(uid_of(part), _digest(part)) for part in _parts(got)]
        # A server may still be busy with what a client sent that is no more.
        assert Counter(uid for _, uid in rows) <= Counter(uid for uid, _ in found)
        return sorted(found)

    return Server(url, "google.healthcare.instances", contents)


@contextmanager
def real_orthanc(folder: Path) -> Iterator[Server]:
    """An Orthanc with an empty storage."""
    with orthanc.running(folder) as running:

        def contents() -> Contents:
            with (
                httpx.Client(base_url=running.root, trust_env=False, timeout=60) as client,
                ThreadPoolExecutor(_CALLS) as pool,
            ):
                ids = client.get("/instances").raise_for_status().json()
                paths = [f"/instances/{one}/file" for one in ids]
                files = [got.raise_for_status().content for got in pool.map(client.get, paths)]
            return sorted((uid_of(file), _digest(file)) for file in files)

        yield Server(running.url, "dicomweb.orthanc.instances", contents)


def _parts(answer: httpx.Response) -> Iterator[bytes]:
    """The parts of an answer (RFC 2046), all of which are files."""
    found = re.search('boundary="?([^";]+)', answer.headers["content-type"])
    assert found is not None
    first, *pieces = answer.content.split(b"--" + found[1].encode())
    assert not first.strip() and pieces.pop().strip() == b"--"
    for piece in pieces:
        yield piece.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")


# -- instances -------------------------------------------------------------------------------------


def make_files(folder: Path, count: int, seed: int = 0, largest: int = 6_000) -> Contents:
    """Write small instances of several studies, each with bytes of its own."""
    chance = random.Random(seed)
    folder.mkdir()
    made: Contents = []
    for number in range(1, count + 1):
        study = f"1.2.826.0.1.{number // 25}"
        series = f"{study}.{number % 3}"
        uid = f"{series}.{number}"
        content = dicom(study, series, uid, f"P{chance.random()}", chance.randrange(largest))
        (folder / f"{number}.dcm").write_bytes(content)
        made.append((uid, _digest(content)))
    return sorted(made)


def make_pictures(folder: Path, count: int) -> None:
    """Write small images with pixels of their own, every other one of two frames."""
    folder.mkdir()
    image = pydicom.dcmread(get_testdata_file("MR_small.dcm"))
    chance = random.Random(count)
    image.Rows = image.Columns = 16
    for number in range(1, count + 1):
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        image.NumberOfFrames = frames = 1 + number % 2
        image.PixelData = chance.randbytes(frames * 16 * 16 * 2)
        image.save_as(folder / f"{number}.dcm")


def files_below(folder: Path, paths: Iterable[Path] | None = None) -> Contents:
    """The instances in all files of a folder, whatever their names, or in some."""
    below = folder.rglob("*") if paths is None else paths
    found = (path.read_bytes() for path in below if path.is_file())
    return sorted((uid_of(content), _digest(content)) for content in found)


def uid_of(content: bytes) -> str:
    """The SOP Instance UID in a file's meta information, which says it a second time."""
    mark = content.index(b"\x02\0\x03\0UI") + 8
    length = int.from_bytes(content[mark - 2 : mark], "little")
    return content[mark : mark + length].rstrip(b"\0").decode()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# -- the product -----------------------------------------------------------------------------------


def journal_of(path: Path) -> tuple[Contents, Counter[str]]:
    """What a journal says is done, and how many of its rows have which status."""
    # A process that was killed leaves a transaction to be rolled back, which is a write.
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT instance, digest, status FROM instances").fetchall()
    done = sorted((uid, digest) for uid, digest, status in rows if status != "failed")
    return done, Counter(status for _, _, status in rows)


def command(server: Server, url: str, sql: str, *options: str) -> list[str]:
    """The command line that runs a statement over a server, reached at a URL."""
    place = [f"--{name}={value}" for name, value in PLACE.items()] + ["--store=s"]
    return [
        *(sys.executable, "-m", "dicomsql", "exec", "--endpoint", url, "--anonymous"),
        *(place if server.table.startswith("google") else ()),
        *("-o", "json", *options, sql),
    ]
