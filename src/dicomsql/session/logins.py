"""Who the servers of a session are asked as: what there is, where from, and whether it stands.

No secret is part of what is told, and no server is asked for data. Google's token service may be
asked about a token; servers of the user's own are not asked at all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dicomsql.errors import CredentialsError, EndpointError, Error
from dicomsql.transport.auth import Audience, LoginAuthorizer
from dicomsql.transport.connect import auth_request, check_secure, google_wanted

if TYPE_CHECKING:
    import httpx

    from dicomsql.config import Settings
    from dicomsql.connections import Login
    from dicomsql.transport.google_credentials import AuthRequest, Credentials

__all__ = [
    "TOKEN_INFO",
    "GoogleLogin",
    "ServerLogin",
    "google_is_asked",
    "google_login",
    "server_logins",
]

# Says of a token whose it is, its scopes and how long it stands. It is posted, so that no log of
# addresses has it.
TOKEN_INFO = "https://oauth2.googleapis.com/tokeninfo"  # noqa: S105 - an address


@dataclass(frozen=True, slots=True)
class GoogleLogin:
    """Who Google is asked as.

    Attributes:
        needed: Google's credentials are used; else `problem` says why not.
        place: where the credentials were found.
        kind: what they are: `authorized user`, `service account`, ...
        account: whose they are; empty where that is not known.
        scopes: what the token may be used for.
        seconds: for which the token stands; None where that is not known.
        quota_project: that is billed; empty for the account's own.
        stands: the token service says that the token is good; None where it was not asked.
        problem: what is missing, with what to do.
    """

    needed: bool = True
    place: str = ""
    kind: str = ""
    account: str = ""
    scopes: tuple[str, ...] = ()
    seconds: int | None = None
    quota_project: str = ""
    stands: bool | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ServerLogin:
    """Who a server of the user's own is asked as.

    Attributes:
        name: of the connection; empty for the endpoint.
        auth: `none`, `basic` or `bearer`.
        user: for `basic`.
        place: where the secret is, by the name of the variable or the file.
        problem: what is missing; empty where all is there.
    """

    name: str
    service: str
    endpoint: str
    auth: str
    user: str = ""
    place: str = ""
    problem: str = ""


def google_is_asked(settings: Settings) -> bool:
    """Whether a session of these settings uses Google's credentials."""
    return not _why_not(settings)


def google_login(settings: Settings, *, call: bool) -> GoogleLogin:
    """Who Google is asked as in a session of these settings.

    Args:
        call: get a token and ask the token service about it; else nobody is asked, and a machine of
            Google's own is not found out.
    """
    unneeded = _why_not(settings)
    if unneeded:
        return GoogleLogin(needed=False, problem=unneeded)
    from dicomsql.transport.google_credentials import find_with_place

    with _requests(settings) as request:
        try:
            found, place = find_with_place(
                google_wanted(settings, ()), os.environ, request if call else None
            )
        except CredentialsError as error:
            return GoogleLogin(problem=str(error))
        login = GoogleLogin(
            place=place,
            kind=_kind(found),
            account=_account(found),
            scopes=tuple(getattr(found, "scopes", None) or ()),
            quota_project=str(getattr(found, "quota_project_id", None) or ""),
        )
        return _asked(login, found, request) if call else login


def server_logins(settings: Settings) -> tuple[ServerLogin, ...]:
    """Who the endpoint and the connections are asked as; none of them is called."""
    found = []
    if settings.endpoint is not None and settings.login().kind != "none":
        found.append(_server(settings, settings.login(), "", ""))
    for name, connection in sorted(settings.connections.items()):
        there = replace(
            settings,
            endpoint=connection.endpoint,
            insecure_auth=settings.insecure_auth or connection.insecure_auth,
        )
        found.append(_server(there, connection.login, name, connection.service))
    return tuple(found)


def _why_not(settings: Settings) -> str:
    if settings.anonymous:
        return "no credentials are sent (anonymous)"
    if settings.local is not None:
        return "the embedded emulator is asked, which takes no credentials"
    if settings.endpoint is not None and not (settings.credentials or settings.impersonate):
        return f"{settings.endpoint} is asked instead of Google"
    return ""


@contextmanager
def _requests(settings: Settings) -> Iterator[AuthRequest]:
    opened: list[httpx.Client] = []
    try:
        yield auth_request(settings, opened)
    finally:
        for client in opened:
            client.close()


def _asked(login: GoogleLogin, found: Credentials, request: AuthRequest) -> GoogleLogin:
    """The login with what the token service says of its token."""
    from dicomsql.transport.google_credentials import headers_of, refresh

    try:
        if not found.valid:
            refresh(found, request)
        headers = headers_of(found)
        said = _token_info(headers["authorization"].partition(" ")[2], request)
    except Error as error:
        return replace(login, stands=False, problem=str(error))
    if said is None:
        return replace(
            login,
            stands=False,
            problem="The token has expired or was withdrawn: log in again, or renew it.",
        )
    seconds = str(said.get("expires_in", ""))
    return replace(
        login,
        account=_account(found) or str(said.get("email", "")),
        scopes=tuple(str(said.get("scope", "")).split()) or login.scopes,
        seconds=int(seconds) if seconds.isdecimal() else None,
        stands=True,
    )


def _token_info(token: str, request: AuthRequest) -> Mapping[str, Any] | None:
    """What the token service says of a token; None where it does not know it.

    Raises:
        EndpointError: it does not answer, or not so that it can be understood.
    """
    import json
    from urllib.parse import urlencode

    import google.auth.exceptions

    try:
        answer = request(
            url=TOKEN_INFO,
            method="POST",
            headers={"content-type": "application/x-www-form-urlencoded"},
            body=urlencode({"access_token": token}).encode(),
            timeout=10.0,
        )
    except google.auth.exceptions.TransportError as error:
        raise EndpointError(f"The token service was not reached: {error}.") from None
    if answer.status in {400, 401}:
        return None
    try:
        said = json.loads(answer.data) if answer.status == 200 else None
    except ValueError:
        said = None
    if not isinstance(said, Mapping):
        raise EndpointError(f"The token service answered {answer.status}.")
    return said


# google-auth's modules by what their credentials are called here.
_KINDS = {
    "service_account": "service account",
    "impersonated_credentials": "impersonated service account",
    "identity_pool": "workload identity",
    "aws": "workload identity (AWS)",
    "pluggable": "workload identity (executable)",
    "external_account_authorized_user": "workforce user",
    "google_credentials": "the machine's service account",
}


def _kind(found: Credentials) -> str:
    module = type(found).__module__.rpartition(".")[2]
    if module in _KINDS:
        return _KINDS[module]
    return "authorized user" if getattr(found, "refresh_token", None) else "access token"


def _account(found: Credentials) -> str:
    names = ("_target_principal", "service_account_email", "account")
    known = (getattr(found, name, None) for name in names)
    # A machine's account is called so until it is asked.
    return next((str(name) for name in known if name and name != "default"), "")


def _server(settings: Settings, login: Login, name: str, service: str) -> ServerLogin:
    endpoint = settings.endpoint or ""
    made = ServerLogin(name, service, endpoint, login.kind, login.user, _secret_place(login))
    if login.kind == "none":
        return made
    try:
        check_secure(settings)
        LoginAuthorizer(login, Audience.of_endpoint(endpoint)).headers(endpoint)
    except CredentialsError as error:
        return replace(made, problem=str(error))
    return made


def _secret_place(login: Login) -> str:
    if login.variable:
        return f"environment {login.variable}"
    if login.file is not None:
        return str(login.file)
    return "" if login.secret is None else "given, or in the configuration file"
