"""Completion that follows the session: `\\connect` opens another one, with other names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from dicomsql.session import Session
from dicomsql.shell.completion import Completion as SessionCompletion
from dicomsql.shell.state import State

__all__ = ["Following"]


class Following(Completer):
    """The completion of the state's session, whichever that is."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._session: Session | None = None
        self._completion: SessionCompletion | None = None
        self._refreshed = state.refreshed

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterable[Completion]:
        """What may stand at the cursor; nothing where that cannot be told."""
        try:
            yield from self._of_session().get_completions(document, complete_event)
        except Exception:
            # Whoever types is not to be stopped by a menu that cannot be made.
            if getattr(self._state.arguments, "debug", False):
                raise

    def close(self) -> None:
        """End what asks servers in the background."""
        completion, self._completion = self._completion, None
        if completion is not None:
            completion.close()

    def _of_session(self) -> SessionCompletion:
        session = self._state.session
        if self._completion is None or session is not self._session:
            self.close()
            self._session = session
            self._completion = SessionCompletion(session, self._place)
        if self._refreshed != self._state.refreshed:
            self._refreshed = self._state.refreshed
            self._completion.refresh()
        return self._completion

    def _place(self) -> Mapping[str, str]:
        return self._state.session.defaults
