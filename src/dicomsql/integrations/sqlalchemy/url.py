"""What a URL of the dialect says: the arguments of `dicomsql.connect`.

    dicomsql://PROJECT/LOCATION/DATASET/STORE?endpoint=...&local=...
    dicomsql://USER:PASSWORD@/?endpoint=...

SQLAlchemy shows URLs in texts of all kinds, with three stars for the password and all else as it
is. So a secret stands in the place of the password or not in the URL at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from dicomsql.errors import nearest

# What the parts of the path are defaults of, in their order; the first is the URL's host.
_PLACE = ("project", "location", "dataset", "dicom_store")

_FLAGS = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}

_SECRETS = {
    "password": "write it as dicomsql://USER:PASSWORD@..., where SQLAlchemy hides it",
    "token": "give connect_args={'token': ...}, token_file=... or DICOMSQL_TOKEN",
}


def _flag(text: str) -> bool:
    return _FLAGS[text.lower()]


def _whole(text: str) -> int:
    return int(text)


# Settings that a URL can have, with what makes their value of its text.
_SETTINGS: Mapping[str, Callable[[str], Any]] = {
    **dict.fromkeys(_PLACE, str),
    **dict.fromkeys(("endpoint", "local", "connection", "config", "profile"), str),
    **dict.fromkeys(("user", "token_file"), str),
    **dict.fromkeys(("credentials", "impersonate", "quota_project", "proxy", "ca_bundle"), str),
    **dict.fromkeys(("cache", "audit_log", "database", "dialect", "files", "providers"), str),
    "max_bytes": str,
    **dict.fromkeys(("max_pages", "max_calls", "parallel"), _whole),
    "timeout": float,
    **dict.fromkeys(("anonymous", "insecure_auth", "await_operations"), _flag),
    **dict.fromkeys(("yes", "show_phi", "autocommit"), _flag),
}


def connect_arguments(url: URL) -> dict[str, Any]:
    """The arguments of `dicomsql.connect` that a URL stands for.

    Raises:
        ArgumentError: a part or a parameter of it is unknown, is given twice, does not fit, or
            would show a secret.
    """
    given = _place(url)
    if url.port is not None:
        raise ArgumentError(
            "The URL has a port, but its first part is a project; the server stands in the "
            "parameter endpoint, and a colon in a project is written %3A."
        )
    if url.username:
        given["user"] = url.username
    if url.password is not None:
        given["password"] = str(url.password)
    for name, value in url.query.items():
        if name in given:
            raise ArgumentError(f"The URL gives {name} twice.")
        given[name] = _setting(name, value)
    return given


def _place(url: URL) -> dict[str, Any]:
    """The defaults that the parts of the path give; an empty part gives none."""
    # SQLAlchemy has not decoded the host, and the path from 2.1 on.
    path = (url.database or "").rstrip("/")
    if make_url("dicomsql:///%2F").database != "/":
        path = unquote(path)
    parts = [unquote(url.host or ""), *path.split("/")]
    if len(parts) > len(_PLACE):
        raise ArgumentError(
            "The URL's path has more parts than dicomsql://PROJECT/LOCATION/DATASET/STORE."
        )
    return {name: part for name, part in zip(_PLACE, parts, strict=False) if part}


def _setting(name: str, text: str | tuple[str, ...]) -> Any:
    if name in _SECRETS:
        raise ArgumentError(f"{name} is no parameter of a URL, which is shown; {_SECRETS[name]}.")
    make = _SETTINGS.get(name)
    if make is None:
        known = list(_SETTINGS)
        raise ArgumentError(
            f"The URL has an unknown parameter {name}.{nearest(name, known)} "
            f"The parameters are {', '.join(known)}."
        )
    if not isinstance(text, str):
        raise ArgumentError(f"The URL gives {name} twice.")
    if name == "proxy" and "@" in urlsplit(text).netloc:
        raise ArgumentError(
            "A proxy with a password is no parameter of a URL, which is shown; give "
            "connect_args={'proxy': ...} or DICOMSQL_PROXY."
        )
    try:
        return make(text)
    except (KeyError, ValueError):
        kind = "true or false" if make is _flag else "a number"
        raise ArgumentError(f"The URL's parameter {name} takes {kind}.") from None
