"""Local files as a table: `read_dicom` beside a loop over pydicom's dcmread, with the same values.

    python benchmarks/read_dicom.py [--files 20000] [--rounds 3]

Five attributes of files that are copies of a real one with UIDs of their own, in folders of 500.
pydicom gets only the tags that are wanted, and stops before the pixels. Wall-clock time, with the
files in the system's cache; the processes that dicomsql starts are counted in.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pydicom
from measure import print_machine, print_table, rounds
from pydicom.data import get_testdata_file

from dicomsql.config import Settings
from dicomsql.session import Session

KEYWORDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "Modality", "PatientID")
LEAST = 4
FOLDER = 500

Row = tuple[str | None, ...]


def fill(folder: Path, count: int) -> None:
    """Copies of a real CT image, each another instance."""
    content = Path(str(get_testdata_file("CT_small.dcm"))).read_bytes()
    own = str(pydicom.dcmread(get_testdata_file("CT_small.dcm")).SOPInstanceUID).encode()
    for number in range(count):
        below = folder / f"{number // FOLDER:04}"
        if number % FOLDER == 0:
            below.mkdir()
        uid = (b"1.2.826.0.1.%d." % number).ljust(len(own) - 1, b"1") + b"2"
        (below / f"{number:06}.dcm").write_bytes(content.replace(own, uid))


def by_pydicom(folder: Path) -> list[Row]:
    """A loop, as people write it."""
    found = []
    for path in sorted(folder.rglob("*.dcm")):
        dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(KEYWORDS))
        found.append(tuple(str(dataset.get(keyword)) for keyword in KEYWORDS))
    return found


def by_query(session: Session, text: str) -> list[Row]:
    """All rows of a query."""
    (statement,) = session.parse(text)
    found: list[Row] = []
    for batch in session.execute(statement).batches():
        found += zip(*(column.to_pylist() for column in batch.columns), strict=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print_machine()
    with tempfile.TemporaryDirectory() as made, Session(Settings()) as session:
        folder = Path(made)
        fill(folder, arguments.files)
        text = f"SELECT {', '.join(KEYWORDS)} FROM read_dicom('{folder}/**/*.dcm')"
        checked = f"SELECT {', '.join(KEYWORDS)}, error FROM read_dicom('{folder}/**/*.dcm')"
        if by_query(session, text) != by_pydicom(folder):
            raise SystemExit("The values are not the same.")
        tasks: dict[str, Callable[[], object]] = {
            "pydicom.dcmread": lambda: by_pydicom(folder),
            "read_dicom": lambda: by_query(session, text),
            "read_dicom, every file checked to its end": lambda: by_query(session, checked),
        }
        seconds = rounds(tasks, arguments.rounds, time.perf_counter)
    slowest = seconds["pydicom.dcmread"]
    rows = [
        (name, f"{took:.2f}", f"{arguments.files / took:,.0f}", f"{slowest / took:.1f}")
        for name, took in seconds.items()
    ]
    title = f"{arguments.files:,} files, {len(KEYWORDS)} attributes, the same values"
    print_table(title, ("", "seconds", "files/s", "times"), rows)
    if slowest / seconds["read_dicom"] < LEAST:
        raise SystemExit(f"read_dicom is not {LEAST} times as fast.")


if __name__ == "__main__":
    main()
