"""Which of GoogleSQL a query may use, and what DuckDB is asked for instead.

A result is right, or the query fails: what stands in no table here is refused by its name, and what
DuckDB does otherwise becomes a macro (see `macros`) that does it as BigQuery's reference says. The
tests hold the answers of all of it against that reference's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from dicomsql.emulator.neighbours.base import Column, NeighbourError

if TYPE_CHECKING:
    from sqlglot import exp

__all__ = ["translate"]

# Nodes that mean the same to both, with their parts that may be there. A part that says how a
# text was written (`comments`) is none.
_PLAIN = {
    "Select": "expressions from_ joins where group having qualify windows order limit offset"
    " distinct with_",
    "With": "expressions",
    "CTE": "this alias",
    "From": "this",
    "Join": "this side kind on using",
    "Where": "this",
    "Group": "expressions",
    "Having": "this",
    "Qualify": "this",
    "Order": "this expressions",
    "Ordered": "this desc nulls_first",
    "Offset": "this expression",
    "Union": "this expression distinct with_ order limit offset",
    "Except": "this expression distinct with_ order limit offset",
    "Intersect": "this expression distinct with_ order limit offset",
    "Subquery": "this alias with_ order limit offset",
    "Table": "this alias db catalog",
    "TableAlias": "this columns",
    "Alias": "this alias",
    "Column": "this table db catalog",
    "Identifier": "this quoted",
    "Star": "except_",
    "Dot": "this expression",
    "RawString": "this",
    "Boolean": "this",
    "Paren": "this",
    "Array": "expressions struct_name_inheritance value_constructor bracket_notation",
    "PropertyEQ": "this expression",
    "Window": "this partition_by order spec alias over",
    "WindowSpec": "kind start start_side end end_side",
    "And": "this expression",
    "Or": "this expression",
    "Not": "this",
    "EQ": "this expression",
    "NEQ": "this expression",
    "GT": "this expression",
    "GTE": "this expression",
    "LT": "this expression",
    "LTE": "this expression",
    "Is": "this expression",
    "In": "this expressions query unnest field",
    "Between": "this low high",
    "Exists": "this",
    "Case": "this ifs default",
    "If": "this true false",
    "Add": "this expression",
    "Mul": "this expression",
    "Neg": "this",
    "DPipe": "this expression safe",
    "Concat": "expressions safe coalesce",
    "Coalesce": "this expressions",
    "Nullif": "this expression",
    "Greatest": "this expressions ignore_nulls",
    "Least": "this expressions ignore_nulls",
    "Count": "this expressions big_int",
    "CountIf": "this",
    "Sum": "this",
    "Avg": "this",
    "Min": "this",
    "Max": "this",
    "AnyValue": "this",
    "ArrayAgg": "this nulls_excluded",
    "GroupConcat": "this separator",
    "LogicalAnd": "this",
    "LogicalOr": "this",
    "Stddev": "this",
    "StddevSamp": "this",
    "StddevPop": "this",
    "Variance": "this",
    "VariancePop": "this",
    "RowNumber": "",
    "Rank": "",
    "DenseRank": "",
    "Lag": "this offset default",
    "Lead": "this offset default",
    "FirstValue": "this",
    "LastValue": "this",
    "Lower": "this",
    "Upper": "this",
    "Length": "this binary",
    "Replace": "this expression replacement",
    "StartsWith": "this expression",
    "EndsWith": "this expression",
    "StrPosition": "this substr",
    "RegexpLike": "this expression",
    "RegexpReplace": "this expression replacement",
    "MD5": "this",
    "MD5Digest": "this",
    "SHA2": "this length",
    "LowerHex": "this",
    "Split": "this expression",
    "Abs": "this",
    "CurrentDate": "",
    "CurrentTimestamp": "",
    "DateFromParts": "year month day",
    "TimeFromParts": "hour min sec",
    "TimestampFromParts": "year month day hour min sec",
    "Rand": "",
    "Uuid": "is_string",
    "ArraySize": "this",
    "ArrayToString": "this expression",
    "ParseJSON": "this is_literal",
    "JSONExtractScalar": "this expression only_json_types json_type scalar_only",
    "JSONPath": "expressions",
    "JSONPathKey": "this",
    "JSONPathSubscript": "this",
}

# Functions that are macros here: their parts in the macro's order; one with = is left away.
_MACROS = {
    "Sub": ("google_minus", "this expression"),
    "Div": ("google_divide", "this expression"),
    "IntDiv": ("google_div", "this expression"),
    "Mod": ("google_mod", "this expression"),
    "SafeDivide": ("google_safe_divide", "this expression"),
    "Trunc": ("google_trunc", "this"),
    "Ceil": ("google_ceil", "this"),
    "Floor": ("google_floor", "this"),
    "Sqrt": ("google_sqrt", "this"),
    "Exp": ("google_exp", "this"),
    "Pow": ("google_pow", "this expression"),
    "Ln": ("google_ln", "this"),
    "Left": ("google_left", "this expression"),
    "Right": ("google_right", "this expression"),
    "Repeat": ("google_repeat", "this times"),
    "ByteLength": ("google_byte_length", "this"),
    "Date": ("google_date", "this"),
    "Timestamp": ("google_timestamp", "this with_tz="),
    "TsOrDsToDatetime": ("google_datetime", "this"),
    "UnixDate": ("google_unix_date", "this"),
    "UnixSeconds": ("google_unix_seconds", "this"),
    "UnixMillis": ("google_unix_millis", "this"),
    "UnixMicros": ("google_unix_micros", "this"),
    "UnixToTime": ("google_from_seconds", "this"),
    "LastDay": ("google_last_day", "this"),
    "JSONExtract": ("google_json_query", "this expression only_json_types="),
}

_NO_NUMERIC = frozenset(
    (
        *("Avg", "Div", "IntDiv", "Mod", "Mul", "SafeDivide", "Round", "Trunc", "Ceil", "Floor"),
        *("Sqrt", "Exp", "Pow", "Ln", "Log", "GenerateSeries"),
        *("Stddev", "StddevSamp", "StddevPop", "Variance", "VariancePop"),
    )
)
_CASTS = {
    "BIGINT": "google_to_int64",
    "INT": "google_to_int64",
    "DOUBLE": "google_to_float64",
    "TEXT": "google_to_string",
    "VARCHAR": "google_to_string",
    "BOOLEAN": "google_to_bool",
    "DATE": "google_to_date",
    "TIME": "google_to_time",
    "DATETIME": "google_to_datetime",
    "TIMESTAMP": "google_to_datetime",
    "TIMESTAMPTZ": "google_to_timestamp",
    "DECIMAL": "google_to_numeric",
    "BINARY": "google_to_bytes",
    "VARBINARY": "google_to_bytes",
    "JSON": "google_to_json",
}
_WEEKDAYS = {
    day: number
    for number, day in enumerate(
        ("SUNDAY", "MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY")
    )
}
# Units: those of calendars, and those that are always as long, with their microseconds.
_MONTHS = {"MONTH": 1, "QUARTER": 3, "YEAR": 12}
_LENGTHS = {
    "MICROSECOND": 1,
    "MILLISECOND": 1_000,
    "SECOND": 1_000_000,
    "MINUTE": 60_000_000,
    "HOUR": 3_600_000_000,
    "DAY": 86_400_000_000,
}
_EXTRACTED = {
    **{unit: unit for unit in ("YEAR", "QUARTER", "MONTH", "DAY", "HOUR", "MINUTE", "SECOND")},
    "DAYOFYEAR": "DOY",
    "ISOYEAR": "ISOYEAR",
    "ISOWEEK": "WEEK",
}
# What formats of dates and times may be made of, and the parts of those that are read.
_WRITTEN = re.compile(r"(%[YmdHMSjyBbAa%]|[^%])*")
_READ = re.compile(r"(%[Ymd]|[-/., ])*")
_WHITE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)


def translate(tree: exp.Expr, columns: Iterable[Column]) -> None:
    """Put what DuckDB takes in the place of what BigQuery means, everywhere in a query.

    Args:
        columns: of the tables that it reads.

    Raises:
        NeighbourError: UNIMPLEMENTED for the first thing whose answer is not known to be right.
    """
    from sqlglot import exp

    numeric = _has_numeric(columns) or any(
        kind.is_type("decimal") for kind in tree.find_all(exp.DataType)
    )
    # What is inside first, so that what it is replaced by is not looked at again.
    for node in reversed(list(tree.walk())):
        name = type(node).__name__
        if numeric and name in _NO_NUMERIC:
            raise _refusal(f"{_shown(node)} where there are values of NUMERIC")
        special = _SPECIAL.get(name)
        if special is not None:
            special(node)
        elif name in _MACROS:
            _as_macro(node, *_MACROS[name])
        elif name in _PLAIN:
            _check_parts(node, _PLAIN[name])
        else:
            raise _refusal(_shown(node))


def _has_numeric(columns: Iterable[Column]) -> bool:
    return any(column.type == "NUMERIC" or _has_numeric(column.fields) for column in columns)


def _check_parts(node: exp.Expr, allowed: str) -> None:
    for part, value in node.args.items():
        if value not in (None, False, [], ()) and part not in allowed.split():
            raise _refusal(f"{_shown(node)} with {part.strip('_')}")


def _as_macro(node: exp.Expr, macro: str, parts: str) -> None:
    names = parts.split()
    _check_parts(node, parts.replace("=", ""))
    node.replace(_call(macro, *(node.args[part] for part in names if not part.endswith("="))))


def _call(macro: str, *arguments: Any) -> exp.Expr:
    from sqlglot import exp

    return exp.Anonymous(this=macro, expressions=list(arguments))


def _number(value: int) -> exp.Expr:
    from sqlglot import exp

    return exp.Literal.number(value)


def _text(value: str) -> exp.Expr:
    from sqlglot import exp

    return exp.Literal.string(value)


def _shown(node: exp.Expr) -> str:
    """What a node is called in a query."""
    from sqlglot import exp

    if isinstance(node, exp.Anonymous):
        name = str(node.this)
        return name.upper() if re.fullmatch(r"[\w.]{1,80}", name) else "this function"
    if isinstance(node, exp.Func):
        found = re.match(r"[\w.]+(?=\()", node.sql(dialect="bigquery"))
        return found[0] if found else node.sql_names()[0]
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(node).__name__).upper()


def _refusal(what: str) -> NeighbourError:
    return NeighbourError(
        "UNIMPLEMENTED",
        f"The emulator does not know the answers of BigQuery for {what}.",
    )


def _pass(_: exp.Expr) -> None:
    """Nothing to do: what it stands in says what becomes of it."""


def _literal(node: Any) -> None:
    """Numbers have the types that they have at BigQuery: INT64 and FLOAT64."""
    from sqlglot import exp

    if node.is_string or not isinstance(node.parent, exp.Expr):
        return
    whole = re.fullmatch(r"\d+", node.name) is not None
    places = (exp.Select, exp.Ordered, exp.Group, exp.Limit, exp.Offset, exp.WindowSpec)
    counted = (exp.Lag, exp.Lead, exp.DataTypeParam, exp.SHA2, exp.SHA2Digest, exp.Alias)
    if whole and isinstance(node.parent, (*places, *counted)):
        return
    # as a text, which keeps every digit
    node.replace(exp.cast(_text(node.name), "BIGINT" if whole else "DOUBLE", dialect="duckdb"))


def _null(node: Any) -> None:
    """The type of CONCAT is that of its texts; DuckDB has none for a null among them."""
    from sqlglot import exp

    if isinstance(node.parent, exp.Concat):
        node.replace(exp.cast(exp.Null(), "TEXT", dialect="duckdb"))


def _cast(node: Any) -> None:
    from sqlglot import exp

    if set(filter(node.args.get, node.args)) - {"this", "to", "safe", "_type"}:
        raise _refusal("CAST with a format")
    macro = None if node.to.expressions else _CASTS.get(node.to.this.name)
    if macro is None:
        raise _refusal(f"CAST AS {node.to.this.name}")
    strict = exp.false() if isinstance(node, exp.TryCast) else exp.true()
    node.replace(_call(macro, node.this, strict))


def _like(node: Any) -> None:
    from sqlglot import exp

    _check_parts(node, "this expression")
    if isinstance(node.expression, exp.Any | exp.All | exp.Tuple | exp.Array | exp.Paren):
        raise _refusal("LIKE with several patterns")
    node.replace(exp.Escape(this=node.copy(), expression=_text("\\")))


def _trim(node: Any) -> None:
    _check_parts(node, "this expression position")
    macro = {"LEADING": "ltrim", "TRAILING": "rtrim"}.get(str(node.args.get("position")), "trim")
    node.replace(_call(macro, node.this, node.args.get("expression") or _text(_WHITE)))


def _substring(node: Any) -> None:
    _check_parts(node, "this start length")
    length, start = node.args.get("length"), node.args["start"]
    if length is None:
        node.replace(_call("google_substr", node.this, start))
    else:
        node.replace(_call("google_substr_of", node.this, start, length))


def _round(node: Any) -> None:
    _check_parts(node, "this decimals")
    digits = node.args.get("decimals")
    if digits is None:
        node.replace(_call("google_round", node.this))
    else:
        node.replace(_call("google_round_to", node.this, digits))


def _range_of(node: Any) -> None:
    """GENERATE_ARRAY."""
    _check_parts(node, "start end step")
    step = node.args.get("step") or _number(1)
    node.replace(_call("google_range", node.args["start"], node.args["end"], step))


def _pad(node: Any) -> None:
    _check_parts(node, "this expression fill_pattern is_left")
    fill = node.args.get("fill_pattern") or _text(" ")
    macro = "google_lpad" if node.args.get("is_left") else "google_rpad"
    node.replace(_call(macro, node.this, node.expression, fill))


def _log(node: Any) -> None:
    """LOG(X, Y), which sqlglot keeps as base and number; LOG10."""
    _check_parts(node, "this expression")
    if node.expression is None:
        raise _refusal("LOG")
    node.replace(_call("google_log", node.expression, node.this))


def _regexp_extract(node: Any) -> None:
    _check_parts(
        node, "this expression group null_if_pos_overflow null_if_no_match empty_if_group_missing"
    )
    groups = None
    if node.expression.is_string or type(node.expression).__name__ == "RawString":
        try:
            groups = re.compile(str(node.expression.this)).groups
        except re.error:
            groups = None
    if groups is None or groups > 1:
        raise _refusal("REGEXP_EXTRACT with another pattern than a text of at most one group")
    found = _call("regexp_extract_all", node.this, node.expression, _number(groups))
    node.replace(_call("list_extract", found, _number(1)))


def _approx_distinct(node: Any) -> None:
    """The approximation of a count may be the count."""
    from sqlglot import exp

    _check_parts(node, "this")
    node.replace(exp.Count(this=exp.Distinct(expressions=[node.this]), big_int=True))


def _distinct(node: Any) -> None:
    from sqlglot import exp

    _check_parts(node, "expressions")
    if isinstance(node.parent, exp.Func) and len(node.expressions) > 1:
        raise _refusal("DISTINCT of several values")


def _limit(node: Any) -> None:
    from sqlglot import exp

    _check_parts(node, "this expression")
    if not isinstance(node.parent, exp.Select | exp.SetOperation | exp.Subquery):
        raise _refusal("LIMIT within a function")


def _window(node: Any) -> None:
    from sqlglot import exp

    _check_parts(node, _PLAIN["Window"])
    inner = node.this
    inner = inner.this if isinstance(inner, exp.IgnoreNulls) else inner
    if isinstance(inner, exp.ArrayAgg | exp.GroupConcat | exp.AnyValue):
        raise _refusal(f"{_shown(inner)} OVER")


def _ignore_nulls(node: Any) -> None:
    from sqlglot import exp

    if not isinstance(node.this, exp.ArrayAgg | exp.FirstValue | exp.LastValue):
        raise _refusal("IGNORE NULLS")


def _unnest(node: Any) -> None:
    """DuckDB takes the names in a table function's arguments for texts: not those of a SELECT."""
    from sqlglot import exp

    _check_parts(node, "expressions alias")
    for array in list(node.expressions):
        if array.find(exp.Anonymous) and not isinstance(node.parent, exp.In):
            array.replace(exp.Subquery(this=exp.Select(expressions=[array.copy()])))


def _struct(node: Any) -> None:
    from sqlglot import exp

    if not all(isinstance(part, exp.PropertyEQ) for part in node.expressions):
        raise _refusal("STRUCT with a member that has no name")


def _bracket(node: Any) -> None:
    from sqlglot import exp

    _check_parts(node, "this expressions offset safe")
    if len(node.expressions) != 1:
        raise _refusal("a slice")
    safe = exp.true() if node.args.get("safe") else exp.false()
    start = node.args.get("offset") or 0
    node.replace(_call("google_at", node.this, node.expressions[0], _number(1 - start), safe))


def _unit(node: Any, part: str = "unit") -> tuple[str, int]:
    """A unit by its name, and the day on which its weeks begin."""
    unit = node.args.get(part)
    name = str(getattr(unit, "name", "") or "DAY").upper()
    kind = type(unit).__name__
    if kind == "WeekStart" or name.startswith("WEEK("):
        day = name.removeprefix("WEEK(").rstrip(")")
        if day not in _WEEKDAYS:
            raise _refusal("this unit")
        return "WEEK", _WEEKDAYS[day]
    if kind not in {"Var", "Literal", "NoneType"}:
        raise _refusal("this unit")
    return ("WEEK", 1) if name == "ISOWEEK" else (name, 0)


def _extract(node: Any) -> None:
    from sqlglot import exp

    _check_parts(node, "this expression")
    if isinstance(node.this, exp.Var) and node.this.name.upper() == "ISOWEEK":
        unit, day = "ISOWEEK", 0
    else:
        unit, day = _unit(node, "this")
    value = node.expression
    if unit in _EXTRACTED:
        found: Any = _call("date_part", _text(_EXTRACTED[unit]), value)
    elif unit == "WEEK":
        found = _call("google_week", value, _number(day))
    elif unit == "DAYOFWEEK":
        found = _call("google_day_of_week", value)
    elif unit in {"MILLISECOND", "MICROSECOND"}:
        found = _call("google_part_of_second", _text(unit), value)
    elif unit == "DATE":
        found = _call("google_date", value)
    else:
        raise _refusal(f"EXTRACT({unit})")
    node.replace(found)


def _date_diff(node: Any) -> None:
    """How many boundaries are between two dates, or dates with times."""
    _check_parts(node, "this expression unit zone big_int date_part_boundary")
    dates = type(node).__name__ == "DateDiff"
    macro = "google_to_date" if dates else "google_to_datetime"
    ends = [_strict(macro, node.expression), _strict(macro, node.this)]
    unit, day = _unit(node)
    if unit == "WEEK":
        node.replace(_call("google_weeks", *ends, _number(day)))
    elif unit in {"DAY", *_MONTHS} or (not dates and unit in _LENGTHS):
        node.replace(_call("date_diff", _text(unit.lower()), *ends))
    else:
        raise _refusal(f"{_shown(node)} by {unit}")


def _timestamp_diff(node: Any) -> None:
    """How many whole units have gone by between two moments."""
    _check_parts(node, "this expression unit")
    unit, _ = _unit(node)
    if unit not in _LENGTHS:
        raise _refusal(f"TIMESTAMP_DIFF by {unit}")
    ends = [_strict("google_to_timestamp", part) for part in (node.this, node.expression)]
    node.replace(_call("google_elapsed", *ends, _number(_LENGTHS[unit])))


def _moved(to: str, units: Iterable[str], sign: int) -> Callable[[Any], None]:
    """DATE_ADD, TIMESTAMP_SUB and so on."""
    known = {*units}

    def rewrite(node: Any) -> None:
        from sqlglot import exp

        _check_parts(node, "this expression unit")
        unit, _ = _unit(node)
        if unit not in known:
            raise _refusal(f"{_shown(node)} by {unit}")
        amount = node.expression
        if amount.is_string:
            amount = exp.cast(amount, "BIGINT", dialect="duckdb")
        if sign < 0:
            amount = exp.Neg(this=exp.Paren(this=amount))
        if unit in _MONTHS:
            step = _call("google_months", amount, _number(_MONTHS[unit]))
        else:
            length = 7 * _LENGTHS["DAY"] if unit == "WEEK" else _LENGTHS[unit]
            step = _call("google_microseconds", amount, _number(length))
        found = exp.Paren(this=exp.Add(this=_strict(f"google_to_{to}", node.this), expression=step))
        node.replace(exp.cast(found, "DATE", dialect="duckdb") if to == "date" else found)

    return rewrite


def _truncated(to: str) -> Callable[[Any], None]:
    def rewrite(node: Any) -> None:
        from sqlglot import exp

        _check_parts(node, "this unit input_type_preserved")
        unit, day = _unit(node)
        value = _strict(f"google_to_{to}", node.this)
        if unit == "WEEK":
            if to != "date":
                raise _refusal(f"{_shown(node)} by {unit}")
            node.replace(_call("google_week_start", value, _number(day)))
            return
        if unit not in {"DAY", *_MONTHS} and (to == "date" or unit not in _LENGTHS):
            raise _refusal(f"{_shown(node)} by {unit}")
        found = _call("date_trunc", _text(unit.lower()), value)
        # date_trunc may give a date for a date with a time
        kind = {"date": "DATE", "datetime": "TIMESTAMP", "timestamp": "TIMESTAMPTZ"}[to]
        node.replace(exp.cast(found, kind, dialect="duckdb"))

    return rewrite


def _strict(macro: str, value: Any) -> exp.Expr:
    from sqlglot import exp

    return _call(macro, value, exp.true())


def _written(node: Any) -> None:
    """FORMAT_DATE, FORMAT_DATETIME, FORMAT_TIMESTAMP."""
    _check_parts(node, "this format")
    form = node.args["format"]
    if not form.is_string or not _WRITTEN.fullmatch(form.name):
        raise _refusal("this format of a date or time")
    node.replace(_call("strftime", node.this, form))


def _inner(macro: str) -> Callable[[Any], None]:
    """What sqlglot puts around a date or time that is written."""

    def rewrite(node: Any) -> None:
        _check_parts(node, "this")
        node.replace(_strict(macro, node.this))

    return rewrite


def _parse_date(node: Any) -> None:
    from sqlglot import exp

    _check_parts(node, "this format default_year safe")
    form = node.args["format"]
    parts = sorted(re.findall("%.", form.name))
    if not form.is_string or not _READ.fullmatch(form.name) or parts != ["%Y", "%d", "%m"]:
        raise _refusal("PARSE_DATE with another format than one of %Y, %m and %d")
    node.replace(exp.cast(_call("strptime", node.this, form), "DATE", dialect="duckdb"))


def _hash(node: Any) -> None:
    _check_parts(node, "this length")
    if node.args.get("length") is not None and node.args["length"].name != "256":
        raise _refusal("this hash")


_SPECIAL: dict[str, Callable[[Any], None]] = {
    **dict.fromkeys(("Var", "DataType", "WeekStart", "JSONPathRoot"), _pass),
    "ApproxDistinct": _approx_distinct,
    "Bracket": _bracket,
    "Cast": _cast,
    "DateAdd": _moved("date", ("DAY", "WEEK", *_MONTHS), 1),
    "DateDiff": _date_diff,
    "DateSub": _moved("date", ("DAY", "WEEK", *_MONTHS), -1),
    "DateTrunc": _truncated("date"),
    "DatetimeAdd": _moved("datetime", ("WEEK", *_MONTHS, *_LENGTHS), 1),
    "DatetimeDiff": _date_diff,
    "DatetimeSub": _moved("datetime", ("WEEK", *_MONTHS, *_LENGTHS), -1),
    "DatetimeTrunc": _truncated("datetime"),
    "Distinct": _distinct,
    "Extract": _extract,
    "GenerateSeries": _range_of,
    "IgnoreNulls": _ignore_nulls,
    "Like": _like,
    "Limit": _limit,
    "Literal": _literal,
    "Log": _log,
    "Null": _null,
    "Pad": _pad,
    "RegexpExtract": _regexp_extract,
    "Round": _round,
    "SHA2": _hash,
    "SHA2Digest": _hash,
    "StrToDate": _parse_date,
    "Struct": _struct,
    "Substring": _substring,
    "TimeToStr": _written,
    "TimestampAdd": _moved("timestamp", _LENGTHS, 1),
    "TimestampDiff": _timestamp_diff,
    "TimestampSub": _moved("timestamp", _LENGTHS, -1),
    "TimestampTrunc": _truncated("timestamp"),
    "Trim": _trim,
    "TryCast": _cast,
    "TsOrDsToDate": _inner("google_to_date"),
    "TsOrDsToTimestamp": _inner("google_to_timestamp"),
    "Unnest": _unnest,
    "Window": _window,
}
