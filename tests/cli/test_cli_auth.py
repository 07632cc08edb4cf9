"""`dicomsql auth`: who the servers are asked as, without a secret and without a server's data."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import respx

from dicomsql.cli import main
from dicomsql.session.logins import TOKEN_INFO

Capture = pytest.CaptureFixture[str]

TOKEN = "ya29.secret-token"


@pytest.fixture
def adc(home: Path) -> Path:
    """The file that gcloud leaves when a user has logged in."""
    file = home / "gcloud" / "application_default_credentials.json"
    file.parent.mkdir()
    user = {"type": "authorized_user", "client_id": "c", "client_secret": "secret-1"}
    file.write_text(json.dumps(user | {"refresh_token": "secret-2", "quota_project_id": "q"}))
    return file


def test_status_of_a_user(capsys: Capture, adc: Path, respx_mock: respx.MockRouter) -> None:
    respx_mock.post("https://oauth2.googleapis.com/token").respond(
        json={"access_token": TOKEN, "expires_in": 3599}
    )
    info = respx_mock.post(TOKEN_INFO).respond(
        json={"email": "ann@example.org", "scope": "openid email", "expires_in": "3540"}
    )
    assert main(["auth", "status"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "Google",
        "  account: ann@example.org",
        f"  credentials: authorized user, from gcloud's application default credentials ({adc})",
        "  scopes: openid email",
        "  quota project: q",
        "  token: stands, for 59 more minutes",
    ]
    assert err == f"Asks {TOKEN_INFO} about the token; --no-call does not.\n"
    # A token in an address would stand in the logs of proxies.
    assert info.calls[0].request.url == TOKEN_INFO
    assert info.calls[0].request.content == f"access_token={TOKEN}".encode()
    assert main(["auth", "print-identity"]) == 0
    assert capsys.readouterr().out == "ann@example.org\n"


def test_status_without_a_call_sends_nothing(
    capsys: Capture, adc: Path, respx_mock: respx.MockRouter
) -> None:
    assert main(["auth", "status", "--no-call", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["google"]["kind"], found["google"]["stands"]) == ("authorized user", None)
    assert "secret" not in json.dumps(found)
    assert not respx_mock.calls


def test_a_token_that_does_not_stand(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, respx_mock: respx.MockRouter
) -> None:
    monkeypatch.setenv("GOOGLE_OAUTH_ACCESS_TOKEN", TOKEN)
    respx_mock.post(TOKEN_INFO).respond(400, json={"error": "invalid_token"})
    assert main(["auth", "status"]) == 1
    out, err = capsys.readouterr()
    assert "access token, from GOOGLE_OAUTH_ACCESS_TOKEN" in out
    assert "problem: The token has expired or was withdrawn" in out
    assert TOKEN not in out + err
    respx_mock.post(TOKEN_INFO).respond(500)
    assert main(["auth", "status"]) == 1
    assert "problem: The token service answered 500." in capsys.readouterr().out


def test_no_credentials(capsys: Capture) -> None:
    assert main(["auth", "status", "--no-call"]) == 1
    assert "gcloud auth application-default login" in capsys.readouterr().out
    assert main(["auth", "print-identity"]) == 1
    assert "There are no Google credentials" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--anonymous"], "no credentials are sent (anonymous)"),
        (["--local", "x"], "the embedded emulator is asked"),
        (["--endpoint", "https://h"], "https://h is asked instead of Google"),
    ],
)
def test_where_google_is_not_asked(capsys: Capture, options: list[str], said: str) -> None:
    assert main(["auth", "status", *options]) == 0
    assert said in capsys.readouterr().out
    assert main(["auth", "print-identity", *options]) == 2
    assert said in capsys.readouterr().err


CONNECTIONS = """\
[connections.pacs]
service = "dicomweb.orthanc"
endpoint = "https://pacs.example"
auth = "basic"
user = "ann"
password_env = "PACS_PASSWORD"

[connections.archive]
service = "dicomweb.dcm4chee"
endpoint = "http://archive.example"
auth = "bearer"
token_file = "archive.token"

[connections.open]
service = "dicomweb.standard"
endpoint = "http://open.example"
"""


def test_connections_are_looked_at_and_not_called(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, respx_mock: respx.MockRouter
) -> None:
    file = tmp_path / "c.toml"
    file.write_text(CONNECTIONS)
    status = ["auth", "status", "--anonymous", "--config", str(file)]
    assert main(status) == 1
    out = capsys.readouterr().out
    assert "problem: The variable PACS_PASSWORD should hold the password and is not set." in out
    assert "problem: Credentials would go to archive.example over plain http" in out
    assert "connection open (dicomweb.standard)" in out
    monkeypatch.setenv("PACS_PASSWORD", "hunter2")
    (tmp_path / "archive.token").write_text("hunter2")
    (tmp_path / "archive.token").chmod(0o600)
    assert main([*status, "--insecure-auth"]) == 0
    out = capsys.readouterr().out
    assert "asked as: user ann, secret from environment PACS_PASSWORD" in out
    assert "hunter2" not in out
    assert not respx_mock.calls


def gcloud(folder: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> Path:
    """A program of that name that writes down what it is asked."""
    log = folder / "log"
    program = folder / "gcloud"
    program.write_text(f'#!/bin/sh\necho "$@" >> {log}\nexit {code}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return log


def test_login_runs_gcloud(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = gcloud(tmp_path, monkeypatch, 0)
    assert main(["auth", "login", "--quota-project", "q"]) == 0
    assert log.read_text().splitlines() == [
        "auth application-default login",
        "auth application-default set-quota-project q",
    ]
    assert "Logged in." in capsys.readouterr().err
    gcloud(tmp_path, monkeypatch, 3)
    assert main(["auth", "login"]) == 1
    assert "gcloud ended with exit code 3" in capsys.readouterr().err


def test_login_without_gcloud_says_what_to_do(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["auth", "login"]) == 1
    err = capsys.readouterr().err
    assert "gcloud" in err
    assert "--credentials FILE" in err


def test_login_to_a_server_of_one_s_own_says_what_to_write(capsys: Capture) -> None:
    assert main(["auth", "login", "--endpoint", "https://pacs.example"]) == 0
    assert "password_env VARIABLE" in capsys.readouterr().out
