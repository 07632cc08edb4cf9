"""Questions of planning about columns, asked where their failure ends no transaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from dicomsql.language.lexer import Kind, identifier_value, lex
from dicomsql.planning.values import quoted

if TYPE_CHECKING:
    from dicomsql.engine.duck import Engine, Values
    from dicomsql.language.lexer import Token

__all__ = ["asked_apart"]

# Those of the connection and of its schema first.
_COLUMNS = """
    SELECT lower(database_name), lower(schema_name), lower(table_name), column_name, data_type
    FROM duckdb_columns() WHERE NOT internal
    ORDER BY database_name = 'temp' DESC, database_name = current_database() DESC,
        list_position(list_prepend(current_schema(), current_schemas(false)), schema_name),
        column_index
"""
_MAIN = "main"

# Names of a table: of its database, its schema and itself.
_Whole = tuple[str, str, str]


def asked_apart(
    engine: Engine, spare: Engine, names: Sequence[str], sql: str, values: Values
) -> object:
    """The value of a question about columns.

    Args:
        engine: has the tables.
        spare: another one, which gets tables without rows in their place.
        names: lower-case names of the tables, without their schemas.

    Raises:
        DatabaseError: the question has no answer.
    """
    tables: dict[_Whole, list[str]] = {}
    for database, schema, table, column, kind in engine.rows(_COLUMNS) if names else ():
        if table in names:
            whole = str(database), str(schema), str(table)
            tables.setdefault(whole, []).append(f"{quoted(str(column))} {kind}")
    stand_ins: dict[_Whole, str] = {}
    for whole in tables:
        taken = whole[2] in stand_ins.values()
        stand_ins[whole] = ".".join(whole) if taken else whole[2]
    made: list[str] = []
    try:
        for whole, columns in tables.items():
            name = quoted(stand_ins[whole])
            spare.rows(f"CREATE TEMP TABLE {name} ({', '.join(columns)})")
            made.append(name)
        return spare.value(_renamed(sql, stand_ins), values)
    finally:
        for name in made:
            spare.rows(f"DROP TABLE temp.{name}")


def _renamed(sql: str, stand_ins: Mapping[_Whole, str]) -> str:
    """A text with its tables of schemas replaced by what stands for them."""
    spelled: dict[tuple[str, ...], str] = {}
    for (database, schema, table), name in stand_ins.items():
        meant = f"temp.main.{quoted(name)}"
        spelled.setdefault((database, schema, table), meant)
        spelled.setdefault((schema, table), meant)
        if schema == _MAIN:
            spelled.setdefault((database, table), meant)
    text = sql
    for start, end, parts in reversed(list(_dotted(lex(sql)))):
        for length in (3, 2):
            found = spelled.get(tuple(parts[:length])) if len(parts) >= length else None
            if found is not None:
                rest = "".join(f".{quoted(part)}" for part in parts[length:])
                text = f"{text[:start]}{found}{rest}{text[end:]}"
                break
    return text


def _dotted(tokens: Sequence[Token]) -> Iterator[tuple[int, int, list[str]]]:
    """(start, end, lower-case parts) of the names with dots."""
    at = 0
    while at < len(tokens):
        first = tokens[at]
        at += 1
        if first.kind not in {Kind.WORD, Kind.QUOTED}:
            continue
        last, parts = first, [_part(first)]
        while (
            at + 1 < len(tokens)
            and tokens[at].is_operator(".")
            and tokens[at + 1].kind in {Kind.WORD, Kind.QUOTED}
        ):
            last = tokens[at + 1]
            parts.append(_part(last))
            at += 2
        if len(parts) > 1:
            yield first.start, last.end, parts


def _part(token: Token) -> str:
    text = identifier_value(token.text) if token.kind is Kind.QUOTED else token.text
    return text.lower()
