"""Which value a setting has where several places give one.

One order for every face: what is given, the environment, the profile, what the configuration file
says for all, the variables that other programs heed too, the default. What excludes a value, such
as another server, takes its place too where it stands before it in that order.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicomsql.config.file import Configuration, read_configuration
from dicomsql.config.model import Settings
from dicomsql.config.table import BY_NAME, OPTIONS
from dicomsql.config.values import is_off
from dicomsql.errors import InterfaceError, alone, nearest

__all__ = ["Found", "Resolution", "resolve", "settings"]


@dataclass(frozen=True, slots=True)
class Found:
    """The value of a setting, and where it comes from.

    Attributes:
        source: `given`, `environment`, `profile`, `file` or `default`.
        name: the option, the variable, the profile, as `source` says.
        keys: of what stands in the configuration file, where.
    """

    value: Any
    source: str
    name: str = ""
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Resolution:
    """The settings, and where each comes from.

    Attributes:
        settings: those of the session.
        found: all that were given somewhere, those of a face among them, by name.
        configuration: what the configuration file says.
    """

    settings: Settings
    found: Mapping[str, Found]
    configuration: Configuration

    def origin(self, name: str) -> str:
        """Where a setting comes from, for people: `profile work in config.toml:7`."""
        found = self.found.get(name)
        if found is None:
            return "default"
        if found.source == "given":
            return f"option {found.name}"
        if found.source == "environment":
            return f"environment {found.name}"
        place = self.configuration.place(*found.keys)
        return f"profile {found.name} in {place}" if found.source == "profile" else place

    def face(self, name: str) -> Any:
        """A setting of the program that shows results; None where nothing gives it."""
        found = self.found.get(name)
        return None if found is None else found.value


# A server, by any of these, takes the place of another that stands behind it in the order.
_EXCLUDES: Mapping[str, frozenset[str]] = {
    "endpoint": frozenset({"local", "connection"}),
    "local": frozenset({"endpoint"}),
    "connection": frozenset({"endpoint"}),
}
_PLACES = tuple(_EXCLUDES)
_NOT_BOTH = {"local": "a local folder", "connection": "a connection"}

# Any of these says who asks; they go to the server that they were given with.
_WHO_ASKS = frozenset({"user", "password", "token", "token_file", "credentials", "impersonate"})
# Those that are of an endpoint alone, each with what excludes it before it in the order.
_LOGIN: Mapping[str, frozenset[str]] = {
    "user": frozenset({"token", "token_file", "credentials"}),
    "token": frozenset({"user", "token_file", "credentials"}),
    "token_file": frozenset({"user", "token", "credentials"}),
    "password": frozenset(),
}

_Level = Mapping[str, Found]


def settings(environment: Mapping[str, str] | None = None, **given: Any) -> Settings:
    """Settings from what was given and, where that is None, from elsewhere; see `resolve`.

    Raises:
        InterfaceError: a value is unknown or does not fit.
    """
    for name in given:
        if name not in Settings.__dataclass_fields__:
            known = list(Settings.__dataclass_fields__)
            raise InterfaceError(f"Unknown setting {name}.{nearest(name, known)}")
    return resolve(environment, given).settings


def resolve(environment: Mapping[str, str] | None, given: Mapping[str, Any]) -> Resolution:
    """Settings with where each comes from, of what was given, the environment and the profile.

    `local=True` (or DICOMSQL_LOCAL=1) means the default folder.

    Args:
        environment: that of the process where it is None.
        given: values by the settings' names; None is not given.

    Raises:
        InterfaceError: a value is unknown or does not fit.
    """
    # What an error came from may hold the text of the configuration, with its secrets.
    with alone():
        return _resolved(os.environ if environment is None else environment, given)


def _resolved(environment: Mapping[str, str], given: Mapping[str, Any]) -> Resolution:
    outright = {
        name: Found(value, "given", _flag(name))
        for name, value in given.items()
        if value is not None
    }
    variables = {
        option.name: Found(environment[option.environment], "environment", option.environment)
        for option in OPTIONS
        if option.environment and environment.get(option.environment)
    }
    configuration = _configuration(outright, variables)
    profile_of = outright.get("profile") or variables.get("profile")
    profile = configuration.profile(profile_of.value if profile_of else None)
    levels: list[_Level] = [outright, variables]
    if profile is not None:
        levels.append(_of_profile(configuration, profile))
    if configuration.files is not None:
        levels.append({"files": Found(configuration.files, "file", keys=("files",))})
    levels.append(
        {
            option.name: Found(environment[option.elsewhere], "environment", option.elsewhere)
            for option in OPTIONS
            if option.elsewhere and environment.get(option.elsewhere)
        }
    )
    found = _merged(levels)
    if profile is not None and "profile" not in found:
        named = configuration.default_profile is not None
        keys = ("default_profile",) if named else ("profiles", profile)
        found["profile"] = Found(profile, "file", keys=keys)
    found = {name: _converted(name, value) for name, value in found.items()}
    connections = given.get("connections")
    if connections is None:
        connections = configuration.connections
    values = {
        name: value.value
        for name, value in found.items()
        if name in Settings.__dataclass_fields__ and value.value is not None
    }
    _check_place(values, connections)
    return Resolution(Settings(**{**values, "connections": connections}), found, configuration)


def _flag(name: str) -> str:
    option = BY_NAME.get(name)
    return option.flag if option is not None and option.flag else name


def _configuration(outright: _Level, variables: _Level) -> Configuration:
    named = outright.get("config") or variables.get("config")
    if "connections" in outright and not (named or "profile" in outright):
        # A program that gives its connections outright has no need of a file.
        return Configuration(Path())
    return read_configuration(None if named is None else named.value)


def _of_profile(configuration: Configuration, profile: str) -> dict[str, Found]:
    return {
        name: Found(value, "profile", profile, ("profiles", profile, BY_NAME[name].key))
        for name, value in configuration.profiles[profile].items()
    }


def _merged(levels: list[_Level]) -> dict[str, Found]:
    """The first value of each setting that nothing before it excludes."""
    found: dict[str, Found] = {}
    for level in levels:
        # `local` that is off takes no other server's place.
        above = {name for name, value in found.items() if not is_off(value.value)}
        taken = set(found)
        for name in _PLACES:
            if name in level and name not in taken and not above & _EXCLUDES[name]:
                found[name] = level[name]
    endpoint = found.get("endpoint")
    _check_login(levels[0], endpoint is not None)
    for level in levels:
        above = set(found)
        for name, value in level.items():
            if name in above or name in _PLACES or _is_left_out(name, value, above, endpoint):
                continue
            found[name] = value
        if level is levels[1] and found.get("user") is level.get("user") is not None:
            # Of a user and a token side by side in the environment, the user it is.
            token = found.get("token")
            if token is not None and token is level.get("token"):
                del found["token"]
    return found


def _is_left_out(name: str, value: Found, above: set[str], endpoint: Found | None) -> bool:
    """Whether a value does not count, since what is before it in the order excludes it."""
    if name == "anonymous":
        return bool(above & _WHO_ASKS)
    if value.source == "profile" and name in _WHO_ASKS:
        # Who a profile asks as goes to the profile's own server, and to no other.
        own = endpoint is None or (endpoint.source, endpoint.name) == (value.source, value.name)
        if not own:
            return True
    if name in _LOGIN and value.source != "given":
        return endpoint is None or bool(above & _LOGIN[name])
    return False


def _check_login(given: _Level, has_endpoint: bool) -> None:
    """What was given outright has to have a server that it is for, and only one of two kinds."""
    named = [f"--{n.replace('_', '-')} or {n}=" for n in ("user", "token_file") if n in given]
    named += [n for n in ("password", "token") if n in given]
    if not named:
        return
    if not has_endpoint:
        raise InterfaceError(
            f"{named[0]} goes with --endpoint or endpoint=: it is sent to that server and to no "
            "other. A connection has its own, in the configuration file."
        )
    if "user" in given and ("token" in given or "token_file" in given):
        raise InterfaceError("Give either a user or a token, not both.")
    if "credentials" in given:
        raise InterfaceError("Give either Google's credentials or a user or token, not both.")


def _converted(name: str, found: Found) -> Found:
    """The value in the setting's own type; where it does not fit, it is said where it stands."""
    option = BY_NAME.get(name)
    if option is None or found.source in {"profile", "file"}:
        return found
    if option.face and found.source == "given":
        # The command line has checked it, which takes more than a profile: formats of files too.
        return found
    try:
        value = option.convert(found.value)
    except InterfaceError as error:
        if found.source == "given":
            raise
        raise InterfaceError(f"{found.name}: {error}") from None
    return Found(value, found.source, found.name)


def _check_place(values: Mapping[str, Any], connections: Mapping[str, Any]) -> None:
    """One server, and one that there is."""
    for other, said in _NOT_BOTH.items():
        if "endpoint" in values and other in values:
            raise InterfaceError(f"Give either an endpoint or {said}, not both.")
    chosen = values.get("connection")
    if chosen is not None and chosen not in connections:
        known = sorted(connections)
        raise InterfaceError(
            f"There is no connection {chosen}.{nearest(chosen, known)} "
            + (f"The connections are {', '.join(known)}." if known else "The file names none.")
        )
