"""What GoogleSQL's functions are in DuckDB's SQL, where DuckDB's own do something else.

Each is a macro that takes its arguments as a row `v` of one, so that none of them is evaluated, or
even written, more than once. `typeof` is known when a query is bound: a CASE over it has one way.
"""

from __future__ import annotations

__all__ = ["MACROS", "SAID"]

# How an error of a macro begins; what follows is for people and quotes nothing.
SAID = "google: "

_DAY_FORM = r"\d{4}-\d{1,2}-\d{1,2}"
_TIME_FORM = r"\d{1,2}:\d{1,2}:\d{1,2}(\.\d{1,6})?"
_INTEGERS = ("BIGINT", "INTEGER", "HUGEINT", "TINYINT", "SMALLINT", "UBIGINT", "UINTEGER")
_MOMENTS = ("TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "DATE")
_LONGEST = 1_048_576  # bytes of a text that is made here, and members of an array, as at BigQuery


def _error(text: str) -> str:
    return f"error('{SAID}{text}')"


def _macro(name: str, parameters: str, body: str) -> str:
    names = parameters.split()
    row = ", ".join(f"'{name}': _{name}" for name in names)
    head = ", ".join(f"_{name}" for name in names)
    return f"{name}({head}) AS list_extract(list_transform([{{{row}}}], lambda v: {body}), 1)"


def _same(kind: str, *types: str) -> str:
    return " ".join(f"WHEN '{name}' THEN TRY_CAST(v.x AS {kind})" for name in types)


def _of_text(pattern: str, kind: str) -> str:
    """A text as a value, where it has one of the forms that BigQuery reads."""
    text = "CAST(v.x AS VARCHAR)"
    return (
        f"WHEN 'VARCHAR' THEN CASE WHEN regexp_full_match({text}, '{pattern}', 'i')"
        f" THEN TRY_CAST({text} AS {kind}) END"
    )


def _cast(name: str, target: str, *cases: str) -> str:
    """A CAST, or a SAFE_CAST, which gives null for what cannot be cast."""
    joined = " ".join(cases)
    unknown = _error(f"the emulator does not know how BigQuery casts this type to {target}")
    failed = _error(f"a value cannot be cast to {target}")
    cast = f"CASE typeof(v.x) {joined} ELSE {unknown} END"
    return _macro(
        name,
        "x strict",
        f"CASE WHEN v.x IS NULL THEN NULL WHEN v.strict THEN coalesce({cast}, {failed})"
        f" ELSE {cast} END",
    )


def _whole_seconds(kind: str) -> str:
    """How fractions of seconds are written as STRING differs between the two."""
    fraction = f"date_part('us', TRY_CAST(v.x AS {kind})) % 1000000"
    refused = _error("the emulator casts no fractions of seconds to STRING")
    return f"CASE WHEN {fraction} = 0 THEN CAST(v.x AS VARCHAR) ELSE {refused} END"


def _unless(condition: str, text: str, value: str) -> str:
    return f"CASE WHEN {condition} THEN {_error(text)} ELSE {value} END"


def _floored(unit: int) -> str:
    micros = "epoch_us(google_to_timestamp(_x, true))"
    return f"CAST(floor({micros} / {unit}) AS BIGINT)" if unit > 1 else micros


_X = "CAST(v.x AS DOUBLE)"
_FROM = "CASE WHEN v.p = 0 OR v.p < -length(v.s) THEN 1 ELSE v.p END"

MACROS = (
    _cast(
        "google_to_int64",
        "INT64",
        "WHEN 'DOUBLE' THEN TRY_CAST(round(TRY_CAST(v.x AS DOUBLE)) AS BIGINT)",
        _same("BIGINT", "BOOLEAN", "DECIMAL(38,9)", *_INTEGERS),
        _of_text(r"\s*[+-]?(\d+|0x[0-9a-f]+)\s*", "BIGINT"),
    ),
    _cast(
        "google_to_float64",
        "FLOAT64",
        _same("DOUBLE", "DOUBLE", "DECIMAL(38,9)", *_INTEGERS),
        _of_text(r"\s*[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf|infinity|nan)\s*", "DOUBLE"),
    ),
    _cast(
        "google_to_string",
        "STRING",
        _same("VARCHAR", "VARCHAR", "BOOLEAN", "DATE", *_INTEGERS),
        "WHEN 'BLOB' THEN decode(TRY_CAST(v.x AS BLOB))",
        f"WHEN 'TIMESTAMP' THEN {_whole_seconds('TIMESTAMP')}",
        f"WHEN 'TIMESTAMP WITH TIME ZONE' THEN {_whole_seconds('TIMESTAMPTZ')}",
    ),
    _cast(
        "google_to_bool",
        "BOOL",
        _same("BOOLEAN", "BOOLEAN", *_INTEGERS),
        _of_text("true|false", "BOOLEAN"),
    ),
    _cast("google_to_date", "DATE", _same("DATE", *_MOMENTS), _of_text(_DAY_FORM, "DATE")),
    _cast(
        "google_to_datetime",
        "DATETIME",
        _same("TIMESTAMP", *_MOMENTS),
        _of_text(f"{_DAY_FORM}([ T]{_TIME_FORM})?", "TIMESTAMP"),
    ),
    _cast(
        "google_to_timestamp",
        "TIMESTAMP",
        _same("TIMESTAMPTZ", *_MOMENTS),
        _of_text(rf"{_DAY_FORM}([ T]{_TIME_FORM})?( UTC|Z|[+-]\d\d(:\d\d)?)?", "TIMESTAMPTZ"),
    ),
    _cast("google_to_time", "TIME", _same("TIME", "TIME"), _of_text(_TIME_FORM, "TIME")),
    _cast(
        "google_to_numeric",
        "NUMERIC",
        _same("DECIMAL(38,9)", "DECIMAL(38,9)", *_INTEGERS),
        _of_text(r"\s*[+-]?(\d+\.?\d{0,9}|\.\d{1,9})\s*", "DECIMAL(38,9)"),
    ),
    _cast(
        "google_to_bytes",
        "BYTES",
        _same("BLOB", "BLOB"),
        "WHEN 'VARCHAR' THEN encode(CAST(v.x AS VARCHAR))",
    ),
    _cast("google_to_json", "JSON", _same("JSON", "JSON")),
    # numbers
    _macro("google_divide", "a b", _unless("v.b = 0", "division by zero", "v.a / v.b")),
    _macro(
        "google_minus",
        "a b",
        _unless(
            "typeof(v.a) = 'DATE' AND typeof(v.b) = 'DATE'",
            "the emulator has no intervals; use DATE_DIFF",
            "v.a - v.b",
        ),
    ),
    _macro("google_div", "a b", _unless("v.b = 0", "division by zero", "v.a // v.b")),
    _macro("google_mod", "a b", _unless("v.b = 0", "division by zero", "v.a % v.b")),
    _macro("google_safe_divide", "a b", "CASE WHEN v.b <> 0 THEN v.a / v.b END"),
    _macro("google_round", "x", f"round({_X})"),
    _macro("google_round_to", "x n", f"round({_X}, CAST(v.n AS INTEGER))"),
    _macro("google_trunc", "x", f"trunc({_X})"),
    _macro("google_ceil", "x", f"ceil({_X})"),
    _macro("google_floor", "x", f"floor({_X})"),
    _macro("google_sqrt", "x", _unless("v.x < 0", "a root of less than zero", f"sqrt({_X})")),
    _macro("google_exp", "x", _unless(f"isinf(exp({_X}))", "too large a number", f"exp({_X})")),
    _macro(
        "google_pow",
        "x y",
        _unless(
            f"NOT isfinite(pow({_X}, CAST(v.y AS DOUBLE)))",
            "POW has no result here",
            f"pow({_X}, CAST(v.y AS DOUBLE))",
        ),
    ),
    _macro("google_ln", "x", _unless("v.x <= 0", "a logarithm of zero or less", f"ln({_X})")),
    _macro(
        "google_log",
        "x b",
        _unless(
            "v.x <= 0 OR v.b <= 0 OR v.b = 1",
            "a logarithm of zero or less, or to no base",
            f"log(CAST(v.b AS DOUBLE), {_X})",
        ),
    ),
    # texts
    _macro("google_substr", "s p", f"substring(v.s, {_FROM})"),
    _macro(
        "google_substr_of",
        "s p n",
        _unless("v.n < 0", "a length below zero", f"substring(v.s, {_FROM}, v.n)"),
    ),
    *(
        _macro(
            f"google_{name}",
            "s n",
            _unless("v.n < 0", "a length below zero", f"{name}(v.s, v.n)"),
        )
        for name in ("left", "right")
    ),
    *(
        _macro(
            f"google_{name}",
            "s n f",
            f"CASE WHEN v.n < 0 OR v.f = '' THEN {_error('no length, or no pattern')}"
            f" WHEN v.n > {_LONGEST} THEN {_error('a text of more than 1 MB')}"
            f" ELSE {name}(v.s, CAST(v.n AS INTEGER), v.f) END",
        )
        for name in ("lpad", "rpad")
    ),
    _macro(
        "google_repeat",
        "s n",
        f"CASE WHEN v.n < 0 THEN {_error('a number below zero')}"
        f" WHEN v.n > {_LONGEST} OR strlen(v.s) * v.n > {_LONGEST}"
        f" THEN {_error('a text of more than 1 MB')} ELSE repeat(v.s, v.n) END",
    ),
    "google_byte_length(_x) AS octet_length(google_to_bytes(_x, true))",
    # arrays and JSON
    _macro(
        "google_range",
        "a b s",
        f"CASE WHEN v.s = 0 THEN {_error('a step of zero')}"
        f" WHEN (v.b::HUGEINT - v.a::HUGEINT) // v.s >= {_LONGEST - 1}"
        f" THEN {_error('an array of more than 1048575 members')}"
        " ELSE generate_series(v.a::BIGINT, v.b::BIGINT, v.s::BIGINT) END",
    ),
    _macro(
        "google_at",
        "a i b safe",
        f"CASE WHEN typeof(v.a) NOT LIKE '%[]' THEN {_error('members of arrays only')}"
        " WHEN v.i + v.b BETWEEN 1 AND len(v.a) THEN list_extract(v.a, v.i + v.b)"
        " WHEN NOT v.safe AND v.a IS NOT NULL AND v.i IS NOT NULL"
        f" THEN {_error('array index out of bounds')} END",
    ),
    _macro(
        "google_json_query",
        "j p",
        "CASE typeof(v.j) WHEN 'JSON' THEN json_extract(v.j, v.p)"
        f" ELSE {_error('the emulator queries only JSON by JSON_QUERY')} END",
    ),
    # dates and times
    "google_date(_x) AS google_to_date(_x, true)",
    "google_timestamp(_x) AS google_to_timestamp(_x, true)",
    "google_datetime(_x) AS google_to_datetime(_x, true)",
    "google_unix_date(_x) AS date_diff('day', DATE '1970-01-01', google_to_date(_x, true))",
    f"google_unix_seconds(_x) AS {_floored(1_000_000)}",
    f"google_unix_millis(_x) AS {_floored(1_000)}",
    f"google_unix_micros(_x) AS {_floored(1)}",
    "google_from_seconds(_x) AS to_timestamp(CAST(CAST(_x AS BIGINT) AS DOUBLE))",
    "google_last_day(_x) AS last_day(google_to_date(_x, true))",
    _macro(
        "google_week",
        "x d",
        "CAST((date_part('doy', v.x) + 6 - (date_part('dow', v.x) - v.d + 7) % 7) // 7 AS BIGINT)",
    ),
    "google_part_of_second(_u, _x) AS date_part(_u, _x)"
    " % CASE _u WHEN 'MILLISECOND' THEN 1000 ELSE 1000000 END",
    "google_day_of_week(_x) AS date_part('dow', _x) + 1",
    _macro(
        "google_week_start",
        "x d",
        "CAST(v.x - CAST((date_part('dow', v.x) - v.d + 7) % 7 AS INTEGER) AS DATE)",
    ),
    "google_weeks(_a, _b, _d) AS date_diff('day', google_week_start(CAST(_a AS DATE), _d),"
    " google_week_start(CAST(_b AS DATE), _d)) // 7",
    "google_elapsed(_a, _b, _u) AS (epoch_us(_a) - epoch_us(_b)) // _u",
    "google_months(_n, _m) AS to_months(CAST(_n * _m AS INTEGER))",
    "google_microseconds(_n, _u) AS to_microseconds(CAST(_n * _u AS BIGINT))",
)
