"""The main job in one go: a store in the embedded emulator, real DICOM files, SQL over them.

Starts `dicomsql emulator` on a folder of its own, makes a dataset and a DICOM store by SQL, stores
the DICOM files that the package pydicom carries, and runs the statements of `demo.sql` through
`dicomsql exec`, as anybody would in a terminal.

    python examples/demo.py
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import contextmanager
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


def dicom_files() -> list[Path]:
    """The DICOM files that the package pydicom carries, those that a store takes."""
    spec = find_spec("pydicom")
    if spec is None or spec.origin is None:
        sys.exit("The demo stores the files of the package pydicom, which is not installed.")
    folder = Path(spec.origin).parent / "data" / "test_files"
    return sorted(p for p in folder.glob("*.dcm") if p.read_bytes()[128:132] == b"DICM")


def store_files(url: str, files: list[Path]) -> None:
    """Store each file by SQL and say how many the store took."""
    stored = conflicts = 0
    with dicomsql.connect(
        endpoint=url,
        project=DEFAULTS["project"],
        location=DEFAULTS["location"],
        dataset=DEFAULTS["dataset"],
    ) as connection:
        cursor = connection.cursor()
        for path in files:
            try:
                cursor.execute(
                    "EXEC google.healthcare.dicom_stores.store_instances "
                    "@dicomStoresId = ? @@file = ?",
                    [DEFAULTS["store"], str(path)],
                )
                stored += 1
            except dicomsql.IntegrityError:
                conflicts += 1
    print(
        f"{stored} files stored; {conflicts} refused: the package holds some images in several "
        f"encodings, and a store\ntakes an instance only once; others are broken on purpose.\n"
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
        store_files(url, dicom_files())
        for text in others:
            run(url, text)


if __name__ == "__main__":
    main()
