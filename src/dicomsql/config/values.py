"""What settings take: ages, sizes, numbers, switches; each text made into a value of its type."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dicomsql.config.folders import default_local_root
from dicomsql.connections import base_url
from dicomsql.errors import InterfaceError, nearest

# Answers are kept for a day at most, whatever is asked for.
LONGEST_CACHE = 86_400.0

_AGE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(s|m|h)", re.IGNORECASE)
_BYTES = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kMGT]?)(i?)B?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}

_SWITCHES: Mapping[object, bool] = {
    **dict.fromkeys(("on", "true", "yes", "1", True), True),
    **dict.fromkeys(("off", "false", "no", "0", False), False),
}

_SAY_WHO = (
    "give --user NAME or user= (and the password in DICOMSQL_PASSWORD), --token-file or "
    "token_file=, --credentials or credentials="
)


def seconds_of(text: str) -> float | None:
    """The seconds of an age such as `30s`, `10m` or `2h`; None for `off`.

    Raises:
        InterfaceError: it is none, or longer than a day.
    """
    if text.strip().lower() in {"off", "0"}:
        return None
    found = _AGE.fullmatch(text.strip())
    seconds = float(found.group(1)) * _UNITS[found.group(2).lower()] if found else 0.0
    if not 0 < seconds <= LONGEST_CACHE:
        raise InterfaceError(
            "cache takes an age such as '30s', '10m' or '2h', of at most 24 hours, or 'off'."
        )
    return seconds


def age_text(seconds: float) -> str:
    """An age as `seconds_of` takes it, in the largest unit that it is a whole number of."""
    for unit, length in reversed(_UNITS.items()):
        if seconds % length == 0:
            return f"{seconds / length:g}{unit}"
    return f"{seconds:g}s"


def bytes_of(text: str) -> int:
    """The number of bytes of a size such as `500000`, `10k`, `1.5 MB` or `2GiB`.

    k, M, G and T are powers of 1,000, and with an i of 1,024.

    Raises:
        InterfaceError: it is none, or less than a byte.
    """
    found = _BYTES.fullmatch(text.strip())
    size = 0
    if found is not None:
        number, unit, binary = found.groups()
        if unit or not binary:
            factor = (1024 if binary else 1000) ** _POWERS[unit.lower()]
            size = int(float(number) * factor) if "." in number else int(number) * factor
    if size < 1:
        raise InterfaceError(
            "must be a number of bytes from 1 on, such as 500000, '10kB', '1.5 MB' or '2GiB'."
        )
    return size


def is_switch(value: Any) -> bool:
    """Whether a value is on or off, in any of the ways to write that."""
    return (value.lower() if isinstance(value, str) else value) in _SWITCHES


def is_off(value: Any) -> bool:
    """Whether a value is off, in any of the ways to write that."""
    return is_switch(value) and not _SWITCHES[value.lower() if isinstance(value, str) else value]


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise InterfaceError(f"{name} takes a text that is not empty.")
    return value


def _any(name: str, value: Any) -> Any:  # noqa: ARG001 - it fits, whatever it is
    return value


def _path(name: str, value: Any) -> Path:  # noqa: ARG001 - as the others
    return Path(value).expanduser()


def _local(name: str, value: Any) -> Path | None:  # noqa: ARG001 - as the others
    # A folder of such a name is written ./on.
    switch = _SWITCHES.get(value.lower() if isinstance(value, str) else value)
    if switch is not None:
        return default_local_root() if switch else None
    return Path(value).expanduser()


def _url(name: str, value: Any) -> str:
    return base_url(str(value), name, _SAY_WHO)


def _count(name: str, value: Any) -> int:
    return int(_number(int, name, value))


def _seconds(name: str, value: Any) -> float:
    return _number(float, name, value)


def _number(kind: type[int] | type[float], name: str, value: Any) -> float:
    try:
        number = kind(value)
    except (TypeError, ValueError, OverflowError):
        raise InterfaceError(f"{name} must be a number, not {value!r}.") from None
    if not 0 < number < float("inf"):
        raise InterfaceError(f"{name} must be greater than 0.")
    return number


def _size(name: str, value: Any) -> int:
    if not isinstance(value, str):
        return _count(name, value)
    try:
        return bytes_of(value)
    except InterfaceError as error:
        raise InterfaceError(f"{name} {error}") from None


def _age(name: str, value: Any) -> float | None:  # noqa: ARG001 - the text says it
    return seconds_of(value) if isinstance(value, str) else value


def _switch(name: str, value: Any) -> bool:
    flag = _SWITCHES.get(value.lower() if isinstance(value, str) else value)
    if flag is None:
        raise InterfaceError(f"{name} takes 'on' or 'off'.")
    return flag


# What makes a setting's value of what was given for it, by the setting's kind.
KINDS: Mapping[str, Callable[[str, Any], Any]] = {
    "text": _text,
    "any": _any,
    "path": _path,
    "local": _local,
    "url": _url,
    "count": _count,
    "seconds": _seconds,
    "size": _size,
    "age": _age,
    "switch": _switch,
}


def chosen(name: str, value: Any, choices: tuple[str, ...]) -> str:
    """The value, if it is one of the choices.

    Raises:
        InterfaceError: it is none.
    """
    if value in choices:
        return str(value)
    meant = nearest(str(value), choices)
    raise InterfaceError(f"{name} is one of {', '.join(choices)}, not {value!r}.{meant}")
