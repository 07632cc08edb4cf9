"""COPY over a connection that fails: nothing is lost, nothing doubled, no byte another."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import orthanc
import pytest
from fault_proxy import Fault, FaultProxy
from faults_bench import (
    PLACE,
    Contents,
    Server,
    emulated,
    emulator,
    files_below,
    journal_of,
    make_files,
    make_pictures,
    real_orthanc,
)

from dicomsql.config import Settings
from dicomsql.connections import Connection
from dicomsql.errors import Error
from dicomsql.session import Session
from dicomsql.transport.retry import RetryPolicy

# `make conformance` moves more instances, with one request of a hundred failing in each way.
FILES = int(os.environ.get("DICOMSQL_COPY_FILES", "160"))
MANY = FILES > 1_000
RATE = 0.01 if MANY else 0.08
# Some of the calls to be made again meet several faults in a row.
POLICY = partial(RetryPolicy, attempts=8, first_delay=0.01)
# Seconds: a stall lasts as long.
TIMEOUT = 5.0 if MANY else 0.4
OPTIONS = "parallel 6, batch_mb 0.01"
MOST_RUNS = 5
PICTURES = 24

pytestmark = pytest.mark.xdist_group("faults of COPY")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits are short, and refusals do not slow the client down for the rest of the test."""
    monkeypatch.setattr("dicomsql.transport.client.RetryPolicy", POLICY)
    monkeypatch.setattr("dicomsql.transport.pace._SLOWEST", 1000.0)
    monkeypatch.setattr("dicomsql.transport.pace._RECOVERY", 1000.0)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An emulator with empty stores."""
    with emulator(tmp_path_factory.mktemp("emulator"), ("s", "t", "empty", "pictures")) as url:
        yield url


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An empty Orthanc."""
    orthanc.need()
    with real_orthanc(tmp_path_factory.mktemp("orthanc")) as server:
        yield server


@pytest.fixture(scope="module")
def made(url: str, tmp_path_factory: pytest.TempPathFactory) -> Contents:
    """The instances that the store `s` is filled with."""
    folder = tmp_path_factory.mktemp("files") / "in"
    made = make_files(folder, FILES)
    sql = f"COPY google.healthcare.instances FROM '{folder}' (journal 'off') RETURNING status"
    rows, failure = run(url, sql, timeout=60.0)
    assert failure is None
    assert {row["status"] for row in rows} == {"stored"}
    return made


def run(
    url: str, sql: str, timeout: float = TIMEOUT, pacs: str = ""
) -> tuple[list[dict[str, Any]], Error | None]:
    """The rows of a statement, and what made it fail nevertheless.

    Args:
        url, pacs: where the emulator and Orthanc are reached.
    """
    connection = Connection("pacs", "dicomweb.orthanc", pacs, timeout=timeout)
    settings = Settings(
        endpoint=url,
        connections={"pacs": connection} if pacs else {},
        timeout=timeout,
        anonymous=True,
        dicom_store="s",
        **PLACE,
    )
    with Session(settings) as session:
        (statement,) = session.parse(sql)
        result = session.execute(statement)
        return [row for batch in result.batches() for row in batch.to_pylist()], result.failure


def run_until_done(url: str, sql: str, pacs: str = "") -> list[str]:
    """The statuses of all rows of all runs, of which the last one did not fail.

    A fault may meet one call as often as it is made; then the run says so, and the next goes on.
    """
    told: list[str] = []
    for _ in range(MOST_RUNS):
        rows, failure = run(url, sql, pacs=pacs)
        told += [row["status"] for row in rows]
        if failure is None:
            uids = Counter(row["SOPInstanceUID"] for row in rows)
            assert len(uids) == uids.total() == FILES
            return told
    raise AssertionError(f"{MOST_RUNS} runs were not enough")


def test_in(url: str, tmp_path: Path) -> None:
    made = make_files(tmp_path / "in", FILES, seed=1)
    with FaultProxy(url, rate=RATE, seed=1) as proxy:
        folder = tmp_path / "in"
        sql = f"COPY google.healthcare.instances FROM '{folder}' (dicomStoresId 'empty', {OPTIONS})"
        told = run_until_done(proxy.url, sql)
    assert proxy.kinds == set(Fault)
    assert emulated(url, "empty").contents() == made
    done, statuses = journal_of(tmp_path / "in.copy.sqlite")
    assert done == made
    assert statuses.keys() <= {"stored", "present"}
    # What was lost on its way back was stored nevertheless, and no run says that it failed for it.
    assert set(told) <= {"stored", "present", "failed"}


@pytest.mark.parametrize("columns", ["study, series, instance", "study"])
def test_out(url: str, made: Contents, tmp_path: Path, columns: str) -> None:
    """Instances one by one, and whole studies."""
    names = {"study": "StudyInstanceUID", "series": "SeriesInstanceUID"}
    listed = ", ".join(names.get(one, "SOPInstanceUID") for one in columns.split(", "))
    table = "instances" if "instance" in columns else "studies"
    with FaultProxy(url, rate=RATE, seed=3) as proxy:
        sql = (
            f"COPY (SELECT {listed} FROM google.healthcare.{table}) TO '{tmp_path / 'out'}' "
            f"(FORMAT dicom, parallel 6)"
        )
        run_until_done(proxy.url, sql)
    assert len(proxy.kinds) >= 4
    assert files_below(tmp_path / "out") == made
    done, _ = journal_of(tmp_path / "out.copy.sqlite")
    assert done == made


def test_between(url: str, made: Contents, tmp_path: Path) -> None:
    journal = tmp_path / "between.sqlite"
    with FaultProxy(url, rate=RATE, seed=7) as proxy:
        sql = (
            f"COPY google.healthcare.instances FROM "
            f"(SELECT StudyInstanceUID FROM google.healthcare.studies) "
            f"(dicomStoresId 't', {OPTIONS}, journal '{journal}')"
        )
        run_until_done(proxy.url, sql)
    assert len(proxy.kinds) >= 4
    assert emulated(url, "t").contents() == made
    assert emulated(url).contents() == made
    done, _ = journal_of(journal)
    assert done == made


@pytest.mark.parametrize("form", ["png", "jpeg"])
def test_pictures(url: str, tmp_path: Path, form: str) -> None:
    """They are those that a connection without faults gives, and none of them is cut."""
    make_pictures(tmp_path / "in", PICTURES)

    def pictures(at: str, name: str) -> dict[str, bytes]:
        sql = (
            f"COPY (SELECT StudyInstanceUID FROM google.healthcare.studies "
            f"WHERE dicomStoresId = 'pictures') TO '{tmp_path / name}' (FORMAT {form}, parallel 6)"
        )
        for _ in range(MOST_RUNS):
            rows, failure = run(at, sql)
            if failure is None:
                assert len(rows) == PICTURES * 3 // 2
                below = (tmp_path / name).rglob("*")
                return {path.name: path.read_bytes() for path in below if path.is_file()}
        raise AssertionError(f"{MOST_RUNS} runs were not enough")

    options = "dicomStoresId 'pictures', journal 'off'"
    run(url, f"COPY google.healthcare.instances FROM '{tmp_path / 'in'}' ({options})", 60.0)
    whole = pictures(url, "whole")
    with FaultProxy(url, rate=RATE, seed=13) as proxy:
        assert pictures(proxy.url, "out") == whole
    assert len(whole) == len(set(whole.values())) == PICTURES * 3 // 2
    assert len(proxy.kinds) >= 4


@pytest.mark.interop
def test_between_servers_and_out_of_the_other(
    url: str, pacs: Server, made: Contents, tmp_path: Path
) -> None:
    journal, out = tmp_path / "between.sqlite", tmp_path / "out"
    with (
        FaultProxy(url, rate=RATE, seed=9) as one,
        FaultProxy(pacs.url, rate=RATE, seed=10) as other,
    ):
        sql = (
            f"COPY dicomweb.pacs.instances FROM "
            f"(SELECT StudyInstanceUID FROM google.healthcare.studies) "
            f"({OPTIONS}, journal '{journal}')"
        )
        run_until_done(one.url, sql, other.url)
        assert pacs.contents() == made
        sql = (
            f"COPY (SELECT StudyInstanceUID FROM dicomweb.pacs.studies) TO '{out}' "
            f"(FORMAT dicom, parallel 6)"
        )
        run_until_done(one.url, sql, other.url)
    assert one.kinds and len(other.kinds) >= 4
    assert files_below(out) == made
    assert journal_of(journal)[0] == journal_of(tmp_path / "out.copy.sqlite")[0] == made


@pytest.mark.interop
def test_into_another(url: str, tmp_path: Path) -> None:
    orthanc.need()
    made = make_files(tmp_path / "in", FILES, seed=2)
    (tmp_path / "orthanc").mkdir()
    with (
        real_orthanc(tmp_path / "orthanc") as pacs,
        FaultProxy(pacs.url, rate=RATE, seed=11) as proxy,
    ):
        sql = f"COPY dicomweb.pacs.instances FROM '{tmp_path / 'in'}' ({OPTIONS})"
        run_until_done(url, sql, proxy.url)
        assert proxy.kinds == set(Fault)
        assert pacs.contents() == made
    done, _ = journal_of(tmp_path / "in.copy.sqlite")
    assert done == made
