"""A COPY of the command line that is killed again and again, and started again until it is done.

The moments are drawn from a seed: one of those of some request that moves instances. `make
conformance` does it with ten thousand files and fifty kills.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import orthanc
import pytest
from fault_proxy import FaultProxy
from faults_bench import (
    Contents,
    Server,
    command,
    emulated,
    emulator,
    files_below,
    journal_of,
    make_files,
    real_orthanc,
)

FILES = int(os.environ.get("DICOMSQL_COPY_FILES", "100"))
KILLS = int(os.environ.get("DICOMSQL_COPY_KILLS", "2"))
# A look at all that is there takes long where that is much.
RARELY = max(1, FILES // 1_000)
# Bytes of a file at most: where it comes in several pieces, it may be left half written.
LARGEST = 6_000 if FILES > 1_000 else 200_000
# Megabytes of a request: so about ten files.
BATCH = 0.03
AT_A_TIME = 10
IN_A_STUDY = 25


STORES = ("s", "t")


@pytest.fixture(params=["emulator", pytest.param("orthanc", marks=pytest.mark.interop)])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "server"
    folder.mkdir()
    if request.param == "emulator":
        with emulator(folder, STORES) as url:
            yield emulated(url)
    else:
        orthanc.need()
        with real_orthanc(folder) as server:
            yield server


def killed_until_done(
    server: Server, sql: str, requests: int, seed: int, check: Callable[[], object]
) -> Counter[str]:
    """Kill a statement at random moments, then let it end.

    Args:
        requests: that it makes, about, where nothing comes between.
        check: is called after a kill.

    Returns: the statuses of its last run.
    """
    chance = random.Random(seed)
    with FaultProxy(server.url, rate=0, seed=seed) as proxy:
        called = command(server, proxy.url, sql)
        for number in range(KILLS):
            with subprocess.Popen(
                called, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            ) as process:
                proxy.alarm(chance.randint(1, max(2, requests // KILLS)), process.kill)
                _, said = process.communicate()
            assert process.returncode == -signal.SIGKILL, said.decode()
            if number % RARELY == 0:
                check()
        proxy.alarm(0, lambda: None)
        done = subprocess.run(called, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return Counter(row["status"] for row in json.loads(done.stdout))


def stored(server: Server, folder: Path) -> Contents:
    made = make_files(folder, FILES, largest=LARGEST)
    sql = f"COPY {server.table} FROM '{folder}' (journal 'off')"
    subprocess.run(command(server, server.url, sql), capture_output=True, check=True)
    return made


def test_files_into_a_store(server: Server, tmp_path: Path) -> None:
    made = make_files(tmp_path / "in", FILES)
    journal = tmp_path / "in.copy.sqlite"

    def check() -> None:
        """The journal says no more than is true."""
        if journal.exists():
            assert set(journal_of(journal)[0]) <= set(server.contents())

    sql = f"COPY {server.table} FROM '{tmp_path / 'in'}' (batch_mb {BATCH}, parallel 4)"
    statuses = killed_until_done(server, sql, FILES // AT_A_TIME, 1, check)
    assert statuses.keys() <= {"stored", "present"}
    assert statuses.total() == FILES
    # What was done before was not done again.
    assert statuses["present"]
    assert server.contents() == made
    done, told = journal_of(journal)
    assert (done, told.keys() <= {"stored", "present"}) == (made, True)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("in")) == [
        "in",
        "in.copy.sqlite",
    ]


def test_a_store_into_files(server: Server, tmp_path: Path) -> None:
    made = stored(server, tmp_path / "in")
    folder = tmp_path / "out"

    def check() -> None:
        """No file looks complete and is not."""
        complete = [path for path in folder.rglob("*.dcm") if not path.name.startswith(".")]
        assert set(files_below(folder, complete)) <= set(made)

    studies = server.table.removesuffix("instances") + "studies"
    sql = f"COPY (SELECT StudyInstanceUID FROM {studies}) TO '{folder}' (FORMAT dicom, parallel 4)"
    statuses = killed_until_done(server, sql, FILES // IN_A_STUDY, 2, check)
    assert statuses.keys() <= {"retrieved", "present"}
    assert statuses.total() == FILES
    # Every file below the folder, the hidden ones too: what was begun and not ended is gone.
    assert files_below(folder) == made
    assert journal_of(tmp_path / "out.copy.sqlite")[0] == made


def test_a_store_into_another(tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    journal = tmp_path / "between.sqlite"
    with emulator(tmp_path / "server", STORES) as url:
        source, target = (emulated(url, store) for store in STORES)
        made = stored(source, tmp_path / "in")

        def check() -> None:
            """The target holds nothing else, and the journal says no more than is true."""
            there = target.contents()
            assert set(there) <= set(made)
            if journal.exists():
                assert set(journal_of(journal)[0]) <= set(there)

        sql = (
            f"COPY {target.table} FROM (SELECT StudyInstanceUID FROM google.healthcare.studies) "
            f"(dicomStoresId 't', batch_mb {LARGEST * 2 / 1e6}, parallel 4, journal '{journal}')"
        )
        # About four instances go in a request.
        statuses = killed_until_done(source, sql, FILES // 4, 5, check)
        assert statuses.keys() <= {"stored", "present"}
        assert statuses.total() == FILES
        assert statuses["present"]
        assert target.contents() == source.contents() == made
    assert journal_of(journal)[0] == made
