"""COPY of files into a store: batches, repeats, the journal, files that are none."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from storing_bench import Server, dicom, digest, serving, target, uids_of, write

from dicomsql.copying.journal import Journal
from dicomsql.copying.outcomes import Status
from dicomsql.copying.progress import Progress
from dicomsql.copying.report import Report
from dicomsql.copying.storing import kept_folder, store
from dicomsql.errors import (
    CancelledError,
    EndpointError,
    InterfaceError,
    NotFoundError,
    OperationalError,
)
from dicomsql.planning.plan import Conflict, CopySettings, StorePlan

A, B, C, D = (dicom("1", "1.1", f"1.1.{n}") for n in range(1, 5))
OTHER_A = dicom("1", "1.1", "1.1.1", "other")


class Copy:
    """COPY into a server from files below a folder; each run is one of the statement."""

    def __init__(self, folder: Path, server: Server | None = None) -> None:
        self.folder = folder / "in"
        self.folder.mkdir()
        self.journal: Path | None = folder / "in.copy.sqlite"
        self.server = server if server is not None else Server()
        self.before_each: Callable[[], None] = lambda: None

    def write(self, **contents: bytes) -> None:
        write(self.folder, **contents)

    def run(
        self,
        conflict: Conflict = Conflict.FAIL,
        *,
        parallel: int = 4,
        batch: int = 32_000_000,
        study: str = "",
        replace: bool = False,
    ) -> list[dict[str, Any]]:
        """The rows, by their paths."""
        plan = StorePlan(
            target(self.server, replace=replace),
            (str(self.folder),),
            conflict,
            study,
            CopySettings(batch=batch),
        )
        self.report = Report()
        with serving(self.server, parallel) as run:
            journal = self.journal and Journal.open(self.journal, "in", "here", "there")
            try:
                store(run, plan, self.report, journal or None, Progress())
            finally:
                if journal:
                    journal.close()
            self.notes = run.statistics.notes
        rows = [row for b in self.report.result(None).batches() for row in b.to_pylist()]
        return sorted(rows, key=lambda row: row["path"])

    def statuses(self, *args: Any, **options: Any) -> dict[str, str]:
        """File name -> status."""
        return {Path(r["path"]).name: r["status"] for r in self.run(*args, **options)}


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


def test_files_become_instances(copy: Copy) -> None:
    copy.write(a=A, b=B)
    (copy.folder / "no extension").write_bytes(C)
    first, second, third = copy.run()
    assert first == {
        "path": str(copy.folder / "a.dcm"),
        "StudyInstanceUID": "1",
        "SeriesInstanceUID": "1.1",
        "SOPInstanceUID": "1.1.1",
        "status": "stored",
        "reason": None,
        "bytes": len(A),
    }
    assert {second["status"], third["status"]} == {"stored"}
    assert copy.server.kept == {uids_of(c): c for c in (A, B, C)}
    assert copy.report.bytes == len(A) + len(B) + len(C)


def test_nothing_is_sent_where_nothing_matches(copy: Copy) -> None:
    with pytest.raises(InterfaceError):
        copy.run()
    assert not copy.server.received


def test_requests_are_bounded_by_bytes_and_a_larger_file_goes_alone(copy: Copy) -> None:
    sizes = {"a": 400, "b": 400, "c": 5000, "d": 400, "e": 400}
    copy.write(
        **{n: dicom("1", "1.1", f"1.1.{i}", padding=s) for i, (n, s) in enumerate(sizes.items(), 1)}
    )
    copy.run(batch=2000, parallel=1)
    assert [len(r.files) for r in copy.server.stores] == [2, 1, 2]
    assert all(sum(map(len, r.files)) <= 2000 for r in copy.server.stores if len(r.files) > 1)


def test_many_small_files_are_spread_over_requests(copy: Copy) -> None:
    copy.write(**{f"f{n:04}": dicom("1", "1.1", f"1.1.{n}") for n in range(1, 501)})
    assert set(copy.statuses().values()) == {"stored"}
    assert len(copy.server.kept) == 500
    assert sorted(len(r.files) for r in copy.server.stores) == [100, 200, 200]


def test_a_server_that_refuses_large_requests_gets_smaller_ones(copy: Copy) -> None:
    server = copy.server
    copy.write(**{f"f{n}": dicom("1", "1.1", f"1.1.{n}", padding=1000) for n in range(1, 41)})

    def judge(files: tuple[bytes, ...]) -> httpx.Response | None:
        return httpx.Response(413) if sum(map(len, files)) > 6000 else None

    server.answers = [judge] * 100
    assert set(copy.statuses(parallel=1, batch=20_000).values()) == {"stored"}
    refused = [r for r in server.stores if sum(map(len, r.files)) > 6000]
    # 20 kB, then 10 kB; every later request is small enough at once.
    assert len(refused) <= 3


def test_bad_files_are_rows_and_the_others_go_on(copy: Copy) -> None:
    copy.write(a=A, cut=B[:-4], text=b"no DICOM", empty=b"", none=dicom("1", "1.1", ""))
    (copy.folder / "dangling.dcm").symlink_to(copy.folder / "nowhere")
    found = {Path(r["path"]).name: r for r in copy.run()}
    assert found.pop("a.dcm")["status"] == "stored"
    assert len(found) == 5
    assert {r["status"] for r in found.values()} == {"failed"}
    assert all(r["reason"] for r in found.values())
    assert copy.server.kept == {uids_of(A): A}


def test_a_file_that_changes_while_it_is_sent_fails(
    copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is rewritten, with as many bytes, after its header was read."""
    from dicomsql.copying import storing

    copy.write(a=A, b=B)
    path = copy.folder / "a.dcm"
    real = storing.read_header

    def read(file: Any) -> Any:
        header = real(file)
        if file.path == str(path):
            path.write_bytes(A[:-8] + b"\0" * 8)
            os.utime(path, ns=(1, 1))
        return header

    monkeypatch.setattr(storing, "read_header", read)
    rows = copy.run()
    assert [r["status"] for r in rows] == ["failed", "stored"]
    assert rows[0]["reason"] == "the file changed while it was sent"
    assert copy.server.kept == {uids_of(B): B}


class TestRepeats:
    def test_the_same_bytes_twice_are_present(self, copy: Copy) -> None:
        copy.write(a=A, b=A)
        os.link(copy.folder / "a.dcm", copy.folder / "c.dcm")
        found = copy.statuses(parallel=1)
        assert found == {"a.dcm": "stored", "b.dcm": "present", "c.dcm": "present"}
        assert len(copy.server.stores) == 1

    @pytest.mark.parametrize("tells", [True, False])
    @pytest.mark.parametrize(
        ("conflict", "status"), [(Conflict.FAIL, "failed"), (Conflict.SKIP, "skipped")]
    )
    def test_other_bytes_are_a_conflict(
        self, tmp_path: Path, conflict: Conflict, status: str, tells: bool
    ) -> None:
        copy = Copy(tmp_path, Server(tells=tells))
        copy.write(a=A, b=OTHER_A)
        assert copy.statuses(conflict, parallel=1) == {"a.dcm": "stored", "b.dcm": status}
        assert copy.server.kept == {uids_of(A): A}

    @pytest.mark.parametrize("conflict", [Conflict.FAIL, Conflict.SKIP])
    def test_a_conflict_among_files_names_the_other(self, copy: Copy, conflict: Conflict) -> None:
        copy.write(a=A, b=OTHER_A)
        stored, other = copy.run(conflict, parallel=1)
        assert stored["reason"] is None
        is_there = "is the same instance with other bytes, and is in the store"
        assert other["reason"] == f"{stored['path']} {is_there}"
        # So does the next run, which knows it from its journal.
        _, other = copy.run(Conflict.FAIL, parallel=1)
        if conflict is Conflict.FAIL:
            assert other["reason"].endswith(f"and other bytes; {stored['path']} was stored as it")

    def test_of_those_that_replace_each_other_the_last_one_stays(self, copy: Copy) -> None:
        copy.write(a=A, b=OTHER_A, c=dicom("1", "1.1", "1.1.1", "third"))
        found = copy.statuses(Conflict.REPLACE, parallel=1)
        assert found == {"a.dcm": "stored", "b.dcm": "replaced", "c.dcm": "replaced"}
        assert copy.server.kept[uids_of(A)] == (copy.folder / "c.dcm").read_bytes()

    def test_the_second_is_sent_where_the_first_failed(self, copy: Copy) -> None:
        copy.write(a=A, b=OTHER_A)
        copy.server.answers = [lambda _: copy.server.answer([("1.1.1", 0xA900)])]
        assert copy.statuses(parallel=1) == {"a.dcm": "failed", "b.dcm": "stored"}

    def test_one_instance_uid_in_two_studies_goes_in_two_requests(self, copy: Copy) -> None:
        other = dicom("2", "2.1", "1.1.1")
        copy.write(a=A, b=other, c=B)
        assert set(copy.statuses(parallel=1).values()) == {"stored"}
        assert copy.server.kept == {uids_of(c): c for c in (A, other, B)}
        assert sorted(len(r.files) for r in copy.server.stores) == [1, 2]


class TestJournal:
    def test_a_second_run_sends_nothing(self, copy: Copy) -> None:
        copy.write(a=A, b=B)
        copy.run()
        assert copy.statuses() == {"a.dcm": "present", "b.dcm": "present"}
        assert copy.report.known == 2
        assert len(copy.server.stores) == 1
        with Journal.open(copy.journal or Path(), "in", "here", "there") as journal:
            entries = list(journal.entries())
        assert [(Path(e.key).name, e.digest, e.size) for e in entries] == [
            ("a.dcm", digest(A), len(A)),
            ("b.dcm", digest(B), len(B)),
        ]

    def test_what_changed_or_failed_is_sent_again(self, copy: Copy) -> None:
        copy.write(a=A, b=B, c=C)
        copy.server.answers = [
            lambda files: (
                copy.server.store(files[:2]),
                copy.server.answer([("1.1.1", None), ("1.1.2", None), ("1.1.3", 0xA700)]),
            )[1]
        ]
        assert copy.statuses()["c.dcm"] == "failed"
        copy.write(b=dicom("1", "1.1", "1.1.2", "changed"))
        os.utime(copy.folder / "b.dcm", ns=(1, 1))
        assert copy.statuses() == {"a.dcm": "present", "b.dcm": "failed", "c.dcm": "stored"}
        assert sorted(map(len, copy.server.stores[-1].files)) == sorted(
            [len(C), (copy.folder / "b.dcm").stat().st_size]
        )

    def test_what_was_skipped_is_not_done_for_a_run_that_replaces(self, copy: Copy) -> None:
        copy.server.keep(OTHER_A)
        copy.write(a=A)
        assert copy.statuses(Conflict.SKIP) == {"a.dcm": "skipped"}
        assert copy.statuses(Conflict.SKIP) == {"a.dcm": "skipped"}
        assert len(copy.server.stores) == 1
        assert copy.statuses(Conflict.REPLACE) == {"a.dcm": "replaced"}
        kept = (copy.journal or Path()).with_name("in.copy.sqlite.kept")
        assert [p.read_bytes() for p in kept.iterdir()] == [OTHER_A]
        assert copy.notes == [f"What was replaced is kept in {kept}."]

    def test_a_server_that_goes_away_leaves_what_is_done(self, copy: Copy) -> None:
        copy.write(**{f"f{n}": dicom("1", "1.1", f"1.1.{n}") for n in range(1, 9)})
        gone = [lambda _: httpx.ConnectError("no")] * 50
        copy.server.answers = [lambda _: None, lambda _: None, *gone]
        copy.server.next["GET"] = [lambda: httpx.ConnectError("no")] * 50
        with pytest.raises(EndpointError):
            copy.run(parallel=1, batch=700)
        done = copy.report.total
        assert 0 < done < 8
        copy.server.answers.clear()
        copy.server.next.clear()
        found = copy.statuses(parallel=1, batch=700)
        assert sorted(found.values()) == ["present"] * done + ["stored"] * (8 - done)
        assert len(copy.server.kept) == 8

    def test_without_one_everything_is_sent_again(self, copy: Copy) -> None:
        copy.journal = None
        copy.write(a=A)
        copy.run()
        copy.run()
        assert len(copy.server.stores) == 2
        assert kept_folder(None) is None


class TestReplaced:
    """What the journal says of an instance ends where another is put in its place."""

    def test_a_file_whose_instance_was_replaced_is_not_done(self, copy: Copy) -> None:
        copy.write(a=A, b=OTHER_A)
        copy.statuses(Conflict.REPLACE, replace=True)
        copy.write(c=A)
        assert copy.statuses(Conflict.FAIL) == {
            "a.dcm": "failed",
            "b.dcm": "present",
            "c.dcm": "failed",
        }
        assert copy.server.kept[uids_of(A)] == OTHER_A
        found = copy.statuses(Conflict.REPLACE, replace=True)
        assert found == {"a.dcm": "skipped", "b.dcm": "present", "c.dcm": "replaced"}
        assert copy.server.kept[uids_of(A)] == A

    def test_one_that_was_done_is_not_where_an_earlier_name_is_sent(
        self, copy: Copy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The journal is read as files are found, which is after the first of them were sent."""
        monkeypatch.setattr("dicomsql.copying.storing._AHEAD", 2)
        copy.write(z=OTHER_A)
        copy.run(Conflict.REPLACE, replace=True)
        copy.write(a=A, **{f"m{n}": dicom("1", "1.1", f"1.1.{n}") for n in range(2, 9)})
        for _ in range(2):
            found = copy.statuses(Conflict.REPLACE, replace=True, parallel=1)
            assert found["z.dcm"] in {"replaced", "present"}
            assert copy.server.kept[uids_of(A)] == OTHER_A

    def test_the_same_bytes_as_the_journals_are_no_proof(self, copy: Copy) -> None:
        copy.write(a=A)
        copy.run()
        copy.server.keep(OTHER_A)
        copy.write(b=A)
        assert copy.statuses(Conflict.SKIP) == {"a.dcm": "present", "b.dcm": "skipped"}

    def test_the_journal_is_written_before_the_overwrite(self, copy: Copy) -> None:
        """A process that is killed in between leaves nothing that is untrue."""
        copy.write(a=A)
        copy.run()
        copy.write(b=OTHER_A)
        copy.server.next["PUT"] = [lambda: httpx.Response(404)]
        with pytest.raises(NotFoundError):
            copy.run(Conflict.REPLACE, replace=True)
        with Journal.open(copy.journal or Path(), "in", "here", "there") as journal:
            assert [e.status for e in journal.entries()] == [Status.SKIPPED]


def test_a_journal_that_is_full_hides_no_row(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    copy.write(a=A, b=B)

    def write(*_: object) -> None:
        raise OperationalError("the disk is full")

    monkeypatch.setattr(Journal, "write", write)
    with pytest.raises(OperationalError, match="full"):
        copy.run()
    assert copy.report.counts == {Status.STORED: 2}


def test_the_journal_and_what_it_keeps_are_no_sources(tmp_path: Path) -> None:
    """Not those of this COPY, whatever they are called, nor those of others by their names."""
    copy = Copy(tmp_path)
    copy.journal = copy.folder / "my.dcm"
    copy.server.keep(OTHER_A)
    copy.write(a=A)
    (copy.folder / "sub.copy.sqlite-wal").write_bytes(b"x")
    kept = copy.folder / "sub.copy.sqlite.kept"
    kept.mkdir()
    (kept / "old.dcm").write_bytes(B)
    assert copy.statuses(Conflict.REPLACE) == {"a.dcm": "replaced"}
    assert copy.statuses(Conflict.REPLACE) == {"a.dcm": "present"}
    assert copy.server.kept == {uids_of(A): A}
    assert [p.read_bytes() for p in (copy.folder / "my.dcm.copy.sqlite.kept").iterdir()] == [
        OTHER_A
    ]


def test_cancelled_it_ends_at_once_and_keeps_what_is_done(copy: Copy) -> None:
    copy.write(a=A, b=B, c=C)
    copy.journal = None
    plan = StorePlan(target(copy.server), (str(copy.folder),), settings=CopySettings(batch=500))
    report = Report()
    with serving(copy.server, 1) as run:

        def answer(files: tuple[bytes, ...]) -> None:
            if len(copy.server.stores) == 2:
                run.cancel.set()

        copy.server.answers = [answer] * 5
        with pytest.raises(CancelledError):
            store(run, plan, report, None, Progress())
    assert 1 <= report.total <= 2
    assert report.counts.keys() == {Status.STORED}


def test_an_archive_is_sent_from_within(copy: Copy, tmp_path: Path) -> None:
    with zipfile.ZipFile(copy.folder / "scans.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/a.dcm", A)
        archive.writestr("b.dcm", B)
    copy.folder = copy.folder / "scans.zip"
    assert sorted(r["status"] for r in copy.run()) == ["stored", "stored"]
    assert copy.server.kept == {uids_of(A): A, uids_of(B): B}


def test_memory_stays_bounded_by_the_pieces(copy: Copy) -> None:
    """A file larger than what one connection may hold goes through in pieces."""
    import tracemalloc

    copy.journal = None
    size = 64 << 20
    with (copy.folder / "big.dcm").open("wb") as file:
        head = dicom("1", "1.1", "1.1.1", padding=2)
        # The length of the pixels stands right before them.
        file.write(head[:-6] + size.to_bytes(4, "little"))
        file.truncate(len(head) - 2 + size)
    seen = 0

    class Wire(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            nonlocal seen
            assert isinstance(request.stream, httpx.SyncByteStream)
            for piece in request.stream:
                seen += len(piece)
            return copy.server.answer([("1.1.1", None)])

    from storing_bench import running

    plan = StorePlan(target(copy.server), (str(copy.folder),))
    report = Report()
    with running(Wire(), 2) as run:
        tracemalloc.start()
        store(run, plan, report, None, Progress())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert report.counts == {Status.STORED: 1}
    assert seen > size
    assert peak < 16 << 20
