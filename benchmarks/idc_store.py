"""A store of a million real series: how long the emulator takes for a page, and to store more.

    python benchmarks/idc_store.py [--series 1000000] [--root FOLDER] [--rounds 5]

The metadata is that of the NCI Imaging Data Commons (package idc-index-data), one instance for each
series, without files; a folder that is given and filled already is used as it is. Pages are read
in process, through the whole application but no socket. Storing is of small files over HTTP's
multipart, each in a store that already has the million.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import itertools
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb
import httpx
from idc import index as idc_index
from measure import print_machine, print_table
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from dicomsql.emulator import index
from dicomsql.emulator.app import create_app
from dicomsql.emulator.folder import Folder

DATASET = ("idc", "us", "commons")
STORE = "/v1/projects/idc/locations/us/datasets/commons/dicomStores/series"
WEB = STORE + "/dicomWeb"
_BATCH = 20_000
_COLUMNS = (
    "StudyInstanceUID, SeriesInstanceUID, PatientID, PatientSex, strftime(try_cast(StudyDate AS"
    " DATE), '%Y%m%d'), StudyDescription, Modality, BodyPartExamined, Manufacturer,"
    " SeriesDescription, SeriesNumber"
)
_ELEMENTS = (
    ("0020000D", "UI"),
    ("0020000E", "UI"),
    ("00100020", "LO"),
    ("00100040", "CS"),
    ("00080020", "DA"),
    ("00081030", "LO"),
    ("00080060", "CS"),
    ("00180015", "CS"),
    ("00080070", "LO"),
    ("0008103E", "LO"),
    ("00200011", "IS"),
)
SEARCHES = {
    "series, first page": "/series?limit=5000",
    "series, offset 500,000": "/series?limit=5000&offset=500000",
    "series, offset 990,000": "/series?limit=5000&offset=990000",
    "series with the study's UID": "/series?limit=5000&offset=100000&includefield=StudyInstanceUID",
    "series of one modality": "/series?limit=5000&Modality=PT",
    "series of a rare modality": "/series?limit=5000&Modality=XA",
    "studies": "/studies?limit=5000&offset=100000",
    "studies of a year": "/studies?limit=5000&StudyDate=20000101-20001231",
    "studies of a name, fuzzy": "/studies?limit=5000&PatientName=lidc&fuzzymatching=true",
    "studies of a physician": "/studies?limit=5000&ReferringPhysicianName=nobody",
    "instances": "/instances?limit=5000&offset=500000",
    "instances of one modality": "/instances?limit=5000&Modality=PT",
}


def load(root: Path, series: int) -> float:
    """Fill a folder with the series; the seconds that it took."""
    folder = Folder(root)
    started = time.perf_counter()
    with folder.read() as db:
        if db.execute("SELECT 1 FROM stores").fetchone():
            folder.close()
            return 0.0
    with folder.write() as db:
        cursor = db.execute(
            "INSERT INTO datasets (project, location, name, body) VALUES (?, ?, ?, '{}')", DATASET
        )
        cursor = db.execute(
            "INSERT INTO stores (dataset_id, name, body) VALUES (?, 'series', '{}')",
            (cursor.lastrowid,),
        )
        store = int(cursor.lastrowid or 0)
    with duckdb.connect() as source:
        source.execute("SET enable_progress_bar = false")
        source.execute(f"SELECT {_COLUMNS} FROM '{idc_index()}' LIMIT {series}")
        for number in itertools.count():
            rows = source.fetchmany(_BATCH)
            if not rows:
                break
            with folder.write() as db:
                for place, row in enumerate(rows, number * _BATCH):
                    index.add(db, store, _entry(row, place))
    folder.close()
    return time.perf_counter() - started


def _entry(row: tuple[Any, ...], place: int) -> index.Entry:
    dataset: dict[str, Any] = {}
    for (tag, vr), value in zip(_ELEMENTS, row, strict=True):
        number = vr == "IS" and str(value).isdigit()
        known = [int(value) if number else str(value)] if value not in (None, "") else []
        dataset[tag] = {"vr": vr, "Value": known} if known else {"vr": vr}
    dataset["00100010"] = {"vr": "PN", "Value": [{"Alphabetic": str(row[2])}]}
    dataset["00080016"] = {"vr": "UI", "Value": [CTImageStorage]}
    instance = f"{row[1][:60]}.1"
    dataset["00080018"] = {"vr": "UI", "Value": [instance]}
    return index.Entry(
        study=row[0],
        series=row[1],
        instance=instance,
        sop_class=CTImageStorage,
        transfer_syntax=ExplicitVRLittleEndian,
        file=f"idc-{place}",
        size=0,
        sha256=b"",
        dataset=dict(sorted(dataset.items())),
    )


async def measure(root: Path, rounds: int) -> list[tuple[str, ...]]:
    """Ask all searches, then store; rows for the table."""
    app = create_app(root)
    table = []
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1", timeout=600
    ) as client:
        for name, path in SEARCHES.items():
            times = []
            for _ in range(rounds):
                started = time.perf_counter()
                answer = await client.get(WEB + path)
                times.append((time.perf_counter() - started) * 1000)
            found = len(answer.json()) if answer.content else 0
            table.append((name, str(found), f"{min(times):.0f} ms"))
        files = [_file(number) for number in range(1_000)]
        started = time.perf_counter()
        for first in range(0, len(files), 250):
            kind, body = _multipart(files[first : first + 250])
            answer = await client.post(
                WEB + "/studies", content=body, headers={"content-type": kind}
            )
            answer.raise_for_status()
        rate = len(files) / (time.perf_counter() - started)
        table.append(("store, instances a second", str(len(files)), f"{rate:.0f}"))
    app.state.close()
    return table


def _file(number: int) -> bytes:
    dataset = Dataset()
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = f"1.2.{time.time_ns()}.{number}"
    dataset.StudyInstanceUID = f"1.2.{number // 100}"
    dataset.SeriesInstanceUID = f"1.2.{number // 100}.1"
    dataset.PatientName, dataset.Modality = "Bench^Mark", "CT"
    dataset.PixelData = bytes(32 * 1024)
    dataset["PixelData"].VR = "OW"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def _multipart(files: list[bytes]) -> tuple[str, bytes]:
    head = b"--b\r\nContent-Type: application/dicom\r\n\r\n"
    body = b"".join(head + file + b"\r\n" for file in files) + b"--b--\r\n"
    return 'multipart/related; type="application/dicom"; boundary=b', body


def main() -> None:
    """Load, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=1_000_000)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print_machine()
    with tempfile.TemporaryDirectory() as scratch:
        root = options.root or Path(scratch) / "root"
        seconds = load(root, options.series)
        if seconds:
            print(f"Loaded {options.series:,} series in {seconds:.0f} s.")
        rows = asyncio.run(measure(root, options.rounds))
        print_table("One store, in process", ("search", "rows", "time"), rows)


if __name__ == "__main__":
    main()
