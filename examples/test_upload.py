"""How to test software against a DICOM store: with pytest's fixtures, and with a server that fails.

`upload` stands for software of your own. The tests show a store of its own for each test, SQL to
see what has arrived, and an emulator that misbehaves on purpose.

    python -m pytest examples/test_upload.py
"""

from __future__ import annotations

from pathlib import Path

import httpx
import pydicom
import pytest

import dicomsql
from dicomsql.emulator import Emulator, Store

FILES = [
    Path(pydicom.__file__).parent / "data" / "test_files" / name
    for name in ("CT_small.dcm", "MR_small.dcm", "rtplan.dcm", "waveform_ecg.dcm")
]


def upload(url: str, files: list[Path], attempts: int = 1) -> None:
    """The software under test: stores files, each in as many attempts as it takes."""
    with httpx.Client(base_url=url, trust_env=False, timeout=0.5) as client:
        for file in files:
            for left in reversed(range(attempts)):
                try:
                    client.post(
                        "/studies",
                        content=file.read_bytes(),
                        headers={"content-type": "application/dicom"},
                    ).raise_for_status()
                    break
                except httpx.HTTPError:
                    if not left:
                        raise


def stored(endpoint: str, store: Store) -> list[str]:
    """What has arrived: the modality of each instance."""
    with dicomsql.connect(endpoint=endpoint, **store.place) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT Modality FROM google.healthcare.instances ORDER BY Modality")
        return [modality for (modality,) in cursor.fetchall()]


def test_what_is_uploaded_arrives(dicomsql_emulator: Emulator, dicomsql_store: Store) -> None:
    upload(dicomsql_store.url, FILES)
    assert stored(dicomsql_emulator.url, dicomsql_store) == ["CT", "ECG", "MR", "RTPLAN"]


def test_each_test_has_an_empty_store(dicomsql_emulator: Emulator, dicomsql_store: Store) -> None:
    assert stored(dicomsql_emulator.url, dicomsql_store) == []


def test_nothing_is_stored_twice_however_bad_the_network(tmp_path: Path) -> None:
    with Emulator(tmp_path, fault="rate=0.5,kinds=429,503,reset,stall,truncate,seed=7") as bad:
        store = bad.make_store()
        upload(store.url, FILES, attempts=20)
        assert bad.faults.total() > 0
    with Emulator(tmp_path) as good:
        assert stored(good.url, store) == ["CT", "ECG", "MR", "RTPLAN"]


def test_a_quota_that_is_used_up_is_told() -> None:
    with Emulator(quota=3) as emulator:
        store = emulator.make_store()
        with pytest.raises(httpx.HTTPStatusError, match="429"):
            upload(store.url, FILES)
        assert emulator.faults == {"quota": 1}
