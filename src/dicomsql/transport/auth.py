"""Who the calls are made as: users, tokens, and to which servers alone they go.

Google's credentials are found lazily, at the first call that needs them, in this order: those that
the user gave (a file, its content, an object of google-auth); GOOGLE_OAUTH_ACCESS_TOKEN;
GOOGLE_CREDENTIALS; application default credentials. A token is refreshed before it expires, by one
thread for all. A DICOMweb server is asked as a user with a password or with a token (RFC 7617,
RFC 6750), which the user names; they are looked up at the first call too.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from dicomsql.connections import Login, is_private
from dicomsql.errors import CredentialsError

if TYPE_CHECKING:
    from google.auth.credentials import Credentials
    from google.auth.transport import Request as AuthRequest

# The scope to ask for where a provider document names none.
DEFAULT_SCOPES = ("https://www.googleapis.com/auth/cloud-healthcare",)

_DEFAULT_PORTS = {"http": 80, "https": 443}

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# What a bearer token may be made of (RFC 6750, section 2.1).
_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")
_LOOPBACK = re.compile(r"localhost|.+\.localhost|127(\.[0-9]{1,3}){3}|::1")


class Authorizer(Protocol):
    """Gives the headers that authorize a call.

    Attributes:
        sent: what kind of credentials they are, for people: `a bearer token`.
    """

    @property
    def sent(self) -> str: ...

    def headers(self, url: str) -> Mapping[str, str]:
        """The headers for a call to that URL.

        Raises:
            CredentialsError: there are no credentials, they cannot be refreshed, or they must not
                be sent there.
        """

    def renew(self, refused: Mapping[str, str]) -> bool:
        """See to a new token, since a server refused these headers; whether there is one.

        Where another thread has already got one, that is it.
        """

    def identity(self) -> str:
        """What tells who is asking from everybody else; holds no secret in the clear."""


class Anonymous:
    """Sends nothing."""

    sent = "no credentials"

    def headers(self, url: str) -> Mapping[str, str]:  # noqa: ARG002 - the same for all
        return {}

    def renew(self, refused: Mapping[str, str]) -> bool:  # noqa: ARG002 - there is nothing to renew
        return False

    def identity(self) -> str:
        return "anonymous"


@dataclass(frozen=True, slots=True)
class Audience:
    """The servers that may get a token.

    Attributes:
        hosts: names of https hosts, from a provider document; port 443.
        origin: (scheme, host, port) of the endpoint that the user named, http or https.
    """

    hosts: frozenset[str] = frozenset()
    origin: tuple[str, str, int] | None = None

    @classmethod
    def of_hosts(cls, hosts: tuple[str, ...]) -> Audience:
        """Hosts by their names or by the URLs of servers, of which only https ones count."""
        names = set()
        for host in hosts:
            if "://" not in host:
                names.add(host.lower())
                continue
            scheme, name, port = origin_of(host)
            if scheme == "https" and port == 443:
                names.add(name)
        return cls(hosts=frozenset(names))

    @classmethod
    def of_endpoint(cls, endpoint: str) -> Audience:
        """The one server that the user named."""
        return cls(origin=origin_of(endpoint))

    def admits(self, url: str) -> bool:
        scheme, host, port = origin_of(url)
        if (scheme, host, port) == self.origin:
            return True
        return scheme == "https" and port == 443 and host in self.hosts


def origin_of(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of a URL, the way that two URLs' origins compare.

    Of a text that is no URL, all three are empty.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "", "", 0
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").lower(), port or _DEFAULT_PORTS.get(scheme, 0)


def is_open(url: str) -> bool:
    """Whether what goes to that URL can be read on the way: plain http to another machine."""
    scheme, host, _ = origin_of(url)
    return scheme != "https" and not _LOOPBACK.fullmatch(host)


class LoginAuthorizer:
    """A user with a password, or a token, for one server.

    Parameters:
        login: who the user is, and where the secret is; not of kind `none`.
        audience: the server that gets it.
        environment: where the variable of the secret is looked up.
    """

    def __init__(
        self, login: Login, audience: Audience, environment: Mapping[str, str] | None = None
    ) -> None:
        self._login = login
        self._audience = audience
        self._environment = os.environ if environment is None else environment
        self._lock = threading.Lock()
        self._headers: dict[str, str] | None = None

    @property
    def sent(self) -> str:
        return "a user and a password" if self._login.kind == "basic" else "a bearer token"

    def headers(self, url: str) -> Mapping[str, str]:
        if not self._audience.admits(url):
            scheme, host, port = origin_of(url)
            raise CredentialsError(
                f"The {self._name} is not sent to {scheme}://{host}:{port}: it goes to the server "
                "that it was given for, and to no other."
            )
        with self._lock:
            if self._headers is None:
                self._headers = {"authorization": self._written()}
            return self._headers

    def renew(self, refused: Mapping[str, str]) -> bool:
        if self._login.file is None:
            return False
        with self._lock:
            # Another program may have put a new token into the file.
            self._headers = {"authorization": self._written()}
            return self._headers != refused

    def identity(self) -> str:
        if self._login.kind == "basic":
            # Not of the password: a digest that is kept would allow to guess it.
            return f"basic {self._login.user}"
        with self._lock:
            if self._headers is None:
                self._headers = {"authorization": self._written()}
            return f"bearer {_digest(self._headers['authorization'])}"

    @property
    def _name(self) -> str:
        return "password" if self._login.kind == "basic" else "token"

    def _written(self) -> str:
        """The header's value.

        Raises:
            CredentialsError: there is no secret, or it cannot be sent.
        """
        secret = self._secret()
        if self._login.kind == "bearer":
            if not _TOKEN.fullmatch(secret):
                raise CredentialsError("The token holds characters that no bearer token has.")
            return f"Bearer {secret}"
        user = self._login.user
        if ":" in user or _CONTROL.search(user + secret):
            raise CredentialsError(
                "A user holds no colon, and neither it nor the password holds control characters."
            )
        return "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode("ascii")

    def _secret(self) -> str:
        login = self._login
        if login.secret is not None:
            return login.secret
        if login.variable:
            found = self._environment.get(login.variable, "")
            if not found:
                raise CredentialsError(
                    f"The variable {login.variable} should hold the {self._name} and is not set."
                )
            return found
        if login.file is not None:
            return self._from_file()
        raise CredentialsError(
            f"There is no {self._name}: put it into DICOMSQL_{self._name.upper()}."
        )

    def _from_file(self) -> str:
        file = self._login.file
        assert file is not None
        try:
            private = is_private(file)
            # One line end is the editor's, not the secret's.
            text = file.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
            raise CredentialsError(
                f"The file {file}, which should hold the {self._name}, cannot be read: {reason}."
            ) from None
        if not private:
            raise CredentialsError(
                f"The {self._name} stands in a file that others may read. Make it yours alone "
                f"(chmod 600 {file}), or put it into an environment variable."
            )
        if not text:
            raise CredentialsError(
                f"The file {file}, which should hold the {self._name}, is empty."
            )
        return text


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user said about credentials.

    Attributes:
        credentials: a credentials file's path, its content as JSON text or as a mapping, or an
            object of google-auth; None to look in the environment.
        impersonate: the service account to act as.
        quota_project: the project that is billed for the calls.
        scopes: the scopes to ask for.
    """

    credentials: Any = None
    impersonate: str | None = None
    quota_project: str | None = None
    scopes: tuple[str, ...] = DEFAULT_SCOPES


class GoogleAuthorizer:
    """Tokens of google-auth's credentials, or a bare one, for the servers of an audience.

    Parameters:
        wanted: what the user said.
        audience: the servers that get the token.
        auth_request: makes google-auth's transport, by which tokens are refreshed.
        environment: where GOOGLE_... variables are looked up.
    """

    def __init__(
        self,
        wanted: Wanted,
        audience: Audience,
        auth_request: Callable[[], AuthRequest],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._wanted = wanted
        self._audience = audience
        self._auth_request = auth_request
        self._environment = os.environ if environment is None else environment
        self._lock = threading.Lock()
        self._request: AuthRequest | None = None
        self._credentials: Credentials | None = None
        self._bare: dict[str, str] | None = None

    sent = "Google's credentials"

    def headers(self, url: str) -> Mapping[str, str]:
        if not self._audience.admits(url):
            scheme, host, port = origin_of(url)
            raise CredentialsError(
                f"Credentials are not sent to {scheme}://{host}:{port}: they go to https hosts "
                "that the provider document names, or to the endpoint that was given with them."
            )
        with self._lock:
            if self._bare is None and self._credentials is None:
                self._find()
            if self._bare is not None:
                return self._bare
            return self._headers()

    def renew(self, refused: Mapping[str, str]) -> bool:
        with self._lock:
            if self._credentials is None:
                return False
            if self._headers() == refused:
                self._refresh(self._credentials)
            return True

    def identity(self) -> str:
        with self._lock:
            if self._bare is None and self._credentials is None:
                self._find()
            if self._bare is not None:
                return f"google {_digest(self._bare['authorization'])}"
            from dicomsql.transport import google_credentials

            assert self._credentials is not None
            lasting = google_credentials.lasting_identity(self._credentials)
            told = lasting or self._headers().get("authorization", "")
            return f"google {_digest(told)} {self._wanted.quota_project or ''}"

    def _find(self) -> None:
        token = self._environment.get("GOOGLE_OAUTH_ACCESS_TOKEN", "").strip()
        if token and self._wanted.credentials is None and not self._wanted.impersonate:
            self._bare = {"authorization": f"Bearer {token}"}
            if self._wanted.quota_project:
                self._bare["x-goog-user-project"] = self._wanted.quota_project
            return
        from dicomsql.transport import google_credentials

        self._request = self._auth_request()
        self._credentials = google_credentials.find(self._wanted, self._environment, self._request)

    def _headers(self) -> Mapping[str, str]:
        from dicomsql.transport import google_credentials

        assert self._credentials is not None
        if not self._credentials.valid:
            self._refresh(self._credentials)
        return google_credentials.headers_of(self._credentials)

    def _refresh(self, credentials: Credentials) -> None:
        from dicomsql.transport import google_credentials

        assert self._request is not None
        google_credentials.refresh(credentials, self._request)
