"""Memory of a long result: the command line's peak while it streams a search to CSV.

    python benchmarks/memory.py [--series 1000000] [--times 1 10]

Each figure is the peak of a process of its own; the baseline is the same command for one row, which
imports all that the others import. The server hands out the same rows `times` over, as other
series.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from idc import write_rows
from measure import print_machine, print_table
from search import COLUMNS
from search_server import running

WANTED = 100
SQL = f"SELECT {', '.join(COLUMNS)} FROM dicomweb.standard.series"


def peak(url: str, sql: str, output: str) -> tuple[float, int, float]:
    """Peak megabytes of the command, the lines that it wrote, and its seconds.

    The peak is the process's own as Linux counts it, read while it runs: what the system tells of
    an ended child includes the memory of the parent that it was forked from.
    """
    command = [sys.executable, "-m", "dicomsql", "exec", "--endpoint", url, "--output", output, sql]
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        watch = _Watch(process.pid)
        lines = 0
        while piece := process.stdout.read(1 << 20):
            lines += piece.count(b"\n")
        highest = watch.highest()
    if process.returncode:
        raise SystemExit(f"The command failed with exit code {process.returncode}.")
    return highest / 1024, lines, time.perf_counter() - start


class _Watch:
    """Looks at a process's own peak until it ends."""

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self._highest = 0
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def highest(self) -> int:
        """The peak in kilobytes; waits for the process to end."""
        self._thread.join()
        return self._highest

    def _look(self) -> None:
        # A process that has ended has no memory any more.
        while found := re.search(r"VmHWM:\s*(\d+)", self._status.read_text()):
            self._highest = int(found[1])
            time.sleep(0.005)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--series", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--output", default="csv")
    arguments = parser.parse_args()
    print_machine()
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "rows.json"
        starts = write_rows(file, arguments.series)
        with running(file, starts) as url:
            base, _, _ = peak(url, SQL + " LIMIT 1", arguments.output)
        rows = [("1 row", f"{base:.0f}", "", "", "")]
        for times in arguments.times:
            with running(file, starts, times=times) as url:
                used, lines, seconds = peak(url, SQL, arguments.output)
            more, wanted = f"{used - base:+.0f}", f"+{WANTED}"
            rows.append((f"{lines:,} lines", f"{used:.0f}", more, wanted, f"{seconds:.0f}"))
        header = ("", "peak MB", "over one row", "at most", "seconds")
        print_table(f"Streaming to {arguments.output}", header, rows)


if __name__ == "__main__":
    main()
