"""Values that are none of their VR: NULL, found by no condition, and told of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from execution_bench import STORE, Bench, query_of, studies


def test_a_date_of_acr_nema_is_told_of_once(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(
        lambda _request: [
            *studies(0, 1, t00080020="20240131"),
            *studies(1, 2, t00080020="2004.01.19"),
        ]
    )
    searched = f"FROM google.healthcare.studies WHERE {STORE}"
    result = bench.open(f"SELECT StudyDate, StudyDate_raw {searched}")
    rows: list[tuple[Any, ...]] = [
        tuple(r.values()) for b in result.batches() for r in b.to_pylist()
    ]
    assert [(day is None, text) for day, text in rows] == [
        (False, "20240131"),
        (True, "2004.01.19"),
        (True, "2004.01.19"),
    ]
    (note,) = result.statistics.notes
    assert note.startswith("google.healthcare.studies: StudyDate is not valid in 2 rows")
    assert "StudyDate_raw has the text" in note
    assert "2004" not in note
    # A condition that is checked here rests on it too; the raw text alone does not.
    counted = bench.open(f"SELECT count(*) {searched} AND year(StudyDate) + 0 = 2004")
    assert [b.to_pylist() for b in counted.batches()] == [[{"count_star()": 0}]]
    assert counted.statistics.notes == [note]
    raw = bench.open(f"SELECT StudyDate_raw {searched}")
    assert sum(b.num_rows for b in raw.batches()) == 3
    assert raw.statistics.notes == []


def test_rows_are_counted_once_over_pages_and_scans(make_bench: Callable[..., Bench]) -> None:
    def answer(request: Any) -> Any:
        at = int(query_of(request, "offset") or 0)
        kept = range(at, min(at + int(query_of(request, "limit")), 12_000))
        # The last row of the first page comes again at the head of the second.
        bad = {0, 4_999, 11_999}
        return [studies(n, 1, t00080020="soon" if n in bad else "20240131")[0] for n in kept]

    bench = make_bench(answer)
    searched = f"FROM google.healthcare.studies WHERE {STORE}"
    result = bench.open(f"SELECT StudyDate {searched}")
    assert sum(b.num_rows for b in result.batches()) == 12_000
    (note,) = result.statistics.notes
    assert "not valid in 3 rows that were read" in note
