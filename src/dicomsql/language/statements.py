"""What the parser gives: one frozen value for each statement, with its place in the text.

A statement keeps the user's own text wherever a query or an expression stands (`Fragment`), since
the engine runs that text and not one that a printer made again from a syntax tree. Positions are
offsets into the text that was parsed, after the placeholders were filled.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Fragment:
    """A piece of the user's text: a query, an expression, a condition.

    Attributes:
        text: the piece itself, comments included.
        start: its offset in the whole text.
    """

    text: str
    start: int


@dataclass(frozen=True)
class Name:
    """A dotted name as written, quotes removed: `google.healthcare.dicom_stores`.

    As a text it is as `dotted` has it.
    """

    parts: tuple[str, ...]
    start: int

    def __str__(self) -> str:
        return dotted(self.parts)


def dotted(parts: Iterable[str]) -> str:
    """The parts of a name as one text, by which it is told from all others.

    A part that holds a dot stands in quotes: the table "a.b" is not b in the schema a.
    """
    return ".".join(f'"{part}"' if "." in part else part for part in parts)


@dataclass(frozen=True)
class Statement:
    """The base of all statements.

    Attributes:
        source: the whole text that was parsed, for error messages.
        start, end: offsets of the statement in it (comments around it and the `;` left out).
        hints: hint words in upper case (`AWAIT`, `SHOWRESULTS`, `REQUIRED`, ...).
    """

    source: str
    start: int
    end: int
    hints: frozenset[str]

    @property
    def text(self) -> str:
        return self.source[self.start : self.end]


@dataclass(frozen=True)
class Query(Statement):
    """SELECT, WITH, FROM, VALUES, PIVOT, ... : whatever gives rows."""

    query: Fragment


@dataclass(frozen=True)
class Insert(Statement):
    """[with_] INSERT INTO target (columns) query RETURNING returning.

    Attributes:
        with_: `WITH` and table expressions before it.
    """

    target: Name
    columns: tuple[Name, ...]
    query: Fragment
    returning: Fragment | None
    with_: Fragment | None = None


@dataclass(frozen=True)
class Assignment:
    """`name = expression`; the name may have members: `labels.env`."""

    target: Name
    value: Fragment


@dataclass(frozen=True)
class Update(Statement):
    """[with_] UPDATE (verb `update`) or REPLACE (verb `replace`)."""

    verb: str
    target: Name
    alias: str
    assignments: tuple[Assignment, ...]
    where: Fragment | None
    returning: Fragment | None
    with_: Fragment | None = None


@dataclass(frozen=True)
class Delete(Statement):
    """[with_] DELETE FROM target WHERE where RETURNING returning."""

    target: Name
    alias: str
    where: Fragment | None
    returning: Fragment | None
    with_: Fragment | None = None


@dataclass(frozen=True)
class Exec(Statement):
    """EXEC provider.service.resource.method @a = 'x', ... @@json = '...'.

    Attributes:
        target: the method's name, all four parts (or fewer after USE).
        variables: (name, value expression) of the `@` variables.
        payloads: (name, value expression) of the `@@` variables, such as `json`, `file`, `output`.
        returning: columns of what comes back.
    """

    target: Name
    variables: tuple[tuple[str, Fragment], ...]
    payloads: tuple[tuple[str, Fragment], ...]
    returning: Fragment | None


@dataclass(frozen=True)
class CopyIn(Statement):
    """COPY target FROM origin (options) RETURNING returning.

    Attributes:
        origin: an expression for paths, or a query in brackets (then `queried`, and the fragment
            is what stands in them).
        options: (name, value expression) as written; the value of a bare name is empty.
    """

    target: Name
    origin: Fragment
    queried: bool
    options: tuple[tuple[str, Fragment], ...]
    returning: Fragment | None


@dataclass(frozen=True)
class CopyOut(Statement):
    """COPY (query) TO destination (options) RETURNING returning; options as for `CopyIn`."""

    query: Fragment
    destination: Fragment
    options: tuple[tuple[str, Fragment], ...]
    returning: Fragment | None


@dataclass(frozen=True)
class Show(Statement):
    """SHOW PROVIDERS | SERVICES IN p | RESOURCES IN p.s | METHODS IN p.s.r | INSERT INTO r.

    Attributes:
        kind: `providers`, `services`, `resources`, `methods`, `insert`, `version`, `auth`, `views`.
        like: pattern of LIKE, or None.
        where: condition on the result's columns, or None.
    """

    kind: str
    target: Name | None
    extended: bool
    like: str | None
    where: Fragment | None


@dataclass(frozen=True)
class Describe(Statement):
    """DESCRIBE [EXTENDED] r [column, ...] [LIKE 'pattern'], or DESCRIBE METHOD [EXTENDED] r.m.

    Attributes:
        method: the target is a method.
        columns: the columns that are asked for, as written; empty for the usual ones.
        like: pattern of the columns' names, or None.
    """

    target: Name
    extended: bool
    method: bool
    columns: tuple[Fragment, ...] = ()
    like: str | None = None


@dataclass(frozen=True)
class Use(Statement):
    """USE provider[.service[.resource]]."""

    target: Name


@dataclass(frozen=True)
class Set(Statement):
    """SET name = value, or RESET name (then `value` is None)."""

    name: str
    value: Fragment | None


@dataclass(frozen=True)
class Explain(Statement):
    """EXPLAIN [ANALYZE] [(FORMAT json)] statement.

    Attributes:
        format: `text` or `json`.
    """

    analyze: bool
    format: str
    statement: Statement


@dataclass(frozen=True)
class CreateView(Statement):
    """CREATE [OR REPLACE] [TEMP] [MATERIALIZED] VIEW [IF NOT EXISTS] target (columns) AS query.

    Attributes:
        columns: names that the query's columns get; empty where they keep theirs.
    """

    target: Name
    columns: tuple[Name, ...]
    query: Fragment
    replace: bool = False
    temporary: bool = False
    materialized: bool = False
    if_not_exists: bool = False


@dataclass(frozen=True)
class MaterializedView(Statement):
    """REFRESH MATERIALIZED VIEW target, or DROP MATERIALIZED VIEW [IF EXISTS] target.

    Attributes:
        verb: `refresh` or `drop`.
    """

    verb: str
    target: Name
    if_exists: bool = False


@dataclass(frozen=True)
class Engine(Statement):
    """A statement of the engine alone: CREATE TABLE, DROP, PRAGMA, ...

    Attributes:
        form: words for what resources do not have of it; empty where it names none.
        target: what it writes in that form.
    """

    fragment: Fragment
    form: str = ""
    target: Name | None = None
