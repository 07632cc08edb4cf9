"""The line that statements are typed on: keys, several lines, search, colors and the foot."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from prompt_toolkit import PromptSession
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.completion import get_common_complete_suffix
from prompt_toolkit.enums import DEFAULT_BUFFER, EditingMode
from prompt_toolkit.filters import Condition, has_completions, has_focus, is_searching
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import ColorDepth, create_output
from prompt_toolkit.styles import Style

from dicomsql.shell.bar import bar
from dicomsql.shell.colors import STYLE, Colors
from dicomsql.shell.history import KeptHistory, default_file, may_be_kept
from dicomsql.shell.meta import secret_names
from dicomsql.shell.pieces import is_complete

if TYPE_CHECKING:
    from prompt_toolkit.completion import Completer

    from dicomsql.shell.running import Shell

__all__ = ["Prompt"]

_NAME = "dicomsql"
# Lines and columns that a terminal has at least for the foot to be shown.
_LEAST_ROWS, _LEAST_COLUMNS = 6, 10
# Lines that are kept free for the menu of completions.
_MENU = 8


class Prompt:
    """Asks for statements.

    Parameters:
        shell: whose state the prompt shows.
        completer: what completes what is typed.
        vi: the keys of vi, not those of emacs.
        history: keep what is typed in a file.
        history_phi: keep in it too what compares a patient's attribute with a value.
        shown: is called once, when the first prompt is on the screen.
    """

    def __init__(
        self,
        shell: Shell,
        completer: Completer,
        *,
        vi: bool,
        history: bool,
        history_phi: bool,
        shown: Callable[[], None],
    ) -> None:
        self._shell = shell
        self._shown: Callable[[], None] | None = shown
        self._session: PromptSession[str] = PromptSession(
            message=self._message,
            prompt_continuation=self._continuation,
            multiline=True,
            lexer=Colors(lambda: shell.rules),
            style=Style.from_dict(STYLE),
            completer=completer,
            complete_while_typing=True,
            complete_in_thread=True,
            auto_suggest=AutoSuggestFromHistory(),
            history=self._history(history_phi) if history else InMemoryHistory(),
            editing_mode=EditingMode.VI if vi else EditingMode.EMACS,
            key_bindings=self._keys(),
            bottom_toolbar=self._foot,
            enable_suspend=True,
            enable_open_in_editor=True,
            tempfile_suffix=".sql",
            color_depth=_depth(shell),
            output=None if sys.stdout.isatty() else _output(),
        )
        self._session.app.after_render += self._rendered

    def ask(self, text: str = "") -> str:
        """What was typed; `text` is what the line begins with.

        Raises:
            EOFError: Ctrl-D, or the terminal has gone.
            KeyboardInterrupt: Ctrl-C, which clears the line.
        """
        interrupts = self._shell.interrupts
        app = self._session.app

        def leave() -> None:
            # It may have been left by Enter in the same moment.
            if app.is_running and not app.is_done:
                app.exit(exception=EOFError if interrupts.ended else KeyboardInterrupt)

        def woken() -> None:
            if (loop := app.loop) is not None:
                loop.call_soon_threadsafe(leave)

        _, rows = _size()
        few = min(3, rows // 3) if rows > _LEAST_ROWS else 0
        self._session.reserve_space_for_menu = _MENU if rows > 2 * _MENU else few
        interrupts.pressed = False
        interrupts.wake = woken
        try:
            # Its own handler would swallow what comes after the terminal is as it was.
            return self._session.prompt(default=text, handle_sigint=False)
        finally:
            interrupts.wake = None
            self._shell.history = self._session.history.get_strings()

    def _rendered(self, _: object) -> None:
        shown, self._shown = self._shown, None
        if shown is not None:
            shown()

    # -- what is seen ----------------------------------------------------------------------------

    def _message(self) -> StyleAndTextTuples:
        return [("class:prompt", self._prompt())]

    def _prompt(self) -> str:
        session = self._shell.state.session
        mark = ""
        if session.in_transaction:
            mark = "!" if session.in_failed_transaction else "*"
        return f"{_NAME}{mark}> "

    def _continuation(self, width: int, _line: int, _wraps: int) -> StyleAndTextTuples:
        return [("class:continuation", "-> ".rjust(width))]

    def _foot(self) -> str | None:
        columns, rows = _size()
        if rows < _LEAST_ROWS or columns < _LEAST_COLUMNS:
            return None
        return bar(self._shell.state, columns - 1)

    # -- keys ------------------------------------------------------------------------------------

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()
        shell = self._shell
        typing = has_focus(DEFAULT_BUFFER) & ~is_searching
        picked = Condition(lambda: _has_picked(self._session))

        @keys.add("enter", filter=typing & ~picked)
        def _(event: KeyPressEvent) -> None:
            buffer = event.current_buffer
            if is_complete(buffer.text, shell.rules):
                buffer.validate_and_handle()
            else:
                buffer.newline(copy_margin=not buffer.text.endswith("\n\n"))

        @keys.add("enter", filter=typing & picked & has_completions)
        def _(event: KeyPressEvent) -> None:
            # The first Enter takes what is picked in the menu.
            event.current_buffer.complete_state = None

        @keys.add("tab", filter=typing & ~picked & has_completions)
        def _(event: KeyPressEvent) -> None:
            # What all of the menu begin with comes first, then the first of them.
            buffer = event.current_buffer
            state = buffer.complete_state
            assert state is not None
            several = len(state.completions) > 1
            common = get_common_complete_suffix(buffer.document, state.completions)
            if several and common:
                buffer.insert_text(common)
            else:
                buffer.complete_next()

        @keys.add("escape", "enter", filter=typing)
        def _(event: KeyPressEvent) -> None:
            event.current_buffer.newline()

        @keys.add("c-d", filter=typing)
        def _(event: KeyPressEvent) -> None:
            buffer = event.current_buffer
            document = buffer.document
            if document.is_cursor_at_the_end and not document.current_line:
                event.app.exit(exception=EOFError, style="class:exiting")
            else:
                buffer.delete()

        return keys

    # -- history ---------------------------------------------------------------------------------

    def _history(self, with_values: bool) -> KeptHistory:
        shell = self._shell

        secret = secret_names()

        def keeps(text: str) -> bool:
            plain = shell.state.session.current_settings
            return with_values or may_be_kept(text, plain, secret, shell.rules)

        return KeptHistory(default_file(), keeps, self._later)

    def _later(self, text: str) -> None:
        """Say something above the prompt that is on the screen."""
        from prompt_toolkit.application import run_in_terminal

        app = self._session.app
        if app.is_running and app.loop is not None:
            app.loop.call_soon_threadsafe(
                lambda: run_in_terminal(lambda: self._shell.talk.say(text))
            )
        else:
            self._shell.talk.say(text)


def _has_picked(session: PromptSession[Any]) -> bool:
    state = session.default_buffer.complete_state
    return state is not None and state.current_completion is not None


def _size() -> tuple[int, int]:
    import shutil

    size = shutil.get_terminal_size()
    return size.columns, size.lines


def _depth(shell: Shell) -> ColorDepth | None:
    """How many colors what is typed has; None for what the terminal has."""
    return None if shell.screen().color else ColorDepth.DEPTH_1_BIT


def _output() -> Any:
    """Standard output, or standard error where rows go into a pipe and a person types."""
    return create_output(stdout=sys.stdout if sys.stdout.isatty() else sys.stderr)
