"""COPY from one server to another: what the target gets, and what becomes of every instance."""

from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from retrieving_bench import BOUNDARY, Holder, asking, breaking, query, source
from storing_bench import Server, dicom, target, uids_of

from dicomsql.copying.arriving import Arrival
from dicomsql.copying.between import _Taker, transfer
from dicomsql.copying.fetching import Wanted
from dicomsql.copying.journal import Journal
from dicomsql.copying.progress import Progress
from dicomsql.copying.report import Report
from dicomsql.copying.source import Instance
from dicomsql.errors import ApiError, EndpointError
from dicomsql.execution.run import Run
from dicomsql.planning.plan import Conflict, CopySettings, Named, TransferPlan

ALL = [dicom("1", "1.1", f"1.1.{n}", padding=100 * n) for n in range(1, 9)]
OTHER = dicom("2", "2.1", "2.1.1")
LARGE = dicom("1", "1.2", "1.2.1", padding=200_000)


class Between:
    """COPY from a holder of instances into a server; each run is one of the statement."""

    def __init__(self, base: Path) -> None:
        self.holder = Holder()
        self.server = Server()
        self.journal: Path | None = base / "between.sqlite"

    @contextmanager
    def asking(self, parallel: int) -> Iterator[Run]:
        """A run that tells the two servers apart by their hosts."""
        handle, holder = self.holder.handle, self.holder

        def route(request: httpx.Request) -> httpx.Response:
            if request.url.host == "server":
                return self.server.handle(request)
            return handle(request)

        holder.handle = route  # type: ignore[method-assign]
        try:
            with asking(holder, parallel) as run:
                yield run
        finally:
            holder.handle = handle  # type: ignore[method-assign]

    def run(
        self,
        rows: Iterable[Sequence[str | None]],
        conflict: Conflict = Conflict.FAIL,
        *,
        parallel: int = 4,
        batch: int = 32_000_000,
    ) -> dict[str, dict[str, Any]]:
        """The result's rows by their SOP Instance UIDs."""
        read, found = query(rows)
        plan = TransferPlan(
            query=read,
            named=found,
            source=replace(source(), base_url="http://source"),
            target=target(self.server),
            conflict=conflict,
            settings=CopySettings(batch=batch),
        )
        self.report = Report()
        with self.asking(parallel) as run:
            journal = self.journal and Journal.open(self.journal, "between", "there", "here")
            try:
                transfer(run, plan, self.report, journal or None, Progress())
            finally:
                run.close()
                if journal:
                    journal.close()
        listed = [row for b in self.report.result(None).batches() for row in b.to_pylist()]
        assert len({row["SOPInstanceUID"] for row in listed}) == len(listed)
        return {row["SOPInstanceUID"]: row for row in listed}

    def statuses(self, *args: Any, **options: Any) -> dict[str, str]:
        return {uid: row["status"] for uid, row in self.run(*args, **options).items()}


@pytest.fixture
def between(tmp_path: Path) -> Between:
    made = Between(tmp_path)
    made.holder.keep(*ALL, OTHER)
    return made


def everything(*contents: bytes) -> dict[tuple[str, str, str], bytes]:
    return {uids_of(content): content for content in contents}


def test_studies_go_from_one_to_the_other(between: Between) -> None:
    rows = between.run([("1",), ("2",)], parallel=1)
    assert {row["status"] for row in rows.values()} == {"stored"}
    assert between.server.kept == everything(*ALL, OTHER)
    assert rows["1.1.3"]["path"] is None
    assert rows["1.1.3"]["bytes"] == len(ALL[2])
    # A series is one request at either side.
    assert [len(r.files) for r in between.server.stores] == [9]
    assert between.holder.fetched()[0] == "/studies/1/series/1.1"


def test_batches_are_bounded(between: Between) -> None:
    between.run([("1",)], parallel=1, batch=2500)
    assert between.server.kept == everything(*ALL)
    assert all(sum(map(len, r.files)) <= 2500 for r in between.server.stores)
    assert len(between.server.stores) > 2


def test_an_instance_larger_than_a_batch_goes_on_as_it_comes(between: Between) -> None:
    between.holder.keep(LARGE)
    rows = between.run([("1",)], batch=20_000)
    assert {row["status"] for row in rows.values()} == {"stored"}
    assert between.server.kept == everything(*ALL, LARGE)
    assert rows["1.2.1"]["bytes"] == len(LARGE)
    (alone,) = [r for r in between.server.stores if LARGE in r.files]
    assert (len(alone.files), alone.length) == (1, "")


def test_a_large_one_is_fetched_anew_for_another_attempt(between: Between) -> None:
    between.holder.keep(LARGE)
    between.server.answers = [lambda _: httpx.ReadError("reset"), lambda _: httpx.Response(503)]
    assert between.statuses([uids_of(LARGE)], batch=20_000) == {"1.2.1": "stored"}
    assert between.server.kept == everything(LARGE)
    assert len(between.holder.fetched()) == 3


def test_a_large_one_that_is_cut_off_is_never_stored_in_part(between: Between) -> None:
    between.holder.keep(LARGE)
    head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    cuts = [breaking(LARGE[:150_000], "application/dicom") for _ in range(3)]
    between.holder.gives("/series/1.2", *cuts)
    assert between.statuses([uids_of(LARGE)], batch=20_000) == {"1.2.1": "stored"}
    assert between.server.kept == everything(LARGE)
    between.server.kept.clear()
    between.journal = None
    cuts = [breaking(head + LARGE[:150_000]) for _ in range(4)]
    between.holder.gives("/series/1.2", *cuts)
    row = between.run([uids_of(LARGE)], batch=20_000)["1.2.1"]
    assert row["status"] == "failed"
    assert "cut off" in row["reason"]
    assert between.server.kept == {}


def test_a_second_run_does_what_is_left(between: Between) -> None:
    between.server.answers = [lambda _: httpx.Response(403)]
    with pytest.raises(ApiError):
        between.run([("1",)], parallel=1)
    assert between.server.kept == {}
    between.run([uids_of(content) for content in ALL[:3]])
    before = len(between.server.stores)
    statuses = between.statuses([("1",)])
    assert sorted(statuses.values()) == ["present"] * 3 + ["stored"] * 5
    assert between.server.kept == everything(*ALL)
    assert sum(len(r.files) for r in between.server.stores[before:]) == 5


def test_a_target_that_does_not_tell_is_asked_first(between: Between) -> None:
    between.server.tells = False
    between.journal = None
    assert set(between.statuses([("1",)]).values()) == {"stored"}
    before = len(between.server.stores)
    assert set(between.statuses([("1",)]).values()) == {"present"}
    assert len(between.server.stores) == before


def test_what_the_target_has(between: Between) -> None:
    changed = dicom("1", "1.1", "1.1.1", "changed")
    between.server.keep(changed, ALL[1])
    statuses = between.statuses([("1",)])
    assert statuses["1.1.1"] == "failed"
    assert statuses["1.1.2"] in {"stored", "present"}
    between.journal = None
    between.holder.paths.clear()
    statuses = between.statuses([uids_of(c) for c in ALL], Conflict.SKIP)
    assert set(statuses.values()) == {"skipped"}
    assert between.holder.fetched() == []
    assert between.server.kept[uids_of(changed)] == changed


def test_a_target_or_a_source_that_is_gone_ends_it(between: Between) -> None:
    between.server.answers = [lambda _: httpx.ConnectError("refused")] * 1000
    between.server.next["GET"] = [lambda: httpx.ConnectError("refused")] * 1000
    with pytest.raises(EndpointError, match="server"):
        between.run([("1",)])
    between.server.answers = []
    between.server.next.clear()
    between.holder.gives("/", *[httpx.ConnectError("refused")] * 1000)
    with pytest.raises(EndpointError, match="source"):
        between.run([("1",)])
    between.holder.answers.clear()
    assert set(between.statuses([("1",)]).values()) == {"stored"}


def test_one_that_the_source_does_not_have_fails_alone(between: Between) -> None:
    missing = ("1", "1.1", "1.1.99")
    rows = between.run([uids_of(ALL[0]), missing])
    assert {uid: row["status"] for uid, row in rows.items()} == {
        "1.1.1": "stored",
        "1.1.99": "failed",
    }


def test_what_several_stores_have_is_stored_once(between: Between) -> None:
    rows = [(*uids_of(ALL[0]), "a"), (*uids_of(ALL[0]), "b")]
    named = Named(
        "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", (("storesId", "storesId"),)
    )
    # Two rows of one instance, so that they are not told apart by their UIDs.
    read, _ = query(rows, "storesId")
    report = Report()
    store = source()
    plan = TransferPlan(
        read,
        named,
        type(store)(store.resource, "http://source", store.moves),
        target(between.server),
    )
    with between.asking(4) as run:
        transfer(run, plan, report, None, Progress())
    found = [row for b in report.result(None).batches() for row in b.to_pylist()]
    assert [row["status"] for row in found] in (["stored", "present"], ["stored", "stored"])
    assert between.server.kept == everything(ALL[0])


def test_digests_are_those_of_what_came(between: Between) -> None:
    between.run([("1",)])
    assert between.journal is not None
    with Journal.open(between.journal, "between", "there", "here") as journal:
        digests = {entry.instance: entry.digest for entry in journal.entries()}
    assert digests == {uids_of(c)[2]: hashlib.sha256(c).hexdigest() for c in ALL}


@pytest.mark.parametrize("content", [ALL[7], LARGE, dicom("1", "1.1", "1.1.1", padding=2_000_000)])
def test_what_is_cut_off_in_a_whole_answer_is_not_stored(between: Between, content: bytes) -> None:
    between.holder.kept = {uids_of(content): content[:-60]}
    rows = between.run([uids_of(content)], batch=100_000)
    (row,) = rows.values()
    assert row["status"] == "failed"
    assert "not whole" in row["reason"]
    assert between.server.kept == {}
    between.holder.keep(content)
    assert set(between.statuses([uids_of(content)], batch=100_000).values()) == {"stored"}


def test_no_more_than_a_batch_is_held() -> None:
    """Of what comes and what waits together, in its own memory."""
    limit, half = 8_000_000, bytes(250_000)

    class Storer:
        limit = None

        def store_parts(self, parts: list[Any]) -> Iterator[list[Any]]:
            yield []

    copy = SimpleNamespace(
        batch=limit,
        storer=Storer(),
        progress=SimpleNamespace(moved=lambda _: None),
        ledger=SimpleNamespace(write=lambda _: None),
    )
    taker = _Taker(None, copy)  # type: ignore[arg-type]
    tracemalloc.start()
    try:
        for number in range(4):
            pieces = (half[:] + bytes(1) for _ in range(30))
            at = Instance((), "1", "1.1", str(number))
            taker.take(Wanted(at, None), Arrival("1", "1.1", str(number), "x", pieces))  # type: ignore[arg-type]
        assert tracemalloc.get_traced_memory()[1] < 1.2 * limit
    finally:
        tracemalloc.stop()
