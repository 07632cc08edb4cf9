"""Answers that are kept: found by who asked what, bounded, emptied by writes, never damaged."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from dicomsql.transport.base import Request, Response
from dicomsql.transport.cache import Answers, CachingTransport, Kept, key_of

URL = "https://pacs.example/rs"
GET = Request("GET", URL, "/studies", query=(("PatientID", "secret7"),))


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Server:
    """A transport that answers with a number that grows."""

    def __init__(self, status: int = 200) -> None:
        self.count = 0
        self.status = status

    def send(self, request: Request, *, stream: bool = False) -> Response:
        self.count += 1
        headers = {"content-type": "application/dicom+json", "warning": "299 x"}
        return Kept(self.status, headers, b"answer %d" % self.count)

    def close(self) -> None:
        pass


class Bench:
    """A server behind a cache."""

    def __init__(self, folder: Path, status: int = 200, bound: int = 1 << 20) -> None:
        self.clock = Clock()
        self.server = Server(status)
        self.answers = Answers(folder, bound=bound, clock=self.clock)
        self.hits = 0
        self.who: str | None = "anonymous"

    def hit(self, _: Request) -> None:
        self.hits += 1

    def get(self, request: Request = GET, *, stream: bool = False, age: float = 60.0) -> bytes:
        transport = CachingTransport(self.server, self.answers, age, lambda _: self.who, self.hit)
        self.clock.now += 1
        return transport.send(request, stream=stream).read()

    def files(self) -> list[Path]:
        return [p for p in self.answers.folder.rglob("*") if p.is_file() and p.name[0] != "."]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "cache" / "answers")


def test_an_answer_is_used_again(bench: Bench) -> None:
    assert [bench.get() for _ in range(3)] == [b"answer 1"] * 3
    assert (bench.server.count, bench.hits) == (1, 2)
    kept = bench.answers.find(key_of(GET, "anonymous"), 60)
    assert kept is not None
    assert kept.header("Content-Type") == "application/dicom+json"
    assert kept.header("warning") == "299 x"
    assert list(kept.iter_bytes()) == [b"answer 1"]


@pytest.mark.parametrize(
    "other",
    [
        Request("GET", URL, "/studies", query=(("PatientID", "secret8"),)),
        Request("GET", "https://pacs.example:8443/rs", "/studies", query=GET.query),
        Request("GET", URL, "/studies", query=GET.query, headers=(("Accept", "text/html"),)),
    ],
)
def test_another_request_is_another_answer(bench: Bench, other: Request) -> None:
    bench.get()
    assert bench.get(other) == b"answer 2"


def test_what_has_to_be_fresh_is_asked_for_and_kept(bench: Bench) -> None:
    bench.get()
    assert bench.get(replace(GET, fresh=True)) == b"answer 2"
    assert bench.get() == b"answer 2"


def test_another_user_gets_nothing_of_it(bench: Bench) -> None:
    bench.get()
    bench.who = "basic ann"
    assert bench.get() == b"answer 2"
    bench.who = None
    assert bench.get() == b"answer 3"
    assert len(bench.files()) == 2


def test_what_is_too_old_is_asked_for_again(bench: Bench) -> None:
    bench.get()
    bench.clock.now += 61
    assert bench.get() == b"answer 2"
    assert bench.get(age=0.5) == b"answer 3"
    # A clock that was put back.
    bench.clock.now -= 1000
    assert bench.get() == b"answer 4"


@pytest.mark.parametrize("status", [201, 202, 206])
def test_not_every_answer_is_kept(tmp_path: Path, status: int) -> None:
    bench = Bench(tmp_path, status)
    assert [bench.get(), bench.get()] == [b"answer 1", b"answer 2"]


def test_neither_writes_nor_streams_are_kept(bench: Bench) -> None:
    for request in (Request("POST", URL, "/studies", body=b"x"), Request("DELETE", URL, "/s")):
        bench.get(request)
    bench.get(stream=True)
    assert bench.files() == []


def test_files_are_their_owners_alone_and_hold_no_url(bench: Bench) -> None:
    mask = os.umask(0)
    try:
        bench.get()
    finally:
        os.umask(mask)
    (file,) = bench.files()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(bench.answers.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert b"secret7" not in file.read_bytes()
    assert "pacs" not in str(file.relative_to(bench.answers.folder))


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data[:20],
        lambda data: data.replace(b"answer", b"ANSWER"),
        lambda data: data.replace(b'"version": 1', b'"version": 0'),
        lambda data: b"[]\n" + data,
        lambda data: b"\xff\xfe" + data,
    ],
)
def test_a_damaged_file_is_none(bench: Bench, damage: object) -> None:
    bench.get()
    (file,) = bench.files()
    file.write_bytes(damage(file.read_bytes()))  # type: ignore[operator]
    assert bench.get() == b"answer 2"
    assert bench.get() == b"answer 2"


def test_a_file_under_another_name_is_none(bench: Bench) -> None:
    other = Request("GET", URL, "/studies")
    bench.get()
    (file,) = bench.files()
    file.rename(file.with_name(key_of(other, "anonymous").name))
    assert bench.get(other) == b"answer 2"


def test_a_write_empties_what_was_kept_of_its_server(bench: Bench) -> None:
    elsewhere = Request("GET", "https://other.example", "/studies")
    bench.get()
    bench.get(elsewhere)
    bench.clock.now += 1
    # Another path of the same server is the same server.
    bench.answers.forget("https://PACS.example:443/other")
    assert len(bench.files()) == 1
    assert bench.get() == b"answer 3"
    assert bench.get(elsewhere) == b"answer 2"


def test_what_was_asked_for_before_a_write_does_not_count(bench: Bench) -> None:
    """It comes in, and is put down, by another process, after the write has ended."""
    key = key_of(GET, "anonymous")
    assert bench.answers.prepare(key)
    asked = bench.clock.now
    bench.clock.now += 1
    bench.answers.forget(URL)
    bench.answers.keep(key, Kept(200, {}, b"old"), asked, 60)
    assert bench.answers.find(key, 60) is None
    assert bench.get() == b"answer 1"
    assert bench.get() == b"answer 1"


def test_nothing_is_made_where_nothing_was_kept(bench: Bench) -> None:
    bench.answers.forget(URL)
    bench.answers.sweep()
    assert bench.answers.clear() == (0, 0)
    assert not bench.answers.folder.exists()


def test_the_oldest_go_first(tmp_path: Path) -> None:
    bench = Bench(tmp_path, bound=4000)
    requests = [Request("GET", URL, f"/studies/{number}") for number in range(40)]
    for request in requests:
        bench.get(request)
        assert bench.answers.info()[1] <= 4000
    hits = bench.hits
    assert bench.get(requests[-1]) == b"answer 40"
    assert bench.hits == hits + 1
    assert bench.get(requests[0]) == b"answer 41"


def test_one_answer_may_not_push_out_the_others(tmp_path: Path) -> None:
    bench = Bench(tmp_path, bound=300)
    bench.get()
    assert bench.files() == []


def test_what_is_too_old_is_swept_with_parts_that_nobody_finished(bench: Bench) -> None:
    bench.get()
    bench.get(Request("GET", URL, "/late"), age=7200)
    part = bench.files()[0].with_name("left.part")
    part.write_bytes(b"x")
    os.utime(part, (bench.clock.now, bench.clock.now))
    bench.clock.now += 3700
    bench.answers.sweep()
    assert len(bench.files()) == 1
    assert bench.answers.clear()[0] == 1
    assert bench.answers.info() == (0, 0)


def test_a_folder_that_cannot_be_made_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    bench = Bench(tmp_path / "file" / "answers")
    assert [bench.get(), bench.get()] == [b"answer 1", b"answer 2"]


def test_a_folder_that_is_a_link_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "answers").symlink_to(tmp_path / "other")
    bench = Bench(tmp_path / "answers")
    bench.get()
    assert list((tmp_path / "other").iterdir()) == []


def test_many_at_a_time(bench: Bench) -> None:
    requests = [Request("GET", URL, f"/{number % 10}") for number in range(200)]
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(bench.get, requests))
    assert bench.hits + bench.server.count == 200
    assert len(bench.files()) == 10
    assert all(bench.get(request).startswith(b"answer") for request in requests[:10])
