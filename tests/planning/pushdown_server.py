"""A made search with every kind of match, and servers that match by PS3.4 C.2.2.2 as they may."""

from __future__ import annotations

import datetime
import random
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import duckdb

from dicomsql.catalog.load import Catalog
from dicomsql.catalog.model import Attribute, DicomTable, Method, OffsetPaging, Resource
from dicomsql.dicom.values import parse_date, parse_datetime, parse_time
from dicomsql.engine.duck import Engine
from dicomsql.language.statements import Fragment
from dicomsql.planning.answers import Context
from dicomsql.planning.facts import FactFinder, Facts
from dicomsql.planning.names import Names
from dicomsql.planning.pushdown import Pushed, push
from dicomsql.planning.read_plan import Filter
from dicomsql.planning.rewrite import Rewriter
from dicomsql.planning.text import QueryText

# keyword -> how the made server matches it
MATCH: dict[str, tuple[str, ...]] = {
    "StudyInstanceUID": ("exact", "list"),
    "PatientID": ("exact", "wildcard"),
    "AccessionNumber": ("exact", "list"),
    "PatientName": ("exact", "wildcard", "fuzzy"),
    "ReferringPhysicianName": ("fuzzy",),
    "StudyDate": ("exact", "range"),
    "StudyTime": ("exact", "range"),
    "PatientBirthDate": ("range",),
    "AcquisitionDateTime": ("exact", "range"),
    "ModalitiesInStudy": ("exact", "wildcard"),
    "SeriesNumber": ("exact", "wildcard", "range"),
    "StudyDescription": (),
}
DICOM = DicomTable(
    level="instance",
    source="search",
    attributes=tuple(Attribute(keyword, match) for keyword, match in MATCH.items()),
    identity=(("studiesId", "StudyInstanceUID"),),
    include="includefield",
    include_any=True,
    fuzzy=("fuzzymatching", "true"),
)
TYPES = {
    **dict.fromkeys(MATCH, "VARCHAR"),
    "StudyDate": "DATE",
    "PatientBirthDate": "DATE",
    "StudyTime": "TIME",
    "AcquisitionDateTime": "TIMESTAMP",
    "SeriesNumber": "BIGINT",
    "ModalitiesInStudy": "VARCHAR[]",
}


def variant(**matches: tuple[str, ...]) -> DicomTable:
    """The made search with other matches of some attributes."""
    attributes = tuple(Attribute(k, matches.get(k, m)) for k, m in MATCH.items())
    return replace(DICOM, attributes=attributes)


class _Catalog:
    """Knows the one resource."""

    def __init__(self, dicom: DicomTable) -> None:
        paging = OffsetPaging("limit", "offset", 100, 0)
        search = Method(
            *("made", "web", "studies", "search", "select", "GET", "/studies", ()), paging=paging
        )
        self._resource = Resource(
            *("made", "web", "studies", "", ""),
            methods={"search": search},
            verbs={"select": ("search",)},
            dicom=dicom,
        )

    def resolve(self, parts: tuple[str, ...], use: tuple[str, ...]) -> Resource:
        return self._resource


class Planner:
    """Conditions in, filters and the engine's own condition out."""

    def __init__(self) -> None:
        self._constants = Engine()
        self.engine = duckdb.connect()
        self.engine.execute("SET TimeZone = 'UTC'")
        self.engine.execute("ATTACH ':memory:' AS made; CREATE SCHEMA made.web")

    def close(self) -> None:
        self.engine.close()
        self._constants.close()

    def evaluate(self, sql: str, values: tuple[tuple[str, object], ...]) -> Any:
        return self._constants.value(sql, values)

    def facts(self, where: str, dicom: DicomTable, parameters: Any) -> tuple[QueryText, Facts]:
        sql = f"SELECT StudyInstanceUID FROM made.web.studies WHERE {where}"
        text = QueryText(Fragment(sql, 0), parameters=parameters)
        names = Names(text, cast(Catalog, _Catalog(dicom)), Context(), self.evaluate)
        names.resolve()
        Rewriter(text, names, self.evaluate).rewrite()
        (source,) = names.scopes[0].sources
        return text, FactFinder(text, names, self.evaluate).find(source)

    def push(self, where: str, dicom: DicomTable = DICOM, parameters: Any = None) -> Pushed:
        _, facts = self.facts(where, dicom, parameters)
        return push(dicom, facts, ())

    def accepted(self, text: QueryText) -> set[str]:
        """The UIDs that the engine finds."""
        sql = text.render()
        return {uid for (uid,) in self.engine.execute(sql).fetchall()}

    def fill(self, rows: list[dict[str, Any]]) -> None:
        """Make the table of datasets as the decoder would type them."""
        listed = ", ".join(f'"{name}" {kind}' for name, kind in TYPES.items())
        self.engine.execute(f"CREATE TABLE made.web.studies ({listed})")
        for row in rows:
            values = [_typed(name, row.get(name)) for name in TYPES]
            marks = ", ".join("?" for _ in values)
            self.engine.execute(f"INSERT INTO made.web.studies VALUES ({marks})", values)


_EPOCH = datetime.datetime(1970, 1, 1)


def _typed(name: str, raw: Any) -> Any:
    kind = TYPES[name]
    if raw is None:
        return None
    if kind == "DATE":
        days = parse_date(raw)
        return None if days is None else (_EPOCH + datetime.timedelta(days=days)).date()
    if kind == "TIME":
        micros = parse_time(raw)
        return None if micros is None else (_EPOCH + datetime.timedelta(microseconds=micros)).time()
    if kind == "TIMESTAMP":
        moment = parse_datetime(raw)
        return None if moment is None else _EPOCH + datetime.timedelta(microseconds=moment[0])
    return int(raw) if kind == "BIGINT" else raw


# -- datasets --------------------------------------------------------------------------------------

IDS = ["A1", "A10", "a1", "B_2", "B22", "C 3", "C*3", "00123", "123"]
NAMES = [
    *("Smith^John", "Smith^John^^", "SMITH^Jo", "Smithson^Ann", "Smith Jones^Ann", "Smith"),
    *("Smith^", "Goldsmith^Jo"),
    *("Müller^Eva", "Mueller^Eva", "O'Neil^Pat", "Van der Berg^Jo", "John^Smith", "Mu\u0308ller"),
]
DATES = ["20231231", "20240101", "20240131", "20240229", "20240301", "20241231", "20250615", "bad"]
TIMES = ["10", "1030", "103000", "103000.0", "103000.5", "103059.999999", "000000", "235959"]
MOMENTS = [
    *("2024", "20240101", "20240101100000", "20240101233000+1400", "20240102003000-1200"),
    *("20240131120000.5", "20240301000000+0100", "20250615"),
]
MODALITIES = [["CT"], ["CT", "MR"], ["SR"], ["MR", "US"]]


def datasets(count: int) -> list[dict[str, Any]]:
    """Made datasets with the text that is stored; a value may be missing."""
    chance = random.Random(20240229)

    def one(values: list[Any]) -> Any:
        return None if chance.random() < 0.1 else chance.choice(values)

    return [
        {
            "StudyInstanceUID": f"1.2.{n}",
            "PatientID": one(IDS),
            "AccessionNumber": one(["x", "y", "z z"]),
            "PatientName": one(NAMES),
            "ReferringPhysicianName": one(NAMES),
            "StudyDate": one(DATES),
            "StudyTime": one(TIMES),
            "PatientBirthDate": one(DATES),
            "AcquisitionDateTime": one(MOMENTS),
            "ModalitiesInStudy": one(MODALITIES),
            "SeriesNumber": one(["1", "3", "03"]),
            "StudyDescription": one(["one", "two"]),
        }
        for n in range(count)
    ]


# -- servers ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Server:
    """One way to match that PS3.4 allows.

    Attributes:
        by_text: times are compared as texts.
        any_token: one of a fuzzy search's tokens is enough.
        zone: hours from UTC that a DT without an offset is taken for, in the query.
    """

    by_text: bool
    any_token: bool
    zone: int

    def find(self, pushed: Pushed, rows: list[dict[str, Any]]) -> set[str]:
        """The UIDs of what all searches find together."""
        found: set[str] = set()
        for search in pushed.alternatives or ((),):
            filters = [*pushed.filters, *search]
            names = [f.name for f in filters]
            assert len(set(names)) == len(names), "an attribute is given twice"
            found |= {r["StudyInstanceUID"] for r in rows if all(self._has(f, r) for f in filters)}
        return found

    def _has(self, one: Filter, row: dict[str, Any]) -> bool:
        stored = row[one.name]
        values = stored if isinstance(stored, list) else [stored]
        match = getattr(self, f"_{one.operation}")
        return any(match(one.name, sent, v) for sent in one.values for v in values if v is not None)

    def _exact(self, name: str, sent: str, stored: str) -> bool:
        return _normal(name, stored) == sent

    def _list(self, name: str, sent: str, stored: str) -> bool:
        return _normal(name, stored) in sent.split(",")

    def _wildcard(self, name: str, sent: str, stored: str) -> bool:
        pattern = "".join(".*" if c == "*" else re.escape(c) for c in sent)
        return re.fullmatch(pattern, _normal(name, stored), re.DOTALL) is not None

    def _fuzzy(self, _name: str, sent: str, stored: str) -> bool:
        theirs = _tokens(stored)
        found = [any(t.startswith(token) for t in theirs) for token in _tokens(sent)]
        return any(found) if self.any_token else bool(found) and all(found)

    def _range(self, name: str, sent: str, stored: str) -> bool:
        low, dash, high = sent.partition("-")
        assert dash
        if name == "StudyTime" and not self.by_text:
            at = parse_time(stored)
            first, last = parse_time(low or "00"), parse_time(high or "235959.999999")
            return at is not None and first is not None and last is not None and first <= at <= last
        if name == "AcquisitionDateTime":
            return self._moment_in(low, high, stored)
        if TYPES[name] == "DATE" and parse_date(stored) is None:
            return False
        return (not low or stored >= low) and (not high or stored <= high)

    def _moment_in(self, low: str, high: str, stored: str) -> bool:
        moment = parse_datetime(stored)
        if moment is None:
            return False
        minutes = 60_000_000
        here = moment[0] - (60 * self.zone if moment[1] is None else moment[1]) * minutes
        for bound, sign in ((low, 1), (high, -1)):
            found = parse_datetime(bound) if bound else None
            if found is not None and sign * (here - (found[0] - 60 * self.zone * minutes)) < 0:
                return False
        return True


SERVERS = [Server(True, True, 14), Server(False, False, -12), Server(False, True, 0)]


def _normal(name: str, text: str) -> str:
    """A text as some servers keep it for searching: names lose the carets at their end."""
    return text.rstrip("^ ") if "Name" in name else text.strip()


def _tokens(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKD", text).casefold()
    kept = "".join(c for c in plain if not unicodedata.combining(c))
    return list(_split(kept))


def _split(text: str) -> Iterator[str]:
    yield from re.findall(r"[^\s^,=]+", text)
