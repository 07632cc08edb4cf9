"""Charts of results as text: which bars, how long, in which order, and what is said of the rest."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import date, timedelta

import pyarrow as pa
import pytest

from dicomsql import output
from dicomsql.errors import InterfaceError
from dicomsql.output import Options
from dicomsql.output.cells import cut_within, width_of
from dicomsql.output.chart import chart_text
from dicomsql.output.display import Look, Screen, show
from dicomsql.result import Result, ResultColumn

COUNTS = (ResultColumn("Modality", "VARCHAR"), ResultColumn("n", "BIGINT"))
DAYS = (ResultColumn("StudyDate", "DATE"), ResultColumn("n", "BIGINT"))


def chart(
    columns: Sequence[ResultColumn],
    rows: Sequence[Sequence[object]],
    *,
    width: int = 60,
    height: int = 30,
    color: bool = False,
) -> list[str]:
    return chart_text(columns, rows, width=width, height=height, color=color).splitlines()


def test_bars_are_as_long_as_their_numbers_in_the_results_order() -> None:
    assert chart(COUNTS, [("MR", 20), ("CT", 40), ("XA", 0), ("US", 1)], width=28) == [
        "n by Modality",
        "MR 20 ███████████",
        "CT 40 ██████████████████████",
        "XA  0",
        "US  1 ▌",
    ]


def test_null_is_told_from_its_name_and_from_nothing() -> None:
    lines = chart(COUNTS, [(None, 8), ("NULL", 4), ("CT", None), ("MR", 0)], width=23)
    assert lines[1:] == [
        "NULL      8 ███████████",
        "'NULL'    4 █████▌",
        "CT     NULL",
        "MR        0",
    ]


def test_numbers_below_zero_go_to_the_left() -> None:
    assert chart(COUNTS, [("a", 10), ("b", -10), ("c", 5)], width=26) == [
        "n by Modality",
        "a  10           ██████████",
        "b -10 ██████████",
        "c   5           █████",
    ]


def test_too_many_categories_are_the_greatest_and_what_the_others_have() -> None:
    rows = [(f"k{i:02}", i) for i in range(40)]
    lines = chart(COUNTS, rows, height=16, width=60)
    assert [line.split()[0] for line in lines[1:11]] == [f"k{i}" for i in range(39, 29, -1)]
    assert lines[11:] == ["The greatest 10 of 40; the 30 others are 435 together."]


def test_times_are_in_order_and_gaps_are_seen() -> None:
    months = [(date(2024, month, 1), month) for month in (5, 1, 2, 12)]
    lines = chart(DAYS, [*months, (None, 3)], width=40)
    assert [line[:8].rstrip() for line in lines[1:]] == [
        *("2024-01", "2024-02", "2024-03", "2024-04", "2024-05", "⋮", "2024-12", "NULL")
    ]
    assert lines[3] == "2024-03"
    assert lines[6].split(maxsplit=1) == ["⋮", "6 months without rows"]


def test_months_that_are_texts_are_times() -> None:
    lines = chart(COUNTS, [("2024-03", 1), ("2024-01", 1)])
    assert [line.split()[0] for line in lines[1:]] == ["2024-01", "2024-02", "2024-03"]
    # Codes that look like years are none.
    lines = chart(COUNTS, [("2024", 1), ("2022", 1)])
    assert [line.split()[0] for line in lines[1:]] == ["2024", "2022"]


def test_too_many_times_are_summed_and_it_is_said() -> None:
    days = [(date(2024, 1, 1) + timedelta(days=i), 1) for i in range(366)]
    lines = chart(DAYS, days, height=20)
    assert len(lines) == 14
    assert lines[2].split()[:2] == ["2024-02", "29"]
    assert lines[-1] == "Summed by month: there are 366 days."


@pytest.mark.parametrize(
    "number", [ResultColumn("m", "DOUBLE"), ResultColumn("max(x)", "BIGINT")], ids=str
)
def test_numbers_that_may_be_no_counts_are_not_summed(number: ResultColumn) -> None:
    columns = (DAYS[0], number)
    days = [(date(2024, 1, 1) + timedelta(days=i), 2) for i in range(366)]
    lines = chart(columns, days, height=20)
    assert len(lines) == 367
    assert {line.split()[1] for line in lines[1:]} == {"2"}
    with pytest.raises(InterfaceError, match=r"A chart of 403 lines .*not summed: group"):
        chart(columns, [*days, (date(2025, 2, 5), 2)] + [(date(2025, 2, 5), 1)] * 35, height=20)
    rows = [(f"k{i:02}", i) for i in range(40)]
    lines = chart((COUNTS[0], number), rows, height=16)
    assert lines[-1] == "The greatest 10 of 40."


def test_labels_keep_both_ends() -> None:
    uids = [f"1.3.6.1.4.1.14519.5.2.1.6279.6001.{i}" for i in (5457, 5458)]
    lines = chart(COUNTS, [(uid, 1) for uid in uids], width=24)
    assert [line.split()[0] for line in lines[1:]] == ["1.3.6.….5457", "1.3.6.….5458"]
    assert cut_within("abc", 2) == "a…"
    assert width_of(cut_within("日本語のラベル", 8)) <= 8
    # A mark stays with its letter.
    assert cut_within("abcdefghe\u0301i", 5) == "ab…e\u0301i"


def test_bins_of_great_and_small_numbers_are_short() -> None:
    column = (ResultColumn("x", "DOUBLE"),)
    lines = chart(column, [(0.0,), (1e300,), (5e300,)], height=14)
    assert lines[1].startswith("0 - <1e300")
    assert lines[2].startswith("1e300 - <2e300")
    lines = chart(column, [(-2e-9,), (0.0,), (2e-9,)], height=14)
    assert [line.split(" ")[0] for line in lines[1:3]] == ["-2e-9", "-1.5e-9"]


def test_distant_times_cost_nothing() -> None:
    times = (ResultColumn("at", "TIMESTAMP"), ResultColumn("n", "BIGINT"))
    lines = chart(times, [("0001-01-01 00:00:01", 1), ("9999-12-31 23:59:59.5", 2)])
    assert lines[2].split(maxsplit=1)[0] == "⋮"
    assert "315,537,897,597 seconds without rows" in lines[2]


def test_a_column_of_numbers_is_a_histogram() -> None:
    column = (ResultColumn("SliceThickness", "DOUBLE"),)
    values = [(0.5,), (0.9,), (1.0,), (9.99,), (None,), (float("nan"),), (float("inf"),)]
    lines = chart(column, values, height=11, width=70)
    assert lines[0] == "Histogram of SliceThickness"
    assert [line[:7] for line in lines[1:6]] == [
        "0 - <2 ",
        "2 - <4 ",
        "4 - <6 ",
        "6 - <8 ",
        "8 - <10",
    ]
    assert [line.split()[3] for line in lines[1:6]] == ["3", "0", "0", "0", "1"]
    assert lines[6:] == [
        "4 values from 0.5 to 9.99, median 0.95, mean 3.0975.",
        "Left out: 1 NULL, 2 NaN or infinite.",
    ]


def test_few_whole_numbers_have_a_bar_each() -> None:
    lines = chart((ResultColumn("n", "INTEGER"),), [(3,), (5,), (3,)], width=20)
    assert lines[1:4] == ["3 2 ████████████████", "4 0", "5 1 ████████"]


@pytest.mark.parametrize("value", [7, -1e300, 1e-300, 2**62])
def test_a_histogram_of_one_value(value: float) -> None:
    assert "1 value from" in " ".join(chart((ResultColumn("n", "DOUBLE"),), [(value,)]))


def test_every_value_is_in_a_bin() -> None:
    for step in (0.1, 0.3, 1e-9, 1e9 + 0.7):
        rows = [(step * i,) for i in range(1000)]
        lines = chart((ResultColumn("x", "DOUBLE"),), rows, width=120)
        bars = [line for line in lines[1:] if " - <" in line]
        assert sum(int(line.split("█")[0].split()[-1].strip("▏▎▍▌▋▊▉")) for line in bars) == 1000


@pytest.mark.parametrize("width", [20, 12, 1])
@pytest.mark.parametrize(
    "label", ["a category with a long name", "日本語の長い名前です", "\x1b[2J"]
)
def test_any_width_is_kept(width: int, label: str) -> None:
    rows = [(label, 123_456_789), ("CT", 5)]
    for line in chart(COUNTS, rows, width=max(width, 20)):
        assert width_of(line) <= 20
        assert "\x1b" not in line
    assert chart(COUNTS, rows, width=width)


def test_colors_only_where_they_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[36;49m█" in "".join(chart(COUNTS, [("CT", 1)], color=True))
    assert "\x1b" not in "".join(chart(COUNTS, [("CT", 1)]))


@pytest.mark.parametrize(
    ("types", "said"),
    [
        (("VARCHAR",), "1 column (VARCHAR)"),
        (("VARCHAR", "VARCHAR"), "2 columns (VARCHAR, VARCHAR)"),
        (("VARCHAR", "BIGINT", "BLOB"), "3 columns (VARCHAR, BIGINT, BLOB)"),
        (("STRUCT(a INTEGER)",) * 5, "5 columns (STRUCT, STRUCT, STRUCT, STRUCT, ...)"),
    ],
)
def test_what_is_no_chart_is_told_what_is_right(types: tuple[str, ...], said: str) -> None:
    columns = tuple(ResultColumn(f"c{i}", kind) for i, kind in enumerate(types))
    with pytest.raises(InterfaceError) as raised:
        chart(columns, [])
    assert said in str(raised.value)
    assert "SELECT Modality, count(*) FROM ... GROUP BY ALL" in str(raised.value)


def test_no_rows_are_said() -> None:
    assert chart(COUNTS, []) == ["n by Modality", "There are no rows."]
    assert chart(COUNTS[1:], [])[1] == "There are no numbers."


def test_a_chart_of_too_many_rows_says_how_to_group_them() -> None:
    with pytest.raises(InterfaceError, match="date_trunc"):
        chart(COUNTS, [("a", 1)] * 100_001)


def test_the_format_takes_every_row_of_a_result() -> None:
    batch = pa.RecordBatch.from_arrays([pa.array(["CT", "MR"]), pa.array([1.5, 3])], ["m", "n"])
    columns = (ResultColumn("m", "VARCHAR"), ResultColumn("n", "DOUBLE"))
    stream = io.BytesIO()
    assert output.write(Result(columns, iter([batch])), "chart", stream, Options(width=12)) == 2
    assert stream.getvalue().decode() == "n by m\nCT 1.5 ██▌\nMR   3 █████\n"


def test_what_a_table_would_not_show_is_in_the_chart() -> None:
    batch = pa.RecordBatch.from_arrays([pa.array(range(5000))], ["n"])
    result = Result((ResultColumn("n", "BIGINT"),), iter([batch]))
    stream = io.BytesIO()
    done = show(result, Look("chart", max_rows=10, pager="off"), Screen(stream, 80, 24))
    assert (done.rows, done.more) == (5000, False)
    assert "5,000 values from 0 to 4,999" in stream.getvalue().decode()
