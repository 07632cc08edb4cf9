"""Lists by token and searches by offset: every row once, to the end, or an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from execution_bench import PLACE, STORE, STORES, Answer, Bench, query_of, stores, studies

from dicomsql.errors import BudgetError, IncompleteError, OperationalError

Make = Callable[..., Bench]
LIST = f"SELECT dicomStoresId FROM {STORES} WHERE {PLACE}"
SEARCH = f"SELECT StudyInstanceUID FROM google.healthcare.studies WHERE {STORE}"


def paged(*pages: dict[str, Any]) -> Callable[[Any], Any]:
    """Pages by their tokens: the n-th is asked for with `t<n>`."""
    return lambda request: pages[int(query_of(request, "pageToken").removeprefix("t") or 0)]


@pytest.mark.parametrize("number", [1, 2, 7])
def test_all_pages_of_a_list_are_read_in_order(make_bench: Make, number: int) -> None:
    pages = [stores(f"a{i}", f"b{i}", token=f"t{i + 1}") for i in range(number - 1)]
    bench = make_bench(paged(*pages, stores("last")))
    found = [row[0] for row in bench.rows(LIST)]
    assert found == [x for i in range(number - 1) for x in (f"a{i}", f"b{i}")] + ["last"]
    assert len(bench.wire.requests) == number


@pytest.mark.parametrize("body", [b"", b"{}", b'{"dicomStores": null}', b'{"nextPageToken": ""}'])
def test_an_empty_answer_is_no_rows_with_columns(make_bench: Make, body: bytes) -> None:
    bench = make_bench(lambda _request: Answer(body))
    result = bench.open(LIST)
    assert [c.name for c in result.columns or ()] == ["dicomStoresId"]
    assert list(result.batches()) == []


def test_an_empty_page_in_the_middle_does_not_end_the_list(make_bench: Make) -> None:
    bench = make_bench(paged(stores("a", token="t1"), {"nextPageToken": "t2"}, stores("b")))
    assert bench.rows(LIST) == [("a",), ("b",)]


def test_a_token_that_comes_twice_is_an_error(make_bench: Make) -> None:
    bench = make_bench(lambda _request: stores("a", token="t1"))
    with pytest.raises(IncompleteError, match=r"token of a page that was read already"):
        bench.rows(LIST)


def test_a_token_that_is_no_text_is_an_error(make_bench: Make) -> None:
    bench = make_bench(lambda _request: stores("a") | {"nextPageToken": 7})
    with pytest.raises(IncompleteError, match=r"nextPageToken is no text"):
        bench.rows(LIST)


def test_raw_pages_are_rows(make_bench: Make) -> None:
    bench = make_bench(paged(stores("a", token="t1"), stores("b")))
    sql = f"SELECT dicomStores, nextPageToken FROM {STORES} WHERE {PLACE}"
    found = bench.rows(sql)
    assert [row[1] for row in found] == ["t1", None]
    assert bench.rows(f"{sql} AND pageToken = 't1'") == [found[1]]


def test_limit_on_raw_pages_counts_pages_and_not_stores(make_bench: Make) -> None:
    bench = make_bench(paged(stores("a", "b", token="t1"), stores("c")))
    (row,) = bench.rows(f"SELECT dicomStores, nextPageToken FROM {STORES} WHERE {PLACE} LIMIT 1")
    assert row[0].count('"name"') == 2
    assert query_of(bench.wire.requests[0], "pageSize") != "1"


def test_a_page_size_of_the_user_is_kept(make_bench: Make) -> None:
    bench = make_bench(paged(stores("a", token="t1"), stores("b")))
    assert bench.rows(f"{LIST} AND pageSize = 1") == [("a",), ("b",)]
    assert [query_of(r, "pageSize") for r in bench.wire.requests] == ["1", "1"]


def test_limit_asks_for_no_page_more_than_it_needs(make_bench: Make) -> None:
    pages = [stores(f"a{i}", token=f"t{i + 1}") for i in range(9)]
    bench = make_bench(paged(*pages, stores("last")))
    assert bench.rows(f"{LIST} LIMIT 3") == [("a0",), ("a1",), ("a2",)]
    assert len(bench.wire.requests) == 3
    assert query_of(bench.wire.requests[0], "pageSize") == "3"


def test_the_bound_on_pages_is_an_error_or_a_warning(make_bench: Make) -> None:
    bench = make_bench(paged(stores("a", token="t1"), stores("b", token="t2"), stores("c")))
    with pytest.raises(IncompleteError, match=r"bound of 1 page ended the list"):
        bench.rows(f"SET max_pages = 1; {LIST}")
    result = bench.open(f"SET max_pages = 2; SET on_page_bound = 'warn'; {LIST}")
    assert sum(b.num_rows for b in result.batches()) == 2
    assert "rows are missing" in result.statistics.notes[0]
    assert len(bench.rows(f"RESET max_pages; {LIST}")) == 3


def test_the_budget_holds_before_and_on_the_way(make_bench: Make) -> None:
    bench = make_bench(paged(stores("a", token="t1"), stores("b", token="t2"), stores("c")))
    with pytest.raises(BudgetError, match=r"made 2 calls"):
        bench.rows(f"SET max_calls = 2; {LIST}")
    sent = len(bench.wire.requests)
    with pytest.raises(BudgetError, match=r"would take 3 calls.*SET max_calls = 3"):
        bench.rows(LIST.replace("datasetsId = 'd'", "datasetsId IN ('a', 'b', 'c')"))
    assert len(bench.wire.requests) == sent


@pytest.mark.parametrize(
    ("body", "media", "kind", "said"),
    [
        (b"<html>Jane Doe</html>", "text/html", OperationalError, r"no JSON \(text/html, 21 bytes"),
        (b'{"dicomStores": [{"na', "", IncompleteError, "ends in the middle, after 21 bytes"),
        (b'{"dicomStores": [{"name": 5}]}', "", OperationalError, "not what the provider document"),
        (b'{"dicomStores": "Jane Doe"}', "", OperationalError, "not what the provider document"),
        (b'{"error": {"message": "Jane"}}', "", OperationalError, "the answer holds an error"),
        (b'{"dicomStores": [], "error": 1}', "", OperationalError, "the answer holds an error"),
        (b'{"stores": ["Jane Doe"]}', "", OperationalError, "none of the members"),
        (b" ", "", OperationalError, "answered 200 without a body"),
        (b'{"dicomStores": [{"name": "\xff"}]}', "", OperationalError, "no UTF-8"),
        (b'{"x": ' + b"[" * 100_000, "", OperationalError, "nested too deeply"),
    ],
)
def test_an_answer_that_does_not_fit_is_told_without_its_content(
    make_bench: Make, body: bytes, media: str, kind: type[Exception], said: str
) -> None:
    bench = make_bench(lambda _request: Answer(body, media=media))
    with pytest.raises(kind, match=said) as caught:
        bench.rows(LIST)
    assert "Jane" not in str(caught.value)


class Empty(Answer):
    """A success that says nothing, though its status is not `no content`."""

    def __init__(self) -> None:
        super().__init__(b"")
        self.status = 200


@pytest.mark.parametrize("sql", [LIST, SEARCH])
def test_a_success_without_a_body_is_not_no_rows(make_bench: Make, sql: str) -> None:
    bench = make_bench(lambda _request: Empty())
    with pytest.raises(OperationalError, match=r"answered 200 without a body"):
        bench.rows(sql)


@pytest.mark.parametrize("body", [b"", b"[]"])
def test_a_search_without_results_is_no_rows(make_bench: Make, body: bytes) -> None:
    assert make_bench(lambda _request: Answer(body)).rows(SEARCH) == []


@pytest.mark.parametrize("empty", [Answer(), Empty(), Answer(b"\n")])
def test_a_page_that_was_announced_and_is_empty_is_an_error(
    make_bench: Make, empty: Answer
) -> None:
    bench = make_bench(
        lambda request: empty if query_of(request, "pageToken") else stores("a", token="t1")
    )
    with pytest.raises(IncompleteError, match=r"missing after page 1"):
        bench.rows(LIST)


def test_rows_that_come_again_under_another_token_are_an_error(make_bench: Make) -> None:
    pages = [stores("a", token="t1"), stores("b", token="t2"), stores("a", token="t3")]
    bench = make_bench(paged(*pages, stores("c")))
    with pytest.raises(IncompleteError, match=r"page 3 holds the rows of an earlier page"):
        bench.rows(LIST)
    assert len(bench.wire.requests) == 3


def test_empty_pages_may_come_again(make_bench: Make) -> None:
    pages = [stores(token="t1"), {"nextPageToken": "t2"}, stores(token="t3")]
    assert make_bench(paged(*pages, stores("a"))).rows(LIST) == [("a",)]


@pytest.mark.parametrize("labels", [b'{"a": "\xff"}', b"[" * 5_000 + b"]" * 5_000])
def test_a_nested_value_that_cannot_be_read_is_told(make_bench: Make, labels: bytes) -> None:
    bench = make_bench(lambda _request: Answer(b'{"dicomStores": [{"labels": %s}]}' % labels))
    with pytest.raises(OperationalError, match=r"dicom_stores\.list"):
        bench.rows(LIST.replace("dicomStoresId", "labels, labels.a", 1))


def searched(total: int, most: int = 5000, **more: str) -> Callable[[Any], Any]:
    """A server that holds some studies and gives at most so many at once."""

    def answer(request: Any) -> Any:
        offset = int(query_of(request, "offset") or 0)
        size = min(int(query_of(request, "limit")), most, max(0, total - offset))
        return studies(offset, size, **more) if size else Answer()

    return answer


# Of the last, one call asks the metrics how many there are, as two pages were full.
@pytest.mark.parametrize(
    ("total", "calls"), [(0, 1), (1, 1), (4999, 1), (5000, 2), (5001, 2), (10000, 4)]
)
def test_a_search_is_walked_to_its_end(make_bench: Make, total: int, calls: int) -> None:
    bench = make_bench(searched(total))
    assert bench.rows(SEARCH.replace("StudyInstanceUID FROM", "count(*) FROM")) == [(total,)]
    assert len(bench.wire.requests) == calls


@pytest.mark.parametrize("most", [100, 1000])
def test_a_server_that_gives_less_than_was_asked_for_is_walked_too(
    make_bench: Make, most: int
) -> None:
    bench = make_bench(searched(2500, most))
    assert len(bench.rows(SEARCH)) == 2500


ELSEWHERE = "http://archive.test"


@pytest.mark.parametrize(
    ("total", "most", "calls"),
    [(49, 150, 1), (150, 150, 2), (390, 150, 3), (450, 150, 4), (330, 150, 3)],
)
def test_a_short_page_of_a_server_without_a_document_may_be_its_cap(
    make_bench: Make, total: int, most: int, calls: int
) -> None:
    bench = make_bench(searched(total, most), endpoint=ELSEWHERE)
    assert len(bench.rows(SEARCH)) == total
    assert sum(r.path.endswith("/studies") for r in bench.wire.requests) == calls


def test_a_short_page_under_a_limit_is_followed_up_too(make_bench: Make) -> None:
    bench = make_bench(searched(150), endpoint=ELSEWHERE)
    assert len(bench.rows(f"{SEARCH} LIMIT 777")) == 150
    assert len(bench.wire.requests) == 2


def test_a_server_that_says_there_is_more_is_asked_for_it(make_bench: Make) -> None:
    def answer(request: Any) -> Answer:
        if query_of(request, "offset"):
            return Answer(studies(32, 3))
        return Answer(studies(0, 33), warning='299 server "There are additional results"')

    assert len(make_bench(answer).rows(SEARCH)) == 35


def test_a_server_that_ignores_the_offset_is_an_error(make_bench: Make) -> None:
    bench = make_bench(lambda _request: studies(0, 5000))
    with pytest.raises(IncompleteError, match=r"ignore `offset`"):
        bench.rows(SEARCH)


def test_rows_that_shift_between_pages_come_once(make_bench: Make) -> None:
    def answer(request: Any) -> Any:
        return studies(4998, 4) if query_of(request, "offset") else studies(0, 5000)

    result = (bench := make_bench(answer)).open(SEARCH)
    found = [u for batch in result.batches() for u in batch.column(0).to_pylist()]
    assert len(found) == len(set(found)) == 5002
    assert result.statistics.notes[0].endswith("while it was read.")
    assert "1 row came twice" in result.statistics.notes[0]
    # The second walk finds nothing new, so that nothing was missed.
    assert [query_of(r, "offset") for r in bench.wire.requests] == ["", "4999", "", "4999"]


def test_limit_is_sent_where_nothing_is_left_to_check(make_bench: Make) -> None:
    bench = make_bench(searched(9000))
    assert len(bench.rows(f"{SEARCH} LIMIT 7")) == 7
    assert [query_of(r, "limit") for r in bench.wire.requests] == ["7"]


def test_a_page_that_is_no_dicom_json_is_told_without_its_content(make_bench: Make) -> None:
    for body in (b"<html>Jane Doe", b'{"error": "Jane Doe"}', b'[{"0020000D": {"vr"'):
        bench = make_bench(lambda _request, body=body: Answer(body))
        with pytest.raises(OperationalError) as caught:
            bench.rows(SEARCH)
        assert "Jane" not in str(caught.value)
