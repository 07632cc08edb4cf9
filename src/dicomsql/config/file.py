"""The configuration file (TOML): profiles, connections, and what holds for all.

    default_profile = "work"        the profile that is used where none is named
    files = "off"                   for all profiles; see docs/configuration.md

    [profiles.work]                 settings, by the names in `dicomsql.config.table`
    project = "my-project"

    [connections.pacs]              a server; see docs/connections.md
    service = "dicomweb.orthanc"

Messages name the line and the key. They repeat no value, which may be a secret.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dicomsql.config.folders import default_config_file
from dicomsql.config.table import BY_KEY, BY_NAME, Option
from dicomsql.config.values import is_switch
from dicomsql.connections import Connection, connection_of, is_private
from dicomsql.errors import InterfaceError, nearest

__all__ = [
    "USUAL_PROFILE",
    "Configuration",
    "checked_configuration",
    "configuration_text",
    "read_configuration",
    "read_connections",
]

# The profile that is used where none is named and the file names none.
USUAL_PROFILE = "default"

# Bytes of a file; a thousand connections take a tenth of them.
_LARGEST = 2_000_000

_HEAD = ("default_profile", "files")
_TABLES = ("connections", "profiles")
_PROFILE_NAME = re.compile(r"[A-Za-z0-9_-]+")

# What TOML's own types are to be, by the kind of a setting; a text is right for all others.
_TYPES: Mapping[str, tuple[tuple[type, ...], str]] = {
    "count": ((int,), "a whole number greater than 0"),
    "seconds": ((int, float), "a number greater than 0"),
    "size": ((int, str), "a number of bytes, such as 500000 or '2GB'"),
    "switch": ((bool, str), "'on' or 'off'"),
    "local": ((bool, str), "a folder, true for the one in the user's data folder, or false"),
}


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the configuration file says.

    Attributes:
        path: the file.
        connections: by name.
        profiles: their settings, by name and by setting's name, in the settings' own types.
        files: whether statements may read and write local files; None where it does not say.
        default_profile: the profile that is used where none is named; None where it names none.
        text: of the file; empty where there is none.
    """

    path: Path
    connections: Mapping[str, Connection] = field(default_factory=dict)
    profiles: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    files: bool | None = None
    default_profile: str | None = None
    text: str = field(default="", repr=False)

    def place(self, *keys: str) -> str:
        """Where in the file something stands: `/home/ann/.config/dicomsql/config.toml:7`."""
        return _place(self.path, self.text, keys)

    def profile(self, name: str | None) -> str | None:
        """The profile that is in use where that name was given; None for none.

        Raises:
            InterfaceError: there is no such profile.
        """
        chosen = name or self.default_profile
        if chosen is None:
            return USUAL_PROFILE if USUAL_PROFILE in self.profiles else None
        if chosen not in self.profiles:
            raise InterfaceError(
                f"There is no profile {chosen}.{nearest(chosen, list(self.profiles))} "
                + _listed(self.profiles, self.path)
            )
        return chosen


def read_connections(file: str | Path | None = None) -> Mapping[str, Connection]:
    """The connections of the configuration file, by name; see `read_configuration`."""
    return read_configuration(file).connections


def read_configuration(file: str | Path | None = None) -> Configuration:
    """What the configuration file says.

    Args:
        file: None for the one in the user's configuration folder, which need not be there.

    Raises:
        InterfaceError: the file cannot be read, or something in it does not fit.
    """
    path = default_config_file() if file is None else Path(file).expanduser()
    text = configuration_text(path, needed=file is not None)
    if not text:
        return Configuration(path)
    return checked_configuration(path, text, is_private(path))


def configuration_text(path: Path, *, needed: bool) -> str:
    """The text of a configuration file.

    Args:
        needed: it has to be there; else there is no text where there is no file.

    Raises:
        InterfaceError: it cannot be read.
    """
    try:
        found = path.stat()
        if stat.S_ISCHR(found.st_mode) and path.samefile(os.devnull):
            return ""
        if not stat.S_ISREG(found.st_mode):
            # What is no file may never end, or never begin.
            raise InterfaceError(f"{path} is no file; the configuration is one.")
        if found.st_size > _LARGEST:
            raise InterfaceError(
                f"{path} is no configuration file: it has {found.st_size:,} bytes."
            )
        # Some editors begin a file with a mark of its encoding.
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        if not needed:
            return ""
        raise InterfaceError(f"There is no configuration file {path}.") from None
    except OSError as error:
        raise InterfaceError(f"Cannot read {path}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InterfaceError(f"{path} is not UTF-8 text.") from None


def checked_configuration(path: Path, text: str, private: bool) -> Configuration:
    """What the text of a configuration file says.

    Args:
        private: nobody but its owner may read the file.

    Raises:
        InterfaceError: something in it does not fit.
    """
    import tomllib

    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # Its text names a place and a character, and quotes no line.
        last = f"at line {text.count(chr(10), 0, len(text.rstrip())) + 1}, the end of the document"
        said = str(error).replace("at end of document", last)
        raise InterfaceError(f"{path} is not TOML: {said}.") from None

    def at(*keys: str) -> str:
        return _place(path, text, keys)

    for key in content:
        if key not in (*_HEAD, *_TABLES):
            raise InterfaceError(f"{at(key)}: {_unknown_at_head(key)}")
    for key in _TABLES:
        if not isinstance(content.get(key, {}), dict):
            raise InterfaceError(f"{at(key)}: {key} are tables, [{key}.NAME].")
    connections = {
        name: connection_of(
            *(name, table, path, private),
            lambda *keys, name=name: f"{at('connections', name, *keys)}, connections.{name}",
        )
        for name, table in content.get("connections", {}).items()
    }
    profiles = {
        name: _profile(name, table, path, private, at)
        for name, table in content.get("profiles", {}).items()
    }
    default = content.get("default_profile")
    if default is not None and (not isinstance(default, str) or default not in profiles):
        meant = nearest(str(default), list(profiles))
        raise InterfaceError(
            f"{at('default_profile')}: default_profile is the name of a profile.{meant} "
            + _listed(profiles, path)
        )
    for name, profile in profiles.items():
        _check_server(name, profile, connections, at)
    files = content.get("files")
    if files is not None:
        files = _converted(BY_NAME["files"], files, lambda: at("files"))
    return Configuration(path, connections, profiles, files, default, text)


def _place(path: Path, text: str, keys: tuple[str, ...]) -> str:
    # Few files are wrong, and most commands read one.
    from dicomsql.config.lines import line_of

    return f"{path}:{line_of(text, keys)}"


def _unknown_at_head(key: str) -> str:
    if key in BY_KEY:
        return f"{key} stands in a profile, below [profiles.NAME]."
    known = (*_HEAD, *_TABLES)
    return (
        f"{key} is not known.{nearest(key, known)} The file holds default_profile, files, "
        "[profiles.NAME] and [connections.NAME]."
    )


def _profile(name: str, table: Any, path: Path, private: bool, at: Any) -> dict[str, Any]:
    if not _PROFILE_NAME.fullmatch(name):
        raise InterfaceError(
            f"{at('profiles', name)}: the name of a profile has letters, digits, - and _."
        )
    if not isinstance(table, dict):
        raise InterfaceError(f"{at('profiles', name)}: write [profiles.{name}].")
    made: dict[str, Any] = {}
    for key, value in table.items():

        def where(key: str = key) -> str:
            return f"{at('profiles', name, key)}, profiles.{name}"

        option = BY_KEY.get(key)
        if option is None:
            raise InterfaceError(f"{where()}: {_unknown_in_profile(key)}")
        converted = _converted(option, value, where)
        if key == "proxy" and "@" in value and not private:
            raise InterfaceError(
                f"{where()}: proxy holds a password in a file that others may read. Make it yours "
                f"alone (chmod 600 {path}), or put the proxy into DICOMSQL_PROXY."
            )
        if option.is_file and isinstance(value, str) and not (key == "local" and is_switch(value)):
            converted = path.parent / Path(value).expanduser()
            # Those that are no paths in `Settings` are texts there.
            converted = str(converted) if option.kind == "any" else converted
        made[option.name] = converted
    return made


def _check_server(name: str, profile: Mapping[str, Any], connections: Any, at: Any) -> None:
    """One server, and one that there is."""
    for other in ("local", "connection"):
        if profile.get("endpoint") and profile.get(other):
            raise InterfaceError(
                f"{at('profiles', name, other)}, profiles.{name}: give either endpoint or {other}."
            )
    chosen = profile.get("connection")
    if chosen is not None and chosen not in connections:
        raise InterfaceError(
            f"{at('profiles', name, 'connection')}, profiles.{name}: connection is the name of a "
            f"connection of this file.{nearest(chosen, list(connections))}"
        )


def _unknown_in_profile(key: str) -> str:
    option = BY_NAME.get(key)
    if option is not None and option.secret:
        return (
            f"{key} does not stand in a profile. Put it into {option.environment}, or name its "
            "place in a connection."
        )
    if option is not None and not option.key:
        return f"{key} has to be said for each command, and does not stand in a profile."
    return f"{key} is not known.{nearest(key, list(BY_KEY))}"


def _converted(option: Option, value: Any, where: Callable[[], str]) -> Any:
    """The value in the setting's own type; what it is stays out of messages."""
    types, due = _TYPES.get(option.kind, ((str,), "a text that is not empty"))
    if option.kind == "choice":
        due = f"one of {', '.join(option.choices)}"
    elif option.kind == "age":
        due = "an age such as '30s', '10m' or '2h', of at most 24 hours, or 'off'"
    fits = isinstance(value, types) and value != ""
    # TOML's truth is no number, as Python's is.
    fits = fits and (bool in types or not isinstance(value, bool))
    if fits:
        try:
            return option.convert(value)
        except InterfaceError as error:
            if option.kind == "url":
                raise InterfaceError(f"{where()}: {error}") from None
    raise InterfaceError(f"{where()}: {option.key} is {due}.")


def _listed(profiles: Iterable[str], path: Path) -> str:
    names = ", ".join(sorted(profiles))
    return f"The profiles are {names}." if names else f"{path} has no [profiles.NAME]."
