"""What several parts' tests share: a store in the emulator, filled with real DICOM files."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest

from dicomsql.config import Settings
from dicomsql.session import Session

FILES = Path(pydicom.__file__).parent / "data" / "test_files"

# Small files of several modalities, each of another study.
STORED = ("CT_small.dcm", "MR_small.dcm", "SC_rgb_small_odd.dcm", "rtplan.dcm", "waveform_ecg.dcm")

PLACE = {
    "project": "p",
    "location": "us-central1",
    "dataset": "d",
    "dicom_store": "s",
}


def pytest_configure() -> None:
    """Ctrl-C works; a shell that starts the tests in the background has it ignored."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the developer's own machine reaches a test."""
    import os

    for name in list(os.environ):
        if name.startswith(("DICOMSQL_", "GOOGLE_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "own-config"))


@pytest.fixture(scope="session")
def dicom_files() -> Path:
    """The real DICOM files that come with pydicom."""
    return FILES


@pytest.fixture(scope="session")
def stored_files() -> tuple[Path, ...]:
    """The files that are in the filled store."""
    return tuple(FILES / name for name in STORED)


def fill(root: Path) -> None:
    """Make a dataset and a store, and store the files."""
    with Session(Settings(local=root, **PLACE)) as session:
        script = """
            INSERT INTO google.healthcare.datasets (datasetId) SELECT 'd';
            INSERT INTO google.healthcare.dicom_stores (dicomStoreId, labels)
            SELECT 's', '{"env": "test"}';
        """
        for statement in session.parse(script):
            session.execute(statement)
        store = session.parse(
            "EXEC google.healthcare.dicom_stores.store_instances @dicomStoresId = 's' @@file = ?"
        )[0]
        for name in STORED:
            session.execute(store, [str(FILES / name)])


@pytest.fixture(scope="session")
def filled_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the emulator with a filled store, for tests that only read."""
    root = tmp_path_factory.mktemp("emulator") / "data"
    fill(root)
    return root


@pytest.fixture
def own_root(filled_root: Path, tmp_path: Path) -> Path:
    """A copy of the filled folder, for tests that write."""
    import shutil

    root = tmp_path / "data"
    shutil.copytree(filled_root, root)
    return root


@pytest.fixture
def filled(filled_root: Path) -> Iterator[Session]:
    """A session on the filled store; for tests that only read."""
    with Session(Settings(local=filled_root, **PLACE)) as session:
        yield session


@pytest.fixture
def own(own_root: Path) -> Iterator[Session]:
    """A session on a filled store of its own; for tests that write."""
    with Session(Settings(local=own_root, **PLACE)) as session:
        yield session
