"""A whole search: 5 columns of a million real series, dicomsql beside dicomweb-client.

    python benchmarks/search.py [--series 1000000] [--peer-series 50000] [--rounds 3]

The server is a process of its own that hands out prepared rows, 5,000 a page, at once or after
50 ms. dicomweb-client gives dicts, which it needs memory for, so that it reads fewer pages; rows a
second are what is compared. The pool's bound is what the connections can carry at that delay if
nothing else took any time; the decoding rate is that of one thread that does nothing else.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from dicomweb_client.api import DICOMwebClient
from idc import PAGE, pages, write_rows
from measure import print_machine, print_table
from search_server import running

from dicomsql.config import settings
from dicomsql.dicom.columns import column
from dicomsql.dicom.decode import Decoder
from dicomsql.session import Session

PARALLEL = 8
COLUMNS = ("StudyInstanceUID", "SeriesInstanceUID", "PatientID", "StudyDate", "Modality")
STORE = "/v1/projects/p/locations/l/datasets/d/dicomStores/s/dicomWeb"
SQL = f"""
    SELECT {", ".join(COLUMNS)} FROM google.healthcare.series
    WHERE projectsId = 'p' AND locationsId = 'l' AND datasetsId = 'd' AND dicomStoresId = 's'
"""


def by_dicomsql(url: str) -> int:
    """All rows as Arrow batches; their number."""
    made = settings({}, endpoint=url, anonymous=True, parallel=PARALLEL)
    with Session(made) as session:
        (statement,) = session.parse(SQL)
        result = session.execute(statement)
        return sum(batch.num_rows for batch in result.batches())


def by_client(url: str, series: int) -> int:
    """As many rows as dicts, page after page; their number."""
    client = DICOMwebClient(url=url + STORE)
    rows = 0
    while rows < series:
        found = client.search_for_series(limit=PAGE, offset=rows, fields=list(COLUMNS))
        rows += len(found)
        if not found:
            break
    return rows


def decoding_rate(bodies: list[bytes]) -> tuple[float, float]:
    """Rows and bytes a second of the decoder alone, on one thread."""
    decoder = Decoder([found for found in map(column, COLUMNS) if found is not None])
    best = min(_seconds(lambda: [decoder.decode(body) for body in bodies]) for _ in range(3))
    return len(bodies) * PAGE / best, sum(map(len, bodies)) / best


def _seconds(task: Callable[[], object]) -> float:
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def _rate(task: Callable[[], int]) -> float:
    start = time.perf_counter()
    rows = task()
    return rows / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--series", type=int, default=1_000_000)
    parser.add_argument("--peer-series", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print_machine()
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "rows.json"
        starts = write_rows(file, arguments.series)
        print(f"{arguments.series:,} series, {starts[-1] / 1e6:.0f} MB, pages of {PAGE:,}")
        decoded, carried = decoding_rate(pages(file, starts))
        print(f"decoding alone: {decoded:,.0f} rows/s, {carried / 1e6:.0f} MB/s")
        for delay, wanted in ((0.0, 8), (0.05, 12)):
            ours: list[float] = []
            theirs: list[float] = []
            with running(file, starts, delay=delay) as url:
                for _ in range(arguments.rounds):
                    theirs.append(_rate(lambda: by_client(url, arguments.peer_series)))
                    ours.append(_rate(lambda: by_dicomsql(url)))
            mine, peers = statistics.median(ours), statistics.median(theirs)
            bound = min(decoded, PAGE * PARALLEL / delay if delay else decoded)
            print_table(
                f"{delay * 1000:.0f} ms a request",
                ("", "rows/s", "times dicomweb-client", "of the bound"),
                [
                    ("dicomweb-client", f"{peers:,.0f}", "1.0", ""),
                    ("dicomsql", f"{mine:,.0f}", f"{mine / peers:.1f}", f"{mine / bound:.0%}"),
                    ("wanted", "", f"{wanted}", "80%" if delay else ""),
                ],
            )


if __name__ == "__main__":
    main()
