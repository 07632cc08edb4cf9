"""A plan for people and for programs. It shows names and templates; values pass the gate only.

Nothing is decided here: what EXPLAIN prints is what the execution runs.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import Any

from dicomsql.catalog.model import Method, OffsetPaging, TokenPaging
from dicomsql.embedded import shown_call, shown_place
from dicomsql.planning.answers import ListPlan, SettingPlan
from dicomsql.planning.cost import Estimate, estimate, estimate_scan
from dicomsql.planning.plan import (
    CopyPlan,
    DicomStore,
    EnginePlan,
    ExplainPlan,
    Plan,
    StorePlan,
    WritePlan,
)
from dicomsql.planning.read_plan import (
    ColumnKind,
    Filter,
    Picture,
    Proof,
    ReadPlan,
    Scan,
    Split,
    Windows,
)

# Gives a parameter's value as far as people may see it: (name, value) to text.
Show = Callable[[str, str], str]

HIDDEN = "…"

# Values of a list that are shown.
_SHOWN = 3

# Fields that hold SQL, or a piece of it.
_TEXTS = frozenset({"sql", "residual", "returning", "source"})

# Fields of windows and splits that hold values of their attribute.
_DATES = frozenset({"ranges", "low", "high"})


def explain_lines(plan: Plan, show: Show, reveal: Reveal) -> list[str]:
    """The plan as lines of text.

    Args:
        show: gives a parameter's value as far as people may see it.
        reveal: whether conditions keep their literals.
    """
    return list(_lines(plan, show, reveal))


class Reveal(Enum):
    """Whether literals of the statement are shown."""

    NAMES = "names"
    VALUES = "values"


def explain_json(
    plan: Plan, show: Show, reveal: Reveal, ran: Mapping[str, object] | None = None
) -> str:
    """The plan as a JSON document, with what it took where it `ran`."""
    document = _plain(plan, show, reveal)
    return json.dumps(document if ran is None else {**document, "ran": ran})


def counted(count: int, thing: str) -> str:
    """A number of things: `1 row`, `2,000 rows`."""
    return f"{count:,} {thing}{'s' * (count != 1)}"


def named(resource: str, alias: str) -> str:
    """A resource with the query's name for it, where that is another."""
    return resource + (f" AS {alias}" if alias != resource.rsplit(".", 1)[-1] else "")


def _lines(plan: Plan, show: Show, reveal: Reveal) -> Iterator[str]:
    if isinstance(plan, ExplainPlan):
        yield from _lines(plan.plan, show, reveal)
    elif isinstance(plan, ReadPlan):
        if plan.files:
            from dicomsql.planning.explain_copies import file_lines

            for files in plan.files:
                yield from file_lines(files)
        for scan in plan.scans:
            yield from _scan_lines(scan, show, reveal)
        if plan.windows is not None:
            yield from _window_lines(plan.windows)
        if plan.direct:
            yield "ENGINE  is not needed: the rows are the result"
        elif plan.scans or plan.files:
            tables = len(plan.scans) + len(plan.files)
            yield f"ENGINE  runs the query over {counted(tables, 'table')}"
            checked = hidden_text(plan.residual, reveal)
            yield f"  checks  {checked}" if checked else "  nothing is left to check"
        else:
            yield "ENGINE  runs the statement; no call is made"
        for scan in plan.pictures:
            # Where no row of the result shows them, no call is made.
            if scan.limit != 0:
                yield from _scan_lines(scan, show, reveal)
        if plan.scans:
            yield f"ESTIMATE  {_together(estimate(plan))}"
        for note in plan.notes:
            yield f"NOTE  {note}"
    elif isinstance(plan, WritePlan):
        yield from _write_lines(plan, show, reveal)
    elif isinstance(plan, CopyPlan):
        from dicomsql.planning.explain_copies import copy_lines

        yield from copy_lines(plan, show, reveal, lambda query: _lines(query, show, reveal))
    elif isinstance(plan, ListPlan):
        yield f"DOCUMENTS  {len(plan.listing.rows)} rows from the provider documents"
    elif isinstance(plan, EnginePlan):
        yield "ENGINE  runs the statement; no call is made"
    elif isinstance(plan, SettingPlan):
        yield f"SESSION  sets {plan.name}"


def _scan_lines(scan: Scan, show: Show, reveal: Reveal) -> Iterator[str]:
    yield f"READ  {named(scan.resource, scan.alias)}"
    yield f"  call    {call_text(scan.method, scan.base_url)}"
    for origin in dict.fromkeys(c.origin for c in scan.constants):
        given = (
            f"{c.parameter} = {_listed(c.parameter, c.values, show)}"
            for c in scan.constants
            if c.origin == origin
        )
        yield f"  with    {', '.join(given)} (from the {origin})"
    for bind in scan.binds:
        source = hidden_text(bind.source, reveal)
        lists = f", {bind.together:,} in one call" if bind.together > 1 else ""
        yield f"  bound   {', '.join(bind.parameters)} to each {source}{lists}"
    if scan.picture is not None and not scan.binds:
        names = [c.name for c in scan.columns if c.kind is ColumnKind.PARAMETER]
        yield f"  bound   {', '.join(names)} to each row of the result"
    if scan.walk is not None:
        yield f"  else    {_walk(scan)} {_walked_when(scan)}"
    for pushed in scan.filters:
        yield f"  pushed  {_filter(pushed, show)}; checked again"
    if scan.alternatives:
        yield f"  union   of {len(scan.alternatives):,} searches, each row once"
    for alternative in scan.alternatives:
        yield f"  or      {' and '.join(_filter(f, show) for f in alternative)}; checked again"
    if scan.query:
        grouped: dict[str, list[str]] = {}
        for name, value in scan.query:
            grouped.setdefault(name, []).append(value)
        for name, values_of in grouped.items():
            yield f"  asks    {name} = {', '.join(values_of)}"
    if scan.picture is not None:
        yield from _picture_lines(scan.picture)
    else:
        yield f"  pages   {_paging(scan.method, scan.limit)}"
    if scan.split is not None:
        yield f"  beyond  the largest offset: by ranges of {scan.split.attribute}"
    if scan.proof is not None:
        yield f"  doubts  {_doubts(scan.proof)}"
    for reason in scan.reasons:
        yield f"  why     {reason}"
    took = estimate_scan(scan)
    yield f"  calls   {_calls(scan, took)}"
    yield f"  bytes   {_bytes(took)}"
    if scan.picture is not None and not scan.binds:
        yield "  rows    preview; fetched as the rows of the result are read"
        return
    kept = (
        "used while they arrive"
        if scan.stream
        else "held in memory, as the query reads them more than once"
    )
    yield f"  rows    {', '.join(c.name for c in scan.columns)}; {kept}"


def _picture_lines(picture: Picture) -> Iterator[str]:
    yield f"  shows   a picture of each {picture.level} of {picture.of}"
    small = " and ".join(f"{name} = {value}" for name, value in picture.query)
    if small:
        yield f"  asks    {small}; without it where that is what the server refuses"
    if picture.none:
        statuses = ", ".join(map(str, picture.none))
        yield f"  none    where the server answers {statuses}: NULL, and a note counts them"


def _write_lines(plan: WritePlan, show: Show, reveal: Reveal) -> Iterator[str]:
    if plan.source is not None and (plan.source.scans or plan.source.files):
        yield from _lines(plan.source, show, reveal)
    yield f"WRITE  {plan.resource}"
    yield f"  call    {call_text(plan.method, plan.base_url)}"
    for constant in plan.constants:
        values = _listed(constant.parameter, constant.values, show)
        yield f"  with    {constant.parameter} = {values} (from the {constant.origin})"
    for where in ("parameter", "body"):
        names = [".".join(f.path) for f in plan.fields if f.where == where]
        if names:
            yield f"  fills   {', '.join(names)} ({where}) from the query's rows"
    if plan.mask:
        yield f"  mask    {', '.join(plan.mask)}"
    if plan.file:
        yield f"  sends   {plan.file}"
    if plan.output:
        yield f"  into    {plan.output}, which must not be there yet"
    each = "each row that the query gives" if plan.source is not None else "each combination"
    yield f"  calls   one for {each}"
    if plan.method.operation:
        how = "waited for" if plan.wait else "started, not waited for"
        yield f"  then    a long-running operation, {how}"
    if plan.more is not None:
        more = call_text(plan.more, plan.base_url)
        yield f"  pages   all of them, by {more}, which is asked too while the rows are being made"
    consent = plan.method.consent
    if consent is not None:
        yield f"  consent needed: {consent.kind} ({consent.phrase} {consent.things})"


def _doubts(proof: Proof) -> str:
    """What is not taken for empty at sight, and what is done about it."""
    shown = ", ".join(d.column for d in proof.doubts[:_SHOWN])
    more = f" and {len(proof.doubts) - _SHOWN:,} more" if len(proof.doubts) > _SHOWN else ""
    how = (
        f"looked up in the metadata of one row, by up to {counted(proof.calls, 'call')}"
        if proof.calls
        else "an error"
    )
    return f"{shown}{more}: where no row that comes first has a value, {how}"


def call_text(method: Method, base_url: str) -> str:
    """A call as people read it: its HTTP method, and its path with the parameters' names.

    What every call of the method has in its query is the document's, and shown.
    """
    query = "&".join(f"{name}={value}" for name, value in method.query)
    target = f"{method.path}{'?' * bool(query)}{query}"
    return f"{method.http_method} {shown_call(base_url, target)}"


def _window_lines(windows: Windows) -> Iterator[str]:
    searches = sum(bool(given) for given in windows.ranges)
    yield (
        f"  newest  {searches} growing ranges of {windows.attribute}, the latest first, until the "
        f"query has {windows.enough:,} row{'s' * (windows.enough != 1)}"
    )
    if "" in windows.ranges:
        yield f"          then all, for what has no {windows.attribute}"


def _listed(name: str, values: tuple[str, ...], show: Show) -> str:
    shown = ", ".join(show(name, v) for v in values[:_SHOWN])
    more = f" and {len(values) - _SHOWN:,} more" if len(values) > _SHOWN else ""
    return (shown or "nothing") + more


def _filter(pushed: Filter, show: Show) -> str:
    if pushed.operation == "range":
        forms = dict.fromkeys(_range(pushed.name, value, show) for value in pushed.values)
        return f"{pushed.name} {' or '.join(forms)}"
    return f"{pushed.name} ({pushed.operation}) = {_listed(pushed.name, pushed.values, show)}"


def _range(name: str, value: str, show: Show) -> str:
    """A range as PS3.4 section C.2.2.2.5 spells it, in words; its ends pass the gate."""
    low, dash, high = value.partition("-")
    if not dash or low == high:
        return f"= {show(name, low)}"
    if low and high:
        return f"between {show(name, low)} and {show(name, high)}"
    return f"from {show(name, low)}" if low else f"up to {show(name, high)}"


def _walk(scan: Scan) -> str:
    """The call that is made instead of a bound one; only what is not said of that already."""
    assert scan.walk is not None
    if scan.walk == scan.method:
        return "one walk of the same without them"
    return f"one walk of {scan.walk.http_method} …{scan.walk.path[scan.walk.path.rfind('/') :]}"


def _walked_when(scan: Scan) -> str:
    if scan.walk_above <= 1:
        return "where there are several, as the server finds no others by what is pushed"
    told = "costs less, by the metrics" if scan.size is not None else "is likely to cost less"
    return f"where that {told} (from {scan.walk_above + 1:,} calls on where its size is not known)"


def _paging(method: Method, limit: int | None) -> str:
    until = f", until {limit:,} rows are there" if limit is not None else ", all of them"
    paging = method.paging
    if isinstance(paging, TokenPaging):
        size = f"of up to {paging.max_size:,} " if paging.max_size else ""
        return f"{size}by {paging.request_token}{until}"
    if isinstance(paging, OffsetPaging):
        beside = "" if limit is not None else ", side by side"
        return f"of up to {paging.max_limit:,} by {paging.limit} and {paging.offset}{until}{beside}"
    return "one"


def _calls(scan: Scan, took: Estimate) -> str:
    if scan.picture is not None:
        again = ", and as many again where it refuses the size" if scan.picture.query else ""
        bound = "none for certain" if scan.limit is None else f"at most {scan.limit:,}"
        return f"{bound}, one for each picture{again}"
    if scan.binds:
        each = "one for each bound row" if scan.binds[0].together == 1 else "one for each list"
        return f"none for certain, {each}" + (", or those of the walk" if scan.walk else "")
    if took.least == took.most:
        return f"{took.least:,}"
    if took.most is not None:
        return f"at least {took.least:,}, at most {took.most:,}"
    further = f"{took.page:,} rows" if took.page else "page"
    text = f"at least {took.least:,}, one more for each further {further}"
    paging = scan.method.paging
    if not isinstance(paging, OffsetPaging):
        return text
    if paging.capped:
        return f"{text}; only a page without rows is the last"
    if scan.base_url not in scan.method.servers[:1]:
        text += "; one more where a page that is not full may have been cut by the server"
    return text


def _bytes(took: Estimate) -> str:
    if took.most_bytes is not None:
        return f"at most about {size_text(took.most_bytes)}"
    return f"about {size_text(took.row_bytes)} a row"


def _together(took: Estimate) -> str:
    """A whole plan's requests and bytes."""
    plural = "s" * (took.least != 1)
    if took.least == took.most:
        text = f"{took.least:,} request{plural}"
    else:
        text = f"at least {took.least:,} request{plural}" if took.least else "no request is certain"
        more = "how many more" if took.least else "how many there are"
        unknown = f"; {more} depends on the rows that are found"
        text += f", at most {took.most:,}" if took.most is not None else unknown
    if took.most_bytes is not None:
        text += f"; at most about {size_text(took.most_bytes)}"
    return text


def size_text(number: int) -> str:
    """A number of bytes, in the unit that a person reads."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if number >= factor:
            return f"{number / factor:.1f} {unit}"
    return f"{number:,} bytes"


def hidden_text(sql: str, reveal: Reveal) -> str:
    """SQL without its literals, and without its comments, which may repeat them."""
    if reveal is Reveal.VALUES or not sql:
        return sql
    import sqlglot
    from sqlglot.errors import TokenError

    try:
        tokens = sqlglot.tokenize(sql, dialect="duckdb")
    except TokenError:
        return HIDDEN
    parts: list[str] = []
    at = 0
    for token in tokens:
        kind = token.token_type.name
        literal = kind == "NUMBER" or (kind.endswith("STRING") and kind != "STRING_AGG")
        space = " " if sql[at : token.start].strip() or "\n" in sql[at : token.start] else ""
        parts.append(space or sql[at : token.start])
        parts.append(HIDDEN if literal else sql[token.start : token.end + 1])
        at = token.end + 1
    return "".join(parts).strip()


def _several(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


def _estimated(value: Scan | ReadPlan) -> dict[str, Any]:
    took = estimate_scan(value) if isinstance(value, Scan) else estimate(value)
    return {
        "requests": {"least": took.least, "most": took.most},
        "bytes": {"most": took.most_bytes},
    }


def _plain(value: Any, show: Show, reveal: Reveal) -> Any:
    """A plan's values as JSON has them; statements' literals and values pass the gate."""
    if isinstance(value, Method):
        return {
            "name": value.full_name,
            "http": value.http_method,
            "path": value.path,
            "paging": dataclasses.asdict(value.paging) if value.paging is not None else None,
        }
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        made: dict[str, Any] = {"kind": type(value).__name__}
        if isinstance(value, Scan | ReadPlan):
            made["estimate"] = _estimated(value)
        for field in dataclasses.fields(value):
            if field.name in {"dicom", "listing", "measures"}:
                continue
            found = getattr(value, field.name)
            if isinstance(value, StorePlan) and field.name == "study":
                made[field.name] = found and show(dict(value.target.moves.ids)["study"], found)
                continue
            if isinstance(value, DicomStore) and field.name == "values":
                made[field.name] = {name: show(name, given) for name, given in found}
                continue
            if field.name in {"values", "returning_values"}:
                owner = getattr(value, "parameter", None) or getattr(value, "name", None)
                if isinstance(owner, str):
                    made[field.name] = [show(owner, str(v)) for v in found]
                continue
            if isinstance(value, Windows | Split) and field.name in _DATES:
                shown = [v and show(value.attribute, v) for v in _several(found)]
                made[field.name] = shown[0] if isinstance(found, str) else shown
                continue
            if field.name == "body" and found is not None and reveal is Reveal.NAMES:
                found = HIDDEN
            elif field.name in _TEXTS and isinstance(found, str):
                found = hidden_text(found, reveal)
            elif field.name == "base_url":
                found = shown_place(found)
            elif field.name == "after":
                found = tuple(hidden_text(sql, reveal) for sql in found)
            elif field.name == "guards":
                found = tuple((hidden_text(sql, reveal), name) for sql, name in found)
            made[field.name] = _plain(found, show, reveal)
        return made
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple | list | frozenset):
        return [_plain(v, show, reveal) for v in value]
    if isinstance(value, Mapping):
        return {str(k): _plain(v, show, reveal) for k, v in value.items()}
    return value if isinstance(value, str | int | float | bool | None) else str(value)
