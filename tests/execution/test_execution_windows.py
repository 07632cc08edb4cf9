"""The newest rows by ranges of dates, against a server whose answers the test makes."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest
from execution_bench import PLACE, Bench

from dicomsql.errors import IncompleteError
from dicomsql.transport.base import Request

NEWEST = (
    "SELECT StudyInstanceUID FROM google.healthcare.studies "
    f"WHERE {PLACE} AND dicomStoresId = 's' {{}} ORDER BY StudyDate DESC, 1 LIMIT {{}}"
)


def study(uid: str, date: str, **numbers: int) -> dict[str, Any]:
    made: dict[str, Any] = {
        "0020000D": {"vr": "UI", "Value": [uid]},
        "00080020": {"vr": "DA", "Value": [date]} if date else {"vr": "DA"},
    }
    for tag, number in numbers.items():
        made[tag.removeprefix("t")] = {"vr": "IS", "Value": [number]}
    return made


def given(request: Request) -> dict[str, str]:
    return dict(request.query)


def by_range(*studies: dict[str, Any], loose: tuple[dict[str, Any], ...] = ()) -> Any:
    """A server with these studies; it gives the loose ones with every range."""

    def answer(request: Request) -> Any:
        asked = given(request)
        if asked.get("offset", "0") != "0":
            return b""
        low, _, high = asked.get("StudyDate", "").partition("-")
        found = [*loose]
        for one in studies:
            date = str(one["00080020"].get("Value", [""])[0])
            if not (low or high) or (date and (low or "0") <= date <= (high or "9")):
                found.append(one)
        return found or b""

    return answer


def test_ranges_end_once_there_is_enough(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(by_range(study("1.1", "20200101"), study("1.2", "20990101")))
    assert bench.rows(NEWEST.format("", 1)) == [("1.2",)]
    (only,) = bench.wire.requests
    assert given(only)["StudyDate"].endswith("-")


def test_a_quiet_archive_is_not_searched_in_full_for_its_newest(
    make_bench: Callable[..., Bench],
) -> None:
    today = datetime.date.today()
    newest, old = (today - datetime.timedelta(days=days) for days in (400, 5_000))
    bench = make_bench(by_range(study("1.1", f"{newest:%Y%m%d}"), study("1.2", f"{old:%Y%m%d}")))
    assert bench.rows(NEWEST.format("", 1)) == [("1.1",)]
    lows = [given(r)["StudyDate"].partition("-")[0] for r in bench.wire.requests]
    reaches = [(today - datetime.datetime.strptime(low, "%Y%m%d").date()).days for low in lows]
    assert reaches == sorted(reaches)
    assert reaches[-1] < 400 * 5


def test_what_has_no_date_comes_last_and_from_all(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(by_range(study("1.1", ""), study("1.2", "20200101")))
    assert bench.rows(NEWEST.format("", 2)) == [("1.2",), ("1.1",)]
    assert "StudyDate" not in given(bench.wire.requests[-1])


def test_a_date_that_cannot_be_read_takes_no_newer_rows_place(
    make_bench: Callable[..., Bench],
) -> None:
    bad = study("1.9", "2020.13.45")
    bench = make_bench(by_range(study("1.1", "20100101"), loose=(bad, study("1.3", "20090101"))))
    assert bench.rows(NEWEST.format("", 3)) == [("1.1",), ("1.3",), ("1.9",)]


def test_a_condition_on_the_date_needs_no_search_of_all(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(by_range(study("1.1", "20200101"), study("1.2", "20210101")))
    sql = NEWEST.format("AND StudyDate >= '20200601'", 5)
    assert bench.rows(sql) == [("1.2",)]
    ranges = [given(r)["StudyDate"] for r in bench.wire.requests]
    assert all(text.partition("-")[0] >= "20200601" for text in ranges)


def test_a_study_without_its_number_ends_the_count(make_bench: Callable[..., Bench]) -> None:
    sql = (
        f"SELECT count(*) AS n FROM google.healthcare.instances WHERE {PLACE} "
        "AND dicomStoresId = 's'"
    )
    whole = [study("1.1", "", t00201208=2), study("1.2", "", t00201208=3)]
    assert make_bench(by_range(*whole)).rows(sql) == [(5,)]
    bench = make_bench(by_range(whole[0], study("1.2", "")))
    with pytest.raises(IncompleteError, match="rows without their NumberOfStudyRelatedInstances"):
        bench.rows(sql)
