"""Words that fit at a place of a statement, the likely ones first. Data alone."""

from __future__ import annotations

from dicomsql.language.lexer import words

__all__ = [
    "AFTER_JOIN_WORD",
    "CLAUSES",
    "COMPARISONS",
    "FOLLOWERS",
    "JOINS",
    "KEYWORDS",
    "OPENERS",
    "OPERANDS",
    "QUERY_WORDS",
    "SETS",
    "STATEMENTS",
    "TYPES",
]

Phrases = tuple[str, ...]

# What a statement begins with, as often as it is.
STATEMENTS: Phrases = (
    *("SELECT", "WITH", "SHOW", "DESCRIBE", "EXPLAIN", "EXPLAIN ANALYZE", "USE", "SET"),
    *("INSERT INTO", "UPDATE", "DELETE FROM", "REPLACE", "EXEC", "COPY", "FROM"),
    *("CREATE VIEW", "CREATE TABLE"),
    *("CREATE OR REPLACE VIEW", "CREATE MATERIALIZED VIEW", "REFRESH MATERIALIZED VIEW"),
    *("DROP VIEW", "DROP TABLE", "DROP MATERIALIZED VIEW", "ALTER TABLE", "RESET", "VALUES"),
    *("PIVOT", "UNPIVOT", "SUMMARIZE", "BEGIN", "COMMIT", "ROLLBACK", "MERGE INTO", "TRUNCATE"),
    *("PREPARE", "EXECUTE", "ATTACH", "DETACH", "CALL", "PRAGMA", "VACUUM", "CHECKPOINT", "TABLE"),
)  # fmt: skip

# What a query in brackets begins with.
QUERY_WORDS: Phrases = ("SELECT", "WITH", "FROM", "VALUES")

SETS: Phrases = ("UNION ALL", "UNION", "EXCEPT", "INTERSECT")
JOINS: Phrases = (
    *("JOIN", "LEFT JOIN", "INNER JOIN", "FULL JOIN", "RIGHT JOIN", "CROSS JOIN", "SEMI JOIN"),
    *("ANTI JOIN", "ASOF JOIN", "NATURAL JOIN", "LATERAL"),
)
_ENDS: Phrases = ("GROUP BY", "ORDER BY", "LIMIT", "HAVING", "QUALIFY", *SETS)

# What compares the operand before it.
COMPARISONS: Phrases = (
    *("IN (", "IS NULL", "IS NOT NULL", "LIKE", "BETWEEN", "NOT IN (", "ILIKE", "NOT LIKE"),
    *("IS DISTINCT FROM", "SIMILAR TO"),
)

# Clause -> what may follow a whole operand (or table) in it.
CLAUSES: dict[str, Phrases] = {
    "SELECT": ("FROM", "AS", "OVER (", "FILTER (", "WHERE", "INTO", *_ENDS),
    "FROM": ("WHERE", *JOINS, "AS", *_ENDS, "SAMPLE", "WINDOW"),
    "JOIN": ("ON", "USING (", "AS", *JOINS, "WHERE", *_ENDS),
    "ON": ("AND", "OR", *JOINS, "WHERE", *_ENDS),
    "USING": (*JOINS, "WHERE", *_ENDS),
    "WHERE": ("AND", "OR", *_ENDS, "RETURNING"),
    "GROUP": ("HAVING", "ORDER BY", "LIMIT", *SETS),
    "HAVING": ("AND", "OR", "ORDER BY", "LIMIT", *SETS),
    "QUALIFY": ("AND", "OR", "ORDER BY", "LIMIT", *SETS),
    "ORDER": ("DESC", "ASC", "NULLS LAST", "NULLS FIRST", "LIMIT", *SETS),
    "PARTITION": ("ORDER BY", "ROWS BETWEEN", "RANGE BETWEEN"),
    "LIMIT": ("OFFSET", *SETS),
    "OFFSET": SETS,
    "SET": ("WHERE", "RETURNING"),
    "RETURNING": ("AS",),
    "INTO": ("SELECT", "VALUES", "BY NAME"),
    "VALUES": ("RETURNING",),
    "WITH": ("AS (", "AS MATERIALIZED (", *QUERY_WORDS, "INSERT INTO", "UPDATE", "DELETE FROM"),
    "UPDATE": ("SET", "AS"),
    "DELETE": ("WHERE", "RETURNING"),
    "CASE": ("WHEN", "THEN", "ELSE", "END"),
}

# Words that want certain others behind them.
FOLLOWERS: dict[str, Phrases] = {
    "GROUP": ("BY", "BY ALL"),
    "ORDER": ("BY", "BY ALL"),
    "PARTITION": ("BY",),
    "IS": ("NULL", "NOT NULL", "DISTINCT FROM", "NOT DISTINCT FROM", "TRUE", "FALSE"),
    "NULLS": ("LAST", "FIRST"),
    "INSERT": ("INTO",),
    "MERGE": ("INTO",),
    "DELETE": ("FROM",),
    "SIMILAR": ("TO",),
    "UNION": ("ALL", "BY NAME", *QUERY_WORDS),
    "EXCEPT": ("ALL", *QUERY_WORDS),
    "INTERSECT": ("ALL", *QUERY_WORDS),
    "EXPLAIN": ("ANALYZE", "(FORMAT json)"),
}
AFTER_JOIN_WORD: dict[str, Phrases] = {
    "LEFT": ("JOIN", "OUTER JOIN"),
    "RIGHT": ("JOIN", "OUTER JOIN"),
    "FULL": ("JOIN", "OUTER JOIN"),
    **dict.fromkeys(("INNER", "OUTER", "CROSS", "SEMI", "ANTI", "ASOF", "NATURAL"), ("JOIN",)),
    "NATURAL": ("JOIN", "LEFT JOIN"),
}

# What an operand may begin with, besides names.
OPERANDS: Phrases = (
    *("NOT", "CASE WHEN", "EXISTS (", "NULL", "TRUE", "FALSE", "DATE", "TIMESTAMP", "INTERVAL"),
    *("CAST(", "TRY_CAST("),
)  # fmt: skip

# Clause -> what may stand at its very beginning, besides operands.
OPENERS: dict[str, Phrases] = {
    "SELECT": ("DISTINCT", "*", "DISTINCT ON ("),
    "GROUP": ("ALL",),
    "ORDER": ("ALL",),
    "RETURNING": ("*",),
}

TYPES: Phrases = (
    *("VARCHAR", "DATE", "TIMESTAMP", "TIMESTAMPTZ", "TIME", "INTEGER", "BIGINT", "DOUBLE"),
    *("DECIMAL", "BOOLEAN", "JSON", "BLOB", "UUID", "INTERVAL", "UBIGINT", "HUGEINT"),
)

# Words that are no alias, and no operand by themselves.
KEYWORDS = words(
    "SELECT FROM WHERE AND OR NOT IN IS LIKE ILIKE BETWEEN EXISTS ON USING JOIN INNER LEFT RIGHT "
    "FULL OUTER CROSS NATURAL LATERAL SEMI ANTI ASOF POSITIONAL GROUP BY HAVING QUALIFY ORDER ASC "
    "DESC NULLS LIMIT OFFSET UNION ALL EXCEPT INTERSECT DISTINCT AS CASE WHEN THEN ELSE INTO "
    "VALUES SET RETURNING RECURSIVE OVER PARTITION WITH FILTER EXCLUDE WINDOW SAMPLE SIMILAR TO "
    "ESCAPE ANY SOME UPDATE DELETE INSERT REPLACE MATERIALIZED TABLESAMPLE GLOB COLLATE"
)
