"""Credentials: where they are found, how they are refreshed, where they go and where never."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import google.auth.credentials
import google.auth.exceptions
import httpx
import pytest
import respx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from dicomsql.errors import CredentialsError
from dicomsql.transport import google_credentials
from dicomsql.transport.auth import Anonymous, Audience, GoogleAuthorizer, Wanted
from dicomsql.transport.google_credentials import HttpxRequest

URL = "https://healthcare.googleapis.com/v1/projects/p"
AUDIENCE = Audience.of_hosts(("healthcare.googleapis.com",))
TOKEN_URI = "https://oauth2.googleapis.com/token"
SCOPE = "https://www.googleapis.com/auth/cloud-healthcare"
IMPERSONATE = (
    "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/"
    "sa@p.iam.gserviceaccount.com:generateAccessToken"
)


@pytest.fixture(scope="module")
def service_account() -> dict[str, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return {
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "1",
        "private_key": pem.decode(),
        "client_email": "robot@p.iam.gserviceaccount.com",
        "token_uri": TOKEN_URI,
    }


USER = {
    "type": "authorized_user",
    "client_id": "id",
    "client_secret": "hush",
    "refresh_token": "1//refresh",
}


class Object(google.auth.credentials.CredentialsWithQuotaProject):
    """Credentials that count their refreshes."""

    def __init__(self, token: str | None = "t", seconds: float = 3600.0) -> None:
        super().__init__()
        self.refreshes = 0
        self.seconds = seconds
        self.next = token

    def refresh(self, request: Any) -> None:
        self.refreshes += 1
        self.token = f"{self.next}{self.refreshes}" if self.next else None
        expiry = datetime.now(UTC) + timedelta(seconds=self.seconds)
        self.expiry = expiry.replace(tzinfo=None)

    def with_quota_project(self, quota_project_id: str) -> Object:
        copy = Object(self.next, self.seconds)
        copy._quota_project_id = quota_project_id
        return copy


@pytest.fixture
def request_() -> Iterator[HttpxRequest]:
    with httpx.Client() as http, httpx.Client(trust_env=False) as direct:
        yield HttpxRequest(http, direct)


Make = Callable[..., GoogleAuthorizer]


@pytest.fixture
def make(request_: HttpxRequest, tmp_path: Path) -> Make:
    """Makes an authorizer in an environment that holds nothing but what is given."""

    def authorizer(
        environment: Mapping[str, str] | None = None,
        audience: Audience = AUDIENCE,
        **wanted: Any,
    ) -> GoogleAuthorizer:
        wanted.setdefault("scopes", (SCOPE,))
        bare = {"HOME": str(tmp_path), "NO_GCE_CHECK": "true", **(environment or {})}
        return GoogleAuthorizer(Wanted(**wanted), audience, lambda: request_, bare)

    return authorizer


@pytest.mark.parametrize(
    ("audience", "url", "admitted"),
    [
        (AUDIENCE, URL, True),
        (AUDIENCE, "https://HEALTHCARE.googleapis.com:443/v1", True),
        (AUDIENCE, "http://healthcare.googleapis.com/v1", False),
        (AUDIENCE, "https://healthcare.googleapis.com:8443/v1", False),
        (AUDIENCE, "https://healthcare.googleapis.com.evil.example/", False),
        (AUDIENCE, "https://healthcare.googleapis.com@evil.example/", False),
        (AUDIENCE, "nonsense", False),
        (AUDIENCE, "http://[broken", False),
        (
            Audience.of_hosts(("https://a.example/v1", "http://b.example")),
            "https://a.example",
            True,
        ),
        (
            Audience.of_hosts(("https://a.example/v1", "http://b.example")),
            "https://b.example",
            False,
        ),
        (Audience.of_endpoint("http://127.0.0.1:80/x"), "http://127.0.0.1/y", True),
        (Audience.of_endpoint("http://127.0.0.1:8080"), "http://127.0.0.1:8081", False),
        (Audience.of_endpoint("https://h"), "http://h", False),
        (Audience(), "", False),
    ],
)
def test_tokens_go_to_these_servers_alone(audience: Audience, url: str, admitted: bool) -> None:
    assert audience.admits(url) is admitted


def test_nothing_is_sent_anywhere_else(make: Make) -> None:
    credentials = Object()
    with pytest.raises(CredentialsError, match=r"not sent to https://evil\.example:443"):
        make(credentials=credentials).headers("https://evil.example/secret-path")
    assert credentials.refreshes == 0


def test_anonymous() -> None:
    assert Anonymous().headers(URL) == {}
    assert Anonymous().renew({}) is False


def test_a_bare_token_needs_no_google_auth(make: Make) -> None:
    authorizer = make({"GOOGLE_OAUTH_ACCESS_TOKEN": " tok\n"}, quota_project="bill")
    assert authorizer.headers(URL) == {
        "authorization": "Bearer tok",
        "x-goog-user-project": "bill",
    }
    assert authorizer.renew({}) is False


def test_given_credentials_win_over_the_environment(make: Make) -> None:
    environment = {"GOOGLE_OAUTH_ACCESS_TOKEN": "tok", "GOOGLE_CREDENTIALS": "{broken"}
    headers = make(environment, credentials=Object("own")).headers(URL)
    assert headers == {"authorization": "Bearer own1"}


def test_a_token_is_kept_and_refreshed_before_it_expires(make: Make) -> None:
    lasting, short = Object(), Object(seconds=30.0)
    for credentials, refreshes in ((lasting, 1), (short, 3)):
        authorizer = make(credentials=credentials)
        for _ in range(3):
            authorizer.headers(URL)
        assert credentials.refreshes == refreshes
    authorizer = make(credentials=lasting)
    refused = authorizer.headers(URL)
    for _ in range(3):
        assert authorizer.renew(refused) is True
        assert authorizer.headers(URL) == {"authorization": "Bearer t2"}


def test_many_threads_refresh_once(make: Make) -> None:
    credentials = Object()
    authorizer = make(credentials=credentials)
    barrier = threading.Barrier(8)

    def work() -> None:
        barrier.wait()
        authorizer.headers(URL)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert credentials.refreshes == 1


def test_the_quota_project_is_sent(make: Make) -> None:
    headers = make(credentials=Object(), quota_project="bill").headers(URL)
    assert headers == {"authorization": "Bearer t1", "x-goog-user-project": "bill"}


def test_what_cannot_bill_or_gives_no_token_is_refused(make: Make) -> None:
    with pytest.raises(CredentialsError, match="AnonymousCredentials"):
        make(credentials=google.auth.credentials.AnonymousCredentials()).headers(URL)
    with pytest.raises(CredentialsError, match="cannot bill"):
        make(
            credentials=google.auth.credentials.AnonymousCredentials(), quota_project="bill"
        ).headers(URL)
    with pytest.raises(CredentialsError, match="give no access token"):
        make(credentials=Object(None)).headers(URL)


def test_no_credentials_name_the_three_ways(make: Make) -> None:
    with pytest.raises(CredentialsError) as caught:
        make().headers(URL)
    for way in (
        "gcloud auth application-default login",
        "--credentials FILE",
        "GOOGLE_CREDENTIALS",
        "GOOGLE_OAUTH_ACCESS_TOKEN",
    ):
        assert way in str(caught.value)
    assert str(caught.value).count(".") == 1


def token(respx_mock: respx.MockRouter, **answer: object) -> respx.Route:
    answer = answer or {"access_token": "fresh", "expires_in": 3600, "token_type": "Bearer"}
    return respx_mock.post(TOKEN_URI).respond(json=answer)


def test_a_service_account_in_the_environment(
    respx_mock: respx.MockRouter, make: Make, service_account: dict[str, str]
) -> None:
    route = token(respx_mock)
    headers = make({"GOOGLE_CREDENTIALS": json.dumps(service_account)}).headers(URL)
    assert headers == {"authorization": "Bearer fresh"}
    assert b"grant_type=urn%3Aietf" in route.calls.last.request.content


@pytest.mark.parametrize("place", ["given", "mapping", "GOOGLE_CREDENTIALS", "ADC", "gcloud"])
def test_a_users_credentials_in_every_place(
    respx_mock: respx.MockRouter, make: Make, tmp_path: Path, place: str
) -> None:
    token(respx_mock)
    file = tmp_path / "user.json"
    if place == "gcloud":
        file = tmp_path / ".config" / "gcloud" / "application_default_credentials.json"
        file.parent.mkdir(parents=True)
    file.write_text(json.dumps(USER), encoding="utf-8")
    authorizer = {
        "given": lambda: make(credentials=file),
        "mapping": lambda: make(credentials=USER),
        "GOOGLE_CREDENTIALS": lambda: make({"GOOGLE_CREDENTIALS": str(file)}),
        "ADC": lambda: make({"GOOGLE_APPLICATION_CREDENTIALS": str(file)}),
        "gcloud": lambda: make({}),
    }[place]()
    assert authorizer.headers(URL) == {"authorization": "Bearer fresh"}


def test_gclouds_folder_can_be_elsewhere(tmp_path: Path) -> None:
    found = google_credentials._gcloud_file({"CLOUDSDK_CONFIG": str(tmp_path)})
    assert found == tmp_path / "application_default_credentials.json"


def test_impersonation(respx_mock: respx.MockRouter, make: Make) -> None:
    expiry = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    route = respx_mock.post(IMPERSONATE).respond(
        json={"accessToken": "other", "expireTime": expiry}
    )
    authorizer = make(
        {"GOOGLE_OAUTH_ACCESS_TOKEN": "mine"}, impersonate="sa@p.iam.gserviceaccount.com"
    )
    assert authorizer.headers(URL) == {"authorization": "Bearer other"}
    asked = route.calls.last.request
    assert asked.headers["authorization"] == "Bearer mine"
    assert json.loads(asked.content)["scope"] == [SCOPE]


def test_workload_identity(respx_mock: respx.MockRouter, make: Make, tmp_path: Path) -> None:
    subject = tmp_path / "subject"
    subject.write_text("jwt", encoding="utf-8")
    info = {
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/a/b/c",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "https://sts.googleapis.com/v1/token",
        "credential_source": {"file": str(subject)},
    }
    route = respx_mock.post("https://sts.googleapis.com/v1/token").respond(
        json={
            "access_token": "federated",
            "expires_in": 3600,
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "token_type": "Bearer",
        }
    )
    assert make(credentials=info).headers(URL) == {"authorization": "Bearer federated"}
    assert b"subject_token=jwt" in route.calls.last.request.content


AWS = {
    "type": "external_account",
    "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/a/b/c",
    "subject_token_type": "urn:ietf:params:aws:token-type:aws4_request",
    "token_url": "https://sts.googleapis.com/v1/token",
    "credential_source": {
        "environment_id": "aws1",
        "regional_cred_verification_url": "https://sts.{region}.amazonaws.com?x",
    },
}
EXECUTABLE = {
    **AWS,
    "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
    "credential_source": {"executable": {"command": "/bin/true", "timeout_millis": 5000}},
}
FEDERATED_USER = {
    "type": "external_account_authorized_user",
    "audience": "//iam.googleapis.com/locations/global/workforcePools/a/providers/b",
    "refresh_token": "r",
    "token_url": "https://sts.googleapis.com/v1/oauthtoken",
    "client_id": "i",
    "client_secret": "hush",
}
IMPERSONATED = {
    "type": "impersonated_service_account",
    "source_credentials": USER,
    "service_account_impersonation_url": IMPERSONATE,
}


@pytest.mark.parametrize(
    ("info", "module"),
    [
        (AWS, "google.auth.aws"),
        (EXECUTABLE, "google.auth.pluggable"),
        (FEDERATED_USER, "google.auth.external_account_authorized_user"),
        (IMPERSONATED, "google.auth.impersonated_credentials"),
    ],
)
def test_every_kind_of_file_is_loaded_by_its_own(
    info: dict[str, Any], module: str, request_: HttpxRequest
) -> None:
    found = google_credentials.find(Wanted(credentials=info), {}, request_)
    assert type(found).__module__ == module


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("/nowhere/at/all.json", "there is no file"),
        ("{broken hush", "no valid JSON at line 1, column 2"),
        ({"type": "unheard", "private_key": "hush"}, "of the type 'unheard' are not understood"),
        ({"private_key": "hush"}, "without a type"),
        ({"type": "authorized_user", "client_secret": "hush"}, "refresh_token"),
        ({"type": "service_account", "private_key": "hush"}, "The credentials that were given"),
        (7, "not a int"),
    ],
)
def test_broken_credentials_are_explained_without_their_secrets(
    make: Make, given: object, said: str
) -> None:
    with pytest.raises(CredentialsError, match=said) as caught:
        make(credentials=given).headers(URL)
    assert "hush" not in str(caught.value)


def test_broken_files_are_named(make: Make, tmp_path: Path) -> None:
    file = tmp_path / "key.json"
    for text, said in (("hush", "is no valid JSON"), ("[]", "holds no credentials")):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(CredentialsError, match=rf"key\.json {said}") as caught:
            make(credentials=str(file)).headers(URL)
        assert "hush" not in str(caught.value)
    with pytest.raises(CredentialsError, match="cannot be read"):
        make(credentials=tmp_path).headers(URL)


def test_a_refused_refresh_says_why(respx_mock: respx.MockRouter, make: Make) -> None:
    respx_mock.post(TOKEN_URI).respond(
        400,
        json={
            "error": "invalid_grant",
            "error_description": "Token has been revoked. access_token=abc",
        },
    )
    with pytest.raises(CredentialsError) as caught:
        make(credentials=USER).headers(URL)
    assert "gave no token: invalid_grant: Token has been revoked." in str(caught.value)
    assert "abc" not in str(caught.value)
    assert "1//refresh" not in str(caught.value)


def test_reasons_are_found_in_googles_answers() -> None:
    error = google.auth.exceptions.RefreshError(
        "Unable to acquire", json.dumps({"error": {"message": "Permission denied on sa"}})
    )
    assert google_credentials._reason(error) == "Unable to acquire: Permission denied on sa"
    broken = google.auth.exceptions.RefreshError("Unable\nto acquire", "<html>")
    assert google_credentials._reason(broken) == "Unable to acquire"
    assert google_credentials._reason(ValueError()) == "ValueError"


def test_a_user_who_must_sign_in_again_is_told(make: Make) -> None:
    class Stale(Object):
        def refresh(self, request: Any) -> None:
            raise google.auth.exceptions.ReauthFailError("x")

    with pytest.raises(CredentialsError, match="sign in again"):
        make(credentials=Stale()).headers(URL)


@pytest.fixture
def another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine, whichever it is, as one that is not Google's."""
    monkeypatch.setattr(google_credentials, "_PRODUCT_NAME", Path("/nowhere"))


METADATA = "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts"


def on_google(respx_mock: respx.MockRouter) -> respx.Route:
    respx_mock.get("http://169.254.169.254").respond(200, headers={"metadata-flavor": "Google"})
    return respx_mock.get(f"{METADATA}/default/token").respond(
        json={"access_token": "machine", "expires_in": 3600, "token_type": "Bearer"}
    )


def test_a_machine_of_google(respx_mock: respx.MockRouter, make: Make) -> None:
    route = on_google(respx_mock)
    authorizer = make({"NO_GCE_CHECK": "", "K_SERVICE": "run"}, quota_project="bill")
    assert authorizer.headers(URL) == {
        "authorization": "Bearer machine",
        "x-goog-user-project": "bill",
    }
    asked = route.calls.last.request
    assert asked.headers["metadata-flavor"] == "Google"
    assert asked.url.params["scopes"] == SCOPE


def test_a_machine_of_google_may_impersonate(respx_mock: respx.MockRouter, make: Make) -> None:
    route = on_google(respx_mock)
    expiry = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    respx_mock.post(IMPERSONATE).respond(json={"accessToken": "other", "expireTime": expiry})
    authorizer = make({"NO_GCE_CHECK": ""}, impersonate="sa@p.iam.gserviceaccount.com")
    assert authorizer.headers(URL) == {"authorization": "Bearer other"}
    assert "auth/iam" in route.calls.last.request.url.params["scopes"]


def test_a_machine_without_an_account(respx_mock: respx.MockRouter, make: Make) -> None:
    on_google(respx_mock)
    respx_mock.get(f"{METADATA}/default/token").respond(404)
    with pytest.raises(CredentialsError, match="metadata server answered 404"):
        make({"NO_GCE_CHECK": ""}).headers(URL)


@pytest.mark.parametrize(
    ("environment", "asked", "timeout"),
    [
        ({}, 1, 0.5),
        ({"K_SERVICE": "run"}, 3, 3.0),
        ({"GCE_METADATA_TIMEOUT": "2"}, 1, 2.0),
        ({"GCE_METADATA_TIMEOUT": "x"}, 1, 3.0),
        ({"NO_GCE_CHECK": "true"}, 0, 0.0),
    ],
)
@pytest.mark.usefixtures("another_machine")
def test_looking_for_a_metadata_server_takes_no_time_elsewhere(
    respx_mock: respx.MockRouter,
    make: Make,
    environment: dict[str, str],
    asked: int,
    timeout: float,
) -> None:
    route = respx_mock.get("http://169.254.169.254").mock(side_effect=httpx.ConnectTimeout("x"))
    with pytest.raises(CredentialsError, match="no Google credentials"):
        make({"NO_GCE_CHECK": "", **environment}).headers(URL)
    assert route.call_count == asked
    for call in route.calls:
        assert call.request.extensions["timeout"]["connect"] == timeout


def test_google_machines_are_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "product_name"
    monkeypatch.setattr(google_credentials, "_PRODUCT_NAME", file)
    assert google_credentials._is_google_machine() is False
    file.write_text("Google Compute Engine\n", encoding="utf-8")
    assert google_credentials._is_google_machine() is True


def test_an_unreachable_token_server(respx_mock: respx.MockRouter, request_: HttpxRequest) -> None:
    respx_mock.get("https://oauth2.googleapis.com/x").mock(side_effect=httpx.ConnectError("no"))
    with pytest.raises(google.auth.exceptions.TransportError, match=r"oauth2\.googleapis\.com did"):
        request_("https://oauth2.googleapis.com/x?assertion=abc")


def test_requests_is_never_imported() -> None:
    program = (
        "import sys, json\n"
        "from dicomsql.transport.auth import *\n"
        "from dicomsql.transport import google_credentials as g\n"
        f"for info in {[USER, AWS, FEDERATED_USER, IMPERSONATED]!r}:\n"
        "    g.find(Wanted(credentials=info), {}, None)\n"
        "print([m for m in sys.modules if m.split('.')[0] == 'requests' "
        "or m.startswith('google.auth.transport.requests')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_what_no_place_holds_is_told_at_once(make: Make) -> None:
    missing = {"GOOGLE_APPLICATION_CREDENTIALS": "/nowhere/key.json"}
    with pytest.raises(CredentialsError, match="GOOGLE_APPLICATION_CREDENTIALS: there is no file"):
        make(missing).headers(URL)
