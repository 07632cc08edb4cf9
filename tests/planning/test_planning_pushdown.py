"""Which conditions become which filters, and that no row is lost by them."""

from __future__ import annotations

import datetime
import random
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pushdown_server import (
    DATES,
    DICOM,
    IDS,
    NAMES,
    SERVERS,
    TIMES,
    Planner,
    datasets,
    variant,
)

from dicomsql.catalog.model import DicomTable
from dicomsql.planning.pushdown import Pushed, push
from dicomsql.planning.read_plan import Filter


@pytest.fixture(scope="module")
def planner() -> Iterator[Planner]:
    made = Planner()
    yield made
    made.close()


def shown(filters: tuple[Filter, ...]) -> str:
    """`Name operation value/value` of each, as short as it goes."""
    return ", ".join(f"{f.name} {f.operation} {'/'.join(f.values) or 'nothing'}" for f in filters)


def compact(pushed: Pushed) -> str:
    parts = [shown(pushed.filters)] if pushed.filters else []
    if pushed.alternatives:
        parts.append(" | ".join(shown(one) for one in pushed.alternatives))
    return " & ".join(parts)


CASES = [
    # texts
    ("PatientID = 'A1'", "PatientID exact A1"),
    ("'A1' = PatientID", "PatientID exact A1"),
    ("(PatientID) = lower('A1')", "PatientID exact a1"),
    ("\"00100020\" = 'A1'", "PatientID exact A1"),
    ("tag_00100020 = 'A1'", "PatientID exact A1"),
    ("PatientID IN ('A1', 'B2', 'A1')", "PatientID exact A1/B2"),
    ("PatientID IN ('A1', NULL, '')", "PatientID exact A1"),
    ("PatientID = 'A1' OR PatientID = 'B2'", "PatientID exact A1/B2"),
    ("PatientID = 'A1' AND PatientID = 'B2'", "PatientID exact A1"),
    ("PatientID IS NOT DISTINCT FROM 'A1'", "PatientID exact A1"),
    ("PatientID = NULL", "PatientID exact nothing"),
    ("PatientID = ''", "PatientID exact nothing"),
    ("PatientID IS NOT DISTINCT FROM NULL", ""),
    ("PatientID = 'A*'", ""),
    ("PatientID = 'A?'", ""),
    ("PatientID = 'A\\B'", ""),
    ("PatientID = 'A,B'", ""),
    ("PatientID = ' A'", ""),
    ("PatientID IN ('A1', 'B*')", ""),
    ("PatientID = 'a1' COLLATE NOCASE", ""),
    # As the engine writes the number, not as it stands.
    ("PatientID = 0123::VARCHAR", "PatientID exact 123"),
    ("PatientID IN (CAST(007 AS VARCHAR))", ""),
    ("PatientID = '007'::VARCHAR", "PatientID exact 007"),
    ("PatientID = 1e3::VARCHAR", "PatientID exact 1000.0"),
    ("PatientID = DATE '2024-01-01'", ""),
    ("PatientID <> 'A1'", ""),
    ("NOT PatientID = 'A1'", ""),
    ("PatientID NOT IN ('A1')", ""),
    ("PatientID IS NULL", ""),
    ("PatientID || '' = 'A1'", ""),
    ("AccessionNumber IN ('x', 'y')", "AccessionNumber list x,y"),
    ("AccessionNumber = 'x'", "AccessionNumber exact x"),
    ("ModalitiesInStudy = 'CT'", "ModalitiesInStudy exact CT"),
    ("ModalitiesInStudy IN ('CT', 'MR')", "ModalitiesInStudy exact CT/MR"),
    ("ModalitiesInStudy LIKE 'C%'", "ModalitiesInStudy wildcard C*"),
    ("SeriesNumber = 3", ""),
    ("StudyDescription = 'one'", ""),
    # patterns
    ("PatientID LIKE 'A%'", "PatientID wildcard A*"),
    ("PatientID LIKE '%A_1%'", "PatientID wildcard *A*1*"),
    ("PatientID LIKE 'A1'", "PatientID exact A1"),
    ("PatientID LIKE '%_'", ""),
    ("PatientID LIKE '*A%'", ""),
    ("PatientID ILIKE 'A%'", ""),
    ("PatientID NOT LIKE 'A%'", ""),
    ("PatientID !~~ 'A%'", ""),
    ("PatientID LIKE 'A%' ESCAPE '!'", ""),
    ("PatientID LIKE 'A %'", "PatientID wildcard A *"),
    ("PatientID LIKE ' A%'", ""),
    ("starts_with(PatientID, 'A%')", "PatientID wildcard A%*"),
    ("PatientID ^@ 'A'", "PatientID wildcard A*"),
    ("prefix(PatientID, 'A')", "PatientID wildcard A*"),
    # names
    ("PatientName = 'Smith^John'", "PatientName exact Smith^John"),
    ("PatientName = 'Smith^John^'", "PatientName fuzzy Smith"),
    ("PatientName LIKE 'Smith^%'", "PatientName wildcard Smith*"),
    ("PatientName LIKE '%^Ann^^'", "PatientName wildcard *^Ann*"),
    ("PatientName LIKE 'Smith^Jo%'", "PatientName wildcard Smith^Jo*"),
    ("PatientName ILIKE 'smi%'", "PatientName fuzzy smi"),
    ("lower(PatientName) LIKE 'smi%'", "PatientName fuzzy smi"),
    ("ReferringPhysicianName LIKE 'Smith^Jo%'", "ReferringPhysicianName fuzzy Smith"),
    ("ReferringPhysicianName LIKE '%^Jo%'", "ReferringPhysicianName fuzzy Jo"),
    ("ReferringPhysicianName LIKE '%Jo%'", ""),
    ("ReferringPhysicianName LIKE 'O''Neil%'", "ReferringPhysicianName fuzzy O"),
    ("ReferringPhysicianName LIKE '%-Neil%'", ""),
    ("ReferringPhysicianName LIKE 'Mu\u0308%'", "ReferringPhysicianName fuzzy M"),
    ("ReferringPhysicianName = 'Smith^John'", "ReferringPhysicianName fuzzy Smith"),
    ("ReferringPhysicianName ILIKE 'a%' AND PatientName ILIKE 'b%'", "PatientName fuzzy b"),
    # dates
    ("StudyDate = '20240101'", "StudyDate exact 20240101"),
    ("StudyDate = DATE '2024-01-01'", "StudyDate exact 20240101"),
    ("StudyDate IN ('20240101', '2024-02-01')", "StudyDate exact 20240101/20240201"),
    ("StudyDate > '20240101'", "StudyDate range 20240101-"),
    ("'2024-01-01' >= StudyDate", "StudyDate range -20240101"),
    ("StudyDate BETWEEN '20240101' AND '2024-12-31'", "StudyDate range 20240101-20241231"),
    ("StudyDate NOT BETWEEN '20240101' AND '20240131'", ""),
    ("StudyDate >= '20240101' AND StudyDate < '20240201'", "StudyDate range 20240101-20240201"),
    ("StudyDate > '20250101' AND StudyDate < '20240101'", "StudyDate range nothing"),
    ("StudyDate <= TIMESTAMP '2024-01-01 12:00:00'", "StudyDate range -20240101"),
    ("StudyDate >= make_date(2024, 1, 2)", "StudyDate range 20240102-"),
    ("StudyDate BETWEEN make_date(2024, 1, 2) AND '20240131'", "StudyDate range 20240102-20240131"),
    ("PatientBirthDate = '20240101'", "PatientBirthDate range 20240101-20240101"),
    ("PatientBirthDate IN ('20240101', '20230101')", "PatientBirthDate range 20230101-20240101"),
    ("StudyDate IS NULL OR StudyDate > '20240101'", ""),
    # functions that keep the order
    ("year(StudyDate) = 2024", "StudyDate range 20240101-20241231"),
    ("extract(year FROM StudyDate) IN (2020, 2022)", "StudyDate range 20200101-20221231"),
    ("date_part('year', StudyDate) BETWEEN 2020 AND 2021", "StudyDate range 20200101-20211231"),
    ("2020 <= year(StudyDate)", "StudyDate range 20200101-"),
    ("year(StudyDate) <> 2024", ""),
    ("month(StudyDate) = 3", ""),
    ("date_part('month', StudyDate) = 3", ""),
    ("date_trunc('month', StudyDate) = DATE '2024-02-01'", "StudyDate range 20240201-20240229"),
    ("date_trunc('quarter', StudyDate) <= DATE '2024-02-01'", "StudyDate range -20240331"),
    ("date_trunc('week', StudyDate) = DATE '2024-01-01'", "StudyDate range 20240101-20240107"),
    ("date_trunc('century', StudyDate) = DATE '2001-01-01'", ""),
    ("CAST(StudyDate AS VARCHAR) LIKE '2024-02%'", "StudyDate range 20240201-20240229"),
    ("StudyDate::VARCHAR LIKE '20%'", ""),
    ("StudyDate::VARCHAR < '2024'", "StudyDate range -20241231"),
    ("strftime(StudyDate, '%Y%m') = '202402'", "StudyDate range 20240201-20240229"),
    ("strftime(StudyDate, '%m%Y') = '022024'", ""),
    # Only what the format shows is compared: all of 2024 sorts before `2024-03`.
    ("strftime(StudyDate, '%Y') <= '2024-03'", "StudyDate range -20241231"),
    ("strftime(StudyDate, '%Y-%m') < '2024-03-15'", "StudyDate range -20240331"),
    ("StudyDate::TIMESTAMP >= TIMESTAMP '2024-01-01 10:00:00'", "StudyDate range 20240101-"),
    # times
    ("StudyTime = '10:30:00'", "StudyTime range 1030-103000.000000"),
    ("StudyTime >= '10'", "StudyTime range 10-"),
    ("StudyTime < TIME '10:30:00.5'", "StudyTime range -103000.500000"),
    ("StudyTime > '000000'", "StudyTime range 00-"),
    ("StudyTime > '22:00:00' AND StudyTime < '02:00:00'", "StudyTime range nothing"),
    ("StudyTime > '10' AND StudyDate = '20240101'", "StudyDate exact 20240101"),
    ("AcquisitionDateTime > '20240103'", "AcquisitionDateTime range 20240101-"),
    ("AcquisitionDateTime <= '2024-01-01 23:00:00'", "AcquisitionDateTime range -20240104"),
    ("CAST(AcquisitionDateTime AS DATE) = DATE '2024-01-10'",
     "AcquisitionDateTime range 20240108-20240113"),
    # OR
    ("PatientID = 'A' OR StudyDate >= '20240101'",
     "PatientID exact A | StudyDate range 20240101-"),
    ("(PatientID = 'A' OR StudyDate = '20240101') AND AccessionNumber = 'x'",
     "AccessionNumber exact x & PatientID exact A | StudyDate exact 20240101"),
    ("(PatientID = 'A' AND SeriesNumber = 3) OR (AccessionNumber = 'x' AND "
     "(StudyDate = '20240101' OR PatientName LIKE 'S%'))",
     "PatientID exact A | AccessionNumber exact x, StudyDate exact 20240101 | "
     "AccessionNumber exact x, PatientName wildcard S*"),
    ("PatientID = 'A' OR SeriesNumber = 3", ""),
    ("PatientID = 'A' OR NOT AccessionNumber = 'x'", ""),
    ("StudyDate < '20240101' OR StudyDate > '20250101'",
     "StudyDate range -20240101 | StudyDate range 20250101-"),
    # An attribute is given once: what holds for all is taken into each branch.
    ("StudyDate > '20240101' AND (PatientID = 'A' OR StudyDate < '20250101')",
     "PatientID exact A, StudyDate range 20240101- | StudyDate range 20240101-20250101"),
    ("StudyDate > '20240101' AND (PatientID = 'A' OR StudyDate < '20230101')",
     "StudyDate range 20240101- & PatientID exact A"),
    ("(PatientID = 'A' OR AccessionNumber = '') AND StudyTime > '10'",
     "StudyTime range 10- & PatientID exact A"),
]  # fmt: skip


@pytest.mark.parametrize(("where", "expected"), CASES, ids=[where[:70] for where, _ in CASES])
def test_a_condition_becomes_filters(planner: Planner, where: str, expected: str) -> None:
    assert compact(planner.push(where)) == expected


@pytest.mark.parametrize(
    ("where", "parameters", "expected"),
    [
        ("PatientID = ?", ["A1"], "PatientID exact A1"),
        ("PatientID = $id", {"id": "A1"}, "PatientID exact A1"),
        ("StudyDate > ?", [datetime.date(24, 1, 2)], "StudyDate range 00240102-"),
        ("StudyDate > ?", ["20240102"], "StudyDate range 20240102-"),
        ("StudyDate = ?", [datetime.datetime(2024, 1, 2, 3)], "StudyDate exact 20240102"),
        (
            "StudyDate = ?",
            [datetime.datetime(2024, 1, 2, 3, tzinfo=datetime.UTC)],
            "StudyDate range 20240101-20240103",
        ),
        ("StudyTime < ?", [datetime.time(10, 30)], "StudyTime range -103000.000000"),
        ("StudyDate < ?", [datetime.datetime.max.replace(tzinfo=datetime.UTC)], ""),
        ("year(StudyDate) = ?", [2024], "StudyDate range 20240101-20241231"),
        ("PatientName LIKE ?", ["Smi%"], "PatientName wildcard Smi*"),
        ("PatientID IN (?, ?)", ["A", "B"], "PatientID exact A/B"),
    ],
)
def test_a_placeholder_is_its_value(
    planner: Planner, where: str, parameters: object, expected: str
) -> None:
    assert compact(planner.push(where, parameters=parameters)) == expected


def test_the_clock_is_read_once(planner: Planner) -> None:
    where = "StudyDate >= current_date - INTERVAL 30 DAY AND StudyDate <= today()"
    assert planner.push("StudyDate < now() - INTERVAL 1 HOUR").filters
    text, facts = planner.facts(where, DICOM, None)
    first, _, last = push(DICOM, facts, ()).filters[0].values[0].partition("-")
    days = [datetime.datetime.strptime(day, "%Y%m%d").date() for day in (first, last)]
    assert days[1] - days[0] == datetime.timedelta(days=30)
    # The engine compares with the same day, however long the statement runs.
    rendered = text.render()
    assert f"DATE '{days[1]}'" in rendered
    assert "current_date" not in rendered


@pytest.mark.parametrize(
    ("match", "where", "expected"),
    [
        ({"PatientID": ("list",)}, "PatientID IN ('A', 'B')", "PatientID list A,B"),
        ({"PatientID": ("list",)}, "PatientID = 'A'", "PatientID list A"),
        ({"PatientID": ("wildcard",)}, "PatientID = 'A'", ""),
        ({"PatientID": ("exact",)}, "PatientID LIKE 'A%'", ""),
        ({"StudyDate": ("exact",)}, "StudyDate > '20240101'", ""),
        ({"StudyTime": ("exact",)}, "StudyTime = '10:30:00'", ""),
        ({"PatientName": ("exact",)}, "PatientName ILIKE 'a%'", ""),
    ],
)
def test_only_what_the_document_says_is_pushed(
    planner: Planner, match: dict[str, tuple[str, ...]], where: str, expected: str
) -> None:
    assert compact(planner.push(where, variant(**match))) == expected


def test_a_long_list_is_cut(planner: Planner) -> None:
    uids = [f"1.2.840.{n}" for n in range(950)]
    listed = ", ".join(f"'{uid}'" for uid in uids)
    (made,) = planner.push(f"StudyInstanceUID IN ({listed})").filters
    assert [uid for chunk in made.values for uid in chunk.split(",")] == uids
    assert all(chunk.count(",") < 100 and len(chunk) < 4_000 for chunk in made.values)
    # As many calls for one patient each would cost more than a walk.
    many = ", ".join(f"'P{n}'" for n in range(17))
    assert planner.push(f"PatientID IN ({many})") == Pushed()
    days = ", ".join(f"'202401{n:02}'" for n in range(10, 30))
    assert compact(planner.push(f"StudyDate IN ({days})")) == "StudyDate range 20240110-20240129"


def test_what_the_server_misreads_is_not_sent(planner: Planner) -> None:
    plain = replace(DICOM, sendable="[A-Za-z0-9._-]+")
    assert compact(planner.push("PatientID = 'A 1'", plain)) == ""
    assert compact(planner.push("PatientID = 'A-1'", plain)) == "PatientID exact A-1"
    assert compact(planner.push("PatientID LIKE 'A%'", plain)) == ""


def test_a_union_is_never_more_than_a_few_searches(planner: Planner) -> None:
    months = " OR ".join(
        f"(date_trunc('month', StudyDate) = DATE '2024-{m:02}-01' "
        f"AND PatientID IN ('A{m}', 'B{m}'))"
        for m in range(1, 13)
    )
    assert planner.push(months) == Pushed()
    half = re.sub(", 'B[0-9]+'", "", months)
    assert len(planner.push(half).alternatives) == 12


def test_the_path_and_binds_are_not_filtered_again(planner: Planner) -> None:
    where = "StudyInstanceUID = '1.2' AND PatientID = 'A' AND AccessionNumber = 'x'"
    _, facts = planner.facts(where, DICOM, None)
    assert shown(push(DICOM, facts, ["studiesId", "PatientID"]).filters) == (
        "AccessionNumber exact x"
    )
    assert push(replace(DICOM, source="metadata"), facts, ()) == Pushed()


# -- no row is lost --------------------------------------------------------------------------------


def quoted(*values: str) -> list[str]:
    return ["'" + value.replace("'", "''") + "'" for value in values]


_GOOD = [day for day in DATES if day.isdigit()]
_ISO = [f"{day[:4]}-{day[4:6]}-{day[6:]}" for day in _GOOD]
_ORDER = ["=", "<", "<=", ">", ">=", "<>", "IS NOT DISTINCT FROM"]

# What the parts of the templates below may be.
PARTS: dict[str, list[str]] = {
    "order": _ORDER,
    "like": ["LIKE", "ILIKE", "NOT LIKE", "NOT ILIKE", "~~"],
    "id": quoted(*IDS, "", "A", "nobody"),
    "accession": quoted("x", "y", "z z", "q"),
    "name": quoted(*NAMES),
    "text": ["PatientID", "PatientName"],
    "fold": ["lower", "upper", ""],
    "pattern": quoted(
        *("A%", "%1", "A_", "_1%", "B\\_2", "C %", "C*%", "%", "A1", "a%", "%_2", "1%"),
        *("Smi%", "smith^jo%", "Smith^%", "%^Jo%", "%Smith%", "Smith^John^%", "M%ller%"),
        *("Mu%", "%^Ann", "O'Neil%", "Van der%", "% der B%", "Smith", "%^^", "SMI%", "Mü%"),
        "%smith%",
    ),
    "start": quoted("A", "C*", "Smith^", "Mu", "%", "0", ""),
    "day": [
        *quoted(*_GOOD, *_ISO),
        *(f"DATE '{day}'" for day in _ISO),
        *(f"TIMESTAMP '{day} 12:00:00'" for day in _ISO),
        *(f"TIMESTAMPTZ '{day} 23:00:00-05'" for day in _ISO),
    ],
    "date": ["StudyDate", "PatientBirthDate"],
    "first": [f"DATE '{day[:7]}-01'" for day in _ISO],
    "unit": ["year", "quarter", "month", "week", "day", "decade"],
    "year": ["2023", "2024", "2024.5", "'2024'"],
    "clock": quoted(*TIMES, "10:30:00.5", "10:30"),
    "moment": quoted("2024-01-01 10:00:00", "20240101", "20240102003000", "20250615"),
    "written": quoted(
        *("2024%", "2024-0%", "2024-01-31", "2024-01", "2024-13", "2024/01", "20", "", "202", "x%")
    ),
    "short": quoted("202401", "2024", "2024-03", "20243", "x", "20240131"),
    "format": ["%Y%m", "%Y", "%m%Y", "%Y-%m-%d", "%Y%m%d"],
    "modality": quoted("CT", "MR", "C%", "XX"),
}
LEAVES = [
    "PatientID {order} {id}",
    "{id} {order} PatientID",
    "PatientID IN ({id}, {id})",
    "PatientID NOT IN ({id}, {id})",
    "{text} {like} {pattern}",
    "ReferringPhysicianName {like} {pattern}",
    "{fold}(ReferringPhysicianName) {like} {pattern}",
    "starts_with({text}, {start})",
    "{text} ^@ {start}",
    "PatientName {order} {name}",
    "ReferringPhysicianName = {name}",
    "AccessionNumber IN ({accession}, {accession}, {accession})",
    "{date} {order} {day}",
    "{day} {order} {date}",
    "{date} BETWEEN {day} AND {day}",
    "{date} NOT BETWEEN {day} AND {day}",
    "{date} IN ({day}, {day})",
    "year({date}) {order} {year}",
    "{year} {order} extract(year FROM {date})",
    "date_part('year', {date}) BETWEEN {year} AND {year}",
    "year({date}) IN ({year}, {year})",
    "date_trunc('{unit}', {date}) {order} {first}",
    "date_trunc('{unit}', {date}) BETWEEN {first} AND {first}",
    "CAST({date} AS VARCHAR) {order} {written}",
    "{date}::VARCHAR {like} {written}",
    "CAST({date} AS TIMESTAMP) {order} {first}",
    "strftime({date}, '{format}') {order} {short}",
    "StudyTime {order} {clock}",
    "StudyTime BETWEEN {clock} AND {clock}",
    "StudyTime IN ({clock}, {clock})",
    "AcquisitionDateTime {order} {moment}",
    "AcquisitionDateTime IN ({moment}, {moment})",
    "year(AcquisitionDateTime) {order} {year}",
    "CAST(AcquisitionDateTime AS DATE) {order} {first}",
    "ModalitiesInStudy = {modality}",
    "ModalitiesInStudy LIKE {modality}",
    "ModalitiesInStudy NOT LIKE {modality}",
    "ModalitiesInStudy IN ({modality}, {modality})",
    "SeriesNumber = 3",
    "StudyDescription LIKE 'o%'",
    "{date} IS NULL",
    "PatientID IS NOT NULL",
]


def leaf(chance: random.Random, template: str) -> str:
    return re.sub(r"{(\w+)}", lambda part: chance.choice(PARTS[part[1]]), template)


def condition(chance: random.Random, depth: int) -> str:
    kind = chance.random()
    if depth == 0 or kind < 0.4:
        return leaf(chance, chance.choice(LEAVES))
    if kind < 0.48:
        return f"NOT ({condition(chance, depth - 1)})"
    parts = [condition(chance, depth - 1) for _ in range(chance.choice([2, 2, 3]))]
    return f"({(' AND ' if kind < 0.72 else ' OR ').join(parts)})"


ROWS = datasets(240)
# Other matches of the same attributes.
NARROW = variant(
    AccessionNumber=("exact",), PatientName=("fuzzy",), PatientID=("list",), StudyDate=("range",)
)


@pytest.fixture(scope="module")
def filled() -> Iterator[Planner]:
    made = Planner()
    made.fill(ROWS)
    yield made
    made.close()


def lost(filled: Planner, where: str, dicom: DicomTable) -> set[str]:
    """The rows that the engine accepts and some server does not find."""
    text, facts = filled.facts(where, dicom, None)
    pushed = push(dicom, facts, ())
    accepted = filled.accepted(text)
    return set().union(*(accepted - server.find(pushed, ROWS) for server in SERVERS))


@pytest.mark.parametrize("template", LEAVES)
def test_a_condition_loses_no_row(filled: Planner, template: str) -> None:
    chance = random.Random(template)
    for where in {leaf(chance, template) for _ in range(25)}:
        for dicom in (DICOM, NARROW):
            assert not lost(filled, where, dicom), where


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_conditions_together_lose_no_row(filled: Planner, seed: int) -> None:
    where = condition(random.Random(seed), 3)
    assert not lost(filled, where, DICOM), where
