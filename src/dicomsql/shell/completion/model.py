"""What a place of a text is for: what reading gives, and what candidates are found by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from dicomsql.shell.completion.nesting import Typed
from dicomsql.shell.completion.scope import Comparison, Derived, Table

__all__ = ["Place", "Want"]


class Want(Enum):
    """What may stand at a place."""

    WORDS = "words"
    TABLES = "resources and local tables"
    COLUMNS = "columns"
    CONDITIONS = "columns, required parameters first"
    ALIASES = "tables of the query"
    FUNCTIONS = "functions"
    VALUES = "values of a column"
    METHODS = "methods of resources"
    VARIABLES = "parameters of a method"
    FILES = "files"
    SETTINGS = "settings"
    SETTING_VALUES = "values of a setting"
    OPTIONS = "options of COPY"
    OPTION_VALUES = "values of an option of COPY"
    META = "meta-commands"
    META_ARGUMENTS = "arguments of a meta-command"
    CHOICES = "what is offered as it is"
    PATHS = "files, without quotes"


@dataclass(frozen=True, slots=True)
class Place:
    """What may be typed where the cursor stands.

    Attributes:
        wants: what may stand there, what is likelier first.
        typed: what is typed of it.
        words: keywords that fit, the likely ones first.
        verb: what the tables are for: `select`, `insert`, `update`, `replace`, `delete`, or
            nothing for any.
        depth: parts that a name has at most: 1 for a provider alone, 3 for a resource.
        tables: of the query, and then of those around it.
        derived: names that WITH gives, in lower case.
        compared: what the query says by `=` and IN.
        equal: name in lower case -> text that the whole statement sets it equal to.
        subject: what a value is for: the parts of a column, the name of a method, setting, option
            or meta-command.
        given: names in lower case that are there already and are not offered again.
        copies: `in` or `out`, for options of COPY.
        text: of a meta-command's arguments.
        choices: (text, description) of what is offered as it is.
        raw: values stand without quotes.
    """

    wants: tuple[Want, ...]
    typed: Typed
    words: tuple[str, ...] = ()
    verb: str = "select"
    depth: int = 3
    tables: tuple[Table, ...] = ()
    derived: Mapping[str, Derived] = field(default_factory=dict)
    compared: tuple[Comparison, ...] = ()
    equal: Mapping[str, str] = field(default_factory=dict)
    subject: tuple[str, ...] = ()
    given: frozenset[str] = frozenset()
    copies: str = ""
    text: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    raw: bool = False
