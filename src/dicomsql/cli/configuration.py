"""The command `config`: shows, changes and checks the configuration file."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dicomsql import config
from dicomsql.cli.failures import UsageError
from dicomsql.cli.opening import resolution_of
from dicomsql.config.editing import Place, place_of, read_place, removed, with_changes
from dicomsql.config.values import age_text
from dicomsql.errors import InterfaceError

# What stands in the place of a value that is not shown.
_HIDDEN = "(set, not shown)"
# The same of a secret that goes nowhere, since no endpoint is given that it is for.
_UNUSED = "(set, not used)"


def run(arguments: argparse.Namespace) -> int:
    """Run one of the commands of `config`.

    Raises:
        UsageError: the file, or what is asked for, does not fit.
    """
    try:
        return _ACTIONS[arguments.action](arguments)
    except InterfaceError as error:
        raise UsageError(str(error)) from None


def _path_of(arguments: argparse.Namespace) -> Path:
    named = arguments.config or os.environ.get("DICOMSQL_CONFIG")
    return Path(named).expanduser() if named else config.default_config_file()


def _read(arguments: argparse.Namespace) -> config.Configuration:
    path = _path_of(arguments)
    return config.read_configuration(path if path.exists() else arguments.config)


def _place(arguments: argparse.Namespace, key: str) -> Place:
    """What a KEY names; a setting alone is of the profile in use."""
    path = _path_of(arguments)
    # A file that is not there yet is made by its first value.
    configuration = config.read_configuration(path) if path.exists() else config.Configuration(path)
    named = arguments.profile or os.environ.get("DICOMSQL_PROFILE")
    # A profile that is not there yet is made by its first value.
    profile = named or configuration.profile(None) or config.USUAL_PROFILE
    return place_of(key, profile)


def _list(arguments: argparse.Namespace) -> int:
    import tomllib

    configuration = _read(arguments)
    content = _shown("", tomllib.loads(configuration.text))
    if arguments.json:
        _write(json.dumps(content, default=str))
        return 0
    in_use = configuration.profile(arguments.profile or os.environ.get("DICOMSQL_PROFILE"))
    for key, value in content.items():
        if not isinstance(value, dict):
            _write(f"{key} = {_plain(value)}")
    for name, table in content.get("profiles", {}).items():
        _write(f"profile {name}{' (in use)' if name == in_use else ''}")
        _write_members(table)
    for name, table in content.get("connections", {}).items():
        _write(f"connection {name}")
        _write_members(table)
    return 0


def _write_members(table: Mapping[str, Any]) -> None:
    for key, value in table.items():
        _write(f"  {key} = {_plain(value)}")


def _get(arguments: argparse.Namespace) -> int:
    place = _place(arguments, arguments.key)
    configuration = _read(arguments)
    value = read_place(configuration.text, place)
    if value is None:
        raise UsageError(f"{configuration.path} says nothing of {place}.")
    if place.is_secret:
        raise UsageError(f"{place} is a secret, which is not written out.")
    _write(_plain(_shown(place.keys[-1], value)))
    return 0


def _set(arguments: argparse.Namespace) -> int:
    words = arguments.values
    if len(words) % 2:
        raise UsageError(
            "config set takes a key and its value, such as `config set work.project my-project`, "
            "and any number of further pairs."
        )
    path = _path_of(arguments)
    places = [_place(arguments, key) for key in words[::2]]
    changes = dict(zip(places, words[1::2], strict=True))
    with_changes(path, changes)
    for place in places:
        sys.stderr.write(f"{place} is set in {path}\n")
    return 0


def _unset(arguments: argparse.Namespace) -> int:
    path = _path_of(arguments)
    place = _place(arguments, arguments.key)
    removed(path, place)
    sys.stderr.write(f"{place} is no longer in {path}\n")
    return 0


def _where(arguments: argparse.Namespace) -> int:
    _write(str(_path_of(arguments)))
    return 0


def _show(arguments: argparse.Namespace) -> int:
    resolution = resolution_of(arguments)
    rows = []
    for option in config.OPTIONS:
        found = resolution.found.get(option.name)
        if option.face:
            value = None if found is None else found.value
        else:
            value = getattr(resolution.settings, option.name)
        if option.name == "config" and found is None:
            value = resolution.configuration.path if resolution.configuration.text else None
        shown = _shown(option.name, _as_written(option, value))
        origin = resolution.origin(option.name)
        if option.secret and found is None and os.environ.get(option.environment):
            shown, origin = _UNUSED, f"environment {option.environment}"
        rows.append((option, shown, origin))
    if arguments.json:
        _write(
            json.dumps(
                {
                    option.key or option.name: {"value": value, "origin": origin}
                    if arguments.origin
                    else value
                    for option, value, origin in rows
                },
                default=str,
            )
        )
        return 0
    width = max(len(option.key or option.name) for option, _, _ in rows)
    texts = ["-" if value in {None, ""} else _text(value) for _, value, _ in rows]
    room = min(max(map(len, texts)), 48)
    for (option, _, origin), text in zip(rows, texts, strict=True):
        line = f"{option.key or option.name:<{width}}  {text:<{room}}"
        _write(f"{line}  {origin}".rstrip() if arguments.origin else line.rstrip())
    return 0


def _check(arguments: argparse.Namespace) -> int:
    path = _path_of(arguments)
    if not path.exists() and not arguments.config:
        _write(f"There is no {path}, and there need not be one.")
        return 0
    configuration = config.read_configuration(path)
    from dicomsql.catalog.load import Catalog

    connections = {
        name: (connection.service, connection.endpoint)
        for name, connection in configuration.connections.items()
    }
    Catalog.open(connections=connections)
    for name in configuration.profiles:
        # Whether its parts fit together, such as a server and who it is asked as.
        config.resolve({}, {"config": path, "profile": name})
    profiles, servers = len(configuration.profiles), len(configuration.connections)
    _write(
        f"{path} is right: {profiles} profile{'s' * (profiles != 1)}, "
        f"{servers} connection{'s' * (servers != 1)}."
    )
    return 0


def _shown(name: str, value: Any) -> Any:
    """A value, or all of a table, as it may be shown: secrets only as being there."""
    if isinstance(value, dict):
        return {key: _shown(key, member) for key, member in value.items()}
    secret = name in {"password", "token"}
    text = str(value)
    # An object of google-auth, or a key's content, in the place of a file's name.
    secret |= name == "credentials" and text.lstrip().startswith("{")
    secret |= name == "proxy" and "@" in text
    if value is None or not secret:
        return str(value) if isinstance(value, Path) else value
    return _HIDDEN


def _plain(value: Any) -> str:
    """A value of the file as it stands there, without a text's quotes; a table as JSON."""
    return json.dumps(value) if isinstance(value, dict | bool) else str(value)


def _as_written(option: config.Option, value: Any) -> Any:
    """A setting as the file and the environment take it."""
    if option.kind == "age":
        return "off" if value is None else age_text(value)
    return str(value) if isinstance(value, Path) else value


def _text(value: Any) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")


_ACTIONS = {
    "list": _list,
    "get": _get,
    "set": _set,
    "unset": _unset,
    "path": _where,
    "show": _show,
    "check": _check,
}
