"""Searches over a server that misbehaves in every way: complete, each row once, or an error."""

from __future__ import annotations

import datetime
import itertools
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from execution_bench import Answer, Wire, query_of, refused

from dicomsql.catalog.model import Column, DicomTable, Method, OffsetPaging, Parameter, Type
from dicomsql.errors import (
    ApiError,
    BudgetError,
    IncompleteError,
    NotSupportedError,
    OperationalError,
)
from dicomsql.execution.run import Limits, Run
from dicomsql.execution.scans import ScanRunner
from dicomsql.planning.read_plan import (
    Bind,
    ColumnKind,
    Constant,
    Filter,
    Scan,
    ScanColumn,
    Size,
    Split,
)
from dicomsql.result import Statistics
from dicomsql.transport.gate import Gate

PAGING = OffsetPaging("limit", "offset", max_limit=10, max_offset=0)
STORE = Parameter("store", "path", required=True)
STUDY = Parameter("study", "path", required=True)


def method(name: str, path: str, *parameters: Parameter, **more: Any) -> Method:
    made: dict[str, Any] = {"paging": PAGING, "open_query": True, **more}
    return Method("p", "s", name, "search", "select", "GET", path, parameters, **made)


STUDIES = method("studies", "/{store}/studies", STORE)
SERIES = method("series", "/{store}/series", STORE)
OF_STUDY = method("series", "/{store}/studies/{study}/series", STORE, STUDY)
METRICS = method(
    "metrics", "/{store}/metrics", STORE, paging=None, columns=(Column("studyCount", Type.BIGINT),)
)
SIZE = Size(METRICS, "studyCount")
TABLES = {
    level: DicomTable(level, "search", (), identity=(("study", "StudyInstanceUID"),))
    for level in ("study", "series")
}


def scan(found: Method = STUDIES, level: str = "study", **more: Any) -> Scan:
    keyword = {"study": "StudyInstanceUID", "series": "SeriesInstanceUID"}[level]
    columns = (ScanColumn(keyword, ColumnKind.ATTRIBUTE, keyword, "VARCHAR"),)
    made: dict[str, Any] = {"constants": (Constant("store", ("a",), "statement"),), **more}
    table = TABLES[level]
    return Scan("scan_1", "t", "p.s.r", found, "http://test", columns=columns, dicom=table, **made)


def row(number: int, study: int | None = None) -> dict[str, Any]:
    of = number if study is None else study
    found = {"0020000D": {"vr": "UI", "Value": [f"1.{of}"]}}
    if study is not None:
        found["0020000E"] = {"vr": "UI", "Value": [f"2.{number}"]}
    return found


@dataclass
class Server:
    """Holds rows, and gives pages of them."""

    rows: list[dict[str, Any]]
    most: int = 10
    size: int | None = None
    after: Callable[[int, list[dict[str, Any]]], None] = lambda _number, _rows: None
    searches: list[tuple[int, int]] = field(default_factory=list)

    def __call__(self, request: Any) -> Any:
        if request.path.endswith("/metrics"):
            return (
                {"studyCount": str(self.size)} if self.size is not None else refused(500)(request)
            )
        offset, limit = int(query_of(request, "offset") or 0), int(query_of(request, "limit"))
        self.searches.append((offset, limit))
        found = self.rows[offset : offset + min(limit, self.most)]
        self.after(len(self.searches), self.rows)
        return found or Answer()


class Fake:
    """An engine that gives the values of binds."""

    def __init__(self, *values: str) -> None:
        self.values = values

    def rows(self, _sql: str, _values: object) -> list[tuple[str, ...]]:
        return [(v,) for v in self.values]


@pytest.fixture
def read() -> Iterator[Callable[..., tuple[list[str], Run, Wire]]]:
    runs: list[Run] = []

    def run_scan(
        wanted: Scan, answer: Any, *, engine: Any = None, documented: bool = True, **limits: Any
    ) -> tuple[list[str], Run, Wire]:
        wire = Wire(answer)
        made: Any = Run(
            wire, lambda: engine, Gate(), Limits(**limits), Statistics(), documented=documented
        )
        runs.append(made)
        found = [
            uid
            for batch in ScanRunner(made, wanted).batches()
            for uid in batch.column(0).to_pylist()
        ]
        return found, made, wire

    yield run_scan
    for made in runs:
        made.close()


def uids(number: int) -> list[str]:
    return [f"1.{i}" for i in range(number)]


@pytest.mark.parametrize("parallel", [1, 8])
@pytest.mark.parametrize("total", [0, 1, 9, 10, 11, 55, 100, 401])
@pytest.mark.parametrize("size", [None, 0, 55, 10_000])
def test_every_row_comes_once_and_in_order(
    read: Any, total: int, size: int | None, parallel: int
) -> None:
    server = Server([row(i) for i in range(total)], size=size)
    found, _, _ = read(scan(size=SIZE), server, parallel=parallel)
    assert found == uids(total)


def test_few_pages_are_asked_for_in_vain(read: Any) -> None:
    for total in (35, 200, 395):
        server = Server([row(i) for i in range(total)])
        read(scan(), server)
        least = (total - 1) // 9 + 1
        assert least <= len(server.searches) <= least + max(1, least // 2)
        known = Server([row(i) for i in range(total)], size=total)
        read(scan(size=SIZE), known)
        assert len(known.searches) <= least + 1


def test_a_limit_asks_one_page_after_the_other_of_the_right_size(read: Any) -> None:
    server = Server([row(i) for i in range(100)])
    found, _, _ = read(scan(limit=25), server)
    assert found == uids(25)
    assert server.searches == [(0, 10), (9, 10), (18, 7)]
    assert read(scan(limit=0), server)[2].requests == []


def test_a_server_with_a_lower_cap_is_read_in_its_own_pages(read: Any) -> None:
    paging = OffsetPaging("limit", "offset", max_limit=500, max_offset=0, capped=True)
    server = Server([row(i) for i in range(330)], most=60)
    found, _, _ = read(scan(replace(STUDIES, paging=paging)), server)
    assert found == uids(330)
    assert (118, 60) in server.searches


def test_a_server_that_ignores_the_limit_is_read_to_its_end(read: Any) -> None:
    rows = [row(i) for i in range(64)]

    def answer(request: Any) -> Any:
        offset = int(query_of(request, "offset") or 0)
        return rows[offset : offset + 25] or Answer()

    assert read(scan(), answer)[0] == uids(64)


@pytest.mark.parametrize("total", [1, 2, 9, 30])
@pytest.mark.parametrize("cut", [True, False])
def test_a_server_that_ignores_the_offset_ends_the_statement_however_its_answers_differ(
    read: Any, total: int, cut: bool
) -> None:
    number = itertools.count()

    def answer(request: Any) -> Any:
        most = int(query_of(request, "limit")) if cut else total
        url = {"00081190": {"vr": "UR", "Value": [f"http://test/{next(number)}"]}}
        return [row(i) | url for i in range(min(total, most))]

    paging = OffsetPaging("limit", "offset", max_limit=10, max_offset=0, capped=True)
    with pytest.raises(IncompleteError, match="seems to ignore the offset"):
        read(scan(replace(STUDIES, paging=paging)), answer, calls=20)


def test_a_partial_answer_is_not_the_last(read: Any) -> None:
    rows = [row(i) for i in range(17)]

    def answer(request: Any) -> Any:
        offset = int(query_of(request, "offset") or 0)
        found = rows[offset : offset + 7]
        return Answer(found, status=206 if offset + 7 < 17 else 200)

    assert read(scan(), answer)[0] == uids(17)
    metadata = replace(scan(), dicom=replace(TABLES["study"], source="metadata"))
    with pytest.raises(IncompleteError, match="206"):
        read(metadata, answer)


def test_members_that_are_all_missing_are_told_of(read: Any) -> None:
    several = Constant("study", ("1.1", "1.2"), "statement", True)
    of_study = scan(OF_STUDY, "series", constants=(_study("1.1")[0], several))
    found, run, _ = read(of_study, refused(404))
    assert found == []
    assert "404 to each of the 2 calls" in run.statistics.notes[0]
    server = Server([row(1, study=2)])
    one = read(of_study, lambda r: server(r) if "1.2" in str(r.path_values) else refused(404)(r))
    assert (one[0], one[1].statistics.notes) == (["2.1"], [])


def test_a_server_that_ignores_limit_and_offset_ends_the_statement(read: Any) -> None:
    with pytest.raises(IncompleteError, match="ignore `offset`"):
        read(scan(), lambda _request: [row(i) for i in range(30)])


def test_rows_in_another_order_each_time_end_the_statement(read: Any) -> None:
    rows = [row(i) for i in range(20)]

    def answer(request: Any) -> Any:
        offset = int(query_of(request, "offset") or 0)
        return rows[:10] if offset % 20 == 0 else rows[9::-1]

    with pytest.raises(IncompleteError, match="nothing but rows of earlier pages"):
        read(scan(), answer)


def test_a_short_page_in_the_middle_is_not_the_end(read: Any) -> None:
    rows = [row(i) for i in range(95)]

    def answer(request: Any) -> Any:
        offset, limit = int(query_of(request, "offset") or 0), int(query_of(request, "limit"))
        return rows[offset : offset + min(limit, 7 if offset == 36 else 10)] or Answer()

    assert read(scan(), answer)[0] == uids(95)


def test_a_refusal_of_what_was_asked_for_ahead_is_no_error(read: Any) -> None:
    rows = [row(i) for i in range(33)]

    def answer(request: Any) -> Any:
        offset = int(query_of(request, "offset") or 0)
        return rows[offset : offset + 10] if offset < 33 else refused(400)(request)

    assert read(scan(size=SIZE), answer)[0] == uids(33)
    with pytest.raises(ApiError):
        read(scan(), lambda r: refused(400)(r) if query_of(r, "offset") else rows[:10])


def test_what_was_written_meanwhile_is_found_by_reading_again(read: Any) -> None:
    def insert(number: int, rows: list[dict[str, Any]]) -> None:
        if number == 2:
            rows.insert(0, row(99))

    server = Server([row(i) for i in range(25)], after=insert)
    found, run, _ = read(scan(), server, parallel=1)
    assert sorted(found) == sorted([*uids(25), "1.99"])
    assert "1 row came twice and is shown once" in run.statistics.notes[0]
    assert "1 row that had shifted meanwhile was found" in run.statistics.notes[1]


@pytest.mark.parametrize("parallel", [1, 8])
@pytest.mark.parametrize("limit", [None, 32])
def test_what_a_deletion_moves_to_a_page_that_was_read_is_found(
    read: Any, parallel: int, limit: int | None
) -> None:
    def delete(number: int, rows: list[dict[str, Any]]) -> None:
        if number == 2:
            del rows[3:6]

    server = Server([row(i) for i in range(33)], after=delete)
    found, run, wire = read(scan(limit=limit), server, parallel=parallel)
    assert len(found) == len(set(found))
    # What is read again may not come from kept answers.
    fresh = [request.fresh for request in wire.requests]
    assert fresh == sorted(fresh)
    assert fresh[-1]
    assert len(found) == limit or set(uids(33)) - {"1.3", "1.4", "1.5"} <= set(found)
    if limit is None:
        assert "changed while it was read, so it was read again" in run.statistics.notes[0]


@pytest.mark.parametrize("seed", range(40))
def test_every_row_that_is_there_all_the_time_is_found_once(read: Any, seed: int) -> None:
    chosen = random.Random(seed)
    total, changes = chosen.randrange(20, 90), chosen.randrange(1, 5)
    gone: set[str] = set()
    added = itertools.count(1_000)

    def change(number: int, rows: list[dict[str, Any]]) -> None:
        for _ in range(chosen.randrange(3) if number <= changes else 0):
            if chosen.random() < 0.5:
                rows.insert(chosen.randrange(len(rows)), row(next(added)))
            else:
                gone.add(rows.pop(chosen.randrange(len(rows)))["0020000D"]["Value"][0])

    most = chosen.choice([3, 10, 25])
    server = Server([row(i) for i in range(total)], most, after=change)
    paging = OffsetPaging("limit", "offset", max_limit=most, max_offset=0)
    wanted = scan(replace(STUDIES, paging=paging))
    found, _, _ = read(wanted, server, parallel=chosen.choice([1, 1, 4]))
    assert len(found) == len(set(found))
    assert set(uids(total)) - gone <= set(found)


@pytest.mark.parametrize("seed", [*range(10), 174])
def test_an_order_that_is_not_the_same_each_time_loses_nothing(read: Any, seed: int) -> None:
    chosen = random.Random(seed)
    total, alike = chosen.randrange(15, 80), chosen.choice([2, 3, 5, 20])

    def answer(request: Any) -> Any:
        offset, limit = int(query_of(request, "offset") or 0), int(query_of(request, "limit"))
        order = sorted(range(total), key=lambda i: (i // alike, chosen.random()))
        return [row(i) for i in order[offset : offset + limit]] or Answer()

    try:
        found, _, _ = read(scan(), answer, parallel=1)
    except IncompleteError:
        return
    assert sorted(found) == sorted(uids(total))


def test_a_store_that_is_emptied_meanwhile_ends_the_statement(read: Any) -> None:
    server = Server([row(i) for i in range(200)], after=lambda _n, rows: rows.pop(0))
    with pytest.raises(IncompleteError, match="did not hold still"):
        read(scan(), server, parallel=1)


def test_of_several_places_only_the_one_that_changed_is_read_again(read: Any) -> None:
    servers = {name: Server([row(i) for i in range(35)]) for name in "abcdef"}
    servers["b"].after = lambda number, rows: rows.pop(0) if number == 2 else None

    def answer(request: Any) -> Any:
        return servers[dict(request.path_values)["store"]](request)

    stores = Constant("store", tuple(servers), "statement", True)
    found, _, _ = read(scan(constants=(stores,)), answer)
    assert sorted(found) == sorted(uids(35) * 6)
    assert [len(s.searches) >= 8 for s in servers.values()] == [name == "b" for name in "abcdef"]


def test_alternatives_that_shift_are_read_again(read: Any) -> None:
    shifts = {"1": True, "2": True}
    rows = [row(i) for i in range(42)]

    def answer(request: Any) -> Any:
        name, offset = query_of(request, "PatientID"), int(query_of(request, "offset") or 0)
        found = rows[:30] if name == "1" else rows[20:]
        if offset and shifts[name]:
            shifts[name] = False
            return found[offset + 1 : offset + 11]
        return found[offset : offset + 10]

    either = (Filter("PatientID", ("1", "2"), "exact"),)
    found, _, _ = read(scan(filters=either), answer, parallel=1)
    assert sorted(found) == sorted(uids(42))


@pytest.mark.parametrize("place", [0, 15, 29])
@pytest.mark.parametrize("wrong", [{"error": "no"}, {"00080020": {"vr": "DA"}}])
def test_a_result_without_a_uid_ends_the_statement(
    read: Any, place: int, wrong: dict[str, Any]
) -> None:
    rows = [row(i) for i in range(30)]
    rows[place] = wrong
    with pytest.raises(OperationalError, match="UID"):
        read(scan(), Server(rows))


def test_a_list_that_never_holds_still_ends_the_statement(read: Any) -> None:
    chosen = random.Random(1)
    server = Server([row(i) for i in range(200)], after=lambda _n, rows: chosen.shuffle(rows))
    with pytest.raises(IncompleteError, match="did not hold still"):
        read(scan(), server, parallel=1)


def test_metrics_that_disagree_are_told(read: Any) -> None:
    server = Server([row(i) for i in range(42)], size=50)
    _, run, _ = read(scan(size=SIZE), server)
    assert run.statistics.notes == [
        "p.s.r: 42 rows were found, while the metrics tell of 50; they lag behind writes."
    ]


def test_alternatives_are_a_union_and_each_row_comes_once(read: Any) -> None:
    asked = []

    def answer(request: Any) -> Any:
        asked.append(dict(request.query))
        return [row(i) for i in range(3)]

    fuzzy = Filter("PatientName", ("Doe",), "fuzzy", (("fuzzymatching", "true"),))
    either = ((fuzzy,), (Filter("PatientID", ("1", "2"), "exact"),))
    shared = (Filter("StudyDate", ("20260101",), "exact"),)
    found, run, _ = read(scan(filters=shared, alternatives=either), answer)
    assert found == uids(3)
    assert run.statistics.notes == []
    assert all(query["StudyDate"] == "20260101" for query in asked)
    assert sorted(query.get("PatientID", "") for query in asked) == ["", "1", "2"]
    assert sum(query.get("fuzzymatching") == "true" for query in asked) == 1


def test_bound_values_go_together_where_a_call_takes_lists(read: Any) -> None:
    bind = Bind(("StudyInstanceUID",), "", (), "x", together=3)
    found, _, wire = read(scan(binds=(bind,)), lambda _r: Answer(), engine=Fake(*"1234567"))
    asked = {query_of(r, "StudyInstanceUID") for r in wire.requests}
    assert asked == {"1,2,3", "4,5,6", "7"}
    assert found == []
    long = replace(bind, together=1000)
    _, _, wire = read(
        scan(binds=(long,)), lambda _r: Answer(), engine=Fake(*(f"1.{i:060}" for i in range(200)))
    )
    assert max(len(r.url) for r in wire.requests) < 6_500
    assert len(wire.requests) == 3


def test_a_bound_value_that_servers_would_misread_is_not_sent(read: Any) -> None:
    bind = Bind(("PatientID",), "", (), "x")
    wanted = scan(binds=(bind,))
    with pytest.raises(NotSupportedError, match="wildcard"):
        read(wanted, lambda _r: Answer(), engine=Fake("A*"))
    walk = replace(wanted, walk=STUDIES, walk_above=10)
    _, _, wire = read(walk, Server([row(0)]), engine=Fake("A*"))
    assert [r.path for r in wire.requests] == [STUDIES.path]


@pytest.mark.parametrize(("size", "walked"), [(1_000, True), (1_000_000, False), (None, False)])
def test_the_size_of_a_walk_decides_between_it_and_many_calls(
    read: Any, size: int | None, walked: bool
) -> None:
    bind = Bind(("study",), "", (), "x")
    more: dict[str, Any] = {"binds": (bind,), "walk": SERIES, "walk_above": 400, "size": SIZE}
    wanted = scan(OF_STUDY, "series", **more)
    server = Server([], size=size)
    _, _, wire = read(wanted, server, engine=Fake(*map(str, range(150))))
    paths = {r.path for r in wire.requests} - {METRICS.path}
    assert paths == {SERIES.path if walked else OF_STUDY.path}


@pytest.mark.parametrize("many", ["pages", "calls"])
def test_all_connections_are_kept_busy(read: Any, many: str) -> None:
    busy = 0
    lock, all_there = threading.Lock(), threading.Event()
    server = Server([row(i) for i in range(800)], size=800)

    def answer(request: Any) -> Any:
        nonlocal busy
        with lock:
            busy += 1
            if busy == 8:
                all_there.set()
        if many == "calls" or int(query_of(request, "offset") or 0) >= 400:
            # The time-out only ends a failing test.
            assert all_there.wait(timeout=10)
        with lock:
            busy -= 1
            return server(request)

    if many == "pages":
        read(scan(size=SIZE), answer)
    else:
        server.rows = server.rows[:5]
        stores = tuple(f"s{i}" for i in range(40))
        read(scan(constants=(Constant("store", stores, "statement", True),)), answer)
    assert all_there.is_set()


# -- beyond the largest offset -------------------------------------------------------------------

REACH = OffsetPaging("limit", "offset", max_limit=10, max_offset=40)


def limited(found: Method) -> Method:
    return replace(found, paging=REACH)


@dataclass
class Archive:
    """Studies with dates, two series each; offsets above 40 are refused."""

    dates: dict[int, str]
    size: int | None = None
    asked: list[dict[str, str]] = field(default_factory=list)
    refused: Callable[[str], bool] = lambda _path: True

    def __call__(self, request: Any) -> Any:
        if request.path.endswith("/metrics"):
            return {"studyCount": self.size} if self.size is not None else refused(404)(request)
        query, path = dict(request.query), dict(request.path_values)
        self.asked.append(query)
        offset = int(query.get("offset", 0))
        if offset > 40 and self.refused(request.path):
            return refused(400)(request)
        low, dash, high = query.get("StudyDate", "-").partition("-")
        high = (high or "99991231") if dash else low
        chosen = [
            s for s, d in self.dates.items() if "StudyDate" not in query or (d and low <= d <= high)
        ]
        if "study" in path:
            chosen = [s for s in chosen if f"1.{s}" == path["study"]]
        rows = [row(s) for s in chosen]
        if request.path.endswith("/series"):
            rows = [row(2 * s + i, s) for s in chosen for i in (0, 1)]
        return rows[offset : offset + int(query["limit"])] or Answer()


def spread(number: int, undated: int = 0, day: str = "") -> dict[int, str]:
    first = datetime.date(2015, 1, 1)
    dates = {
        i: day or (first + datetime.timedelta(days=11 * i)).strftime("%Y%m%d")
        for i in range(number)
    }
    return dates | {number + i: "" for i in range(undated)}


BY_DATE = Split("StudyDate")
BY_STUDY = Split("StudyDate", "", "", limited(STUDIES), limited(OF_STUDY), "study")


@pytest.mark.parametrize("size", [None, 170])
def test_series_beyond_the_largest_offset_are_found_by_ranges_and_by_study(
    read: Any, size: int | None
) -> None:
    archive = Archive(dict.fromkeys(range(100, 103), "") | spread(40) | {77: "17991231"}, size)
    wanted = scan(limited(SERIES), "series", split=BY_STUDY, size=SIZE if size else None)
    found, _, _ = read(wanted, archive)
    assert sorted(found) == sorted(f"2.{2 * s + i}" for s in archive.dates for i in (0, 1))


def test_a_day_that_is_too_long_is_searched_study_by_study(read: Any) -> None:
    archive = Archive(spread(45, day="20200202"))
    found, _, _ = read(scan(limited(SERIES), "series", split=BY_STUDY), archive)
    assert sorted(found) == sorted(f"2.{i}" for i in range(90))


def test_studies_are_complete_where_the_metrics_agree(read: Any) -> None:
    wanted = scan(limited(STUDIES), split=BY_DATE, size=SIZE)
    assert len(read(wanted, Archive(spread(130), 130))[0]) == 130
    with pytest.raises(IncompleteError, match="4 of 134 rows were not found"):
        read(wanted, Archive(spread(130, undated=4), 134))
    with pytest.raises(IncompleteError, match="cannot be known"):
        read(wanted, Archive(spread(130)))


def test_a_search_for_dates_misses_nothing_without_one(read: Any) -> None:
    dated = (Filter("StudyDate", ("20150301-",), "range"),)
    archive = Archive(spread(130, undated=4))
    found, _, _ = read(scan(limited(STUDIES), split=BY_DATE, filters=dated), archive)
    assert len(found) == sum(d >= "20150301" for d in archive.dates.values())


def test_one_day_with_too_many_studies_is_an_error(read: Any) -> None:
    with pytest.raises(IncompleteError, match="same StudyDate"):
        read(scan(limited(STUDIES), split=BY_DATE), Archive(spread(60, day="20200202")))


def test_all_that_offsets_lead_to_is_reached(read: Any) -> None:
    for total in (46, 47, 49):
        archive = Archive(spread(total))
        assert len(read(scan(limited(STUDIES)), archive)[0]) == total
        assert max(int(query.get("offset", 0)) for query in archive.asked) <= 40


@pytest.mark.parametrize("part", ["range", "list"])
def test_a_part_of_a_divided_search_that_changes_is_read_again(read: Any, part: str) -> None:
    archive = Archive(spread(60) | {60: "", 61: "", 62: ""})
    hidden = []

    def answer(request: Any) -> Any:
        query = dict(request.query)
        is_list = request.path.endswith("/studies")
        later = int(query.get("offset", 0)) > 0
        hit = is_list if part == "list" else "StudyDate" in query
        if later and hit and not hidden and query["limit"] != "1":
            hidden.append(query)
            query["offset"] = str(int(query["offset"]) + 1)
            return archive(replace(request, query=tuple(query.items())))
        return archive(request)

    split = replace(BY_STUDY, studies=replace(STUDIES, paging=PAGING))
    archive.refused = lambda path: path.endswith("/series")
    found, run, _ = read(scan(limited(SERIES), "series", split=split), answer, parallel=1)
    assert sorted(found) == sorted(f"2.{2 * s + i}" for s in archive.dates for i in (0, 1))
    assert hidden
    assert "so it was read again" in run.statistics.notes[0]


def test_without_a_way_to_divide_the_end_is_an_error(read: Any) -> None:
    with pytest.raises(IncompleteError, match="no results beyond offset 40"):
        read(scan(limited(STUDIES)), Archive(spread(130)))
    assert len(read(scan(limited(STUDIES), limit=45), Archive(spread(130)))[0]) == 45


def test_the_budget_holds_while_a_search_is_divided(read: Any) -> None:
    with pytest.raises(BudgetError):
        read(scan(limited(SERIES), "series", split=BY_STUDY), Archive(spread(90)), calls=20)


@pytest.mark.parametrize("most", [1, 3, 7])
def test_a_server_with_a_small_cap_is_read_until_it_gives_nothing(read: Any, most: int) -> None:
    server = Server([row(n) for n in range(23)], most=most)
    capped = replace(STUDIES, paging=replace(PAGING, capped=True))
    found, _, _ = read(scan(capped), server)
    assert found == uids(23)


def test_rows_that_are_given_twice_on_the_only_page_are_shown_once(read: Any) -> None:
    found, run, _ = read(scan(), Server([row(1), row(2), row(1)]))
    assert found == ["1.1", "1.2"]
    assert "twice in one answer" in run.statistics.notes[0]


def test_an_answer_for_another_path_is_none(read: Any) -> None:
    of_study = scan(OF_STUDY, "series", constants=_study("1.5"))
    with pytest.raises(OperationalError, match="another StudyInstanceUID"):
        read(of_study, Server([row(1, study=4)]))


def test_a_uid_that_only_the_path_holds_is_the_rows(read: Any) -> None:
    named = ScanColumn("StudyInstanceUID", ColumnKind.ATTRIBUTE, "StudyInstanceUID", "VARCHAR")
    of_study = replace(scan(OF_STUDY, "series", constants=_study("1.5")), columns=(named,))
    found, _, _ = read(of_study, Server([{"0020000E": {"vr": "UI", "Value": ["2.1"]}}]))
    assert found == ["1.5"]


def _study(uid: str) -> tuple[Constant, ...]:
    return (Constant("store", ("a",), "statement"), Constant("study", (uid,), "statement"))
