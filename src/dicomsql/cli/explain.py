"""The command `explain`: EXPLAIN of each statement."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from dicomsql.cli.execute import execute

if TYPE_CHECKING:
    from dicomsql.language.statements import Statement


def explain(arguments: argparse.Namespace) -> int:
    """Show the plans of the statements; USE and SET are run, since those after them heed them.

    Raises:
        UsageError: an option, or a file that it names, is wrong.
        Error: a statement is wrong, or failed with --analyze.
    """
    from dicomsql.language.statements import Explain, Set, Use

    def explained(statement: Statement) -> Statement:
        if isinstance(statement, Explain | Set | Use):
            return statement
        return Explain(
            *(statement.source, statement.start, statement.end, statement.hints),
            analyze=arguments.analyze,
            format=arguments.format,
            statement=statement,
        )

    return execute(arguments, explained)
