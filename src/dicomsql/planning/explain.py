"""A plan for people and for programs. It shows names and templates; values pass the gate only.

Nothing is decided here: what EXPLAIN prints is what the execution runs.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any

from dicomsql.catalog.model import Method, OffsetPaging, TokenPaging
from dicomsql.planning.answers import ListPlan, SettingPlan
from dicomsql.planning.plan import (
    EnginePlan,
    ExplainPlan,
    Plan,
    ReadPlan,
    Scan,
    WritePlan,
)

if TYPE_CHECKING:
    from collections.abc import Callable

HIDDEN = "…"

# Fields that hold SQL, or a piece of it.
_TEXTS = frozenset({"sql", "residual", "returning", "source"})


def explain_lines(plan: Plan, show: Callable[[str, str], str], reveal: Reveal) -> list[str]:
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


def explain_json(plan: Plan, show: Callable[[str, str], str], reveal: Reveal) -> str:
    """The plan as a JSON document."""
    return json.dumps(_plain(plan, show, reveal))


def _lines(plan: Plan, show: Callable[[str, str], str], reveal: Reveal) -> Iterator[str]:
    if isinstance(plan, ExplainPlan):
        yield from _lines(plan.plan, show, reveal)
    elif isinstance(plan, ReadPlan):
        for scan in plan.scans:
            yield from _scan_lines(scan, show, reveal)
        if plan.direct:
            yield "ENGINE  is not needed: the rows are the result"
        elif plan.scans:
            checked = _hidden(plan.residual, reveal) or "nothing is left to check"
            yield f"ENGINE  runs the query over {len(plan.scans)} table(s)"
            yield f"  checks  {checked}"
        else:
            yield "ENGINE  runs the statement; no call is made"
    elif isinstance(plan, WritePlan):
        yield from _write_lines(plan, show, reveal)
    elif isinstance(plan, ListPlan):
        yield f"DOCUMENTS  {len(plan.listing.rows)} rows from the provider documents"
    elif isinstance(plan, EnginePlan):
        yield "ENGINE  runs the statement; no call is made"
    elif isinstance(plan, SettingPlan):
        yield f"SESSION  sets {plan.name}"


def _scan_lines(scan: Scan, show: Callable[[str, str], str], reveal: Reveal) -> Iterator[str]:
    alias = f" AS {scan.alias}" if scan.alias != scan.resource.rsplit(".", 1)[-1] else ""
    yield f"READ  {scan.resource}{alias}"
    yield f"  call    {_call(scan.method, scan.base_url)}"
    for constant in scan.constants:
        values = ", ".join(show(constant.parameter, v) for v in constant.values[:3])
        more = f" and {len(constant.values) - 3:,} more" if len(constant.values) > 3 else ""
        yield f"  with    {constant.parameter} = {values}{more} (from the {constant.origin})"
    for bind in scan.binds:
        source = _hidden(bind.source, reveal)
        yield f"  bound   {', '.join(bind.parameters)} to each {source}"
    if scan.walk is not None:
        yield (
            f"  else    one walk of {_call(scan.walk, '')} where they are more than "
            f"{scan.walk_above}"
        )
    for pushed in scan.filters:
        values = ", ".join(show(pushed.name, v) for v in pushed.values[:3])
        yield f"  pushed  {pushed.name} ({pushed.operation}) = {values}; checked again"
    if scan.query:
        grouped: dict[str, list[str]] = {}
        for name, value in scan.query:
            grouped.setdefault(name, []).append(value)
        for name, values_of in grouped.items():
            yield f"  asks    {name} = {', '.join(values_of)}"
    yield f"  pages   {_paging(scan.method, scan.limit)}"
    yield f"  calls   {_calls(scan)}"
    kept = "as they come" if scan.stream else "kept, since they are read more than once"
    yield f"  rows    {', '.join(c.name for c in scan.columns)}; {kept}"


def _write_lines(plan: WritePlan, show: Callable[[str, str], str], reveal: Reveal) -> Iterator[str]:
    if plan.source is not None and plan.source.scans:
        yield from _lines(plan.source, show, reveal)
    yield f"WRITE  {plan.resource}"
    yield f"  call    {_call(plan.method, plan.base_url)}"
    for constant in plan.constants:
        values = ", ".join(show(constant.parameter, v) for v in constant.values[:3])
        yield f"  with    {constant.parameter} = {values} (from the {constant.origin})"
    for where in ("parameter", "body"):
        names = [".".join(f.path) for f in plan.fields if f.where == where]
        if names:
            yield f"  fills   {', '.join(names)} ({where}) from the query's rows"
    if plan.mask:
        yield f"  mask    {', '.join(plan.mask)}"
    each = "each row that the query gives" if plan.source is not None else "each combination"
    yield f"  calls   one for {each}"
    if plan.method.operation:
        how = "waited for" if plan.wait else "started, not waited for"
        yield f"  then    a long-running operation, {how}"
    consent = plan.method.consent
    if consent is not None:
        yield f"  consent needed: {consent.kind} ({consent.phrase} {consent.things})"


def _call(method: Method, base_url: str) -> str:
    return f"{method.http_method} {base_url}{method.path}"


def _paging(method: Method, limit: int | None) -> str:
    until = f", until {limit:,} rows are there" if limit is not None else ", all of them"
    paging = method.paging
    if isinstance(paging, TokenPaging):
        size = f"of up to {paging.max_size:,} " if paging.max_size else ""
        return f"{size}by {paging.request_token}{until}"
    if isinstance(paging, OffsetPaging):
        return f"of up to {paging.max_limit:,} by {paging.limit} and {paging.offset}{until}"
    return "one"


def _calls(scan: Scan) -> str:
    least = 1
    for constant in scan.constants:
        least *= len(constant.values)
    for pushed in scan.filters:
        least *= len(pushed.values)
    if scan.binds:
        most = f"at most {scan.walk_above:,} lists" if scan.walk else "one list for each bound row"
        return f"at least 0, {most}"
    exact = scan.method.paging is None
    return f"{least:,}" if exact else f"at least {least:,}, one more for each further page"


def _hidden(sql: str, reveal: Reveal) -> str:
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


def _plain(value: Any, show: Callable[[str, str], str], reveal: Reveal) -> Any:
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
        for field in dataclasses.fields(value):
            if field.name in {"dicom", "listing", "measures"}:
                continue
            found = getattr(value, field.name)
            if field.name in {"values", "returning_values"}:
                owner = getattr(value, "parameter", None) or getattr(value, "name", None)
                if isinstance(owner, str):
                    made[field.name] = [show(owner, str(v)) for v in found]
                continue
            if field.name == "body" and found is not None and reveal is Reveal.NAMES:
                found = HIDDEN
            elif field.name in _TEXTS and isinstance(found, str):
                found = _hidden(found, reveal)
            made[field.name] = _plain(found, show, reveal)
        return made
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple | list | frozenset):
        return [_plain(v, show, reveal) for v in value]
    if isinstance(value, Mapping):
        return {str(k): _plain(v, show, reveal) for k, v in value.items()}
    return value if isinstance(value, str | int | float | bool | None) else str(value)
