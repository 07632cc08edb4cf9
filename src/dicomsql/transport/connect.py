"""From a session's settings to a transport: the network, or the emulator in this process."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dicomsql import embedded
from dicomsql.config import DEFAULT_TIMEOUT, Settings
from dicomsql.connections import Connection, Login
from dicomsql.errors import CredentialsError, InterfaceError
from dicomsql.transport.gate import Gate

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    import httpx

    from dicomsql.transport.auth import Authorizer, Wanted
    from dicomsql.transport.client import Client, OnResponse, OnWait
    from dicomsql.transport.google_credentials import AuthRequest
    from dicomsql.transport.wire import Sockets

_USER_AGENT = "dicomsql"

# Connections to one server that are kept while nothing uses them; statements may open that many.
_IDLE = 64


def base_url_for(settings: Settings, servers: tuple[str, ...]) -> str:
    """The base URL of calls: the user's endpoint, the local emulator's, or the document's first.

    Parameters:
        servers: base URLs from the provider document.

    Raises:
        InterfaceError: there is none.
    """
    if settings.local is not None:
        return embedded.BASE_URL
    if settings.endpoint:
        _check_url(settings.endpoint)
        return settings.endpoint.rstrip("/")
    if not servers:
        raise InterfaceError(
            "The provider document names no server; give one with --endpoint or endpoint=."
        )
    return servers[0].rstrip("/")


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and parts.port != 0 and not parts.query
    except ValueError:
        usable = False
    if not usable:
        # A password with a slash in it cannot be told from a path, so the text is not repeated.
        shown = "" if "@" in url else f" {url}"
        raise InterfaceError(
            f"The endpoint{shown} is no base URL; write it as http://host:port/path."
        )


def gate_for(settings: Settings) -> Gate:
    """The gate that these settings ask for."""
    return Gate.open() if settings.show_phi else Gate.closed()


def open_transport(
    settings: Settings,
    *,
    hosts: tuple[str, ...] = (),
    scopes: tuple[str, ...] = (),
    parallel: int = 8,
    cancel: threading.Event | None = None,
    on_response: OnResponse | None = None,
    on_wait: OnWait | None = None,
    connection: Connection | None = None,
) -> Client:
    """The transport that a session sends through.

    No connection is opened and no credentials are looked for before the first call.

    Parameters:
        connection: the server, where it has a name of its own; it stands for the settings'
            endpoint or local folder and for whom it is asked as.
        hosts: https hosts that may get Google credentials, by name or URL; from the document.
        scopes: the scopes to ask for; none means that the service takes no credentials but those
            that the user gave.
        parallel: calls at a time, from the document; the user's setting wins.
        cancel: stops waits and calls once it is set.
        on_response: is told of each attempt.
        on_wait: is told before a wait for another one.

    Raises:
        InterfaceError: the extra `emulator` is missing, or the proxy or CA bundle cannot be used.
        CredentialsError: they would go to another machine in the clear.
        OperationalError: the emulator cannot use its folder.
    """
    from dicomsql.transport.client import Client
    from dicomsql.transport.wire import Sockets

    login = settings.login()
    if connection is not None:
        settings, login = _at(settings, connection), connection.login
    gate = gate_for(settings)
    told = _log_too(settings, gate, on_response)
    parallel = settings.parallel or parallel
    if settings.local is not None:
        import httpx

        from dicomsql.transport.asgi import open_local

        local = open_local(settings.local)
        # Compressing what stays in memory would only cost time.
        http = httpx.Client(
            transport=local, headers={"accept-encoding": "identity", "user-agent": _USER_AGENT}
        )
        return Client(
            http,
            gate=gate,
            parallel=parallel,
            timeout=settings.timeout,
            cancel=cancel,
            on_response=told,
            on_wait=on_wait,
            interruptible=local,
        )
    sockets = Sockets()
    http = _http_client(settings, parallel, sockets)
    authorizer, close_auth = _authorizer(settings, login, hosts, scopes)
    return Client(
        http,
        authorizer=authorizer,
        gate=gate,
        parallel=parallel,
        timeout=settings.timeout,
        cancel=cancel,
        on_response=told,
        on_wait=on_wait,
        interruptible=sockets,
        tells_waits=not _is_proxied(settings),
        on_close=close_auth,
    )


def _at(settings: Settings, connection: Connection) -> Settings:
    """The settings for a connection: what the user said of the session wins, but for who asks."""
    _check_url(connection.endpoint)
    given = settings.timeout != DEFAULT_TIMEOUT
    return replace(
        settings,
        endpoint=connection.endpoint,
        local=None,
        credentials=None,
        impersonate=None,
        parallel=settings.parallel or connection.parallel,
        timeout=settings.timeout if given else connection.timeout or DEFAULT_TIMEOUT,
        ca_bundle=settings.ca_bundle or connection.ca_bundle,
        insecure_auth=settings.insecure_auth or connection.insecure_auth,
    )


def _log_too(settings: Settings, gate: Gate, on_response: OnResponse | None) -> OnResponse | None:
    if not settings.log_http:
        return on_response
    from dicomsql.transport.base import Request
    from dicomsql.transport.log import HttpLog

    log = HttpLog(sys.stderr, gate)
    if on_response is None:
        return log

    def both(request: Request, status: int, received: int, seconds: float, attempt: int) -> None:
        log(request, status, received, seconds, attempt)
        on_response(request, status, received, seconds, attempt)

    return both


def _http_client(settings: Settings, parallel: int, sockets: Sockets) -> httpx.Client:
    import httpx

    from dicomsql.transport.direct import DirectTransport

    tls = _tls(settings)
    # The pace bounds the calls; streamed bodies, which leave it early, keep connections beyond it.
    idle = max(parallel, _IDLE)
    direct = DirectTransport(tls, idle=idle, sockets=sockets)
    try:
        return httpx.Client(
            # Proxies are left to the stock transport.
            transport=None if _is_proxied(settings) else direct,
            verify=tls,
            proxy=settings.proxy,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=idle),
            headers={"user-agent": _USER_AGENT},
            follow_redirects=False,
        )
    except ImportError:
        raise InterfaceError(
            'A SOCKS proxy needs the package socksio: pip install "httpx[socks]".'
        ) from None
    except (ValueError, httpx.InvalidURL) as error:
        # The proxy's URL may hold a password: only what kind of mistake it is gets told.
        raise InterfaceError(
            f"The proxy cannot be used ({type(error).__name__}); write it as http://host:port."
        ) from None


def _is_proxied(settings: Settings) -> bool:
    """Whether there is a proxy, of the settings, the environment or the system."""
    from urllib.request import getproxies

    # httpx looks in the same place.
    return bool(settings.proxy) or any(getproxies().get(name) for name in ("http", "https", "all"))


def _tls(settings: Settings) -> ssl.SSLContext:
    """What certificates are trusted."""
    import ssl

    import httpx

    if settings.ca_bundle:
        try:
            return ssl.create_default_context(cafile=settings.ca_bundle)
        except (OSError, ssl.SSLError) as error:
            reason = error.strerror or type(error).__name__
            raise InterfaceError(
                f"The CA bundle {settings.ca_bundle} cannot be used: {reason}."
            ) from None
    if settings.endpoint and settings.endpoint.startswith("http://"):
        # Without TLS the authorities are not read, which takes 20 ms; a context without any
        # trusts nobody.
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return httpx.create_ssl_context()


def _authorizer(
    settings: Settings, login: Login, hosts: tuple[str, ...], scopes: tuple[str, ...]
) -> tuple[Authorizer, Callable[[], None] | None]:
    """Who the calls are made as, and what to close in the end."""
    from dicomsql.transport.auth import (
        Anonymous,
        Audience,
        GoogleAuthorizer,
        LoginAuthorizer,
    )

    if login.kind != "none" and not settings.anonymous:
        if not settings.endpoint:
            return Anonymous(), None
        check_secure(settings)
        return LoginAuthorizer(login, Audience.of_endpoint(settings.endpoint)), None

    explicit = settings.credentials is not None or bool(settings.impersonate)
    unasked = not explicit and (bool(settings.endpoint) or not scopes)
    if settings.anonymous or unasked:
        return Anonymous(), None
    if settings.endpoint:
        check_secure(settings)
        audience = Audience.of_endpoint(settings.endpoint)
    else:
        audience = Audience.of_hosts(hosts)
    opened: list[httpx.Client] = []
    authorizer = GoogleAuthorizer(
        google_wanted(settings, scopes), audience, partial(auth_request, settings, opened)
    )

    def close() -> None:
        while opened:
            opened.pop().close()

    return authorizer, close


def google_wanted(settings: Settings, scopes: tuple[str, ...]) -> Wanted:
    """What the settings say of Google's credentials.

    Args:
        scopes: those to ask for; none means the usual one.
    """
    from dicomsql.transport.auth import DEFAULT_SCOPES, Wanted

    return Wanted(
        credentials=settings.credentials,
        impersonate=settings.impersonate,
        quota_project=settings.quota_project,
        scopes=scopes or DEFAULT_SCOPES,
    )


def auth_request(settings: Settings, opened: list[httpx.Client]) -> AuthRequest:
    """What asks for tokens.

    Args:
        opened: takes the clients that are to be closed.
    """
    import ssl

    import httpx

    from dicomsql.transport.google_credentials import HttpxRequest

    # Tokens come from https hosts even where the endpoint is plain http.
    tokens = httpx.Client(verify=_tls(replace(settings, endpoint=None)), proxy=settings.proxy)
    direct = httpx.Client(trust_env=False, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    opened.extend((tokens, direct))
    return HttpxRequest(tokens, direct)


def check_secure(settings: Settings) -> None:
    """Make sure that credentials go to no other machine in the clear, unless the user wants it.

    Raises:
        CredentialsError: they would.
    """
    from dicomsql.transport.auth import is_open, origin_of

    assert settings.endpoint is not None
    if is_open(settings.endpoint) and not settings.insecure_auth:
        host = origin_of(settings.endpoint)[1]
        raise CredentialsError(
            f"Credentials would go to {host} over plain http, where others can read them. Use "
            "https, or allow it with --insecure-auth (insecure_auth = true for a connection)."
        )
