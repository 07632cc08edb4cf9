"""Servers with names of their own, and whom they are asked as, as the configuration has them.

docs/connections.md tells what stands there. No message repeats a secret or a member's value.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dicomsql.errors import InterfaceError, nearest

__all__ = [
    "MEMBERS",
    "SECRETS",
    "Connection",
    "Login",
    "Where",
    "base_url",
    "connection_of",
    "is_private",
]

# Says where in a file the member of those names stands: `config.toml:3, connections.pacs`.
Where = Callable[..., str]

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_TEXTS = ("service", "endpoint", "auth", "user", "ca_bundle")
SECRETS = ("password", "token")
_REFERENCES = tuple(f"{name}_{how}" for name in SECRETS for how in ("env", "file"))
MEMBERS = (*_TEXTS, *SECRETS, *_REFERENCES, "parallel", "timeout", "insecure_auth")
_SECRET_OF = {"basic": "password", "bearer": "token"}


@dataclass(frozen=True, slots=True)
class Login:
    """Who a DICOMweb server is asked as.

    Attributes:
        kind: `none`, `basic` or `bearer`.
        user: for `basic`.
        secret: the password or token itself; None where `variable` or `file` tells it.
        variable: of the environment, that holds it.
        file: that holds it; looked at again where a server refuses what it held.
    """

    kind: str = "none"
    user: str = ""
    secret: str | None = field(default=None, repr=False)
    variable: str = ""
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class Connection:
    """A server with a name of its own, which is a service of its provider (`dicomweb.pacs`).

    Attributes:
        service: full name of the service whose document describes it (`dicomweb.orthanc`).
        endpoint: its base URL.
        parallel, timeout, ca_bundle: as in `Settings`, which win where they are given.
        insecure_auth: credentials may go to it over plain http.
    """

    name: str
    service: str
    endpoint: str
    login: Login = field(default_factory=Login)
    parallel: int | None = None
    timeout: float | None = None
    ca_bundle: str | None = None
    insecure_auth: bool = False

    @property
    def full_name(self) -> str:
        """As statements name it: `dicomweb.pacs`."""
        return f"{self.service.partition('.')[0]}.{self.name}"


def is_private(path: Path) -> bool:
    """Whether nobody but its owner may do anything with a file; what is no file has no say.

    Neither has one on a file system that cannot be written to: so secrets are handed to containers,
    readable by all, and nobody inside can change that.

    Raises:
        OSError: it cannot be looked at.
    """
    mode = path.stat().st_mode
    if os.name != "posix" or not stat.S_ISREG(mode):
        return True
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return True
    return not mode & (stat.S_IRWXG | stat.S_IRWXO)


def connection_of(name: str, table: Any, path: Path, private: bool, where: Where) -> Connection:
    """The connection that a table of the configuration describes.

    Args:
        path: the file, which files that it names lie beside.
        private: nobody but its owner may read it.
        where: says where in it a member stands, for errors.

    Raises:
        InterfaceError: something in it does not fit.
    """
    if not _NAME.fullmatch(name):
        raise InterfaceError(
            f"{where()}: a name has small letters, digits and underscores, and begins with a "
            "letter."
        )
    if not isinstance(table, dict):
        raise InterfaceError(f"{where()} is no table; write [connections.{name}].")
    for key, value in table.items():
        if key not in MEMBERS:
            raise InterfaceError(f"{where(key)}: {key} is not known.{nearest(key, MEMBERS)}")
        _check_member(where, key, value)
    for key in ("service", "endpoint"):
        if not table.get(key):
            raise InterfaceError(f"{where()}: {key} is missing.")
    if table["service"].count(".") != 1:
        raise InterfaceError(
            f"{where('service')}: service is the full name of one, such as dicomweb.orthanc."
        )
    secrets = [key for key in SECRETS if key in table]
    if secrets and not private:
        raise InterfaceError(
            f"{where(secrets[0])}: {secrets[0]} stands in a file that others may read. Make it "
            f"yours alone (chmod 600 {path}), or name the secret's place with {secrets[0]}_env or "
            f"{secrets[0]}_file."
        )
    return Connection(
        name=name,
        service=table["service"],
        endpoint=base_url(
            table["endpoint"], f"endpoint of connection {name}", 'give auth = "basic"'
        ),
        login=_login(where, table, path),
        parallel=table.get("parallel"),
        timeout=table.get("timeout"),
        ca_bundle=_beside(path, table["ca_bundle"]) if "ca_bundle" in table else None,
        insecure_auth=table.get("insecure_auth", False),
    )


def _check_member(where: Where, key: str, value: object) -> None:
    """The type of a connection's member; what it is stays out of the message."""
    if key == "insecure_auth":
        fits, due = isinstance(value, bool), "true or false"
    elif key == "parallel":
        fits = isinstance(value, int) and not isinstance(value, bool) and value > 0
        due = "a whole number greater than 0"
    elif key == "timeout":
        fits = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
        due = "a number greater than 0"
    else:
        fits, due = isinstance(value, str) and bool(value), "a text that is not empty"
    if not fits:
        raise InterfaceError(f"{where(key)}: {key} is {due}.")


def _login(where: Where, table: Mapping[str, Any], path: Path) -> Login:
    kind = table.get("auth", "none")
    if kind not in {"none", *_SECRET_OF}:
        raise InterfaceError(f"{where('auth')}: auth is basic, bearer or none.")
    given = [key for key in (*SECRETS, *_REFERENCES) if key in table]
    wanted = _SECRET_OF.get(kind, "")
    stray = [key for key in given if not wanted or not key.startswith(wanted)]
    stray += ["user"] if "user" in table and kind != "basic" else []
    if stray:
        raise InterfaceError(f'{where(stray[0])}: {stray[0]} does not go with auth = "{kind}".')
    if kind == "none":
        return Login()
    if kind == "basic" and "user" not in table:
        raise InterfaceError(f"{where()}: user is missing.")
    if len(given) != 1:
        ways = f"{wanted}_env or {wanted}_file"
        raise InterfaceError(f"{where()}: say with one of {ways} where the {wanted} is.")
    file = table.get(f"{wanted}_file")
    return Login(
        kind,
        table.get("user", ""),
        secret=table.get(wanted),
        variable=table.get(f"{wanted}_env", ""),
        file=Path(_beside(path, file)) if file else None,
    )


def _beside(path: Path, file: str) -> str:
    """A file that the configuration names, from the configuration's folder on."""
    return str(path.parent / Path(file).expanduser())


def base_url(text: str, what: str, instead: str) -> str:
    """A base URL without a slash at its end.

    Raises:
        InterfaceError: it is none, or holds a user.
    """
    url = text.rstrip("/")
    # What stands before an `@` may be a password, which no message repeats.
    if "@" in url.partition("://")[2].partition("/")[0] or (
        "@" in url and not url.startswith(("http://", "https://"))
    ):
        raise InterfaceError(
            f"The {what} holds a user or a password before its host, which is not supported. "
            f"Write it as http://host:port or https://host, and {instead}."
        )
    if not url.startswith(("http://", "https://")):
        raise InterfaceError(
            f"The {what} {url!r} is no URL; write it as http://host:port or https://host."
        )
    return url
