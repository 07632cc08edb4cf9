"""From a session's settings to a transport: the network, or the emulator in this process."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dicomsql.config import Settings
from dicomsql.errors import InterfaceError
from dicomsql.transport.gate import Gate

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    import httpx

    from dicomsql.transport.auth import Authorizer
    from dicomsql.transport.client import Client, OnResponse
    from dicomsql.transport.google_credentials import AuthRequest

# The base URL of the emulator that runs in this process; no name server knows it.
LOCAL_BASE_URL = "http://emulator.local"

_USER_AGENT = "dicomsql"


def base_url_for(settings: Settings, servers: tuple[str, ...]) -> str:
    """The base URL of calls: the user's endpoint, the local emulator's, or the document's first.

    Parameters:
        servers: base URLs from the provider document.

    Raises:
        InterfaceError: there is none.
    """
    if settings.local is not None:
        return LOCAL_BASE_URL
    if settings.endpoint:
        _check_url(settings.endpoint)
        return settings.endpoint.rstrip("/")
    if not servers:
        raise InterfaceError("The provider document names no server; give one with --endpoint.")
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
) -> Client:
    """The transport that a session sends through.

    No connection is opened and no credentials are looked for before the first call.

    Parameters:
        hosts: https hosts that may get Google credentials, by name or URL; from the document.
        scopes: the scopes to ask for; none means that the service takes no credentials but those
            that the user gave.
        parallel: calls at a time, from the document; the user's setting wins.
        cancel: stops waits and calls once it is set.
        on_response: is told of each attempt.

    Raises:
        InterfaceError: the extra `emulator` is missing, or the proxy or CA bundle cannot be used.
        OperationalError: the emulator cannot use its folder.
    """
    from dicomsql.transport.client import Client
    from dicomsql.transport.wire import Sockets

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
            interruptible=local,
        )
    http = _http_client(settings, parallel)
    authorizer, close_auth = _authorizer(settings, hosts, scopes)
    return Client(
        http,
        authorizer=authorizer,
        gate=gate,
        parallel=parallel,
        timeout=settings.timeout,
        cancel=cancel,
        on_response=told,
        interruptible=Sockets(),
        on_close=close_auth,
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


def _http_client(settings: Settings, parallel: int) -> httpx.Client:
    import httpx

    try:
        return httpx.Client(
            verify=_tls(settings),
            proxy=settings.proxy,
            # The pace bounds the calls; streamed bodies, which leave it early, keep connections
            # beyond it.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=parallel),
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
    settings: Settings, hosts: tuple[str, ...], scopes: tuple[str, ...]
) -> tuple[Authorizer, Callable[[], None] | None]:
    """Who the calls are made as, and what to close in the end."""
    from dicomsql.transport.auth import (
        DEFAULT_SCOPES,
        Anonymous,
        Audience,
        GoogleAuthorizer,
        Wanted,
    )

    explicit = settings.credentials is not None or bool(settings.impersonate)
    unasked = not explicit and (bool(settings.endpoint) or not scopes)
    if settings.anonymous or unasked:
        return Anonymous(), None
    if settings.endpoint:
        audience = Audience.of_endpoint(settings.endpoint)
    else:
        audience = Audience.of_hosts(hosts)
    wanted = Wanted(
        credentials=settings.credentials,
        impersonate=settings.impersonate,
        quota_project=settings.quota_project,
        scopes=scopes or DEFAULT_SCOPES,
    )
    opened: list[httpx.Client] = []

    def auth_request() -> AuthRequest:
        import ssl

        import httpx

        from dicomsql.transport.google_credentials import HttpxRequest

        # Tokens come from https hosts even where the endpoint is plain http.
        tokens = httpx.Client(verify=_tls(replace(settings, endpoint=None)), proxy=settings.proxy)
        direct = httpx.Client(trust_env=False, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        opened.extend((tokens, direct))
        return HttpxRequest(tokens, direct)

    def close() -> None:
        while opened:
            opened.pop().close()

    return GoogleAuthorizer(wanted, audience, auth_request), close
