"""The command `exec`: runs statements and writes each one's result."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from dicomsql.cli.console import Console, row_stream
from dicomsql.cli.failures import ReaderGoneError, UsageError, tell
from dicomsql.cli.opening import session_of, settings_of
from dicomsql.cli.reading import NO_SQL, sql_of, variables_of_options
from dicomsql.cli.writing import ONE_RESULT, SINGLE, Writing, asked_format
from dicomsql.errors import OperationalError

if TYPE_CHECKING:
    from dicomsql.language.statements import Statement
    from dicomsql.session import Session


def execute(
    arguments: argparse.Namespace, prepare: Callable[[Statement], Statement] | None = None
) -> int:
    """Run the statements of the command line; the first that fails ends it, or the exit code is 1.

    Args:
        prepare: makes of each statement the one that is run; None leaves them as they are.

    Raises:
        UsageError: an option, or a file that it names, is wrong.
        Error: a statement failed.
    """
    text = sql_of(arguments)
    variables = variables_of_options(arguments)
    asked = arguments.output
    form = asked_format(asked, arguments.outfile)
    console = Console()
    settings = settings_of(arguments, console)
    # What the environment or a profile says stands behind the ending of a file.
    form = form or arguments.output
    with (
        console.warnings(),
        row_stream(arguments.outfile, console) as stream,
        session_of(settings, console, arguments.quiet) as session,
    ):
        writing = Writing(arguments, form, asked is not None, stream, console)
        try:
            statements = session.parse(text, variables)
            if not statements:
                raise UsageError(NO_SQL)
            if form in SINGLE:
                _check_one_result(statements, form)
            if prepare is not None:
                statements = tuple(map(prepare, statements))
            running = _Running(session, writing, dry_run=arguments.dry_run)
            if arguments.on_error == "continue":
                return running.all(statements, debug=arguments.debug)
            failure = running.until_one_fails(statements)
            running.check_committed()
        finally:
            console.clear()
    if failure is not None:
        # Only here, since its rows are in the output and stay there.
        raise failure
    return 0


class _Running:
    """Statements, one after the other, with what becomes of their failures."""

    def __init__(self, session: Session, writing: Writing, *, dry_run: bool) -> None:
        self._session = session
        self._writing = writing
        self._dry_run = dry_run
        # The line of the statement that began the transaction which is open.
        self._began = 0

    def check_committed(self) -> None:
        """Refuse to end well where the end of the session takes back what was done.

        Raises:
            OperationalError: a transaction is open.
        """
        if self._session.in_transaction:
            raise OperationalError(
                f"The transaction that line {self._began} began was not committed, and is rolled "
                "back: end it with COMMIT."
            )

    def until_one_fails(self, statements: Sequence[Statement]) -> Exception | None:
        """Run them up to the first that fails.

        Returns:
            the failure of one whose rows are written all the same.
        """
        for statement in statements:
            failure = self._run(statement, self._writing)
            if failure is not None:
                return failure
        return None

    def all(self, statements: Sequence[Statement], *, debug: bool) -> int:
        """Run them all, telling each failure with the place of its statement; the exit code.

        An error in a transaction ends it and the run: what is left would run without what the
        transaction was to do. Rows of a statement that fails are not written.
        """
        failed = 0
        for number, statement in enumerate(statements, 1):
            try:
                with self._writing.held() as held:
                    failure = self._run(statement, held)
            except (UsageError, ReaderGoneError):
                raise
            except Exception as error:  # noqa: BLE001 - it is told, and counts
                failure = error
            if failure is None:
                continue
            failed += 1
            line = _line_of(statement)
            self._writing.console.clear()
            tell(failure, debug=debug, what=f"statement {number}, line {line}")
            left = len(statements) - number
            if left and self._session.in_transaction:
                self._writing.console.say(
                    f"The open transaction was rolled back; {left} statement{'s' * (left != 1)} "
                    "after it did not run."
                )
                break
        else:
            try:
                self.check_committed()
            except OperationalError as error:
                failed += 1
                tell(error, debug=debug)
        return 1 if failed else 0

    def _run(self, statement: Statement, writing: Writing) -> Exception | None:
        """Run one and write its result.

        Returns:
            the failure of one whose rows are written all the same.
        """
        from dicomsql.cli.imports import import_arrow
        from dicomsql.language.statements import Describe, Set, Show, Use

        if not isinstance(statement, Describe | Set | Show | Use):
            import_arrow()
        was_open = self._session.in_transaction
        result = self._session.execute(statement, dry_run=self._dry_run)
        writing.console.clear()
        writing.write(result, statement.text)
        if self._session.in_transaction and not was_open:
            self._began = _line_of(statement)
        return result.failure


def _line_of(statement: Statement) -> int:
    return statement.source.count("\n", 0, statement.start) + 1


def _check_one_result(statements: Sequence[Statement], form: str) -> None:
    """Refuse more than one result for a file that holds one, before any statement runs."""
    from dicomsql.language.statements import CopyIn, CopyOut, Engine, Set, Use

    count = 0
    for statement in statements:
        writes_only = getattr(statement, "returning", statement) is None
        writes_only &= not isinstance(statement, CopyIn | CopyOut)
        count += not (isinstance(statement, Engine | Set | Use) or writes_only)
    if count > 1:
        raise UsageError(ONE_RESULT.format(form=form))
