"""The completer of the prompt: from the place of the cursor to what the menu shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from prompt_toolkit.application.current import get_app_or_none
from prompt_toolkit.completion import CompleteEvent, Completer
from prompt_toolkit.completion import Completion as Completed
from prompt_toolkit.document import Document

from dicomsql.errors import Error
from dicomsql.language.lexer import Kind, lexis
from dicomsql.shell.completion.arguments import argument_place
from dicomsql.shell.completion.attributes import parts_of_attributes
from dicomsql.shell.completion.columns import Columns
from dicomsql.shell.completion.match import Candidate, Form, matching, written
from dicomsql.shell.completion.model import Place, Want
from dicomsql.shell.completion.names import Names, functions_of_ours
from dicomsql.shell.completion.place import place_of
from dicomsql.shell.completion.values import Values
from dicomsql.shell.completion.words import KEYWORDS
from dicomsql.shell.pieces import tokens_of

if TYPE_CHECKING:
    from prompt_toolkit.application import Application

    from dicomsql.session import Session

__all__ = ["Completion"]

# Entries of the menu; and letters of a text beyond which nothing is completed, as it is a paste.
_MOST = 300
_LONGEST = 200_000

# Columns of a terminal in which whole names have no room.
_NARROW = 50

# A name of a resource is looked for in all services once so much of it is typed.
_NAME = 2


class Completion(Completer):
    """Completes statements and meta-commands of a session. Asks servers in the background alone.

    Parameters:
        session: whose documents, engine and servers are asked.
        place: gives the defaults of parameters as they are now.
    """

    def __init__(self, session: Session, place: Callable[[], Mapping[str, str]]) -> None:
        self._session = session
        self._place = place
        self._rules = lexis(session.settings.dialect)
        self._names = Names(
            lambda: session.catalog, lambda: session.prefix, _connected_service(session)
        )
        self._columns_known = Columns(self._names)
        self._values = Values(session, self._arrived)
        # What the menu was last made for, and whose it is: it is made again once more is known.
        self._asked: tuple[Application[Any], str, int] | None = None

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterable[Completed]:
        """What may stand at the cursor, the likeliest first."""
        text, cursor = document.text, document.cursor_position
        if len(text) > _LONGEST:
            return
        app = get_app_or_none()
        self._asked = (app, text, cursor) if app is not None else None
        place = place_of(text, cursor, self._rules)
        if place is not None and place.wants == (Want.META_ARGUMENTS,):
            place = argument_place(place, self._session)
        if place is None or not _is_worth_it(place, complete_event):
            return
        typed = place.typed
        try:
            found = matching(self._candidates(place), _needle(place), _MOST)
        except Error:
            # A document that is broken is told when it is used.
            return
        narrow = app is not None and app.output.get_size().columns < _NARROW
        upper = _writes_capitals(text, typed.text, self._rules)
        mark = "`" if self._rules.double_quoted else '"'
        for candidate in found:
            end = typed.closed and not candidate.text.endswith("/")
            inserted = written(candidate, upper=upper, quote=typed.mark, closed=end, mark=mark)
            if candidate.form is Form.TEXT and candidate.text.endswith("/"):
                # A folder is gone into.
                inserted = inserted.removesuffix(typed.mark or "'")
            yield Completed(
                inserted,
                start_position=typed.start - cursor,
                display=_shown(candidate, narrow=narrow),
                display_meta=candidate.about,
            )

    def refresh(self) -> None:
        """Forget what servers have said."""
        self._values.refresh()

    def settle(self, seconds: float = 30.0) -> bool:
        """Wait until nothing is on its way; False where that takes longer."""
        return self._values.settle(seconds)

    def close(self) -> None:
        """End what asks in the background, at once; may be called again."""
        self._asked = None
        self._values.close()

    # -- the menu that is made again -------------------------------------------------------------

    def _arrived(self) -> None:
        """More is known: the menu is made again, if nothing has been typed since."""
        asked = self._asked
        if asked is None or not asked[0].is_running:
            return
        app, text, cursor = asked
        loop = app.loop
        if loop is None:
            return

        def again() -> None:
            buffer = app.current_buffer
            state = buffer.complete_state
            same = buffer.text == text and buffer.cursor_position == cursor
            if same and (state is None or state.complete_index is None):
                buffer.complete_state = None
                buffer.start_completion()

        try:
            loop.call_soon_threadsafe(again)
        except RuntimeError:
            # The prompt has ended in the meantime.
            return

    # -- candidates ------------------------------------------------------------------------------

    def _candidates(self, place: Place) -> Iterator[Candidate]:
        for want in place.wants:
            yield from _MAKERS[want](self, place)

    def _words(self, place: Place) -> Iterator[Candidate]:
        if place.typed.path or place.typed.quote:
            return
        # Behind the names where both may stand, unless they are likelier.
        base = -20 if place.wants[0] is Want.WORDS else 20
        for number, word in enumerate(place.words):
            yield Candidate(word, "", base + min(number, 9), Form.WORD)

    def _tables(self, place: Place) -> Iterator[Candidate]:
        path, verb = place.typed.path, place.verb
        if not path and place.depth == 3:
            if verb == "select":
                for name in place.derived:
                    yield Candidate(name, "WITH", 0)
            if verb != "copy":
                for name in self._values.local():
                    yield Candidate(name, "local table", 0)
        if verb == "local":
            return
        yield from self._names.paths(path, verb, place.depth)
        if path or place.typed.quote:
            return
        others = len(place.typed.text) >= _NAME
        yield from self._names.whole_names(verb, place.depth, others=others)
        if verb == "select" and Want.TABLES in place.wants and place.depth == 3:
            yield from functions_of_ours(tables=True)
            if place.typed.text:
                yield from self._functions_of(tables=True)

    def _columns(self, place: Place) -> Iterator[Candidate]:
        yield from self._columns_of(place, conditions=False)

    def _conditions(self, place: Place) -> Iterator[Candidate]:
        yield from self._columns_of(place, conditions=True)

    def _columns_of(self, place: Place, *, conditions: bool) -> Iterator[Candidate]:
        if place.typed.quote == "'":
            return
        yield from self._columns_known.columns(
            place, self._place(), self._values.local(), conditions=conditions
        )
        if "_" in place.typed.text:
            yield from parts_of_attributes(place.typed.text)

    def _aliases(self, place: Place) -> Iterator[Candidate]:
        yield from self._columns_known.aliases(place)

    def _functions(self, place: Place) -> Iterator[Candidate]:
        # There are hundreds: with nothing typed they would hide all else.
        if place.typed.text and not place.typed.path and not place.typed.quote:
            yield from functions_of_ours(tables=False)
            yield from self._functions_of(tables=False)

    def _functions_of(self, *, tables: bool) -> Iterator[Candidate]:
        for name, kind, about, parameters in self._values.functions():
            if kind.startswith("table") == tables:
                shown = f"{kind}({parameters})  {about}" if parameters else f"{kind}  {about}"
                yield Candidate(f"{name}(", shown[:60].rstrip(), 8, Form.RAW, name, loose=False)

    def _listed(self, place: Place) -> Iterator[Candidate]:
        """Values of a column, and of a parameter, those that its server lists."""
        if place.typed.path or place.typed.quote in {'"', "`"}:
            return
        yield from self._columns_known.values(place)
        found = self._columns_known.listing(place, self._place())
        if found is None:
            return
        listing, what = found
        answer = self._values.ids(listing)
        if answer is None:
            return
        for value in answer.values:
            yield Candidate(value, what, 0, Form.RAW if place.raw else Form.TEXT)
        if answer.failure:
            # Taking it changes nothing; it says why there is nothing to take.
            yield Candidate(
                place.typed.text, f"{what} {answer.failure}", 0, Form.RAW, key=place.typed.text
            )

    def _methods(self, place: Place) -> Iterator[Candidate]:
        yield from self._names.methods(place.typed.path)

    def _variables(self, place: Place) -> Iterator[Candidate]:
        yield from self._names.variables(place.subject, place.given, self._place())

    def _files(self, place: Place) -> Iterator[Candidate]:
        from dicomsql.shell.completion.files import files

        typed = place.typed
        is_path = typed.quote == "'" or not (typed.text or typed.quote)
        if self._session.settings.files and is_path:
            yield from files(typed.text)

    def _settings(self, _place: Place) -> Iterator[Candidate]:
        for name, value in self._session.current_settings.items():
            yield Candidate(name, f"now {_setting(value)}")

    def _setting_values(self, place: Place) -> Iterator[Candidate]:
        from dicomsql.session.settings import choices_of

        name = place.subject[-1]
        for choice in choices_of(name):
            if choice in {"true", "false"}:
                yield Candidate(choice.upper(), "", 0, Form.WORD)
            else:
                yield Candidate(choice, "", 0, Form.TEXT)
        yield from self._listed(place)

    def _options(self, place: Place) -> Iterator[Candidate]:
        from dicomsql.shell.completion.options import INTO_FILES, INTO_STORE

        format_ = place.equal.get("format", "").lower()
        known = INTO_STORE if place.copies == "in" else INTO_FILES
        for name, option in known.items():
            fits = not option.of or not format_ or format_ in option.of
            if name.lower() not in place.given and fits:
                yield Candidate(name, option.about, 0, Form.RAW)
        for name in self._columns_known.places_of_copy(place):
            if name.lower() not in place.given:
                yield Candidate(name, "which store it is", 1)

    def _option_values(self, place: Place) -> Iterator[Candidate]:
        from dicomsql.shell.completion.options import INTO_FILES, INTO_STORE

        known = INTO_STORE if place.copies == "in" else INTO_FILES
        name = place.subject[0].lower() if place.subject else ""
        for option_name, option in known.items():
            if option_name.lower() == name:
                for value in option.values:
                    is_word = value.isidentifier() and not place.typed.quote
                    yield Candidate(value, "", 0, Form.RAW if is_word else Form.TEXT)
        yield from self._listed(place)

    def _meta(self, _place: Place) -> Iterator[Candidate]:
        from dicomsql.shell.meta import commands

        for command in commands():
            for number, name in enumerate(command.names):
                about = f"{command.usage}  {command.help}".strip()
                yield Candidate(name, about, min(number, 1), Form.RAW)

    def _choices(self, place: Place) -> Iterator[Candidate]:
        for number, (text, about) in enumerate(place.choices):
            yield Candidate(text, about, number, Form.RAW)

    def _paths(self, place: Place) -> Iterator[Candidate]:
        from dicomsql.shell.completion.files import files

        yield from files(place.typed.text, form=Form.RAW)


_MAKERS: dict[Want, Callable[[Completion, Place], Iterator[Candidate]]] = {
    Want.WORDS: Completion._words,
    Want.TABLES: Completion._tables,
    Want.COLUMNS: Completion._columns,
    Want.CONDITIONS: Completion._conditions,
    Want.ALIASES: Completion._aliases,
    Want.FUNCTIONS: Completion._functions,
    Want.VALUES: Completion._listed,
    Want.METHODS: Completion._methods,
    Want.VARIABLES: Completion._variables,
    Want.FILES: Completion._files,
    Want.SETTINGS: Completion._settings,
    Want.SETTING_VALUES: Completion._setting_values,
    Want.OPTIONS: Completion._options,
    Want.OPTION_VALUES: Completion._option_values,
    Want.META: Completion._meta,
    Want.CHOICES: Completion._choices,
    Want.PATHS: Completion._paths,
}


def _needle(place: Place) -> str:
    """What the candidates are compared with: of the path of a file, its last part."""
    text = place.typed.text
    return text.rpartition("/")[2] if {Want.FILES, Want.PATHS} & {*place.wants} else text


def _connected_service(session: Session) -> str:
    settings = session.settings
    if settings.connection is None:
        return ""
    return settings.connections[settings.connection].full_name


def _is_worth_it(place: Place, event: CompleteEvent) -> bool:
    """Whether a menu is shown to somebody who has typed nothing of a word yet."""
    typed = place.typed
    if typed.text or typed.path or typed.quote or event.completion_requested:
        return True
    # Words alone are known by heart; names and values are what one looks for.
    return place.wants != (Want.WORDS,)


def _writes_capitals(text: str, typed: str, rules: Any) -> bool:
    """Whether keywords are written in capitals: as what is typed, else as those that are there."""
    letters = [letter for letter in typed if letter.isalpha()]
    if letters:
        return letters[0].isupper() and (len(letters) == 1 or letters[1].isupper())
    tokens, _ = tokens_of(text, rules)
    words = (t.text for t in tokens if t.kind is Kind.WORD and t.text.upper() in KEYWORDS)
    return next((word.isupper() for word in words), True)


def _shown(candidate: Candidate, *, narrow: bool) -> str:
    """How a candidate stands in the menu; of a long name, what tells it from others, if narrow."""
    if narrow and candidate.form is Form.RAW and candidate.key:
        return candidate.key
    return candidate.text.removesuffix(" =").removesuffix("(") or "(none)"


def _setting(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "not set" if value is None else str(value)
