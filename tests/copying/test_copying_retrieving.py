"""COPY to a folder: which requests are made, what is written, what is found out."""

from __future__ import annotations

import errno
import os
import random
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from retrieving_bench import BOUNDARY, Out, breaking, default_files, multipart, of_type, source
from storing_bench import dicom, uids_of

from dicomsql.catalog.model import Method
from dicomsql.copying.folder import Folder
from dicomsql.copying.journal import Journal
from dicomsql.copying.report import Report
from dicomsql.errors import (
    ApiError,
    CancelledError,
    EndpointError,
    NotFoundError,
    OperationalError,
    PermissionDeniedError,
)

A, B, C, D, E, F = (dicom("1", "1.1", f"1.1.{n}", padding=1000 * n) for n in range(1, 7))
ALL = (A, B, C, D, E, F)
OTHER_SERIES = dicom("1", "1.2", "1.2.1")
OTHER_STUDY = dicom("2", "2.1", "2.1.1")
HEAD = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()


@pytest.fixture
def out(tmp_path: Path) -> Out:
    made = Out(tmp_path)
    made.holder.keep(*ALL)
    return made


# -- what is asked for -----------------------------------------------------------------------------


def test_a_study_is_one_request(out: Out) -> None:
    out.holder.keep(OTHER_SERIES, OTHER_STUDY)
    rows = out.run([("1",), ("2",)], parallel=1)
    assert {row["status"] for row in rows} == {"retrieved"}
    assert out.files() == default_files(*ALL, OTHER_SERIES, OTHER_STUDY)
    assert sorted(out.holder.fetched()) == ["/studies/1", "/studies/2/series/2.1/instances/2.1.1"]
    first = rows[0]
    assert first == {
        "path": str(out.folder / "1/1.1/1.1.1.dcm"),
        "StudyInstanceUID": "1",
        "SeriesInstanceUID": "1.1",
        "SOPInstanceUID": "1.1.1",
        "status": "retrieved",
        "reason": None,
        "bytes": len(A),
    }
    assert not list(out.folder.rglob("*.part"))


def test_series_and_instances_are_asked_for_as_they_are_named(out: Out) -> None:
    out.holder.keep(OTHER_SERIES)
    assert set(out.statuses([("1", "1.1")], parallel=1)) == {uids_of(c)[2] for c in ALL}
    assert out.holder.fetched() == ["/studies/1/series/1.1"]
    out.holder.paths.clear()
    assert out.statuses([("1", "1.2", "1.2.1")]) == {"1.2.1": "retrieved"}
    assert out.holder.paths == ["/studies/1/series/1.2/instances/1.2.1"]


def test_all_instances_of_a_series_are_one_request_and_some_are_several(out: Out) -> None:
    out.run([uids_of(content) for content in ALL], parallel=1)
    assert out.holder.fetched() == ["/studies/1/series/1.1"]
    out.holder.paths.clear()
    out.folder = out.folder.with_name("some")
    out.run([uids_of(content) for content in (A, B, C, D)], parallel=1)
    assert len(out.holder.fetched()) == 4
    assert out.files() == default_files(A, B, C, D)


def test_rows_that_mean_the_same_are_one_file(out: Out) -> None:
    rows = out.run([(*uids_of(A), "x"), (*uids_of(A), "x"), (*uids_of(A), "y")], "PatientID")
    assert [row["status"] for row in rows] == ["retrieved"]


def test_where_a_study_cannot_be_searched_its_series_are(out: Out) -> None:
    out.holder.keep(OTHER_SERIES)
    out.run([("1",)], parallel=1, moves={"in_study": None, "study": None})
    assert out.files() == default_files(*ALL, OTHER_SERIES)
    searches = [path for path in out.holder.paths if path.endswith(("/series", "/instances"))]
    assert searches == [
        "/studies/1/series",
        "/studies/1/series/1.1/instances",
        "/studies/1/series/1.2/instances",
    ]


def test_threads_without_work_help_with_a_series(out: Out) -> None:
    many = [dicom("1", "1.1", f"1.1.{n}") for n in range(1, 41)]
    out.holder.keep(*many)
    helped = []

    def late() -> httpx.Response:
        """A series whose first file comes once somebody else has asked for another."""

        def pieces() -> Iterator[bytes]:
            while not (singles := [p for p in out.holder.fetched() if "/instances/" in p]):
                os.sched_yield()
            helped.extend(singles)
            yield multipart(*many).content

        headers = multipart().headers
        return httpx.Response(
            200, headers={"content-type": headers["content-type"]}, content=pieces()
        )  # type: ignore[arg-type]

    out.holder.gives("/series/1.1$", late)
    assert set(out.statuses([("1",)], parallel=2).values()) == {"retrieved"}
    assert helped
    assert out.files() == default_files(*many)


def test_rows_that_name_nothing_fail_one_by_one(out: Out) -> None:
    rows = out.run([("1", "1.1", "1.1.1"), ("1", "1.1", None), (None, "1", "2"), ("..", "1", "2")])
    assert sorted(row["reason"] for row in rows if row["status"] == "failed") == [
        "the query's row has a StudyInstanceUID that is no UID",
        "the query's row has no SOPInstanceUID",
        "the query's row has no StudyInstanceUID",
    ]
    assert out.files() == default_files(A)
    (row,) = out.run([("9",)])
    assert (row["status"], row["reason"], row["path"]) == (
        "failed",
        "the server lists no instance of it",
        None,
    )


def test_the_transfer_syntax_is_asked_for_and_checked(out: Out) -> None:
    out.run([uids_of(A)], transfer_syntax="1.2.840.10008.1.2.1")
    assert out.holder.accepts == ["application/dicom; transfer-syntax=1.2.840.10008.1.2.1"]
    (row,) = out.run([uids_of(B)], transfer_syntax="1.2.840.10008.1.2.4.50")
    assert row["status"] == "failed"
    assert "1.2.840.10008.1.2.1" in row["reason"]
    assert out.files() == default_files(A)


# -- answers that are not what they should be -----------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        multipart(A, B, C, end=False),
        multipart(A, OTHER_STUDY, OTHER_SERIES, B),
        multipart(A, A, B, b"no DICOM at all" * 20, b""),
        breaking(HEAD + A + b"\r\n" + HEAD + B[:500]),
        of_type('multipart/related; boundary="other"', multipart(*ALL).content),
        of_type("multipart/related", A),
        httpx.Response(200, json={"error": "none"}),
        of_type("text/html", b"<p>login</p>"),
        httpx.Response(204),
        httpx.Response(404),
        httpx.Response(406),
    ],
    ids=lambda answer: f"{answer.status_code} {answer.headers.get('content-type')}",
)
def test_what_a_series_does_not_bring_is_asked_for_one_by_one(
    out: Out, answer: httpx.Response
) -> None:
    out.holder.gives("/series/1.1$", answer)
    assert out.statuses([("1", "1.1")], parallel=1) == {uids_of(c)[2]: "retrieved" for c in ALL}
    assert out.files() == default_files(*ALL)


def test_what_was_not_asked_for_is_told(out: Out) -> None:
    out.holder.gives("/series/1.1$", multipart(*ALL, OTHER_STUDY, b"nothing"))
    out.run([("1", "1.1")], parallel=1)
    assert out.files() == default_files(*ALL)
    assert out.notes == [
        "The server gave 2 files that had not been asked for, or that are no instances; they were "
        "left out."
    ]


def test_a_stream_that_breaks_goes_on_as_a_stream_while_much_is_left(out: Out) -> None:
    many = [dicom("1", "1.1", f"1.1.{n}") for n in range(1, 31)]
    out.holder.keep(*many)
    first = b"".join(HEAD + content + b"\r\n" for content in many[:10])
    out.holder.gives("/series/1.1$", breaking(first + HEAD + many[10][:300]))
    assert set(out.statuses([("1", "1.1")], parallel=1).values()) == {"retrieved"}
    assert out.holder.fetched() == ["/studies/1/series/1.1"] * 2
    assert out.files() == default_files(*many)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (multipart(B), "another instance"),
        (of_type("application/dicom", B), "another"),
        (breaking(A[:600], "application/dicom"), "cut off"),
        (breaking(A[:200], "application/dicom"), "cut off"),
        (multipart(A, end=False), "last boundary"),
        (multipart(), "no instance"),
        (httpx.Response(200, text="<p>login</p>"), "text/plain"),
        (of_type("application/dicom", bytes(500)), "no DICOM file"),
    ],
    ids=range(8),
)
def test_an_instance_that_never_comes_fails(out: Out, answer: httpx.Response, reason: str) -> None:
    def again() -> httpx.Response:
        if isinstance(answer.stream, httpx.ByteStream):
            return httpx.Response(200, headers=answer.headers, content=answer.content)
        size = 600 if "cut" in reason and next(sizes) else 200
        return breaking(A[:size], "application/dicom")

    sizes = iter([1, 0, 1, 0])
    out.holder.gives("/1.1.1$", again, again, again)
    assert out.statuses([uids_of(A)]) == {"1.1.1": "retrieved"}
    out.folder = out.folder.with_name("never")
    out.journal = None
    sizes = iter([1, 0, 1, 0])
    out.holder.gives("/1.1.1$", again, again, again, again)
    (row,) = out.run([uids_of(A)])
    assert row["status"] == "failed"
    assert reason in row["reason"]
    assert "(asked for 4 times)" in row["reason"]
    assert out.files() == {}


def test_one_that_is_missing_fails_alone_and_a_server_that_is_gone_ends_it(out: Out) -> None:
    missing = dicom("1", "1.1", "1.1.99")
    statuses = out.statuses([uids_of(c) for c in (A, missing)])
    assert statuses == {"1.1.1": "retrieved", "1.1.99": "failed"}
    out.holder.gives("/studies", *[httpx.ConnectError("refused")] * 1000)
    with pytest.raises(EndpointError):
        out.run([uids_of(content) for content in (B, C, D)])
    out.holder.answers.clear()
    out.holder.gives("/studies", *[httpx.Response(403)] * 100)
    with pytest.raises(ApiError):
        out.run([uids_of(B)])
    out.holder.answers.clear()
    assert set(out.statuses([("1",)]).values()) == {"retrieved", "present"}
    assert out.files() == default_files(*ALL)


# The search of the store itself.
STORE = Method("test", "web", "studies", "searched", "exec", "GET", "/studies", ())
WITH_STORE = {"search": (*source().moves.search, ("study", STORE))}


@pytest.mark.parametrize("form", ["dicom", "png"])
@pytest.mark.parametrize("rows", [[("7",), ("8",)], [("7", "7.1", "7.1.1"), ("8", "8.1", "8.1.1")]])
@pytest.mark.parametrize(
    ("status", "error"),
    [(404, (NotFoundError, "no DICOM store at this")), (403, (PermissionDeniedError, "403"))],
)
def test_a_store_that_is_not_there_fails_the_statement(
    out: Out, rows: Any, form: str, status: int, error: tuple[type[ApiError], str]
) -> None:
    out.holder.gives("/studies/", *[httpx.Response(404)] * 20)
    out.holder.gives("/studies$", httpx.Response(status))
    with pytest.raises(error[0], match=error[1]):
        out.run(rows, moves=WITH_STORE, format=form)
    assert out.holder.paths.count("/studies") == 1


@pytest.mark.parametrize("answer", [httpx.Response(200, json=[]), httpx.Response(400)])
def test_a_store_that_is_there_is_asked_once(out: Out, answer: httpx.Response) -> None:
    out.holder.gives("/studies/[78]", *[httpx.Response(404)] * 20)
    out.holder.gives("/studies$", answer)
    rows = out.run([("7",), ("8",)], moves=WITH_STORE)
    assert [row["status"] for row in rows] == ["failed", "failed"]
    assert out.holder.paths.count("/studies") == 1


def test_a_store_that_gave_something_is_not_asked(out: Out) -> None:
    out.holder.gives("/studies/7", *[httpx.Response(404)] * 20)
    rows = out.run([("1",), ("7",)], moves=WITH_STORE, parallel=1)
    assert [row["status"] for row in rows].count("failed") == 1
    assert "/studies" not in out.holder.paths


def test_a_search_of_another_study_is_not_believed(out: Out) -> None:
    rows = [{"0020000D": {"vr": "UI", "Value": ["2"]}, "00080018": {"vr": "UI", "Value": ["9"]}}]
    out.holder.gives("/instances$", httpx.Response(200, json=rows))
    with pytest.raises(OperationalError, match="another study"):
        out.run([("1",)])
    out.holder.gives("/instances$", httpx.Response(200, json=[{}]))
    with pytest.raises(OperationalError, match="00080018"):
        out.run([("1",)])


@pytest.mark.parametrize("seed", range(4))
def test_a_bad_line_loses_and_doubles_nothing(out: Out, seed: int) -> None:
    many = [dicom("1", f"1.{n % 3}", f"1.{n}", padding=50 * n) for n in range(1, 121)]
    out.holder.kept.clear()
    out.holder.keep(*many)
    chosen, usual = random.Random(seed), out.holder.handle

    def bad(request: httpx.Request) -> httpx.Response:
        answer = usual(request)
        kind = chosen.choices(["well", "reset", "busy", "cut"], [16, 1, 1, 3])[0]
        if kind == "reset":
            raise httpx.ReadError("the connection was reset")
        if kind == "busy":
            return httpx.Response(chosen.choice([429, 503]))
        if kind == "cut" and answer.status_code == 200 and "json" not in str(answer.headers):
            content = answer.content
            return breaking(
                content[: chosen.randrange(len(content))], answer.headers["content-type"]
            )
        return answer

    out.holder.handle = bad  # type: ignore[method-assign]
    rows = out.run([("1",)])
    assert len(rows) == len(many)
    failed = {row["SOPInstanceUID"] for row in rows if row["status"] == "failed"}
    assert out.files() == default_files(*(c for c in many if uids_of(c)[2] not in failed))
    out.holder.handle = usual  # type: ignore[method-assign]
    out.run([("1",)])
    assert out.files() == default_files(*many)


# -- files that are there -------------------------------------------------------------------------


def test_a_second_run_asks_for_nothing_that_is_there(out: Out) -> None:
    out.run([("1",)])
    out.holder.paths.clear()
    assert set(out.statuses([("1",)]).values()) == {"present"}
    assert out.holder.fetched() == []
    # Another time of change is no other content; another content is, even of the same size.
    os.utime(out.folder / "1/1.1/1.1.1.dcm", ns=(1, 1))
    changed = out.folder / "1/1.1/1.1.2.dcm"
    changed.write_bytes(bytes(len(B)))
    (out.folder / "1/1.1/1.1.3.dcm").unlink()
    statuses = out.statuses([("1",)])
    assert (statuses["1.1.1"], statuses["1.1.2"], statuses["1.1.3"]) == (
        "present",
        "failed",
        "retrieved",
    )
    assert changed.read_bytes() == bytes(len(B))


def test_files_without_a_journal_are_compared(out: Out) -> None:
    out.journal = None
    place = out.folder / "1/1.1"
    place.mkdir(parents=True)
    (place / "1.1.1.dcm").write_bytes(A)
    (place / "1.1.2.dcm").write_bytes(b"something else")
    rows = out.run([("1",)])
    assert [row["status"] for row in rows] == ["present", "failed", *["retrieved"] * 4]
    assert "overwrite" in rows[1]["reason"]
    assert (place / "1.1.2.dcm").read_bytes() == b"something else"
    rows = out.run([("1",)], overwrite=True)
    assert [row["status"] for row in rows] == ["present", "replaced", *["present"] * 4]
    assert out.files() == default_files(*ALL)


def test_files_are_their_owners_alone(out: Out) -> None:
    out.run([uids_of(A)])
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in [out.folder, *out.folder.rglob("*")]}
    assert modes == {"out": 0o700, "1": 0o700, "1.1": 0o700, "1.1.1.dcm": 0o600}


def test_the_layout_makes_paths_of_the_rows_values(out: Out) -> None:
    rows = [(*uids_of(A), "../../x"), (*uids_of(B), None), (*uids_of(C), "aux")]
    out.run(rows, "PatientID", layout="{PatientID}/{SOPInstanceUID}")
    assert set(out.files()) == {".._.._x/1.1.1".replace("..", "_.", 1), "_/1.1.2", "_aux/1.1.3"}
    assert {p.name for p in out.folder.parent.iterdir()} == {"out", "out.copy.sqlite"}


def test_an_instance_of_several_rows_is_several_files(out: Out) -> None:
    rows = out.run(
        [(*uids_of(A), "p"), (*uids_of(A), "q")], "PatientID", layout="{PatientID}/{SOPInstanceUID}"
    )
    assert [row["status"] for row in rows] == ["retrieved"] * 2
    assert out.files() == {"p/1.1.1": A, "q/1.1.1": A}
    assert len(out.holder.fetched()) == 1


@pytest.mark.parametrize("overwrite", [False, True])
def test_two_instances_never_share_a_file(out: Out, overwrite: bool) -> None:
    rows = [(*uids_of(A), "a"), (*uids_of(B), "A")]
    found = out.run(rows, "PatientID", layout="x/{PatientID}.dcm", overwrite=overwrite)
    assert sorted(row["status"] for row in found) == ["failed", "retrieved"]
    assert len(out.files()) == 1


def test_links_in_the_folder_are_not_followed(out: Out, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    out.folder.mkdir()
    (out.folder / "1").symlink_to(outside)
    (row,) = out.run([uids_of(A)])
    assert (row["status"], row["reason"]) == (
        "failed",
        "a file or a link stands where its folder has to be",
    )
    (out.folder / "1").unlink()
    (out.folder / "1/1.1").mkdir(parents=True)
    (out.folder / "1/1.1/1.1.1.dcm").symlink_to(outside / "new")
    (out.folder / "1/1.1/.1.1.2.dcm.part").symlink_to(outside / "new")
    assert out.statuses([uids_of(A), uids_of(B)], overwrite=True) == {
        "1.1.1": "failed",
        "1.1.2": "failed",
    }
    assert not list(outside.iterdir())


def test_what_a_killed_run_left_is_taken_over_and_a_living_ones_is_not(out: Out) -> None:
    import fcntl

    place = out.folder / "1/1.1"
    place.mkdir(parents=True)
    left = place / ".1.1.1.dcm.part"
    left.write_bytes(bytes(10_000))
    left.chmod(0o600)
    with left.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        (row,) = out.run([uids_of(A)])
        assert (row["status"], row["reason"]) == ("failed", "another program is writing it")
    assert out.statuses([uids_of(A)]) == {"1.1.1": "retrieved"}
    assert out.files() == default_files(A)


def test_a_full_disk_stops_it_cleanly(out: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    written = 0

    def full(descriptor: int, data: memoryview) -> int:
        nonlocal written
        written += len(data)
        if written > 8000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data)

    real = os.write
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(OperationalError, match=r"Cannot write to the folder .*No space left"):
            out.run([uids_of(content) for content in ALL], parallel=1)
    done = out.files()
    assert 0 < len(done) < len(ALL)
    assert done.items() <= default_files(*ALL).items()
    statuses = out.statuses([("1",)])
    assert sorted(statuses.values()) == ["present"] * len(done) + ["retrieved"] * (6 - len(done))
    assert out.files() == default_files(*ALL)


def test_a_disk_that_fails_at_last_stops_it_cleanly(
    out: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    many = [dicom("1", "1.1", f"1.1.{n}") for n in range(1, 301)]
    out.holder.keep(*many)
    brought = 0

    def failing(descriptor: int) -> None:
        nonlocal brought
        brought += 1
        if brought > 20:
            raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", failing)
        with pytest.raises(OperationalError, match="Input/output error"):
            out.run([("1",)])
    assert len(out.files()) == 20
    assert sorted(out.statuses([("1",)]).values()) == ["present"] * 20 + ["retrieved"] * 280
    assert out.files() == default_files(*many)


def test_a_journal_that_fails_stops_it_cleanly(out: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_self: Journal, _entries: object) -> None:
        raise OperationalError("the journal cannot be written")

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "write", failing)
        with pytest.raises(OperationalError, match="the journal cannot be written"):
            out.run([("1",)])
    assert out.files().items() <= default_files(*ALL).items()
    assert set(out.statuses([("1",)]).values()) <= {"present", "retrieved"}
    assert out.files() == default_files(*ALL)


def test_a_statement_that_is_cancelled_leaves_no_half_file(out: Out) -> None:
    def cancelling() -> httpx.Response:
        def pieces() -> Iterator[bytes]:
            yield HEAD + A + b"\r\n" + HEAD + B[:1500]
            out.cancel()
            yield B[1500:]

        headers = {"content-type": multipart().headers["content-type"]}
        return httpx.Response(200, headers=headers, content=pieces())

    out.holder.gives("/series/1.1$", cancelling)
    with pytest.raises(CancelledError):
        out.run([("1", "1.1")], parallel=1)
    assert out.files() == default_files(A)
    assert sorted(out.statuses([("1",)]).values()) == ["present"] + ["retrieved"] * 5


def test_a_folder_that_cannot_be_made(out: Out) -> None:
    out.folder.write_text("a file")
    with pytest.raises(OperationalError, match="Cannot write to the folder"):
        out.run([uids_of(A)])
    assert not out.holder.fetched()


@pytest.mark.parametrize("name", ["j", "j-wal", "J"])
def test_no_file_takes_the_journals_place(out: Out, name: str) -> None:
    out.folder.mkdir()
    out.journal = out.folder / "j"
    for _ in range(2):
        (row,) = out.run([uids_of(A)], layout=name, overwrite=True)
        assert (row["status"], "the journal" in row["reason"]) == ("failed", True)


def test_a_file_that_comes_in_the_meantime_is_not_replaced(
    out: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = out.folder / "1/1.1/1.1.1.dcm"
    published = Folder.publish

    def late(folder: Folder, *args: Any, **options: Any) -> None:
        if not path.exists():
            path.write_bytes(b"of another program")
        published(folder, *args, **options)

    monkeypatch.setattr(Folder, "publish", late)
    (row,) = out.run([uids_of(A)])
    assert row["status"] == "failed"
    assert "in the meantime" in row["reason"]
    assert out.files() == {"1/1.1/1.1.1.dcm": b"of another program"}
    (row,) = out.run([uids_of(A)], overwrite=True)
    assert row["status"] == "replaced"
    assert out.files() == default_files(A)


def test_without_second_names_a_look_does(out: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refusing)
    assert set(out.statuses([("1",)]).values()) == {"retrieved"}
    assert out.files() == default_files(*ALL)


def test_a_file_with_two_names_of_a_killed_process_is_done(out: Out) -> None:
    folder = out.folder / "1/1.1"
    folder.mkdir(parents=True)
    (folder / ".1.1.1.dcm.part").write_bytes(A)
    (folder / ".1.1.1.dcm.part").chmod(0o600)
    os.link(folder / ".1.1.1.dcm.part", folder / "1.1.1.dcm")
    assert out.statuses([uids_of(A)]) == {"1.1.1": "present"}
    assert out.files() == default_files(A)


@pytest.mark.parametrize("journal", [True, False])
def test_names_are_on_the_disk_before_they_count(
    out: Out, monkeypatch: pytest.MonkeyPatch, journal: bool
) -> None:
    if not journal:
        out.journal = None
    done: list[str] = []
    fsync, added = os.fsync, Report.add

    def noting(descriptor: int) -> None:
        fsync(descriptor)
        done.append(os.path.realpath(f"/proc/self/fd/{descriptor}"))

    def adding(report: Report, outcome: Any) -> None:
        done.append("row")
        added(report, outcome)

    monkeypatch.setattr(os, "fsync", noting)
    monkeypatch.setattr(Report, "add", adding)
    assert out.statuses([uids_of(A)]) == {"1.1.1": "retrieved"}
    top = Path(os.path.realpath(out.folder))
    wanted = {str(p) for p in (top / "1/1.1", top / "1", top, top.parent)}
    assert wanted <= set(done[: done.index("row")])


def test_an_instance_whose_paths_differ_by_case_alone_is_one_file(out: Out) -> None:
    (row,) = out.run(
        [("1", "1.1", "1.1.1", "Doe"), ("1", "1.1", "1.1.1", "DOE")], "P", layout="{P}.dcm"
    )
    assert (row["status"], row["path"]) == ("retrieved", str(out.folder / "DOE.dcm"))
