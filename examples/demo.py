"""The main job in one go: a store in the embedded emulator, real DICOM files, SQL over them.

Starts `dicomsql emulator` on a folder of its own, makes a dataset and a DICOM store by SQL, copies
the DICOM files into it that the package pydicom carries, and runs the statements of `demo.sql`
through `dicomsql exec`, as anybody would in a terminal.

    python examples/demo.py
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import dicomsql

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
DEFAULTS = {
    "project": "demo-project",
    "location": "us-central1",
    "dataset": "imaging",
    "store": "radiology",
}


@contextmanager
def emulator(root: Path) -> Iterator[str]:
    """Run the emulator on a folder; gives its URL."""
    command = [sys.executable, "-m", "dicomsql", "emulator", "--root", str(root), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            if not line:
                sys.exit("The emulator did not start.")
            yield line.split()[-1]
        finally:
            server.terminate()


def dicom_files() -> Path:
    """The folder of DICOM files that the package pydicom carries."""
    spec = find_spec("pydicom")
    if spec is None or spec.origin is None:
        sys.exit("The demo stores the files of the package pydicom, which is not installed.")
    return Path(spec.origin).parent / "data" / "test_files"


def copy_in(url: str, files: Path, journal: Path) -> None:
    """Copy the files into the store, as a program would, and say what became of them."""
    statement = (
        "COPY google.healthcare.instances FROM ? (on_conflict 'skip', journal ?) "
        "RETURNING status, count(*) AS files GROUP BY status ORDER BY status"
    )
    print(f"  {statement}\n")
    with dicomsql.connect(
        endpoint=url,
        project=DEFAULTS["project"],
        location=DEFAULTS["location"],
        dataset=DEFAULTS["dataset"],
        dicom_store=DEFAULTS["store"],
    ) as connection:
        cursor = connection.cursor()
        # Some of the files are broken on purpose: the statement fails, and has its rows yet.
        with suppress(dicomsql.OperationalError):
            cursor.execute(statement, [f"{files}/*.dcm", str(journal)])
        for status, count in cursor.fetchall():
            print(f"  {status:8} {count:4}")
    print(
        "\nThe package holds some images in several encodings, and a store takes an instance only "
        "once;\nothers are broken on purpose.\n",
        flush=True,
    )


def statements() -> list[str]:
    """The statements of demo.sql, each with the comment above it."""
    text = (HERE / "demo.sql").read_text(encoding="utf-8")
    return [part.strip() for part in text.split("\n\n") if part.strip()]


def run(url: str, text: str) -> None:
    """Show a statement and what `dicomsql exec` answers."""
    print("\n".join(f"  {line}" for line in text.splitlines()))
    print(flush=True)
    options = [part for name, value in DEFAULTS.items() for part in (f"--{name}", value)]
    command = [sys.executable, "-m", "dicomsql", "exec", "--endpoint", url, "--output", "table"]
    done = subprocess.run([*command, "--await", *options, text], check=False)
    if done.returncode:
        sys.exit(done.returncode)
    print(flush=True)


def main() -> None:
    """Run the demo on a folder that is thrown away afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix="dicomsql-demo-") as folder,
        emulator(Path(folder)) as url,
    ):
        print(f"The emulator serves {url}\n", flush=True)
        first, second, *others = statements()
        run(url, first)
        run(url, second)
        copy_in(url, dicom_files(), Path(folder) / "demo.copy.sqlite")
        for text in others:
            run(url, text)


if __name__ == "__main__":
    main()
