"""What becomes of instances under every kind of answer to a store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from storing_bench import (
    Server,
    cut,
    dataset_of,
    dicom,
    digest,
    part,
    running,
    serving,
    stored,
    target,
    uids_of,
)

from dicomsql.copying.outcomes import Status
from dicomsql.copying.storer import Stored, Storer
from dicomsql.copying.upload import Part, PartError, Upload
from dicomsql.errors import (
    ApiError,
    ApiFailure,
    BudgetError,
    CancelledError,
    EndpointError,
    InterfaceError,
    NotFoundError,
    NotSupportedError,
    OperationalError,
    PermissionDeniedError,
)
from dicomsql.planning.plan import Conflict, DicomStore

A, B, C, D = (dicom("1", "1.1", f"1.1.{n}") for n in range(1, 5))
OTHER_A, OTHER_B = (dicom("1", "1.1", f"1.1.{n}", "other") for n in (1, 2))


def store(
    server: Server, *contents: bytes, conflict: Conflict = Conflict.FAIL, **options: Any
) -> list[Stored]:
    own = options.pop("replace", False)
    with serving(server) as run:
        storer = Storer(run, target(server, replace=own), conflict, **options)
        return stored(storer, *map(part, contents))


def statuses(found: list[Stored]) -> list[Status]:
    return [one.outcome.status for one in found]


def reasons(found: list[Stored]) -> list[str]:
    return [one.outcome.reason for one in found]


def always(status: int, **options: Any) -> Callable[[object], httpx.Response]:
    return lambda _: httpx.Response(status, **options)


@pytest.mark.parametrize("as_xml", [False, True])
def test_one_request_stores_many(as_xml: bool) -> None:
    server = Server(as_xml=as_xml)
    found = store(server, A, B, C)
    assert statuses(found) == [Status.STORED] * 3
    assert [s.digest for s in found] == [digest(c) for c in (A, B, C)]
    assert [s.outcome.size for s in found] == [len(A), len(B), len(C)]
    assert [(s.outcome.study, s.outcome.series, s.outcome.instance) for s in found] == [
        uids_of(c) for c in (A, B, C)
    ]
    (request,) = server.received
    assert request.files == (A, B, C)
    assert request.media.startswith('multipart/related; type="application/dicom"; boundary=')
    assert int(request.length) > len(A + B + C)


def test_a_single_instance_goes_without_multipart_where_the_server_takes_it() -> None:
    server = Server(single=True)
    assert statuses(store(server, A)) == [Status.STORED]
    assert (server.stores[0].media, server.stores[0].length) == ("application/dicom", str(len(A)))


def test_a_part_of_unknown_size_goes_in_chunks() -> None:
    server = Server()
    unknown = replace(part(A, lambda: iter([A[:50], A[50:]])), size=None)
    with serving(server) as run:
        (found,) = stored(Storer(run, target(server), Conflict.FAIL), unknown)
    assert (found.outcome.status, found.outcome.size, found.digest) == (
        Status.STORED,
        len(A),
        digest(A),
    )
    assert (server.stores[0].length, server.stores[0].files) == ("", (A,))


@pytest.mark.parametrize("as_xml", [False, True])
def test_a_partial_success_is_taken_apart(as_xml: bool) -> None:
    """One is there with other bytes, one is refused for itself, one is warned of."""
    server = Server(as_xml=as_xml)
    server.keep(OTHER_A)
    server.answers = [
        lambda _: server.answer(
            [("1.1.1", 272), ("1.1.2", 0xA900), ("1.1.3", None)], warnings={"1.1.3": 0xB000}
        )
    ]
    found = store(server, A, B, C)
    assert statuses(found) == [Status.FAILED, Status.FAILED, Status.STORED]
    there, refused, warned = reasons(found)
    assert there == "the store has an instance with these UIDs and other bytes"
    # The server's own words may repeat any value of the instance.
    assert refused.startswith("failure reason 43264 (dataset does not match SOP class). The server")
    assert "no luck" not in refused
    assert warned == "warning reason 45056 (data elements were coerced)"
    assert len(server.stores) == 1


def test_a_reason_that_may_mean_a_conflict_is_asked_about() -> None:
    """272 says that processing failed: only what is there tells why."""
    server = Server()
    server.answers = [lambda _: server.answer([("1.1.1", 272)])]
    found = store(server, A)
    assert statuses(found) == [Status.FAILED]
    assert reasons(found)[0].startswith("failure reason 272 (processing failure)")
    assert server.paths("GET") == ["/studies/1/series/1.1/instances?SOPInstanceUID=1.1.1"]


@pytest.mark.parametrize(
    ("conflict", "status"), [(Conflict.SKIP, Status.SKIPPED), (Conflict.FAIL, Status.FAILED)]
)
def test_other_bytes_that_are_there_stay(conflict: Conflict, status: Status) -> None:
    server = Server()
    server.keep(OTHER_A)
    assert statuses(store(server, A, B, conflict=conflict)) == [status, Status.STORED]
    assert server.kept[uids_of(A)] == OTHER_A


def test_an_instance_that_the_answer_leaves_out_is_looked_for() -> None:
    """The store took A and C and names another that was never sent; B it lost."""
    server = Server()

    def answer(_: object) -> httpx.Response:
        server.keep(A)
        return server.answer([("9.9.9", None), ("1.1.3", None)])

    server.answers = [answer, lambda _: server.answer([])]
    found = store(server, A, B, C)
    assert statuses(found) == [Status.STORED, Status.FAILED, Status.STORED]
    assert (
        reasons(found)[1] == "the server's answer does not name it, and the store does not have it"
    )
    # B got a request of its own.
    assert [len(r.files) for r in server.stores] == [3, 1]


def test_a_success_that_says_nothing_is_no_success() -> None:
    server = Server()
    server.answers = [always(200), always(200)]
    assert statuses(store(server, A)) == [Status.FAILED]
    server.answers = [always(200, text="thank you")]
    assert statuses(store(server, B, C)) == [Status.STORED] * 2
    assert [len(r.files) for r in server.stores] == [1, 2, 1, 1]


def test_what_is_said_to_be_stored_and_failed_is_looked_for() -> None:
    server = Server()
    server.keep(OTHER_A)
    server.answers = [lambda _: server.answer([("1.1.1", None), ("1.1.1", 272)])]
    assert statuses(store(server, A)) == [Status.FAILED]


def test_a_failure_without_a_name_is_that_of_the_only_one_left() -> None:
    server = Server()
    server.answers = [lambda _: server.answer([("", 0xC000), ("1.1.2", None)])]
    found = store(server, A, B)
    assert statuses(found) == [Status.FAILED, Status.STORED]
    assert reasons(found)[0].startswith("failure reason 49152 (cannot understand)")


@pytest.mark.parametrize("status", [400, 409, 413, 415, 500])
def test_a_refused_batch_is_divided_until_the_bad_one_stands_alone(status: int) -> None:
    server = Server()

    def judge(files: tuple[bytes, ...]) -> httpx.Response | None:
        return httpx.Response(status, text="no") if C in files else None

    server.answers = [judge] * 40
    with serving(server) as run:
        storer = Storer(run, target(server), Conflict.FAIL)
        found = stored(storer, *map(part, (A, B, C, D)))
    assert statuses(found) == [Status.STORED, Status.STORED, Status.FAILED, Status.STORED]
    assert server.kept.keys() == {uids_of(c) for c in (A, B, D)}
    # The next batches are smaller only where the size was the reason.
    assert (storer.limit is not None) == (status == 413)


@pytest.mark.parametrize("status", [401, 403, 404, 405, 429, 503])
def test_what_concerns_the_whole_store_ends_it(status: int) -> None:
    server = Server()
    server.answers = [always(status, headers={"retry-after": "0"})] * 10
    with pytest.raises(ApiError) as caught:
        store(server, A, B, C)
    assert caught.value.failure.status == status
    if status in {401, 403}:
        assert isinstance(caught.value, PermissionDeniedError)


def test_a_store_that_is_not_there_is_named() -> None:
    server = Server()
    server.answers = [always(404)] * 4
    with pytest.raises(NotFoundError, match="no DICOM store at this address"):
        store(server, A)
    place = (("projectsId", "p"), ("dicomStoresId", "archive"), ("other", "1.2.3"))
    with running(httpx.MockTransport(server.handle)) as run:
        storer = Storer(run, replace(target(server), values=place), Conflict.FAIL)
        with pytest.raises(NotFoundError, match=r"no DICOM store p/archive\.") as raised:
            list(storer.store_parts([part(A)]))
        assert raised.value.failure.status == 404
        # Of a study's own address the store may be there.
        storer = Storer(run, target(server), Conflict.FAIL, study=part(A).study)
        with pytest.raises(NotFoundError) as raised:
            list(storer.store_parts([part(A)]))
        assert "no DICOM store" not in str(raised.value)


def test_a_server_that_fails_at_everything_is_given_up() -> None:
    server = Server()
    server.answers = [always(500)] * 100
    server.next["GET"] = [lambda: httpx.Response(500)] * 20
    with pytest.raises(ApiError):
        store(server, *(dicom("1", "1.1", f"1.1.{n}") for n in range(1, 9)))
    assert len(server.stores) < 40


def test_busy_servers_and_cut_answers_are_tried_again() -> None:
    server = Server()
    server.answers = [
        always(429),
        always(503),
        lambda files: cut(server.store(files).content),
        lambda _: httpx.ReadError("the connection broke"),
    ]
    assert statuses(store(server, A, B)) == [Status.STORED] * 2
    assert [r.files for r in server.stores] == [(A, B)] * 5


def test_a_server_that_is_gone_ends_it() -> None:
    server = Server()
    server.answers = [lambda _: httpx.ConnectError("no connection")] * 50
    server.next["GET"] = [lambda: httpx.ConnectError("no connection")] * 50
    with pytest.raises(EndpointError, match=r"to store into cannot be reached.*POST"):
        store(server, A, B, C, D)
    assert len(server.stores) == 10


def test_a_server_that_breaks_off_at_one_instance_is_not_gone() -> None:
    server = Server()

    def judge(files: tuple[bytes, ...]) -> Exception | None:
        return httpx.WriteError("the connection broke") if B in files else None

    server.answers = [judge] * 50
    found = store(server, A, B, C, D)
    assert statuses(found) == [Status.STORED, Status.FAILED, Status.STORED, Status.STORED]
    assert "did not take it to its end" in reasons(found)[1]


def test_an_instance_whose_answer_never_comes_is_looked_for() -> None:
    server = Server()

    def lost(files: tuple[bytes, ...]) -> Exception:
        server.store(files)
        return httpx.ReadError("the connection broke")

    server.answers = [lost] * 5
    assert statuses(store(server, A)) == [Status.PRESENT]


@pytest.mark.parametrize("fault", [httpx.Response(500), httpx.WriteError("it broke")])
def test_many_bad_instances_in_a_row_are_not_the_server(fault: httpx.Response | Exception) -> None:
    """It still answers a search, so each of them is a row, and what comes after them is stored."""
    server = Server()
    bad = {f"1.1.{n}" for n in range(2, 8)}

    def judge(files: tuple[bytes, ...]) -> httpx.Response | Exception | None:
        return fault if bad & {uids_of(f)[2] for f in files} else None

    server.answers = [judge] * 400
    found = store(server, *(dicom("1", "1.1", f"1.1.{n}") for n in range(1, 10)))
    assert statuses(found) == [Status.STORED, *[Status.FAILED] * 6, *[Status.STORED] * 2]


def test_a_server_that_breaks_off_at_everything_is_given_up() -> None:
    server = Server()
    server.answers = [lambda _: httpx.WriteError("the connection broke")] * 100
    server.next["GET"] = [lambda: httpx.ReadError("the connection broke")] * 20
    with pytest.raises(EndpointError):
        store(server, A, B, C, D)


def test_a_server_that_breaks_at_the_whole_gets_parts() -> None:
    server = Server()

    def judge(files: tuple[bytes, ...]) -> Exception | None:
        return httpx.WriteError("the connection broke") if len(files) > 2 else None

    server.answers = [judge] * 50
    assert statuses(store(server, A, B, C, D)) == [Status.STORED] * 4


def test_instances_of_another_study_are_not_sent() -> None:
    server = Server()
    found = store(server, A, dicom("2", "2.1", "2.1.1"), study="1")
    assert statuses(found) == [Status.STORED, Status.FAILED]
    assert "another study" in reasons(found)[1]
    assert [(r.path, r.files) for r in server.stores] == [("/studies/1", (A,))]


class TestFiles:
    def test_a_file_that_cannot_be_read_fails_alone(self) -> None:
        server = Server()

        def gone() -> Iterator[bytes]:
            yield A[:10]
            raise OSError(5, "Input/output error")

        def bad() -> Iterator[bytes]:
            raise PartError("its archive is damaged")

        parts = [part(A, gone), part(B), part(C, bad), part(D)]
        with serving(server) as run:
            found = stored(Storer(run, target(server), Conflict.FAIL), *parts)
        assert statuses(found) == [Status.FAILED, Status.STORED, Status.FAILED, Status.STORED]
        assert reasons(found)[0] == "the file cannot be read: Input/output error"
        assert reasons(found)[2] == "its archive is damaged"
        assert server.kept.keys() == {uids_of(B), uids_of(D)}

    def test_a_source_that_is_gone_is_not_taken_for_the_target(self) -> None:
        """What is read from another server may end with an error that the target could give."""
        server = Server()
        gone = ApiError(ApiFailure("GET", "https://other/", 400))

        def broken() -> Iterator[bytes]:
            yield B[:10]
            raise gone

        with serving(server) as run, pytest.raises(ApiError) as caught:
            stored(Storer(run, target(server), Conflict.FAIL), part(A), part(B, broken))
        assert caught.value is gone
        assert not server.received

    @pytest.mark.parametrize("other", [A + b"more", A[:-1], b""])
    def test_a_file_of_another_size_is_never_sent_to_its_end(self, other: bytes) -> None:
        changing = part(A, lambda: iter([other]))
        upload = Upload([changing], multipart=False)
        sent = b""
        with pytest.raises(Exception, match="changed while it was sent"):
            for piece in upload():
                sent += piece
        assert len(sent) < len(A)

    def test_other_bytes_at_the_second_attempt_are_a_change(self) -> None:
        server = Server()
        versions = iter([A, OTHER_A.replace(b"other ", b"a "), dicom("1", "1.1", "1.1.1", "b")])
        server.answers = [always(503)]
        changing = part(A, lambda: iter([next(versions)[: len(A)]]))
        with serving(server) as run:
            (found,) = stored(Storer(run, target(server), Conflict.FAIL), changing)
        assert found.outcome.status is Status.FAILED
        assert found.outcome.reason == "the file changed while it was sent"
        assert not server.kept

    def test_small_files_go_out_together_and_large_ones_in_their_pieces(self) -> None:
        pieces = [bytes(1 << 20)] * 3
        parts = [part(A)] * 200 + [Part("1", "1", "1", lambda: iter(pieces), size=3 << 20)]
        sent: list[int] = []
        upload = Upload(parts, multipart=True, sent=sent.append)
        sizes = [len(piece) for piece in upload()]
        assert sum(sizes) == sum(sent) == upload.length
        assert max(sizes) == 1 << 20
        assert len(sizes) < 10


class TestServersThatDoNotTell:
    """Orthanc's kind: "stored" to all, and the old bytes stay."""

    def test_what_is_there_is_looked_up_first(self) -> None:
        server = Server(tells=False)
        server.keep(A, OTHER_A.replace(b"1.1.1", b"1.1.2"))
        found = store(server, A, B, C, conflict=Conflict.SKIP)
        assert statuses(found) == [Status.PRESENT, Status.SKIPPED, Status.STORED]
        assert [r.files for r in server.stores] == [(C,)]
        # One search of the series, one look at each of those that are there.
        assert [p.partition("?")[0] for p in server.paths("GET")] == [
            "/studies/1/series/1.1/instances",
            "/studies/1/series/1.1/instances/1.1.1",
            "/studies/1/series/1.1/instances/1.1.2",
        ]

    def test_an_answer_with_a_strange_search_is_an_error(self) -> None:
        server = Server(tells=False)
        server.next["GET"] = [lambda: httpx.Response(200, json=[{"00080018": {"vr": "UI"}}])]
        with pytest.raises(OperationalError, match="no SOPInstanceUID"):
            store(server, A)

    def test_a_look_that_is_cut_off_is_taken_again(self) -> None:
        server = Server(tells=False)
        server.keep(A)
        server.next["GET"] = [lambda: None, lambda: cut(A), lambda: cut(A)]
        assert statuses(store(server, A)) == [Status.PRESENT]


class TestReplace:
    def test_the_servers_own_overwrite(self) -> None:
        server = Server()
        server.keep(OTHER_A, B)
        found = store(server, A, B, C, conflict=Conflict.REPLACE, replace=True)
        assert statuses(found) == [Status.REPLACED, Status.STORED, Status.STORED]
        assert server.kept[uids_of(A)] == A
        assert server.paths("DELETE") == []

    def test_the_servers_bytes_are_kept_before_they_are_deleted(self, tmp_path: Path) -> None:
        server = Server()
        server.keep(OTHER_A)
        kept = tmp_path / "j.kept"
        found = store(server, A, conflict=Conflict.REPLACE, kept=kept)
        assert statuses(found) == [Status.REPLACED]
        assert server.kept == {uids_of(A): A}
        (file,) = kept.iterdir()
        assert file.read_bytes() == OTHER_A
        assert str(file) in reasons(found)[0]
        assert (kept.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)

    def test_what_was_there_is_put_back_where_the_store_fails(self, tmp_path: Path) -> None:
        server = Server()
        server.keep(OTHER_A)
        server.answers = [
            lambda _: server.answer([("1.1.1", 272)]),
            lambda _: server.answer([("1.1.1", 0xA900)]),
        ]
        found = store(server, A, conflict=Conflict.REPLACE, kept=tmp_path / "kept")
        assert statuses(found) == [Status.FAILED]
        assert "the store has its own bytes again" in reasons(found)[0]
        assert server.kept == {uids_of(A): OTHER_A}

    def test_a_source_that_breaks_after_the_delete_has_the_old_bytes_put_back(
        self, tmp_path: Path
    ) -> None:
        server = Server(tells=False)
        server.keep(OTHER_A)
        opened: list[int] = []

        def pieces() -> Iterator[bytes]:
            opened.append(1)
            if len(opened) == 3:
                raise EndpointError("the other server is gone")
            yield A

        with serving(server) as run:
            storer = Storer(run, target(server), Conflict.REPLACE, kept=tmp_path / "kept")
            (found,) = stored(storer, part(A, pieces))
        assert found.outcome.status is Status.FAILED
        assert found.outcome.reason.startswith("the other server is gone; ")
        assert server.paths("DELETE")
        assert server.kept == {uids_of(A): OTHER_A}

    def test_a_store_whose_answer_is_lost_is_asked(self, tmp_path: Path) -> None:
        server = Server()
        server.keep(OTHER_A)

        def lost(files: tuple[bytes, ...]) -> Exception:
            server.store(files)
            return httpx.ReadError("broke")

        server.answers = [
            lambda _: server.answer([("1.1.1", 272)]),
            lost,
            *[lambda _: httpx.ConnectError("no")] * 4,
        ]
        found = store(server, A, conflict=Conflict.REPLACE, kept=tmp_path / "kept")
        assert statuses(found) == [Status.REPLACED]
        assert server.kept == {uids_of(A): A}

    def test_where_it_cannot_be_put_back_the_file_is_named(self, tmp_path: Path) -> None:
        server = Server()
        server.keep(OTHER_A)
        server.answers = [
            lambda _: server.answer([("1.1.1", 272)]),
            *[lambda _: httpx.ConnectError("no")] * 10,
        ]
        found = store(server, A, conflict=Conflict.REPLACE, kept=tmp_path / "kept")
        (file,) = (tmp_path / "kept").iterdir()
        assert statuses(found) == [Status.FAILED]
        assert str(file) in reasons(found)[0]
        assert file.read_bytes() == OTHER_A

    @pytest.mark.parametrize("broken", [A[:-3], B, b"", None])
    def test_what_cannot_be_kept_is_not_deleted(self, broken: bytes | None, tmp_path: Path) -> None:
        server = Server()
        server.keep(OTHER_A)

        def answer() -> httpx.Response:
            return cut(OTHER_A) if broken is None else httpx.Response(200, content=broken)

        server.next["GET"] = [lambda: None, lambda: None, answer]
        found = store(server, A, conflict=Conflict.REPLACE, kept=tmp_path / "kept")
        assert statuses(found) == [Status.FAILED]
        assert "could not be kept" in reasons(found)[0]
        assert server.paths("DELETE") == []
        assert list((tmp_path / "kept").iterdir()) == []

    def test_a_folder_that_cannot_be_made_deletes_nothing(self, tmp_path: Path) -> None:
        server = Server()
        server.keep(OTHER_A)
        (tmp_path / "kept").write_text("a file")
        found = store(server, A, conflict=Conflict.REPLACE, kept=tmp_path / "kept")
        assert statuses(found) == [Status.FAILED]
        assert server.kept == {uids_of(A): OTHER_A}
        assert [path.name for path in tmp_path.iterdir()] == ["kept"]

    def test_without_a_journal_or_a_delete_it_is_refused(self) -> None:
        server = Server()
        with pytest.raises(InterfaceError, match="journal"):
            store(server, A, conflict=Conflict.REPLACE)
        with serving(server) as run:
            whole = target(server)
            bare = DicomStore(whole.resource, whole.base_url, replace(whole.moves, delete=None))
            with pytest.raises(NotSupportedError, match="'skip'"):
                Storer(run, bare, Conflict.REPLACE)
        assert not server.received


class TestVerdictsAreToldAsTheyAreKnown:
    """Whatever comes afterwards, what was done is written down by then."""

    def taken(self, server: Server, *contents: bytes, **options: Any) -> list[tuple[str, Status]]:
        """What is told before the error."""
        own = options.pop("replace", False)
        told: list[tuple[str, Status]] = []
        with serving(server) as run, pytest.raises((ApiError, CancelledError, BudgetError)):
            if "calls" in options:
                run.limits = replace(run.limits, calls=options.pop("calls"))
            conflict = options.pop("conflict", Conflict.REPLACE)
            storer = Storer(run, target(server, replace=own), conflict, **options)
            self.run = run
            for some in storer.store_parts([part(content) for content in contents]):
                told += [(one.instance, result.outcome.status) for one, result in some]
        return told

    def test_the_half_that_was_stored(self) -> None:
        server = Server()
        server.answers = [always(413), lambda _: None, *[always(503)] * 20]
        told = self.taken(server, A, B, C, D, conflict=Conflict.FAIL)
        assert told == [("1.1.1", Status.STORED), ("1.1.2", Status.STORED)]
        assert server.kept.keys() == {uids_of(A), uids_of(B)}

    def test_those_that_were_replaced(self) -> None:
        server = Server()
        server.keep(OTHER_A, OTHER_B)
        server.next["PUT"] = [lambda: None, *[lambda: httpx.Response(503)] * 20]
        told = self.taken(server, A, B, C, replace=True)
        assert told == [("1.1.3", Status.STORED), ("1.1.1", Status.REPLACED)]
        assert (server.kept[uids_of(A)], server.kept[uids_of(B)]) == (A, OTHER_B)

    def test_the_budget_ends_before_a_replacement_or_after_it(self, tmp_path: Path) -> None:
        for calls in range(1, 12):
            server = Server()
            server.keep(OTHER_A, OTHER_B, dicom("1", "1.1", "1.1.3", "other"))
            told = self.taken(server, A, B, C, kept=tmp_path / f"kept{calls}", calls=calls)
            replaced = {u[2] for u, c in server.kept.items() if c in (A, B, C)}
            assert len(server.kept) == 3
            assert {uid for uid, status in told if status is Status.REPLACED} == replaced

    def test_one_that_is_cancelled_on_its_way_is_said_to_be_unclear(self) -> None:
        server = Server()
        server.keep(OTHER_A)

        def late() -> Exception:
            server.keep(A)
            self.run.cancel.set()
            return httpx.ReadError("the connection was shut")

        server.next["PUT"] = [late]
        assert self.taken(server, A, replace=True) == [("1.1.1", Status.FAILED)]


@pytest.mark.parametrize("lost", [httpx.ReadTimeout("late"), httpx.Response(502)])
def test_an_overwrite_whose_answer_is_lost_is_asked_for(lost: httpx.Response | Exception) -> None:
    server = Server()
    server.keep(OTHER_A)

    def late() -> httpx.Response | Exception:
        server.keep(A)
        return lost

    server.next["PUT"] = [late] * 9
    assert statuses(store(server, A, conflict=Conflict.REPLACE, replace=True)) == [Status.REPLACED]


def test_an_overwrite_may_be_warned_of() -> None:
    server = Server()
    server.keep(OTHER_A)
    server.next["PUT"] = [lambda: server.answer([("1.1.1", None)], warnings={"1.1.1": 0xB000})]
    found = store(server, A, conflict=Conflict.REPLACE, replace=True)
    assert reasons(found) == ["warning reason 45056 (data elements were coerced)"]


@pytest.mark.parametrize("said", [272, None])
@pytest.mark.parametrize("conflict", list(Conflict))
def test_the_same_bytes_are_present_whatever_the_refusal(
    said: int | None, conflict: Conflict
) -> None:
    """A reason that means much, or none, says nothing of the bytes that are there."""
    server = Server()
    server.keep(A)
    server.answers = [lambda _: server.answer([("1.1.1", said)]) if said else httpx.Response(409)]
    assert statuses(store(server, A, conflict=conflict, replace=True)) == [Status.PRESENT]
    assert server.paths("PUT") == []


def test_no_more_are_replaced_than_were_allowed() -> None:
    server = Server()
    server.keep(OTHER_A, OTHER_B)
    found = store(server, A, B, C, conflict=Conflict.REPLACE, replace=True, most=1)
    assert statuses(found) == [Status.REPLACED, Status.FAILED, Status.STORED]
    assert "as many were replaced as the statement may" in reasons(found)[1]
    assert server.kept[uids_of(B)] == OTHER_B


def test_what_others_store_meanwhile_is_seen_where_the_server_does_not_tell() -> None:
    """Orthanc's kind: what is there is looked up for each request, not once for the series."""
    server = Server(tells=False)
    with serving(server) as run:
        storer = Storer(run, target(server), Conflict.FAIL)
        assert statuses(stored(storer, part(B), part(C))) == [Status.STORED] * 2
        server.keep(OTHER_A)
        assert statuses(stored(storer, part(A), part(D))) == [Status.FAILED, Status.STORED]


class TestBetweenDeleteAndStore:
    """Neither a cancelled statement nor a lost answer leaves the store without the instance."""

    @pytest.mark.parametrize("refused", [False, True])
    def test_a_cancelled_statement_is_brought_to_an_end(
        self, tmp_path: Path, refused: bool
    ) -> None:
        server = Server(tells=False)
        server.keep(OTHER_A)
        with serving(server) as run:

            def deleted() -> None:
                run.cancel.set()

            server.next["DELETE"] = [deleted]  # type: ignore[list-item]
            if refused:
                server.answers = [lambda _: server.answer([("1.1.1", 0xA900)])]
            storer = Storer(run, target(server), Conflict.REPLACE, kept=tmp_path / "kept")
            (found,) = stored(storer, part(A))
        assert found.outcome.status is (Status.FAILED if refused else Status.REPLACED)
        assert server.kept == {uids_of(A): OTHER_A if refused else A}

    @pytest.mark.parametrize("lost", [httpx.ReadTimeout("late"), httpx.Response(500)])
    def test_a_delete_that_took_effect_unheard(
        self, tmp_path: Path, lost: httpx.Response | Exception
    ) -> None:
        server = Server(tells=False)
        server.keep(OTHER_A)

        def deleted() -> httpx.Response | Exception:
            server.kept.pop(uids_of(A), None)
            return lost

        server.next["DELETE"] = [deleted] * 9
        found = store(server, A, conflict=Conflict.REPLACE, kept=tmp_path / "kept")
        assert statuses(found) == [Status.REPLACED]
        assert server.kept == {uids_of(A): A}

    def test_a_delete_that_was_refused(self, tmp_path: Path) -> None:
        server = Server(tells=False)
        server.keep(OTHER_A)
        server.next["DELETE"] = [lambda: httpx.Response(409)]
        found = store(server, A, conflict=Conflict.REPLACE, kept=tmp_path / "kept")
        assert statuses(found) == [Status.FAILED]
        assert reasons(found)[0].endswith("the store still has its own bytes")
        assert server.kept == {uids_of(A): OTHER_A}


def test_the_servers_answer_as_the_bench_writes_it() -> None:
    """The bench's JSON has the sequences of PS3.18 table 10.5.3-1, so that the tests mean it."""
    found = dataset_of(Server().answer([("1", None), ("2", 272)]))
    assert found["00081199"]["Value"][0]["00081155"]["Value"] == ["1"]
    assert found["00081198"]["Value"][0]["00081197"]["Value"] == [272]
