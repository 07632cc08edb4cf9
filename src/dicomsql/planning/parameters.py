"""The placeholders of a query's text, and the values that PEP 249's parameters give them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from dicomsql.errors import ProgrammingError
from dicomsql.planning.tokens import CLOSERS, OPENERS, word_of

if TYPE_CHECKING:
    from sqlglot.tokenizer_core import Token

# Parameters as PEP 249 takes them: positions for `?`, names for `:name` and `$name`.
Parameters = Sequence[object] | Mapping[str, object] | None

# Kinds of tokens that end an operand, so that a colon behind them starts no placeholder.
_OPERANDS = frozenset({"VAR", "IDENTIFIER", "STRING", "NUMBER", "PLACEHOLDER"})

# How a placeholder begins that has no name: of one that is cast, sqlglot makes an operator.
_QUESTION_MARKS = frozenset({"PLACEHOLDER", "QDCOLON"})

# The dollar of `$name` and `$1`, where no text in dollars (`$tag$ ... $tag$`) begins or ends.
_DOLLAR = re.compile(r"(?<![\w$])\$(?=\w+(?![\w$]))")

# What may stand between a word and what follows it.
_GAP = r"(?:\s|/\*(?:[^*]|\*(?!/))*\*/|--[^\n]*\n)*"
_IN = re.compile(rf"\bIN{_GAP}$", re.IGNORECASE)
_EACH = re.compile(rf"\bFOR\s+\w+(?:\s*,\s*\w+)?\s+IN{_GAP}$", re.IGNORECASE)

# Members of a list that are bound one by one; of more, a query makes rows.
_MOST_LISTED = 1_000


@dataclass(frozen=True, slots=True)
class Named:
    """A text whose placeholders have names.

    Attributes:
        text: it, with `$p1`, `$p2` or the user's own names in their places.
        values: of the placeholders, by name.
        shifts: (offset in `text`, growth) of what each of them moved.
    """

    text: str
    values: dict[str, object]
    shifts: list[tuple[int, int]]


def name_placeholders(text: str, parameters: Parameters, before: int) -> Named:
    """Give each `?` a name, so that pieces of the text can be run with their own values.

    Args:
        before: how many `?` stand before the text in its statement.

    Raises:
        ProgrammingError: a placeholder has no value.
    """
    pieces: list[str] = []
    at = moved = 0
    ordinal = before
    values: dict[str, object] = {}
    shifts: list[tuple[int, int]] = []
    found = _placeholders(text)
    names = {name for _, _, name in found}
    for place, (start, end, name) in enumerate(found):
        if name == "?" or name.isdigit():
            ordinal = ordinal + 1 if name == "?" else int(name)
            new, value = f"p{ordinal}", _positional(parameters, ordinal)
        elif isinstance(parameters, Mapping):
            if name not in parameters:
                raise ProgrammingError(f"The placeholder {text[start]}{name} has no value.")
            new, value = name, parameters[name]
        else:
            raise ProgrammingError(
                f"The placeholder {text[start]}{name} takes its value from a mapping of names "
                f"to values."
            )
        # By itself the engine would look into a list, for which NULL is a member as any other:
        # where one is in it, NOT IN would be true of rows of which SQL knows nothing.
        members: list[object] = []
        if isinstance(value, list) and _is_of_in(text[:start]):
            members = value
        one_by_one = 0 < len(members) <= _MOST_LISTED
        # Each place has a name of its own, since a value may be spelled as its place needs it.
        here: list[str] = []
        unique, times = new, 1
        for one in members if one_by_one else [value]:
            while unique in values or (unique != name and unique in names):
                times += 1
                unique = f"{new}_{times}"
            values[unique] = one
            here.append(f"${unique}")
        following = found[place + 1][0] if place + 1 < len(found) else len(text)
        if one_by_one:
            written = f"({', '.join(here)} )"
        elif members:
            written = f"(SELECT unnest({here[0]} ))"
        else:
            written = here[0]
        space = " " if written[-1] != ")" and _joined(text, end, following) else ""
        pieces += [text[at:start], written, space]
        at = end
        grown = len(written) + len(space) - (end - start)
        shifts.append((start + moved, grown))
        moved += grown
    pieces.append(text[at:])
    return Named("".join(pieces), values, shifts)


def _is_of_in(before: str) -> bool:
    """Whether a text ends in IN, but in that of a list comprehension (`[x FOR x IN list]`)."""
    return _IN.search(before) is not None and _EACH.search(before) is None


def _joined(text: str, end: int, following: int) -> bool:
    """Whether a placeholder and what is behind it would begin a text in dollars, to sqlglot.

    It takes any `$p1,$` for that, unless a space is in it.
    """
    dollar = text.find("$", end)
    until = min(following, dollar if dollar >= 0 else len(text))
    return until < len(text) and not any(c.isspace() for c in text[end:until])


def count_question_marks(text: str) -> int:
    """How many `?` placeholders a text holds outside of quotes and comments."""
    if "?" not in text:
        return 0
    return sum(name == "?" for _, _, name in _placeholders(text))


def check_parameters(text: str, parameters: Parameters) -> None:
    """Check that a statement has as many `?` as there are positional parameters.

    Raises:
        ProgrammingError: it has more or fewer, or ones that positions do not fit.
    """
    if parameters is None and "?" not in text:
        return
    needed = 0
    for start, end, name in _placeholders(text):
        if name == "?":
            if text[end : end + 1].isdigit():
                number = re.match(r"\d+", text[end:])
                assert number is not None
                raise ProgrammingError(
                    f"A placeholder by its place is ${number[0]}, not ?{number[0]}; `?` alone is "
                    "the next one."
                )
            needed += 1
        elif name.isdigit():
            needed = max(needed, int(name))
        elif parameters is not None and not isinstance(parameters, Mapping):
            raise ProgrammingError(
                f"The placeholder {text[start]}{name} has a name: give the parameters as a mapping "
                "of names to values."
            )
    if parameters is not None and not isinstance(parameters, Mapping) and needed != len(parameters):
        many = len(parameters) != 1
        raise ProgrammingError(
            f"The statement has {needed} placeholder{'s' * (needed != 1)}, "
            f"but {len(parameters)} parameter{'s' * many} {'were' if many else 'was'} given."
        )


def numbered(sql: str) -> tuple[str, tuple[str, ...]]:
    """A text whose placeholders have names, with numbers in their places, and the names in order.

    Each name stands once, as `name_placeholders` gives them.
    """
    pieces: list[str] = []
    names: list[str] = []
    at = 0
    for start, end, name in _placeholders(sql):
        names.append(name)
        pieces += [sql[at:start], f"${len(names)}"]
        at = end
    return "".join([*pieces, sql[at:]]), tuple(names)


def placeholder_names(sql: str) -> set[str]:
    """The names of a text's placeholders."""
    return {name for _, _, name in _placeholders(sql)}


def _positional(parameters: Parameters, ordinal: int) -> object:
    if parameters is None or isinstance(parameters, Mapping):
        raise ProgrammingError(
            "The statement has `?` placeholders: give their parameters as a list or tuple."
        )
    if ordinal > len(parameters):
        raise ProgrammingError(
            f"The statement has at least {ordinal} placeholders, "
            f"but only {len(parameters)} parameters were given."
        )
    return parameters[ordinal - 1]


def _placeholders(text: str) -> tuple[tuple[int, int, str], ...]:
    """(start, end, name) of `?`, `:name`, `$name` and `$1`, in the order of the text."""
    if "?" not in text and ":" not in text and "$" not in text:
        return ()
    return _tokenized_placeholders(text)


# A statement's planning asks several times, and a statement is often asked with other values.
@lru_cache(maxsize=32)
def _tokenized_placeholders(text: str) -> tuple[tuple[int, int, str], ...]:
    import sqlglot
    from sqlglot.errors import TokenError

    try:
        # Of the same length, so that the places are those of the text.
        tokens = sqlglot.tokenize(_DOLLAR.sub("@", text), dialect="duckdb")
    except TokenError:
        return ()  # the parser says what is wrong
    found = []
    subscripts: list[bool] = []
    previous: Token | None = None
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        before, previous = previous, token
        after_operand = before is not None and (
            before.token_type.name in _OPERANDS or word_of(before) in CLOSERS
        )
        word = "$" if text[token.start : token.end + 1] == "$" else word_of(token)
        if word in OPENERS:
            subscripts.append(word == "[" and after_operand)
        elif word in CLOSERS and subscripts:
            subscripts.pop()
        # `x[a:b]` and `{'a':b}` are the engine's grammar, and so is `a: 1` before an expression.
        if word == ":" and (after_operand or (subscripts and subscripts[-1])):
            continue
        if token.token_type.name in _QUESTION_MARKS and token.text.startswith("?"):
            found.append((token.start, token.start + 1, "?"))
        elif (
            word in {":", "$"}
            and following is not None
            and following.start == token.end + 1
            and following.token_type.name not in {"STRING", "IDENTIFIER"}
            and following.text.replace("_", "a").isalnum()
            and not (word == ":" and following.text.isdigit())
        ):
            found.append((token.start, following.end + 1, following.text))
    return tuple(found)
