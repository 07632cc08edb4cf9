"""Measuring for the benchmarks: interleaved rounds, medians, tables."""

from __future__ import annotations

import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path


def rounds(
    tasks: Mapping[str, Callable[[], object]],
    count: int,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, float]:
    """The median seconds of each task over `count` rounds, each of which runs every task once.

    What disturbs the machine for a while disturbs all of them. One more round warms up before.
    """
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for number in range(count + 1):
        for name, task in tasks.items():
            start = clock()
            task()
            if number:
                times[name].append(clock() - start)
    return {name: statistics.median(found) for name, found in times.items()}


@contextmanager
def server(script: Path, *arguments: str) -> Iterator[str]:
    """The URL that a server's script prints first; the server ends with the block."""
    command = [sys.executable, str(script), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            if not url:
                raise RuntimeError(f"{script.name} did not start.")
            yield url
        finally:
            process.terminate()


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table for people: the first column is text, the others are aligned as numbers."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    print(f"\n{title}")
    for row in (header, *rows):
        first, *others = (
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join((first, *others)).rstrip())


def print_machine() -> None:
    """What the figures were taken on."""
    print(f"Python {platform.python_version()} on {platform.machine()}, {sys.platform}")
