"""What may stand behind a meta-command: the place of the cursor, by what the command takes."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from dicomsql.config import PARAMETER_DEFAULTS
from dicomsql.errors import Error
from dicomsql.shell.completion.nesting import Typed
from dicomsql.shell.completion.place import Place, Want, place_of
from dicomsql.shell.completion.words import STATEMENTS

if TYPE_CHECKING:
    from dicomsql.session import Session

__all__ = ["argument_place"]

_LAST_WORD = re.compile(r"\S*\Z")
_NAMED = {**PARAMETER_DEFAULTS, "store": PARAMETER_DEFAULTS["dicom_store"]}


def argument_place(place: Place, session: Session) -> Place | None:
    """The place in a meta-command's arguments; None where it takes nothing that is known.

    Args:
        place: the arguments as a whole.
    """
    from dicomsql.shell.meta import commands

    name = place.subject[0]
    command = next((c for c in commands() if name in c.names), None)
    if command is None:
        return None
    maker = _TAKES.get(command.takes)
    return maker(place, session) if maker is not None else None


def _resource(place: Place, _session: Session) -> Place:
    return _name(place, Want.TABLES, Want.COLUMNS)


def _method(place: Place, _session: Session) -> Place:
    return _name(place, Want.METHODS)


def _name(place: Place, *wants: Want) -> Place:
    *path, last = place.text.split(".")
    start = place.typed.start + len(place.text) - len(last)
    return replace(place, wants=wants, verb="", typed=Typed(last, start, tuple(path)))


def _file(place: Place, _session: Session) -> Place:
    return replace(place, wants=(Want.PATHS,))


def _statement(place: Place, _session: Session) -> Place | None:
    inner = place_of(place.text, len(place.text))
    if inner is None:
        return replace(place, wants=(Want.WORDS,), words=STATEMENTS)
    typed = inner.typed
    return replace(inner, typed=replace(typed, start=typed.start + place.typed.start))


def _format(place: Place, _session: Session) -> Place:
    from dicomsql.shell.meta.looks import SETTINGS

    return _choices(place, dict.fromkeys(SETTINGS["format"].choices, ""))


def _switch(place: Place, _session: Session) -> Place:
    from dicomsql.shell.meta.looks import SETTINGS

    return _choices(place, dict.fromkeys(SETTINGS["expanded"].choices, ""))


def _setting(place: Place, session: Session) -> Place:
    from dicomsql.session.settings import choices_of
    from dicomsql.shell.meta.looks import SETTINGS

    name, blank, _ = place.text.partition(" ")
    if blank:
        known = SETTINGS[name].choices if name in SETTINGS else choices_of(name)
        found = _choices(place, dict.fromkeys(known, ""))
        parameter = next((p for p in _NAMED.values() if p.lower() == name.lower()), None)
        if parameter is None:
            return found
        return replace(found, wants=(Want.VALUES,), subject=(parameter,), raw=True)
    own = {name: setting.help for name, setting in SETTINGS.items()}
    return _choices(place, own | dict.fromkeys(session.current_settings, "of the session"))


def _connection(place: Place, session: Session) -> Place:
    from dicomsql.config import read_configuration

    if place.text.startswith("local "):
        return replace(_last(place), wants=(Want.PATHS,))
    found = {
        name: f"connection  {connection.full_name}"
        for name, connection in session.settings.connections.items()
    }
    # A file that is broken is told of when it is used.
    with suppress(Error):
        found |= dict.fromkeys(read_configuration().profiles, "profile")
    found |= {"local": "the emulator, on a folder", "default": "no profile and no connection"}
    return _choices(place, found)


def _default(place: Place, _session: Session) -> Place:
    last = _last(place)
    name, equals, value = last.typed.text.partition("=")
    if not equals:
        return _choices(place, {f"{name}=": parameter for name, parameter in _NAMED.items()})
    said = dict(re.findall(r"(\w+)=(\S+)", place.text[: -len(last.typed.text)]))
    equal = {_NAMED[n].lower(): v for n, v in said.items() if n in _NAMED}
    typed = Typed(value, last.typed.start + len(name) + 1)
    subject = (_NAMED.get(name, name),)
    return replace(place, wants=(Want.VALUES,), typed=typed, subject=subject, equal=equal, raw=True)


def _choices(place: Place, choices: dict[str, str]) -> Place:
    return replace(_last(place), wants=(Want.CHOICES,), choices=tuple(choices.items()))


def _last(place: Place) -> Place:
    """The place of the last word alone."""
    found = _LAST_WORD.search(place.text)
    assert found is not None  # it may be empty
    return replace(place, typed=Typed(found.group(), place.typed.start + found.start()))


_TAKES: dict[str, Callable[[Place, Session], Place | None]] = {
    "resource": _resource,
    "method": _method,
    "file": _file,
    "statement": _statement,
    "format": _format,
    "switch": _switch,
    "setting": _setting,
    "connection": _connection,
    "default": _default,
}
