"""One connection: many small statements after one another, and many threads at a time.

    python benchmarks/connections.py [--statements 1000] [--threads 16] [--delay 20] [--rounds 3]

The server is a process of its own that hands out a prepared page of ten stores. Beside a statement
stands the same call with httpx alone, which is the server's time and the least that one could take;
beside many threads, one. The clock is the wall's; every figure is a median of interleaved rounds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
from measure import print_machine, print_table, rounds
from static_server import PATH, running

import dicomsql

PLACE = "projectsId = 'p' AND locationsId = 'l' AND datasetsId = 'd'"
SMALL = {
    "columns alone": f"SELECT name FROM google.healthcare.dicom_stores WHERE {PLACE}",
    "with the engine": (
        f"SELECT upper(name) FROM google.healthcare.dicom_stores WHERE {PLACE} ORDER BY 1"
    ),
}
OTHER = f"SELECT upper(name) FROM google.healthcare.dicom_stores WHERE {PLACE} AND name <> ?"
ALONE = "httpx alone"
BOUND_MS = 5.0
BOUND_TIMES = 3.0


def small(statements: int, count: int) -> None:
    """A number of statements after one another."""
    with (
        running(10, 10) as url,
        dicomsql.connect(endpoint=url, anonymous=True) as connection,
        httpx.Client() as client,
    ):

        def alone() -> None:
            for _ in range(statements):
                client.get(f"{url}{PATH}").json()

        def same(sql: str) -> Callable[[], None]:
            def task() -> None:
                for _ in range(statements):
                    connection.execute(sql).fetchall()

            return task

        def others() -> None:
            for number in range(statements):
                connection.execute(OTHER, [f"store {number} {time.monotonic_ns()}"]).fetchall()

        tasks = {ALONE: alone, **{name: same(sql) for name, sql in SMALL.items()}}
        tasks["with other parameters each time"] = others
        medians = rounds(tasks, count, clock=time.perf_counter)
    each = {name: seconds / statements * 1000 for name, seconds in medians.items()}
    print_table(
        f"{statements:,} small statements on one connection, each",
        ("", "ms", "over the server's", "bound"),
        [
            (name, f"{ms:.2f}", f"{ms - each[ALONE]:.2f}", "" if name == ALONE else f"{BOUND_MS:g}")
            for name, ms in each.items()
        ],
    )


def threads(number: int, delay: int, count: int) -> None:
    """As many statements by one thread, and by several on the same connection."""
    statements = number * 10
    sql = SMALL["with the engine"]
    with (
        running(10, 10, delay) as url,
        dicomsql.connect(endpoint=url, anonymous=True, parallel=number) as connection,
        ThreadPoolExecutor(number) as pool,
    ):

        def one(_number: int) -> int:
            return len(connection.execute(sql).fetchall())

        tasks = {
            "1 thread": lambda: [one(n) for n in range(statements)],
            f"{number} threads": lambda: list(pool.map(one, range(statements))),
        }
        medians = rounds(tasks, count, clock=time.perf_counter)
    first = medians["1 thread"]
    print_table(
        f"{statements:,} statements on one connection, {delay} ms a request",
        ("", "statements/s", "times one thread", "bound"),
        [
            (name, f"{statements / s:.0f}", f"{first / s:.1f}", f"{BOUND_TIMES:g}" * (s != first))
            for name, s in medians.items()
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--statements", type=int, default=1_000)
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--delay", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print_machine()
    small(arguments.statements, arguments.rounds)
    threads(arguments.threads, arguments.delay, arguments.rounds)


if __name__ == "__main__":
    main()
