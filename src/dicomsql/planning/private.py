"""`private('CREATOR', '0019', '01')` in a query's text: which column stands in its place.

It is rewritten before the query is parsed, so that everything after sees a plain column. A table's
name may stand before the creator's, as it would before a column.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dicomsql.dicom.columns import column, private_name

if TYPE_CHECKING:
    from sqlglot.tokenizer_core import Token

FUNCTION = "private"

HOW = (
    "private takes the creator, the group (four hexadecimal digits, odd) and the element (two "
    "digits), as in private('CREATOR', '0019', '01'); a table's name may stand before them"
)

# Words after which the name is being defined, not called.
_DEFINES = frozenset({"MACRO", "FUNCTION", "."})


@dataclass(frozen=True, slots=True)
class PrivateCall:
    """A call of the function.

    Attributes:
        start, end: its offsets in the text.
        qualifier: what stands before the creator, as written; empty for nothing.
        column: the name of the column that it means; empty where its arguments are none of HOW's.
    """

    start: int
    end: int
    qualifier: str
    column: str


def private_calls(
    text: str, tokens: Sequence[Token], values: Mapping[str, object]
) -> Iterator[PrivateCall]:
    """The calls in a text, in its order.

    Args:
        tokens: of the text.
        values: of its placeholders, which are all written `$name`.
    """
    for index, token in enumerate(tokens[:-1]):
        before = tokens[index - 1].text.upper() if index else ""
        if token.text.lower() != FUNCTION or token.token_type.name != "VAR":
            continue
        if tokens[index + 1].text != "(" or before in _DEFINES:
            continue
        arguments, last = _arguments(tokens, index + 2)
        named = [_constant(a, values) for a in arguments[-3:]]
        place = arguments[0] if len(arguments) == 4 else []
        texts = [t for t in named if t is not None]
        known = None
        if len(arguments) in {3, 4} and len(texts) == 3:
            creator, group, element = texts
            known = column(private_name(creator, group, element))
        yield PrivateCall(
            token.start,
            last + 1,
            text[place[0].start : place[-1].end + 1] if place else "",
            known.name if known is not None else "",
        )


def _arguments(tokens: Sequence[Token], index: int) -> tuple[list[list[Token]], int]:
    """The tokens of each argument, and the offset of the parenthesis that closes them."""
    arguments: list[list[Token]] = [[]]
    depth = 0
    for token in tokens[index:]:
        sign = token.text if token.token_type.name != "STRING" else ""
        if sign == ")" and depth == 0:
            return arguments, token.end
        depth += (sign in {"(", "[", "{"}) - (sign in {")", "]", "}"})
        if sign == "," and depth == 0:
            arguments.append([])
        else:
            arguments[-1].append(token)
    return [], tokens[-1].end


def _constant(tokens: Sequence[Token], values: Mapping[str, object]) -> str | None:
    """The text that a literal or a placeholder stands for, or None."""
    if len(tokens) == 1 and tokens[0].token_type.name == "STRING":
        return str(tokens[0].text)
    if len(tokens) == 2 and tokens[0].text == "$":
        value = values.get(tokens[1].text)
        return value if isinstance(value, str) else None
    return None
