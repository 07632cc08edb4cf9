"""QIDO-RS (PS3.18 10.6) at its six paths, as strict and as narrow as a Google-hosted store.

Filters match exactly; only StudyDate takes a range and only PatientName a fuzzy match. An empty
filter matches everything (PS3.4 C.2.2.2.3). Results come in the order in which studies, series and
instances were first stored, so that pages neither repeat nor skip. What a page costs is that many
rows: the default attributes stand in the index as JSON text.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from msgspec import Raw, json
from starlette.responses import Response

from dicomsql.emulator import attributes, index
from dicomsql.emulator.attributes import INSTANCE, SERIES, STUDY, Level
from dicomsql.emulator.call import COMMON_PARAMETERS, Call, accept, store_id
from dicomsql.emulator.status import invalid

# The rows of a level, and the joins to its parents for those searches that need them.
_FROM = {
    "study": ("st", "studies st", {}),
    "series": ("se", "series se", {"st": "JOIN studies st ON st.id = se.study_id"}),
    "instance": (
        "i",
        "instances i",
        {
            "se": "JOIN series se ON se.id = i.series_id",
            "st": "JOIN studies st ON st.id = i.study_id",
        },
    ),
}
# the instance whose data set describes a row
_DESCRIBED_BY = {
    "study": "(SELECT min(id) FROM instances WHERE study_id = st.id)",
    "series": "(SELECT min(id) FROM instances WHERE series_id = se.id)",
    "instance": "i.id",
}
_DATE = re.compile(r"([0-9]{8})?(-)?([0-9]{8})?")
# no value of an attribute that can be filtered by has more; of PN, three groups of 64 (PS3.5 6.2)
_LONGEST_VALUE = 256


@dataclass(slots=True)
class _Search:
    """A search's parameters, checked."""

    level: Level
    limit: int
    offset: int = 0
    fuzzy: str = "false"
    everything: str = ""
    include: set[str] = field(default_factory=set)
    filters: dict[str, str] = field(default_factory=dict)


def search_studies(call: Call) -> Response:
    """searchForStudies"""
    return _search(call, STUDY)


def search_series(call: Call) -> Response:
    """searchForSeries, in the store and in a study"""
    return _search(call, SERIES)


def search_instances(call: Call) -> Response:
    """searchForInstances, in the store, in a study and in a series"""
    return _search(call, INSTANCE)


def _search(call: Call, level: Level) -> Response:
    accept(call, {"application/dicom+json": "", "application/json": ""})
    with call.folder.read() as db:
        store = store_id(db, call)
        texts = _rows(db, call, store, _parse(call, level))
    if not texts:
        return Response(status_code=204)
    return Response("[" + ",".join(texts) + "]", media_type="application/dicom+json; charset=utf-8")


def _parse(call: Call, level: Level) -> _Search:
    """The search that the parameters describe.

    Raises:
        StatusError: 400 for an attribute or a value that the level does not take.
    """
    search = _Search(level, level.default_limit)
    for name in ("limit", "offset", "fuzzymatching"):
        value = call.parameter(name)
        if value is not None:
            _OPTIONS[name](search, value)
    for name, value in call.query:
        if name == "includefield":
            for wanted in filter(None, value.split(",")):
                if wanted == "all":
                    search.everything = "all"
                else:
                    search.include.add(attributes.include_tag(wanted))
        elif name not in _OPTIONS and name not in COMMON_PARAMETERS:
            tag = attributes.filter_tag(name, level)
            if tag in search.filters:
                raise invalid(f"generic::invalid_argument: the attribute {name} is given twice")
            if len(value) > _LONGEST_VALUE:
                raise invalid(
                    f"generic::invalid_argument: the value of {name} has more than"
                    f" {_LONGEST_VALUE} characters"
                )
            search.filters[tag] = value
    search.include -= {attribute.tag for attribute in level.defaults}
    return search


def _set_limit(search: _Search, value: str) -> None:
    search.limit = _number("limit", value, 1, search.level.largest_limit)


def _set_offset(search: _Search, value: str) -> None:
    search.offset = _number("offset", value, 0, attributes.MAX_OFFSET)


def _set_fuzzy(search: _Search, value: str) -> None:
    if value not in {"true", "false"}:
        raise invalid("generic::invalid_argument: fuzzymatching takes true or false")
    search.fuzzy = value


_OPTIONS: dict[str, Callable[[_Search, str], None]] = {
    "limit": _set_limit,
    "offset": _set_offset,
    "fuzzymatching": _set_fuzzy,
}


def _number(name: str, value: str, least: int, most: int) -> int:
    if not (re.fullmatch(r"[0-9]{1,9}", value) and least <= int(value) <= most):
        raise invalid(f"generic::invalid_argument: {name} must be from {least} to {most}")
    return int(value)


def _conditions(search: _Search) -> tuple[list[str], list[str]]:
    clauses, values = [], []
    for tag, value in search.filters.items():
        column = search.level.filters[tag]
        if value == "":
            continue
        if tag == attributes.STUDY_DATE:
            clause, bounds = _date_condition(column, value)
            clauses.append(clause)
            values += bounds
        elif tag == attributes.PATIENT_NAME and search.fuzzy == "true":
            tokens = index.name_tokens(value).split()
            clauses.append(
                "(" + (" OR ".join(["instr(st.name_tokens, ?) > 0"] * len(tokens)) or "0") + ")"
            )
            values += [f" {token}" for token in tokens]
        else:
            clauses.append(f"{column} = ?")
            values.append(value)
    return clauses, values


def _date_condition(column: str, value: str) -> tuple[str, list[str]]:
    match = _DATE.fullmatch(value)
    if match is None or value == "-" or (match[1] and match[3] and not match[2]):
        raise invalid(
            "generic::invalid_argument: StudyDate takes YYYYMMDD, or a range of YYYYMMDD-YYYYMMDD,"
            " YYYYMMDD- or -YYYYMMDD"
        )
    if not match[2]:
        return f"{column} = ?", [value]
    # a study without a date is in no range
    return f"({column} >= ? AND {column} <= ? AND {column} != '')", [
        match[1] or "",
        match[3] or "99999999",
    ]


def _rows(db: sqlite3.Connection, call: Call, store: int, search: _Search) -> list[str]:
    """The results as JSON texts."""
    alias, table, joins = _FROM[search.level.name]
    clauses, values = _conditions(search)
    for name, column in (("study", "st.uid"), ("series", "se.uid")):
        if name in call.names:
            clauses.append(f"{column} = ?")
            values.append(call.names[name])
    # an index begins with the store, so each table that is filtered by one needs it said
    stores = {alias: f"{alias}.store_id = ?"}
    for other in joins:
        if any(f"{other}." in clause for clause in clauses):
            stores[other] = f"{other}.store_id = ?"
            table = f"{table} {joins[other]}"
    where = " AND ".join([*stores.values(), *clauses])
    parameters = [*[store] * len(stores), *values, search.limit, search.offset]
    # The page is found by its rows' numbers, which the indexes hold themselves, and only its own
    # rows are read then: a high offset costs little.
    page = f"SELECT {alias}.id FROM {table} WHERE {where} ORDER BY {alias}.id LIMIT ? OFFSET ?"  # noqa: S608
    tail = f"WHERE {alias}.id IN ({page}) ORDER BY {alias}.id"
    if not search.include and not search.everything:
        rows = _FROM[search.level.name][1]
        cursor = db.execute(f"SELECT {alias}.summary FROM {rows} {tail}", parameters)  # noqa: S608
        return [summary for (summary,) in cursor]
    return _extended(db, call, search, tail, parameters)


def _extended(
    db: sqlite3.Connection, call: Call, search: _Search, tail: str, parameters: list[Any]
) -> list[str]:
    """The results where more than the defaults is asked for.

    What the parents' rows know is taken from there, since most searches below the study ask for
    the parents' UIDs; the data sets are read only for what is in no row.
    """
    level = search.level
    alias, table, joins = _FROM[level.name]
    parents = [("st.summary", STUDY)] if level is not STUDY else []
    if level is INSTANCE:
        parents.append(("se.summary", SERIES))
    known = {attribute.tag for _, parent in parents for attribute in parent.defaults}
    computed = [
        attribute.tag
        for attribute in level.computed
        if attribute.tag in search.include
        or (search.everything and attribute.tag in _COUNTS[level.name])
    ]
    left = search.include - known - {attribute.tag for attribute in level.computed}
    reading = left or search.everything
    columns = [f"{alias}.summary"]
    columns += [_DESCRIBED_BY[level.name], _PATHS[level.name]] if reading else ["NULL", "NULL"]
    columns += [column for column, _ in parents]
    columns += [_COMPUTED[tag][level.name] for tag in computed]
    whole = " ".join([table, *joins.values()])
    chosen = ", ".join(columns)
    cursor = db.execute(f"SELECT {chosen} FROM {whole} {tail}", parameters)  # noqa: S608
    texts = []
    decoded: dict[str, dict[str, Raw]] = {}
    for summary, describer, path, *others in cursor.fetchall():
        found = _SHALLOW.decode(summary)
        if describer is not None:
            found |= _from_dataset(db, call, search, describer, path)
        for stored in others[: len(parents)]:
            if stored not in decoded:
                decoded[stored] = _SHALLOW.decode(stored)
            found |= {t: e for t, e in decoded[stored].items() if t in search.include}
        for tag, value in zip(computed, others[len(parents) :], strict=True):
            found[tag] = _counted(tag, value)
        texts.append(json.encode(dict(sorted(found.items()))).decode())
    return texts


def _from_dataset(
    db: sqlite3.Connection, call: Call, search: _Search, instance: int, path: str
) -> dict[str, Raw]:
    (stored,) = db.execute(
        "SELECT json FROM metadata WHERE instance_id = ?", (instance,)
    ).fetchone()
    url = f"{call.web_url}/{path}"
    dataset = _SHALLOW.decode(index.with_base(stored, url))
    of_level = attributes.OF_LEVEL.get(search.level.name) if search.everything else frozenset()
    return {
        tag: element
        for tag, element in dataset.items()
        if (tag in search.include or of_level is None or tag in of_level)
        and not bytes(element).startswith(_BULK, _AFTER_VR)
    }


def _counted(tag: str, value: Any) -> Raw:
    if tag == attributes.MODALITIES_IN_STUDY:
        modalities = sorted(json.decode(value))
        element = {"vr": "CS", "Value": modalities} if modalities else {"vr": "CS"}
    else:
        element = {"vr": "IS", "Value": [value]}
    return Raw(json.encode(element))


# Only the outermost level of a data set is decoded; its elements stay the JSON that they are. The
# index writes them without spaces, their VR first, so that bulk data is seen from the text.
_SHALLOW = json.Decoder(dict[str, Raw])
_BULK, _AFTER_VR = b'"BulkDataURI"', len('{"vr":"OW",')


# what `includefield=all` counts at each level
_COUNTS = {
    "study": frozenset(a.tag for a in STUDY.computed),
    "series": frozenset({attributes.SERIES_INSTANCE_COUNT}),
    "instance": frozenset[str](),
}
_STUDY_OF = {"study": "st.id", "series": "se.study_id", "instance": "i.study_id"}
_SERIES_OF = {"series": "se.id", "instance": "i.series_id"}
_MODALITIES = (
    "(SELECT json_group_array(DISTINCT modality) FROM series"
    " WHERE study_id = {} AND modality != '')"
)
_COUNT = "(SELECT count(*) FROM {} WHERE {} = {})"
_COMPUTED = {
    attributes.MODALITIES_IN_STUDY: {n: _MODALITIES.format(row) for n, row in _STUDY_OF.items()},
    attributes.STUDY_SERIES_COUNT: {
        n: _COUNT.format("series", "study_id", row) for n, row in _STUDY_OF.items()
    },
    attributes.STUDY_INSTANCE_COUNT: {
        n: _COUNT.format("instances", "study_id", row) for n, row in _STUDY_OF.items()
    },
    attributes.SERIES_INSTANCE_COUNT: {
        n: _COUNT.format("instances", "series_id", row) for n, row in _SERIES_OF.items()
    },
}
_INSTANCE_PATH = (
    "(SELECT 'studies/' || st.uid || '/series/' || y.uid || '/instances/' || x.uid"
    " FROM instances x JOIN series y ON y.id = x.series_id WHERE x.id = {})"
)
# the path of the instance that describes a row, for the URLs of its bulk data
_PATHS = {name: _INSTANCE_PATH.format(row) for name, row in _DESCRIBED_BY.items()}
