"""What the tokens of a query's text are: their words, and the brackets among them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlglot.tokenizer_core import Token

OPENERS = {"(", "[", "{"}
CLOSERS = {")", "]", "}"}


def word_of(token: Token) -> str:
    """A token's first word in upper case, or its sign; nothing for what stands in quotes."""
    kind = token.token_type.name
    if kind == "IDENTIFIER" or kind.endswith("STRING"):
        return ""
    return token.text.upper().partition(" ")[0]
