"""A million rows in Python: what each way to fetch them takes beside reading them from the plan.

    python benchmarks/python.py [--stores 1000000] [--page 10000] [--rounds 3]

The server is a process of its own that hands out prepared pages. The plan's own time is that of the
session's Arrow batches, read and dropped. The clock is the wall's; every figure is a median of
interleaved rounds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from measure import print_machine, print_table, rounds
from static_server import running

import dicomsql
from dicomsql.config import Settings
from dicomsql.session import Session

SQL = """
    SELECT name, labels, 'production' AS environment, length(name) AS size, labels IS NULL AS bare
    FROM google.healthcare.dicom_stores
    WHERE projectsId = 'p' AND locationsId = 'l' AND datasetsId = 'd'
"""
PLAN = "the plan's own"
BOUNDS = {"fetch_arrow_table": 1.1, "fetchall": 3.0, "fetchdf": 1.5, "pl": 1.5}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--stores", type=int, default=1_000_000)
    parser.add_argument("--page", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print_machine()
    print(f"{arguments.stores:,} rows of five columns in pages of {arguments.page:,}")
    with (
        running(arguments.stores, arguments.page) as url,
        Session(Settings(endpoint=url, anonymous=True)) as session,
        dicomsql.connect(endpoint=url, anonymous=True) as connection,
    ):

        def plan() -> int:
            result = session.execute(session.parse(SQL)[0])
            return sum(batch.num_rows for batch in result.batches())

        def way(name: str) -> Callable[[], int]:
            return lambda: len(getattr(connection.execute(SQL), name)())

        tasks = {PLAN: plan, **{name: way(name) for name in BOUNDS}}
        for name, task in tasks.items():
            if task() != arguments.stores:
                raise SystemExit(f"{name} did not give all {arguments.stores:,} rows.")
        medians = rounds(tasks, arguments.rounds, clock=time.perf_counter)
    base = medians[PLAN]
    print_table(
        "seconds",
        ("", "s", "times the plan's own", "bound"),
        [
            (name, f"{s:.2f}", f"{s / base:.2f}", f"{BOUNDS[name]}" if name in BOUNDS else "")
            for name, s in medians.items()
        ],
    )


if __name__ == "__main__":
    main()
