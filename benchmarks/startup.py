"""Starting: the time that commands take over `python -c pass`, beside their bounds.

    python benchmarks/startup.py [--rounds 20]

Wall-clock time of whole processes. The SELECT goes to an emulator that runs in another process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from measure import print_machine, print_table, rounds

SELECT = """
    SELECT name FROM google.healthcare.dicom_stores
    WHERE projectsId = 'p' AND locationsId = 'us-central1' AND datasetsId = 'd'
"""

# Command -> the milliseconds that it may take over bare Python.
BOUNDS = {"--help": 60, "--version": 60, "exec SHOW PROVIDERS": 100, "exec SELECT": 450}

BARE = "python -c pass"


def run(*command: str) -> None:
    """Run a command to its end, with compiled modules kept as they are for everybody."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(
        command,
        check=True,
        stdout=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        env=environment,
    )


@contextmanager
def emulator(program: tuple[str, ...]) -> Iterator[str]:
    """The URL of an emulator that holds one dataset with one store."""
    with tempfile.TemporaryDirectory() as root:
        command = [*program, "emulator", "--root", root, "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                url = process.stdout.readline().strip()
                if not url:
                    raise RuntimeError("The emulator did not start.")
                parent = f"{url}/v1/projects/p/locations/us-central1/datasets"
                create(f"{parent}?datasetId=d")
                create(f"{parent}/d/dicomStores?dicomStoreId=s")
                yield url
            finally:
                process.terminate()


def create(url: str) -> None:
    """POST an empty resource."""
    request = urllib.request.Request(
        url, data=json.dumps({}).encode(), headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        answer.read()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    script = Path(sys.executable).with_name("dicomsql")
    program = (str(script),) if script.exists() else (sys.executable, "-m", "dicomsql")
    print_machine()
    with emulator(program) as url:
        tasks: dict[str, Callable[[], object]] = {
            BARE: partial(run, sys.executable, "-c", "pass"),
            "--help": partial(run, *program, "--help"),
            "--version": partial(run, *program, "--version"),
            "exec SHOW PROVIDERS": partial(run, *program, "exec", "SHOW PROVIDERS"),
            "exec SELECT": partial(run, *program, "exec", "--endpoint", url, SELECT),
        }
        medians = rounds(tasks, arguments.rounds, clock=time.perf_counter)
    base = medians[BARE]
    rows = [(BARE, f"{base * 1e3:.0f}", "", "")]
    for name, bound in BOUNDS.items():
        over = (medians[name] - base) * 1e3
        rows.append((f"dicomsql {name}", f"{medians[name] * 1e3:.0f}", f"{over:.0f}", f"{bound}"))
    print_table("whole processes, ms", ("", "took", "over bare", "bound"), rows)


if __name__ == "__main__":
    main()
