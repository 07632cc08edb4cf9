"""Who the calls are made as: tokens, and to which servers alone they go.

Credentials are found lazily, at the first call that needs them, in this order: those that the user
gave (a file, its content, an object of google-auth); GOOGLE_OAUTH_ACCESS_TOKEN; GOOGLE_CREDENTIALS;
application default credentials. A token is refreshed before it expires, by one thread for all.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from dicomsql.errors import CredentialsError

if TYPE_CHECKING:
    from google.auth.credentials import Credentials
    from google.auth.transport import Request as AuthRequest

# The scope to ask for where a provider document names none.
DEFAULT_SCOPES = ("https://www.googleapis.com/auth/cloud-healthcare",)

_DEFAULT_PORTS = {"http": 80, "https": 443}


class Authorizer(Protocol):
    """Gives the headers that authorize a call."""

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


class Anonymous:
    """Sends nothing."""

    def headers(self, url: str) -> Mapping[str, str]:  # noqa: ARG002 - the same for all
        return {}

    def renew(self, refused: Mapping[str, str]) -> bool:  # noqa: ARG002 - there is nothing to renew
        return False


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
