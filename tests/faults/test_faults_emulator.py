"""SIGKILL while an emulator is written to: what it answered with success is there afterwards."""

from __future__ import annotations

import io
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pydicom
from pydicom import data as pydicom_data

SEED = 20
WRITES = 200
KILLS = (30, 90, 150)  # after so many answers
WRITERS = 4

DATASETS = "/v1/projects/p/locations/us-central1/datasets"
STORES = DATASETS + "/d/dicomStores"
WEB = STORES + "/s/dicomWeb/studies"
FILE = Path(pydicom_data.__file__).parent / "test_files" / "CT_small.dcm"
_SERVER = """
import pathlib, sys
from dicomsql.emulator.server import serve
serve(pathlib.Path(sys.argv[1]), ready=lambda url: print(url, flush=True))
"""

# what stands under a name: a store's label, an instance's number; None for nothing
Value = int | None


@contextmanager
def served(root: Path) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(root)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        with httpx.Client(base_url=process.stdout.readline().strip(), timeout=60) as client:
            yield process, client
    finally:
        process.kill()
        process.communicate()


class Written:
    """Stores and instances by their names, as they have to be.

    Attributes:
        known: what was answered; where an answer is missing, what was there before.
        begun: what was asked for and not answered.
    """

    def __init__(self, seed: int) -> None:
        self.left = WRITES
        self.known: dict[str, Value] = {}
        self.begun: dict[str, Value] = {}
        self.answered = 0
        self._draws = [random.Random(seed + writer) for writer in range(WRITERS)]
        self._lock = threading.Lock()

    def next_write(self, writer: int) -> tuple[str, Value, Value] | None:
        """A name, what stands there, and what shall."""
        with self._lock:
            if not self.left:
                return None
            self.left -= 1
            draw = self._draws[writer]
            kind = draw.choice(["store", "instance"])
            name = f"{kind}-{writer}-{draw.randrange(6)}"
            before = self.known.get(name)
            # an instance that is there can only be deleted, a store can be changed too
            goes = before is not None and (kind == "instance" or draw.random() < 0.5)
            self.begun[name] = after = None if goes else draw.randrange(1000)
            return name, before, after

    def note(self, name: str, value: Value) -> int:
        with self._lock:
            self.begun.pop(name)
            self.known[name] = value
            self.answered += 1
            return self.answered


def instance(name: str, number: int) -> tuple[str, bytes]:
    """The path and the bytes of an instance."""
    _, writer, place = name.split("-")
    dataset = pydicom.dcmread(FILE)
    study, uid = f"1.2.{int(writer) + 1}", f"1.2.{int(writer) + 1}.{int(place) + 1}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, study + ".0"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
    dataset.InstanceNumber = number
    out = io.BytesIO()
    dataset.save_as(out)
    return f"{WEB}/{study}/series/{study}.0/instances/{uid}", out.getvalue()


def write(client: httpx.Client, name: str, before: Value, after: Value) -> int:
    if name.startswith("instance"):
        path, content = instance(name, after or 0)
        if after is None:
            return client.delete(path).status_code
        return client.post(
            WEB, content=content, headers={"content-type": "application/dicom"}
        ).status_code
    if after is None:
        return client.delete(f"{STORES}/{name}").status_code
    body = {"labels": {"n": str(after)}}
    if before is None:
        return client.post(STORES, params={"dicomStoreId": name}, json=body).status_code
    return client.patch(f"{STORES}/{name}", params={"updateMask": "labels"}, json=body).status_code


def read(client: httpx.Client, name: str) -> Value:
    if name.startswith("store"):
        answer = client.get(f"{STORES}/{name}")
        return int(answer.json()["labels"]["n"]) if answer.status_code == 200 else None
    path, _ = instance(name, 0)
    answer = client.get(path, headers={"accept": "application/dicom; transfer-syntax=*"})
    if answer.status_code == 404:
        return None
    number = int(pydicom.dcmread(io.BytesIO(answer.content)).InstanceNumber)
    assert answer.content == instance(name, number)[1]
    return number


def check(client: httpx.Client, written: Written) -> None:
    """Each name has the value that was answered, or the one that was asked for and not answered."""
    for name in written.known | written.begun:
        found = read(client, name)
        allowed = {written.known.get(name)}
        if name in written.begun:
            allowed.add(written.begun[name])
        assert found in allowed, name
        written.known[name] = found
    written.begun.clear()
    expected = {n for n, value in written.known.items() if value is not None}
    listed = client.get(STORES, params={"pageSize": 1000}).json()["dicomStores"]
    stores = {store["name"].rpartition("/")[2] for store in listed} - {"s"}
    assert stores == {n for n in expected if n.startswith("store")}
    metrics = client.get(STORES + "/s:getDICOMStoreMetrics").json()
    assert int(metrics["instanceCount"]) == len(expected - stores)


def run(client: httpx.Client, written: Written, writer: int, stop: Callable[[int], bool]) -> None:
    """Write until there is no more to write, or nobody answers."""
    while (task := written.next_write(writer)) is not None:
        try:
            status = write(client, *task)
        except httpx.TransportError:
            return
        assert status == 200, task
        if stop(written.note(task[0], task[2])):
            return


def test_a_kill_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    root, written = tmp_path / "root", Written(SEED)
    for kill in (*KILLS, None):
        with served(root) as (process, client):
            if kill == KILLS[0]:
                assert client.post(DATASETS, params={"datasetId": "d"}).status_code == 200
                assert client.post(STORES, params={"dicomStoreId": "s"}).status_code == 200
            check(client, written)

            def stop(
                answered: int,
                kill: int | None = kill,
                process: subprocess.Popen[str] = process,
            ) -> bool:
                if kill is not None and answered >= kill:
                    process.send_signal(signal.SIGKILL)
                    return True
                return False

            with ThreadPoolExecutor(WRITERS) as pool:
                tasks = [
                    pool.submit(run, client, written, writer, stop) for writer in range(WRITERS)
                ]
                for task in tasks:
                    task.result()
            if kill is None:
                check(client, written)
            else:
                assert process.wait(timeout=60) == -signal.SIGKILL
    assert not written.left
    assert written.answered >= WRITES - WRITERS * len(KILLS)
