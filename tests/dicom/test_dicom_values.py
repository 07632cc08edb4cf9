"""Single values as text: what parses, and to what."""

import random
from datetime import UTC, date, datetime, timedelta

import pytest

from dicomsql.dicom import values
from dicomsql.dicom.values import Memo


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20240229", date(2024, 2, 29)),
        ("2024.01.02", None),  # ACR-NEMA's; a server finds it in no range
        ("20240101 ", date(2024, 1, 1)),
        ("00010101", date(1, 1, 1)),
        ("99991231", date(9999, 12, 31)),
        *((bad, None) for bad in ("20240230", "20230229", "00000101", "20241301", "20240100")),
        *(
            (bad, None)
            for bad in ("2024", "202401", "2024-01-02", "2024.0102", "20240101-20240201")
        ),
        *((bad, None) for bad in ("２０２４０１０１", "2024W011", "abcdefgh", "20240101x", "")),
    ],
)
def test_date(text: str, expected: date | None) -> None:
    days = None if expected is None else (expected - date(1970, 1, 1)).days
    assert values.parse_date(text) == days


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10", 36000),
        ("1030", 37800),
        ("103015", 37815),
        ("103000.5", 37800.5),
        ("235959.999999", 86399.999999),
        ("10:30:15.25", None),
        ("10:30", None),
        ("103015 ", 37815),
        *((bad, None) for bad in ("24", "1060", "103060", "235960", "1", "103", "10301", "1030.5")),
        *(
            (bad, None)
            for bad in ("10:3015", "103000.", "103000.1234567", "-1030", "1030-1100", "")
        ),
    ],
)
def test_time(text: str, seconds: float | None) -> None:
    assert values.parse_time(text) == (None if seconds is None else round(seconds * 1_000_000))


@pytest.mark.parametrize(
    ("text", "expected", "offset"),
    [
        ("2024", datetime(2024, 1, 1), None),
        ("202402", datetime(2024, 2, 1), None),
        ("20240229", datetime(2024, 2, 29), None),
        ("2024022910", datetime(2024, 2, 29, 10), None),
        ("202402291030", datetime(2024, 2, 29, 10, 30), None),
        ("20240229103015.000001", datetime(2024, 2, 29, 10, 30, 15, 1), None),
        ("20240229103015.5+0530", datetime(2024, 2, 29, 10, 30, 15, 500000), 330),
        ("2024-0500", datetime(2024, 1, 1), -300),
        ("20240101000000+0000", datetime(2024, 1, 1), 0),
        ("00010101", datetime(1, 1, 1), None),
    ],
)
def test_datetime(text: str, expected: datetime, offset: int | None) -> None:
    micros = (expected - datetime(1970, 1, 1)) // timedelta(microseconds=1)
    assert values.parse_datetime(text) == (micros, offset)


@pytest.mark.parametrize(
    "text",
    [
        *("20230229", "202413", "2024010124", "20240101103060", "20240101-0000", "20240101+1500"),
        *("20240101+0560", "202", "2024-01-01T10:00:00", "20240101.5", "0000", "", "x"),
    ],
)
def test_what_is_no_datetime(text: str) -> None:
    assert values.parse_datetime(text) is None


def test_random_instants_come_back() -> None:
    chosen = random.Random(1)
    for _ in range(500):
        moment = datetime(1900, 1, 1) + timedelta(microseconds=chosen.randrange(6 * 10**15))
        offset = chosen.randrange(-720, 841)
        sign = "-" if offset < 0 else "+"
        zone = f"{sign}{abs(offset) // 60:02}{abs(offset) % 60:02}" if offset else "+0000"
        parsed = values.parse_datetime(moment.strftime("%Y%m%d%H%M%S.%f") + zone)
        assert parsed is not None
        assert parsed[1] == offset
        instant = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(
            microseconds=values.to_utc(parsed[0], offset)
        )
        assert instant == moment.replace(tzinfo=UTC) - timedelta(minutes=offset)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("12", 12), (" -7 ", -7), ("+5", 5), ("12.0", 12), ("12.", 12)]
    + [(bad, None) for bad in ("1.5", "1_0", "0x1", "", "1e3", "one", "٣", "1" * 5000)],
)
def test_integer(text: str, expected: int | None) -> None:
    assert values.parse_integer(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1.5", 1.5), (" 2 ", 2.0), ("-1.0E-3", -0.001), (".5", 0.5), ("5.", 5.0)]
    + [(bad, None) for bad in ("nan", "inf", "1e400", "1_0.5", "0x1p3", "", ".", "1,5")],
)
def test_decimal(text: str, expected: float | None) -> None:
    assert values.parse_decimal(text) == expected


def test_float_knows_what_json_has_no_number_for() -> None:
    assert values.parse_float("-Infinity") == float("-inf")
    assert values.parse_float("inf") == float("inf")
    assert str(values.parse_float("NaN")) == "nan"
    assert values.parse_float("none") is None
    assert values.parse_float("1e400") is None


def test_memo_forgets_when_it_has_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Memo, "LIMIT", 10)
    memo = Memo(values.parse_integer)
    assert [memo[str(i)] for i in range(100)] == list(range(100))
    assert len(memo) <= 10
    assert memo[""] is None
    assert memo[None] is None
