"""Runs what was typed: statements through the session, meta-commands through their table."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dicomsql.cli.failures import ReaderGoneError, tell
from dicomsql.errors import CancelledError
from dicomsql.language.lexer import Lexis, lexis
from dicomsql.output.display import Look, Screen, Shown, of_note, remarks, screen_of, show
from dicomsql.session import Stop
from dicomsql.shell.advice import advice, notes_of
from dicomsql.shell.interrupts import Interrupts
from dicomsql.shell.pieces import Meta, Sql, pieces
from dicomsql.shell.state import Last, State
from dicomsql.shell.talk import Talk

if TYPE_CHECKING:
    from dicomsql.language.statements import Statement
    from dicomsql.result import Result

__all__ = ["MetaError", "Quit", "Shell"]

# Formats in which rows are read by people, who need not see those that only say that all went well.
_FOR_PEOPLE = frozenset({"table", "box", "vertical", "markdown"})

# Scripts that scripts run, one in the other.
_DEEPEST = 20


class MetaError(Exception):
    """A meta-command was used wrongly, or could not do what it was told."""


class Quit(Exception):
    """The shell is to end."""


class Shell:
    """Runs statements and meta-commands, one after the other.

    Attributes:
        state: see `State`; meta-commands change it.
        talk: where messages and questions go.
        interrupts: what Ctrl-C does.
        pending: the statement that is begun and not ended, for meta-commands that take it up.
        draft: text that the next prompt begins with.
        history: what was typed, oldest first; filled by the prompt.
    """

    def __init__(self, state: State, talk: Talk, interrupts: Interrupts) -> None:
        self.state = state
        self.talk = talk
        self.interrupts = interrupts
        self.pending = ""
        self.draft = ""
        self.history: Sequence[str] = ()
        self._depth = 0

    @property
    def rules(self) -> Lexis:
        """What a string, an identifier and a comment look like."""
        return lexis(self.state.session.settings.dialect)

    # -- running ---------------------------------------------------------------------------------

    def run(self, text: str) -> bool:
        """Run what was typed; whether all of it went well.

        The first failure ends it, and what comes after it is told. A statement that is begun and
        not ended is left in `pending`, and in `draft` for the next prompt.

        Raises:
            Quit: the shell is to end.
        """
        self.pending = ""
        parts = pieces(text, self.rules)
        for number, part in enumerate(parts, 1):
            if self._run_part(part):
                continue
            self.state.failed = True
            if left := len(parts) - number:
                self.talk.say(f"What follows it was not run ({left}).")
            return False
        if self.pending and not self.draft:
            self.draft = self.pending
        self.state.failed = False
        return True

    def run_script(self, path: str) -> None:
        """Run the statements and meta-commands of a file; see `\\i`.

        Raises:
            MetaError: it cannot be read, or something in it failed.
        """
        if self._depth >= _DEEPEST:
            raise MetaError(f"{path} runs itself: {_DEEPEST} files stand one in the other.")
        text = read_text(path)
        pending, draft = self.pending, self.draft
        self._depth += 1
        try:
            went_well = self.run(text)
            if went_well and self.pending:
                # As in a file of `exec`, the last statement needs no `;`.
                went_well = self.run_sql(self.take())
        finally:
            self._depth -= 1
            self.pending, self.draft = pending, draft
        if not went_well:
            raise MetaError(f"{path} was ended by the error above.")

    def run_sql(self, text: str, look: Look | None = None) -> bool:
        """Run the statements of a text and show their results; whether all went well.

        Args:
            look: how they look, this time.
        """
        self.state.text = text
        return self.ask(text, look)

    def ask(self, text: str, look: Look | None = None) -> bool:
        """Run statements of our own, which are not the last that the person ran."""
        return self._guarded(lambda: self._run_sql(text, look or self.state.look))

    def do(self, text: str) -> bool:
        """Run statements that give nothing to show; whether all went well."""

        def work() -> bool:
            for statement in self.state.session.parse(text):
                self.state.session.execute(statement).close()
            return True

        return self._guarded(work)

    def take(self) -> str:
        """The statement that is begun, which is not any more; else the last one that ran.

        Raises:
            MetaError: there is neither.
        """
        text = self.pending or self.state.text
        if not text:
            raise MetaError("There is no statement yet.")
        self.pending = ""
        return text

    def show_lines(self, text: str) -> None:
        """Write lines of a help or a list."""
        self.talk.tell(text)

    def page(self, text: str) -> None:
        """Write lines that may be many, in the pager where they do not fit."""
        from dicomsql.output.cells import safe
        from dicomsql.output.pager import Paged, PagerLeftError

        screen, pager = self.screen(), self.state.look.pager
        if pager == "off" or not screen.pager or screen.width is None:
            self.talk.tell(text)
            return
        height = screen.height or 24
        paged = Paged(screen.stream, screen.pager, screen.width, height, at_once=pager == "on")
        with suppress(PagerLeftError), paged:
            paged.write("".join(f"{safe(line)}\n" for line in text.split("\n")).encode())

    # -- parts -----------------------------------------------------------------------------------

    def _run_part(self, part: Sql | Meta) -> bool:
        if isinstance(part, Sql):
            text = f"{self.pending}\n{part.text}" if self.pending else part.text
            # What becomes of one that no `;` ends, the meta-command behind it says.
            self.pending = "" if part.ended else text
            return self.run_sql(text) if part.ended else True
        from dicomsql.shell.meta import run_meta

        return self._guarded(lambda: run_meta(self, part))

    def _guarded(self, work: Callable[[], bool]) -> bool:
        """Do something, and tell how it failed, if it fails; whether it did not."""
        debug = bool(getattr(self.state.arguments, "debug", False))
        try:
            return work()
        except Quit:
            raise
        except MetaError as error:
            self.talk.say(f"error: {error}")
        except CancelledError as error:
            self.talk.say(str(error))
        except KeyboardInterrupt:
            self.talk.say("Cancelled.")
        except (BrokenPipeError, ReaderGoneError):
            # Who read the output has gone, and knows it.
            return True
        except Exception as error:  # noqa: BLE001 - the session goes on, whatever it was
            self.talk.clear()
            tell(error, debug=debug)
            if said := advice(error):
                self.talk.say(said)
        return False

    def _run_sql(self, text: str, look: Look) -> bool:
        state = self.state
        for statement in state.session.parse(text, state.variables):
            self._run_statement(statement, look)
        return True

    def _run_statement(self, statement: Statement, look: Look) -> None:
        state, stop = self.state, Stop()
        begun = time.monotonic()
        shown = Shown(None)
        with self.interrupts.stopping(stop):
            result = state.session.execute(statement, stop=stop)
            try:
                shown = self._show(result, look, statement.text)
            except MetaError:
                raise
            except BaseException:
                self._leave_file_away()
                raise
            finally:
                result.close()
                self.talk.clear()
                # What the person read in the pager is not what the statement took.
                taken = max(0.0, time.monotonic() - begun - shown.waited - shown.read)
        cost = result.statistics
        rows = None if shown.format == "text" else shown.rows
        state.last = Last(
            rows, shown.more, cost.requests, cost.bytes_received, cost.from_cache, taken
        )
        self._tell_of(result, shown, state.last)
        if result.failure is None:
            notes, state.told_of_memory = notes_of(
                statement, state.session, told=state.told_of_memory
            )
            for note in notes:
                self.talk.say(f"note: {note}")
        if result.failure is not None:
            raise result.failure

    def _show(self, result: Result, look: Look, text: str) -> Shown:
        """Show a result on the screen, or write it to the file that results go to."""
        file = self.state.output
        if file is None:
            screen = self.screen()
            if screen.width is not None and look.format in _FOR_PEOPLE:
                result = of_note(result)
            return show(result, look, screen, text)
        if result.columns is not None:
            if file.results and file.format in {"parquet", "arrow", "html"}:
                raise MetaError(
                    f"{file.path.name} holds one result; end it with \\o and begin another."
                )
            file.results += 1
        whole = replace(look, format=file.format, max_rows=sys.maxsize, pager="off")
        shown = show(result, whole, Screen(file.stream), text)
        if file.once and result.columns is not None:
            from dicomsql.shell.meta.files import close_output

            close_output(self)
        return shown

    def _leave_file_away(self) -> None:
        """Let no file appear that has a part of a result."""
        file, self.state.output = self.state.output, None
        if file is not None:
            file.close(True)
            self.talk.say(f"{file.path} is not written, since not all rows of a result came.")

    def screen(self) -> Screen:
        """The screen as it is now."""
        screen = screen_of(sys.stdout, self.talk.line)
        color = getattr(self.state.arguments, "color", None) or "auto"
        return screen if color == "auto" else replace(screen, color=color == "on")

    def _tell_of(self, result: Result, shown: Shown, last: Last) -> None:
        """What there is to say of a statement that has run."""
        from dicomsql.shell.bar import cost_of

        if self.state.output is None:
            for remark in remarks(shown, result.statistics):
                self.talk.say(remark)
        if result.message:
            self.talk.say(result.message)
        for note in result.statistics.notes:
            self.talk.say(f"note: {note}")
        said = cost_of(last, timing=self.state.timing)
        if said:
            self.talk.say(f"({said})")
        elif result.columns is None and not result.message:
            self.talk.say("done")


def read_text(path: str) -> str:
    """The text of a file.

    Raises:
        MetaError: it cannot be read, or is no text.
    """
    try:
        return Path(path).expanduser().read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise MetaError(f"Cannot read {path}: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise MetaError(
            f"{path} is not UTF-8 text (byte {error.start + 1} does not fit)."
        ) from None
