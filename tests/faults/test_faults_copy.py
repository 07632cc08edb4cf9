"""COPY over a connection that fails: nothing is lost, nothing doubled, no byte another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fault_proxy import Fault, FaultProxy
from faults_bench import (
    PLACE,
    Contents,
    emulated,
    emulator,
    files_below,
    journal_of,
    make_files,
)

from dicomsql.config import Settings
from dicomsql.errors import Error
from dicomsql.session import Session
from dicomsql.transport.retry import RetryPolicy

FILES = 240
RATE = 0.05
# Some of the calls to be made again meet several faults in a row.
POLICY = partial(RetryPolicy, attempts=6, first_delay=0.01)
# Seconds: a stall lasts as long.
TIMEOUT = 0.4
OPTIONS = "parallel 6, batch_mb 0.01"
MOST_RUNS = 5


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits are short, and refusals do not slow the client down for the rest of the test."""
    monkeypatch.setattr("dicomsql.transport.client.RetryPolicy", POLICY)
    monkeypatch.setattr("dicomsql.transport.pace._SLOWEST", 1000.0)
    monkeypatch.setattr("dicomsql.transport.pace._RECOVERY", 1000.0)


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """An emulator with two empty stores."""
    with emulator(tmp_path / "emulator", ("s", "t")) as url:
        yield url


def run(url: str, sql: str) -> tuple[list[dict[str, Any]], Error | None]:
    """The rows of a statement, and what made it fail nevertheless."""
    settings = Settings(endpoint=url, timeout=TIMEOUT, anonymous=True, dicom_store="s", **PLACE)
    with Session(settings) as session:
        (statement,) = session.parse(sql)
        result = session.execute(statement)
        return [row for batch in result.batches() for row in batch.to_pylist()], result.failure


def run_until_done(url: str, sql: str, count: int) -> list[str]:
    """The statuses of all rows of all runs, of which the last one did not fail.

    A fault may meet one call as often as it is made; then the run says so, and the next goes on.
    """
    told: list[str] = []
    for _ in range(MOST_RUNS):
        rows, failure = run(url, sql)
        told += [row["status"] for row in rows]
        if failure is None:
            uids = Counter(row["SOPInstanceUID"] for row in rows)
            assert len(uids) == uids.total() == count
            return told
    raise AssertionError(f"{MOST_RUNS} runs were not enough")


def stored(url: str, folder: Path) -> Contents:
    made = make_files(folder, FILES)
    sql = f"COPY google.healthcare.instances FROM '{folder}' (journal 'off') RETURNING status"
    rows, failure = run(url, sql)
    assert failure is None
    assert {row["status"] for row in rows} == {"stored"}
    return made


@pytest.mark.parametrize("seed", [1, 2])
def test_in(url: str, tmp_path: Path, seed: int) -> None:
    made = make_files(tmp_path / "in", FILES, seed)
    with FaultProxy(url, rate=RATE, seed=seed) as proxy:
        sql = f"COPY google.healthcare.instances FROM '{tmp_path / 'in'}' ({OPTIONS})"
        told = run_until_done(proxy.url, sql, FILES)
    assert proxy.kinds == set(Fault)
    assert emulated(url).contents() == made
    done, statuses = journal_of(tmp_path / "in.copy.sqlite")
    assert done == made
    assert statuses.keys() <= {"stored", "present"}
    # What was lost on its way back was stored nevertheless, and no run says that it failed for it.
    assert set(told) <= {"stored", "present", "failed"}


@pytest.mark.parametrize("seed", [3, 4])
def test_out(url: str, tmp_path: Path, seed: int) -> None:
    made = stored(url, tmp_path / "in")
    with FaultProxy(url, rate=RATE, seed=seed) as proxy:
        query = "SELECT StudyInstanceUID, SOPInstanceUID, SeriesInstanceUID"
        sql = (
            f"COPY ({query} FROM google.healthcare.instances) TO '{tmp_path / 'out'}' "
            f"(FORMAT dicom, parallel 6)"
        )
        run_until_done(proxy.url, sql, FILES)
    assert proxy.kinds == set(Fault)
    assert files_below(tmp_path / "out") == made
    done, _ = journal_of(tmp_path / "out.copy.sqlite")
    assert done == made


@pytest.mark.parametrize("seed", [5, 6])
def test_whole_studies_out(url: str, tmp_path: Path, seed: int) -> None:
    made = stored(url, tmp_path / "in")
    with FaultProxy(url, rate=RATE, seed=seed) as proxy:
        sql = (
            f"COPY (SELECT StudyInstanceUID FROM google.healthcare.studies) "
            f"TO '{tmp_path / 'out'}' (FORMAT dicom, parallel 6)"
        )
        run_until_done(proxy.url, sql, FILES)
    assert proxy.faults
    assert files_below(tmp_path / "out") == made


@pytest.mark.parametrize("seed", [7, 8])
def test_between(url: str, tmp_path: Path, seed: int) -> None:
    made = stored(url, tmp_path / "in")
    with FaultProxy(url, rate=RATE, seed=seed) as proxy:
        journal = tmp_path / "between.sqlite"
        sql = (
            f"COPY google.healthcare.instances FROM "
            f"(SELECT StudyInstanceUID FROM google.healthcare.studies) "
            f"(dicomStoresId 't', {OPTIONS}, journal '{journal}')"
        )
        run_until_done(proxy.url, sql, FILES)
    assert proxy.faults
    assert emulated(url, "t").contents() == made
    assert emulated(url).contents() == made
    done, _ = journal_of(journal)
    assert [uid for uid, _ in done] == [uid for uid, _ in made]
