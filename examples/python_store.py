"""A store to try things on: the embedded emulator, with DICOM files of the package pydicom."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from dicomsql.emulator import Emulator

FILES = ("CT_small.dcm", "MR_small.dcm", "rtplan.dcm")


@contextmanager
def store() -> Iterator[dict[str, str]]:
    """The arguments of `dicomsql.connect` for a store with three studies."""
    import dicomsql

    spec = find_spec("pydicom")
    assert spec is not None
    assert spec.origin is not None
    files = Path(spec.origin).parent / "data" / "test_files"
    with Emulator() as emulator:
        place = {"endpoint": emulator.url, **emulator.make_store().place}
        with dicomsql.connect(**place) as connection:
            copy = "COPY google.healthcare.instances FROM ? (journal 'off')"
            for name in FILES:
                connection.execute(copy, [str(files / name)])
        yield place
