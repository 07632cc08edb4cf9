"""Users and tokens for DICOMweb servers: what is sent, where to, and what is said of it."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
import respx

from dicomsql.config import Settings
from dicomsql.connections import Connection, Login, is_private
from dicomsql.errors import ApiError, CredentialsError, PermissionDeniedError
from dicomsql.transport.auth import Audience, LoginAuthorizer, is_open
from dicomsql.transport.base import Request
from dicomsql.transport.connect import open_transport

pytestmark = pytest.mark.respx(using="httpx")

PACS = "https://pacs.example/rs"
HERE = "http://127.0.0.1:8042/rs"
BASIC = "Basic YW5uOmjDvG50ZXI6Mg=="  # ann:hünter:2


def get(base_url: str) -> Request:
    return Request("GET", base_url, "/studies")


def sent(respx_mock: respx.MockRouter, settings: Settings, url: str = PACS) -> str:
    route = respx_mock.get(f"{url}/studies").respond(json=[])
    with open_transport(settings) as sender:
        sender.send(get(url))
    header: str = route.calls.last.request.headers.get("authorization", "")
    return header


def test_basic_bearer_and_none(respx_mock: respx.MockRouter, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("tok.en-1==\n", encoding="utf-8")
    file.chmod(0o600)
    user = Settings(endpoint=PACS, user="ann", password="hünter:2")
    assert sent(respx_mock, user) == BASIC
    assert sent(respx_mock, Settings(endpoint=PACS, token="abc")) == "Bearer abc"
    assert sent(respx_mock, Settings(endpoint=PACS, token_file=file)) == "Bearer tok.en-1=="
    assert sent(respx_mock, Settings(endpoint=PACS)) == ""
    anonymous = Settings(endpoint=PACS, token="abc", anonymous=True)
    assert sent(respx_mock, anonymous) == ""


def test_a_connection_asks_as_its_own_user(
    respx_mock: respx.MockRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACS_PASSWORD", "hünter:2")
    login = Login("basic", "ann", variable="PACS_PASSWORD")
    connection = Connection("pacs", "dicomweb.orthanc", PACS, login, parallel=3, timeout=7)
    # The session's own endpoint and token are another server's.
    settings = Settings(endpoint=HERE, token="other")
    route = respx_mock.get(f"{PACS}/studies").respond(json=[])
    with open_transport(settings, parallel=9, connection=connection) as sender:
        sender.send(get(PACS))
        assert (sender._parallel, sender._timeout) == (3, 7)
        with pytest.raises(CredentialsError, match="no other"):
            sender.send(get(HERE))
    assert route.calls.last.request.headers["authorization"] == BASIC
    with open_transport(Settings(parallel=5, timeout=1), connection=connection) as sender:
        assert (sender._parallel, sender._timeout) == (5, 1)


def test_a_redirect_to_another_server_gets_nothing(respx_mock: respx.MockRouter) -> None:
    respx_mock.get(f"{PACS}/studies").respond(302, headers={"location": "https://evil.example/"})
    with (
        open_transport(Settings(endpoint=PACS, token="abc")) as sender,
        pytest.raises(ApiError, match="redirects this call to evil"),
    ):
        sender.send(get(PACS))
    assert respx_mock.calls.call_count == 1


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://pacs.example", False),
        ("http://localhost:1/x", False),
        ("http://a.localhost", False),
        ("http://127.1.2.3", False),
        ("http://[::1]:80", False),
        ("http://pacs.example", True),
        ("http://127.0.0.1.example", True),
        ("http://10.0.0.1", True),
    ],
)
def test_what_others_can_read(url: str, expected: bool) -> None:
    assert is_open(url) is expected


def test_credentials_go_in_the_clear_only_where_that_is_allowed(
    respx_mock: respx.MockRouter,
) -> None:
    far = "http://pacs.example/rs"
    for settings in (Settings(endpoint=far, token="abc"), Settings(endpoint=far, credentials="f")):
        with pytest.raises(CredentialsError, match=r"pacs\.example over plain http.*insecure-auth"):
            open_transport(settings)
    allowed = Settings(endpoint=far, token="abc", insecure_auth=True)
    assert sent(respx_mock, allowed, far) == "Bearer abc"
    assert sent(respx_mock, Settings(endpoint=HERE, token="abc"), HERE) == "Bearer abc"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (Settings(endpoint=PACS, user="ann", password="hunter2"), "a user and a password"),
        (Settings(endpoint=PACS, token="hunter2"), "a bearer token"),
        (Settings(endpoint=PACS), "no credentials"),
    ],
)
def test_a_refusal_says_what_was_sent(
    respx_mock: respx.MockRouter, settings: Settings, said: str
) -> None:
    respx_mock.get(f"{PACS}/studies").respond(401)
    with open_transport(settings) as sender, pytest.raises(PermissionDeniedError) as caught:
        sender.send(get(PACS))
    assert f"(sent: {said})" in str(caught.value)
    for secret in ("hunter2", "ann"):
        assert secret not in str(caught.value)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_secrets_file_is_for_its_owner_alone(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "password"
    file.write_text("hunter2", encoding="utf-8")
    file.chmod(mode)
    connection = Connection("pacs", "dicomweb.orthanc", PACS, Login("basic", "ann", file=file))
    with (
        open_transport(Settings(), connection=connection) as sender,
        pytest.raises(CredentialsError, match=r"password stands in .* \(chmod 600 ") as caught,
    ):
        sender.send(get(PACS))
    assert "hunter2" not in str(caught.value)


def test_a_secret_on_a_file_system_that_cannot_be_written_to_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "password"
    file.write_text("hunter2", encoding="utf-8")
    file.chmod(0o644)
    assert not is_private(file)
    mounted = SimpleNamespace(f_flag=os.ST_RDONLY)
    monkeypatch.setattr(os, "statvfs", lambda _: mounted)
    assert is_private(file)


def test_a_token_that_was_renewed_in_its_file_is_taken(
    respx_mock: respx.MockRouter, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("old", encoding="utf-8")
    file.chmod(0o600)

    def answer(request: httpx.Request) -> httpx.Response:
        file.write_text("new", encoding="utf-8")
        return httpx.Response(200 if request.headers["authorization"] == "Bearer new" else 401)

    route = respx_mock.get(f"{PACS}/studies").mock(side_effect=answer)
    with open_transport(Settings(endpoint=PACS, token_file=file)) as sender:
        assert sender.send(get(PACS)).status == 200
    assert route.call_count == 2


@pytest.mark.parametrize(
    ("login", "message"),
    [
        (Login("basic", "ann"), "put it into DICOMSQL_PASSWORD"),
        (Login("basic", "a:nn", "hunter2"), "no colon"),
        (Login("basic", "ann", "hunter2\n"), "control characters"),
        (Login("bearer", secret="hunter2 x"), "no bearer token has"),
        (Login("bearer", variable="NO_SUCH_VARIABLE"), "NO_SUCH_VARIABLE .* is not set"),
        (Login("bearer", file=Path("/nowhere/token")), "token cannot be read|cannot be read"),
    ],
)
def test_a_secret_that_cannot_be_sent(login: Login, message: str) -> None:
    authorizer = LoginAuthorizer(login, Audience.of_endpoint(PACS), {})
    with pytest.raises(CredentialsError, match=message) as caught:
        authorizer.headers(PACS)
    assert "hunter2" not in str(caught.value)


def test_who_asks_is_told_apart_without_the_secret() -> None:
    def identity(login: Login) -> str:
        return LoginAuthorizer(login, Audience.of_endpoint(PACS), {}).identity()

    assert identity(Login("basic", "ann", "hunter2")) == "basic ann"
    first, second = (identity(Login("bearer", secret=s)) for s in ("hunter2", "hunter3"))
    assert first != second
    assert "hunter" not in first + second
