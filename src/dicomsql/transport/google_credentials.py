"""google-auth's credentials from wherever they are: files, the environment, the metadata server.

google-auth's own `default()` needs the package requests to ask the metadata server, and takes a
fifth of a second to import it; the search here takes the same places in the same order, and asks
by httpx.
"""

# google-auth says that it is typed, but few of its functions are.
# mypy: disallow-untyped-calls=false
from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import google.auth.credentials
import google.auth.exceptions
import google.auth.transport
import httpx

from dicomsql.errors import CredentialsError
from dicomsql.transport.auth import Wanted
from dicomsql.transport.gate import scrub_secrets

Credentials = google.auth.credentials.Credentials
AuthRequest = google.auth.transport.Request

_NONE_FOUND = (
    "There are no Google credentials: run `gcloud auth application-default login`, or name a "
    "credentials file with --credentials FILE (or in GOOGLE_CREDENTIALS), or put an access token "
    "into GOOGLE_OAUTH_ACCESS_TOKEN."
)

_AWS_TOKEN = "urn:ietf:params:aws:token-type:aws4_request"  # noqa: S105 - a type's name
_LIFETIME = 3600

# Variables that only Google's runtimes set, where the metadata server is sure to answer.
_RUNTIME_VARIABLES = ("GCE_METADATA_HOST", "K_SERVICE", "CLOUD_RUN_JOB", "GAE_SERVICE")
_PRODUCT_NAME = Path("/sys/class/dmi/id/product_name")
# Seconds to wait for a metadata server that is probably not there.
_PROBE_TIMEOUT = 0.5


def find(wanted: Wanted, environment: Mapping[str, str], request: AuthRequest) -> Credentials:
    """The credentials to use, scoped, impersonating and billed as wanted.

    Raises:
        CredentialsError: there are none, or they cannot be read.
    """
    return find_with_place(wanted, environment, request)[0]


def find_with_place(
    wanted: Wanted, environment: Mapping[str, str], request: AuthRequest | None
) -> tuple[Credentials, str]:
    """The credentials to use, and where they were found, for people.

    Args:
        request: None asks no metadata server whether it is there.

    Raises:
        CredentialsError: there are none, or they cannot be read.
    """
    credentials, place = _source(wanted, environment, request)
    scoped = google.auth.credentials.with_scopes_if_required(credentials, list(wanted.scopes))
    credentials = cast(Credentials, scoped)
    if wanted.impersonate:
        from google.auth import impersonated_credentials

        credentials = impersonated_credentials.Credentials(
            source_credentials=credentials,
            target_principal=wanted.impersonate,
            target_scopes=list(wanted.scopes),
            lifetime=_LIFETIME,
        )
    if wanted.quota_project:
        if not isinstance(credentials, google.auth.credentials.CredentialsWithQuotaProject):
            raise CredentialsError(
                f"These credentials ({type(credentials).__name__}) cannot bill another project."
            )
        credentials = credentials.with_quota_project(wanted.quota_project)
    return credentials, place


def lasting_identity(credentials: Credentials) -> str:
    """Who they stand for, the same after each refresh; empty where that cannot be told.

    May hold a secret: for a digest only.
    """
    parts = [
        getattr(credentials, name, None)
        for name in ("_target_principal", "service_account_email", "client_id", "refresh_token")
    ]
    # A service account of the machine is called so until its first refresh.
    if (not any(parts[:2]) and not parts[3]) or parts[1] == "default":
        return ""
    return " ".join(str(part or "") for part in parts)


def refresh(credentials: Credentials, request: AuthRequest) -> None:
    """Get a new token.

    Raises:
        CredentialsError: there is none to be had; says why, without any secret.
    """
    try:
        credentials.refresh(request)
    except google.auth.exceptions.ReauthFailError as error:
        raise CredentialsError(
            "The credentials need you to sign in again: run `gcloud auth application-default "
            "login`."
        ) from error
    except (google.auth.exceptions.GoogleAuthError, ValueError, KeyError, OSError) as error:
        raise CredentialsError(f"The credentials gave no token: {_reason(error)}") from None


def headers_of(credentials: Credentials) -> dict[str, str]:
    """The headers that authorize, of credentials whose token is valid.

    Raises:
        CredentialsError: they have no access token.
    """
    if not credentials.token:
        raise CredentialsError(
            f"The credentials ({type(credentials).__name__}) give no access token."
        )
    headers: dict[str, str] = {}
    # Not before_request(): that starts threads which send the token to further hosts.
    credentials.apply(headers)
    return headers


def _source(
    wanted: Wanted, environment: Mapping[str, str], request: AuthRequest | None
) -> tuple[Credentials, str]:
    if wanted.credentials is not None:
        given = wanted.credentials
        is_file = isinstance(given, str | os.PathLike) and not str(given).lstrip().startswith("{")
        return _given(wanted), f"the file {given}" if is_file else "given by the program"
    token = environment.get("GOOGLE_OAUTH_ACCESS_TOKEN", "").strip()
    if token:
        from google.oauth2.credentials import Credentials as TokenCredentials

        return TokenCredentials(token), "GOOGLE_OAUTH_ACCESS_TOKEN"
    text = environment.get("GOOGLE_CREDENTIALS", "").strip()
    if text:
        return _from_text(text, "GOOGLE_CREDENTIALS", wanted.scopes), "GOOGLE_CREDENTIALS"
    path = environment.get("GOOGLE_APPLICATION_CREDENTIALS", "").strip()
    if path:
        variable = "GOOGLE_APPLICATION_CREDENTIALS"
        return _from_file(Path(path), variable, wanted.scopes), f"{variable} ({path})"
    well_known = _gcloud_file(environment)
    if well_known.is_file():
        where = "gcloud's application default credentials"
        return _from_file(well_known, where, wanted.scopes), f"{where} ({well_known})"
    if request is not None and _metadata_server_answers(environment, request):
        credentials = MetadataCredentials(_metadata_host(environment), wanted.scopes)
        return credentials, "the metadata server of this machine"
    raise CredentialsError(_NONE_FOUND)


def _given(wanted: Wanted) -> Credentials:
    given = wanted.credentials
    if isinstance(given, google.auth.credentials.Credentials):
        return given
    if isinstance(given, Mapping):
        return _from_info(given, "The credentials that were given", wanted.scopes)
    if isinstance(given, str | os.PathLike):
        return _from_text(os.fspath(given), "The credentials that were given", wanted.scopes)
    raise CredentialsError(
        f"Credentials are a file, its content, or an object of google-auth, not a "
        f"{type(given).__name__}."
    )


def _from_text(text: str, where: str, scopes: tuple[str, ...]) -> Credentials:
    """Credentials from JSON text or from the file that the text names."""
    if not text.lstrip().startswith("{"):
        return _from_file(Path(text).expanduser(), where, scopes)
    try:
        return _from_info(json.loads(text), where, scopes)
    except json.JSONDecodeError as error:
        # The text is a secret: only the place of the mistake is told.
        raise CredentialsError(
            f"{where}: this is no valid JSON at line {error.lineno}, column {error.colno}."
        ) from None


def _from_file(path: Path, where: str, scopes: tuple[str, ...]) -> Credentials:
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CredentialsError(f"{where}: there is no file {path}.") from None
    except OSError as error:
        raise CredentialsError(f"{where}: {path} cannot be read: {error.strerror}.") from None
    except ValueError:
        raise CredentialsError(f"{where}: {path} is no valid JSON.") from None
    if not isinstance(info, dict):
        raise CredentialsError(f"{where}: {path} holds no credentials.")
    return _from_info(info, where, scopes)


def _from_info(info: Mapping[str, Any], where: str, scopes: tuple[str, ...]) -> Credentials:
    kind = info.get("type")
    load = _LOADERS.get(kind) if isinstance(kind, str) else None
    if load is None:
        said = f"of the type {kind!r}" if isinstance(kind, str) else "without a type"
        raise CredentialsError(
            f"{where}: credentials {said} are not understood; the types are "
            f"{', '.join(sorted(_LOADERS))}."
        )
    try:
        credentials = load(dict(info), list(scopes))
    except (google.auth.exceptions.GoogleAuthError, ValueError, KeyError, AttributeError) as error:
        raise CredentialsError(f"{where}: {_reason(error)}") from None
    return cast(Credentials, credentials)


def _service_account(info: dict[str, Any], scopes: list[str]) -> Any:
    from google.oauth2 import service_account

    return service_account.Credentials.from_service_account_info(info, scopes=scopes)


def _authorized_user(info: dict[str, Any], _scopes: list[str]) -> Any:
    # A user consented to scopes when signing in; asking for others would be refused.
    from google.oauth2 import credentials

    return credentials.Credentials.from_authorized_user_info(info)


def _external_account(info: dict[str, Any], scopes: list[str]) -> Any:
    if info.get("subject_token_type") == _AWS_TOKEN:
        from google.auth import aws

        return aws.Credentials.from_info(info, scopes=scopes)
    if (info.get("credential_source") or {}).get("executable") is not None:
        from google.auth import pluggable

        return pluggable.Credentials.from_info(info, scopes=scopes)
    from google.auth import identity_pool

    return identity_pool.Credentials.from_info(info, scopes=scopes)


def _external_account_user(info: dict[str, Any], _scopes: list[str]) -> Any:
    from google.auth import external_account_authorized_user

    return external_account_authorized_user.Credentials.from_info(info)


def _impersonated_service_account(info: dict[str, Any], scopes: list[str]) -> Any:
    from google.auth import impersonated_credentials

    return impersonated_credentials.Credentials.from_impersonated_service_account_info(
        info, scopes=scopes
    )


# A credentials file's type -> what makes credentials of it. Google asks programs to load each type
# by its own function, so that a file of an unexpected type is refused.
_LOADERS: dict[str, Callable[[dict[str, Any], list[str]], Any]] = {
    "service_account": _service_account,
    "authorized_user": _authorized_user,
    "external_account": _external_account,
    "external_account_authorized_user": _external_account_user,
    "impersonated_service_account": _impersonated_service_account,
}


def _gcloud_file(environment: Mapping[str, str]) -> Path:
    """Where `gcloud auth application-default login` leaves its file."""
    folder = environment.get("CLOUDSDK_CONFIG")
    if folder:
        base = Path(folder)
    elif os.name == "nt":
        base = Path(environment.get("APPDATA", "")) / "gcloud"
    else:
        base = Path(environment.get("HOME") or Path.home()) / ".config" / "gcloud"
    return base / "application_default_credentials.json"


def _metadata_host(environment: Mapping[str, str]) -> str:
    return environment.get("GCE_METADATA_HOST") or "metadata.google.internal"


def _metadata_server_answers(environment: Mapping[str, str], request: AuthRequest) -> bool:
    """Whether this machine is one of Google's.

    Elsewhere the question costs half a second at most: the address answers at once or never.
    google-auth's variables are obeyed: NO_GCE_CHECK, GCE_METADATA_HOST, GCE_METADATA_IP and
    GCE_METADATA_TIMEOUT.
    """
    if environment.get("NO_GCE_CHECK", "").lower() == "true":
        return False
    sure = any(environment.get(name) for name in _RUNTIME_VARIABLES) or _is_google_machine()
    try:
        timeout = float(environment.get("GCE_METADATA_TIMEOUT") or (3 if sure else _PROBE_TIMEOUT))
    except ValueError:
        timeout = 3.0
    address = environment.get("GCE_METADATA_HOST") or environment.get("GCE_METADATA_IP")
    for _ in range(3 if sure else 1):
        try:
            response = request(
                url=f"http://{address or '169.254.169.254'}",
                method="GET",
                headers={"metadata-flavor": "Google"},
                timeout=timeout,
            )
        except google.auth.exceptions.TransportError:
            continue
        return bool(response.status == 200 and response.headers.get("metadata-flavor") == "Google")
    return False


def _is_google_machine() -> bool:
    try:
        return _PRODUCT_NAME.read_text(encoding="utf-8").strip().startswith("Google")
    except (OSError, ValueError):
        return False


class MetadataCredentials(
    google.auth.credentials.Scoped, google.auth.credentials.CredentialsWithQuotaProject
):
    """The service account of the Google machine that this runs on, from its metadata server.

    Parameters:
        host: the metadata server's name.
        scopes: the scopes to ask for.
    """

    def __init__(self, host: str, scopes: Sequence[str], quota_project: str | None = None) -> None:
        super().__init__()
        self._host = host
        self._wanted_scopes = tuple(scopes)
        self._quota_project_id = quota_project

    def refresh(self, request: AuthRequest) -> None:
        """Get a new token; raises google-auth's RefreshError where there is none."""
        query = httpx.QueryParams({"scopes": ",".join(self._wanted_scopes)})
        response = request(
            url=f"http://{self._host}/computeMetadata/v1/instance/service-accounts/default/token"
            f"?{query}",
            method="GET",
            headers={"metadata-flavor": "Google"},
            timeout=10.0,
        )
        if response.status != 200:
            raise google.auth.exceptions.RefreshError(
                f"the metadata server answered {response.status}"
            )
        answer = json.loads(response.data)
        self.token = answer["access_token"]
        expiry = datetime.now(UTC) + timedelta(seconds=int(answer["expires_in"]))
        # google-auth compares with a time in UTC that does not say so.
        self.expiry = expiry.replace(tzinfo=None)

    def with_quota_project(self, quota_project_id: str) -> MetadataCredentials:
        return MetadataCredentials(self._host, self._wanted_scopes, quota_project_id)

    @property
    def requires_scopes(self) -> bool:
        return False

    def with_scopes(
        self, scopes: Sequence[str], default_scopes: Sequence[str] | None = None
    ) -> MetadataCredentials:
        return MetadataCredentials(
            self._host, scopes or default_scopes or (), self._quota_project_id
        )


class HttpxRequest(google.auth.transport.Request):
    """google-auth's transport on httpx: how tokens are refreshed.

    Parameters:
        http: for everything but the metadata server, which is asked without a proxy.
        direct: the client for the metadata server.
    """

    def __init__(self, http: httpx.Client, direct: httpx.Client) -> None:
        self._http = http
        self._direct = direct

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **_kwargs: Any,
    ) -> _AuthResponse:
        client = self._direct if url.startswith("http://") else self._http
        try:
            response = client.request(
                method,
                url,
                content=body,
                headers=dict(headers or {}),
                timeout=timeout if timeout is not None else 60.0,
                follow_redirects=False,
            )
        except httpx.HTTPError as error:
            host = httpx.URL(url).host
            raise google.auth.exceptions.TransportError(
                f"{host} did not answer ({type(error).__name__})"
            ) from error
        return _AuthResponse(response)


class _AuthResponse(google.auth.transport.Response):
    """An answer as google-auth reads it."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response

    @property
    def status(self) -> int:
        return self._response.status_code

    @property
    def headers(self) -> Mapping[str, str]:
        return self._response.headers

    @property
    def data(self) -> bytes:
        return self._response.content


def _reason(error: Exception) -> str:
    """Why google-auth failed, in one line without secrets.

    Its first argument is the sentence; the second may be the whole answer of the server, of which
    only OAuth's own words are taken.
    """
    said = str(error.args[0]) if error.args else type(error).__name__
    answer = error.args[1] if len(error.args) > 1 else None
    if isinstance(answer, str):
        try:
            answer = json.loads(answer)
        except ValueError:
            answer = None
    if isinstance(answer, Mapping):
        detail = answer.get("error_description") or answer.get("error")
        if isinstance(detail, Mapping):
            detail = detail.get("message")
        if isinstance(detail, str) and detail not in said:
            said = f"{said}: {detail}"
    return scrub_secrets(" ".join(said.split()))[:500]
