"""Pieces of one statement beside its query: their text with its placeholders, and their values."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dicomsql.errors import LanguageError
from dicomsql.language.parse import literal
from dicomsql.planning.parameters import Parameters, count_question_marks

if TYPE_CHECKING:
    from dicomsql.language.statements import Fragment, Statement
    from dicomsql.planning.answers import Context, Evaluate
    from dicomsql.planning.text import QueryText


@dataclass(frozen=True, slots=True)
class Pieces:
    """Reads the pieces of a statement.

    Attributes:
        parameters: values of the whole statement's placeholders.
        context: the dialect of its queries, and the views that they may name.
        evaluate: computes a constant expression.
    """

    statement: Statement
    parameters: Parameters
    context: Context
    evaluate: Evaluate

    def parsed(self, fragment: Fragment, prefix: str = "") -> QueryText:
        """A piece as a query's text.

        Args:
            prefix: words that make it a query, in the engine's own dialect; none for a whole query.
        """
        from dicomsql.planning.text import QueryText
        from dicomsql.planning.views import expand

        head = self.statement.source[self.statement.start : fragment.start]
        text = QueryText(
            fragment,
            source=self.statement.source,
            parameters=self.parameters,
            before=count_question_marks(head),
            dialect=self.context.dialect if not prefix else "",
            prefix=prefix,
        )
        return expand(text, self.context)

    def setting(self, fragment: Fragment) -> object:
        """The value of an expression that needs no row; a bare word is its own text."""
        try:
            return literal(fragment)
        except LanguageError:
            return self.value(fragment)

    def value(self, fragment: Fragment) -> object:
        """The value of an expression that needs no row.

        Raises:
            LanguageError: it is no expression, or names a column.
        """
        from sqlglot import exp

        text = self.parsed(fragment, prefix="SELECT ")
        further = [name for name, part in text.tree.args.items() if part and name != "expressions"]
        item, *others = text.tree.args.get("expressions") or [None]
        column = text.tree.find(exp.Column)
        if column is not None or further or others or item is None or isinstance(item, exp.Alias):
            raise text.error(
                "A value is expected here; texts stand in single quotes", column or text.tree
            )
        if isinstance(item, exp.Placeholder):
            # As it was given: the engine has no paths.
            given = text.values[str(item.this)]
            return os.fspath(given) if isinstance(given, os.PathLike) else given
        sql = text.render()
        return self.evaluate(f"SELECT {sql}", text.values_in(sql))
