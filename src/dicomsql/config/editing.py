"""Changes of the configuration file: what a key names, and a file that is whole or as it was.

A change that would leave a file that is wrong is not made. All lines but those of the value stay.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicomsql.config.file import checked_configuration, configuration_text
from dicomsql.config.lines import line_of, with_value, without
from dicomsql.config.table import BY_KEY
from dicomsql.connections import MEMBERS, SECRETS, is_private
from dicomsql.errors import InterfaceError, nearest

_HEAD = ("default_profile", "files")
_NUMBERS: Mapping[str, type] = {"count": int, "seconds": float}
_SWITCHES: Mapping[str, bool] = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Place:
    """Something in the file, by the keys of TOML that lead there."""

    keys: tuple[str, ...]

    @property
    def is_secret(self) -> bool:
        """Whether its value is one that nobody may see."""
        return self.keys[-1] in SECRETS

    def __str__(self) -> str:
        return ".".join(self.keys)


_DEFAULT = Place(("default_profile",))


def place_of(key: str, profile: str) -> Place:
    """What a key of the command line names.

    `default_profile` and `files` stand at the head of the file; `project` is of the profile in use;
    `work.project` and `work` are of profiles; `connections.pacs.user` is of a connection.

    Args:
        profile: the profile in use.

    Raises:
        InterfaceError: there is nothing of that name.
    """
    parts = tuple(key.split("."))
    if not all(parts):
        raise InterfaceError(f"{key!r} is no key; write PROFILE.SETTING, such as work.project.")
    if parts[0] == "profiles" and len(parts) > 1:
        parts = parts[1:]
    elif parts[0] == "connections":
        if len(parts) not in {2, 3}:
            raise InterfaceError("A connection's member is written connections.NAME.MEMBER.")
        if len(parts) == 3 and parts[2] not in MEMBERS:
            raise InterfaceError(
                f"A connection has no member {parts[2]}.{nearest(parts[2], MEMBERS)}"
            )
        return Place(parts)
    elif parts[0] in _HEAD and len(parts) == 1:
        return Place(parts)
    elif len(parts) == 1 and parts[0] in BY_KEY:
        return Place(("profiles", profile, parts[0]))
    if len(parts) == 1:
        return Place(("profiles", parts[0]))
    if len(parts) > 2 or parts[1] not in BY_KEY:
        raise InterfaceError(
            f"A profile has no setting {'.'.join(parts[1:])}.{nearest(parts[1], list(BY_KEY))} "
            f"The settings are {', '.join(BY_KEY)}."
        )
    return Place(("profiles", *parts))


def read_place(text: str, place: Place) -> Any:
    """What a file says there; None where it says nothing."""
    import tomllib

    found: Any = tomllib.loads(text)
    for key in place.keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def with_changes(path: Path, changes: Mapping[Place, str]) -> None:
    """Write values into the file, which is made if there is none: all of them, or none.

    Args:
        changes: the values as a person types them.

    Raises:
        InterfaceError: one does not fit, or the file cannot be changed.
    """
    text = configuration_text(path, needed=False)
    _check(path, text)
    for place, value in changes.items():
        if place.is_secret:
            raise InterfaceError(
                f"{place} is a secret, and other users of the machine see the arguments of "
                f"programs. Name its place: {place}_env VARIABLE or {place}_file FILE."
            )
        if len(place.keys) == 2:
            raise InterfaceError(f"{place} is a table; name a setting in it: {place}.SETTING.")
        made = with_value(text, place.keys, _typed(place, value))
        if made is None:
            raise _cannot(path, text, place)
        text = made
    _check(path, text)
    _replace(path, text)


def removed(path: Path, place: Place) -> None:
    """Take a value or a table out of the file.

    Raises:
        InterfaceError: it is not there, or the file cannot be changed.
    """
    text = configuration_text(path, needed=False)
    _check(path, text)
    if read_place(text, place) is None:
        raise InterfaceError(f"{path} says nothing of {place}.")
    if place.keys[:1] == ("profiles",) and read_place(text, _DEFAULT) == place.keys[1]:
        left = read_place(without(text, place.keys) or "", Place(place.keys[:2]))
        if left is None:
            raise InterfaceError(
                f"{place.keys[1]} is the default profile. Name another first (`dicomsql config set "
                "default_profile NAME`), or none (`dicomsql config unset default_profile`)."
            )
    made = without(text, place.keys)
    if made is None:
        raise _cannot(path, text, place)
    _check(path, made)
    _replace(path, made)


def _typed(place: Place, value: str) -> str | int | float | bool:
    """The value in TOML's own type, where it has one; what does not fit is told by the check."""
    option = BY_KEY.get(place.keys[-1]) if place.keys[0] == "profiles" else None
    kind = option.kind if option is not None else ""
    if place.keys[0] == "connections":
        kind = {"parallel": "count", "timeout": "seconds", "insecure_auth": "bool"}.get(
            place.keys[-1], ""
        )
    if kind in {"bool", "local"} and value in _SWITCHES:
        return _SWITCHES[value]
    if kind in _NUMBERS:
        with suppress(ValueError):
            number: int | float = _NUMBERS[kind](value)
            return int(number) if number == int(number) else number
    return value


def _check(path: Path, text: str) -> None:
    checked_configuration(path, text, not path.exists() or is_private(path))


def _cannot(path: Path, text: str, place: Place) -> InterfaceError:
    return InterfaceError(
        f"{path}:{line_of(text, place.keys)}: {place} is written in a form that cannot be changed "
        "without changing more; edit the file."
    )


def _replace(path: Path, text: str) -> None:
    """Write the file whole, for its owner alone; where it is a link, what that leads to."""
    target = path.resolve()
    try:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # mkstemp makes the file readable for its owner alone.
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
                file.write(text)
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InterfaceError(f"Cannot write {path}: {error.strerror}.") from None
