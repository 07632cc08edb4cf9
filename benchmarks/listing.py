"""Listing DICOM stores: dicomsql's CPU time beside that of httpx and json on the same pages.

    python benchmarks/listing.py [--stores 10000] [--page 1000] [--rounds 15]

The server is a process of its own that hands out prepared pages, so what is measured is the
client's work: all CPU time of this process, threads included. The bound is twice the peer's.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import httpx
from measure import print_machine, print_table, rounds
from static_server import PATH, running

import dicomsql

BOUND = 2.0

SQL = """
    SELECT name, labels FROM google.healthcare.dicom_stores
    WHERE projectsId = 'p' AND locationsId = 'l' AND datasetsId = 'd'
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--stores", type=int, default=10_000)
    parser.add_argument("--page", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    print_machine()
    print(f"{arguments.stores:,} stores in pages of {arguments.page:,}")
    with (
        running(arguments.stores, arguments.page) as url,
        httpx.Client(base_url=url) as client,
        dicomsql.connect(endpoint=url, anonymous=True) as connection,
    ):

        def by_hand() -> int:
            stores: list[object] = []
            query: dict[str, str] = {}
            while True:
                page = json.loads(client.get(PATH, params=query).content)
                stores += page["dicomStores"]
                if "nextPageToken" not in page:
                    return len(stores)
                query = {"pageToken": page["nextPageToken"]}

        def fetched() -> int:
            return len(connection.cursor().execute(SQL).fetchall())

        def one_by_one() -> int:
            return sum(1 for _ in connection.cursor().execute(SQL))

        tasks: dict[str, Callable[[], int]] = {
            "httpx + json": by_hand,
            "dicomsql, fetchall": fetched,
            "dicomsql, row by row": one_by_one,
        }
        for name, task in tasks.items():
            if task() != arguments.stores:
                raise SystemExit(f"{name} did not give all {arguments.stores:,} stores.")
        medians = rounds(tasks, arguments.rounds, clock=time.process_time)
    base = medians["httpx + json"]
    print_table(
        "client CPU",
        ("", "ms", "times httpx", "bound"),
        [
            (
                name,
                f"{seconds * 1e3:.1f}",
                f"{seconds / base:.2f}",
                f"{BOUND:.0f}" if name.startswith("dicomsql") else "",
            )
            for name, seconds in medians.items()
        ],
    )


if __name__ == "__main__":
    main()
