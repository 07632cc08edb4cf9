"""Where settings come from: who asks, connections, ages."""

from __future__ import annotations

from pathlib import Path

import pytest

from dicomsql.config import (
    Settings,
    bytes_of,
    default_config_file,
    read_connections,
    seconds_of,
    settings,
)
from dicomsql.connections import Connection, Login
from dicomsql.errors import InterfaceError

URL = "https://pacs.example/dicom-web"


def test_a_path_stays_part_of_the_endpoint() -> None:
    assert settings({}, endpoint=URL + "/").endpoint == URL


@pytest.mark.parametrize(
    ("environment", "given", "login"),
    [
        ({}, {"endpoint": URL}, Login()),
        ({}, {"endpoint": URL, "user": "ann", "password": "p"}, Login("basic", "ann", "p")),
        (
            {"DICOMSQL_PASSWORD": "p", "DICOMSQL_TOKEN": "t"},
            {"endpoint": URL, "user": "ann"},
            Login("basic", "ann", "p"),
        ),
        (
            {"DICOMSQL_ENDPOINT": URL, "DICOMSQL_USER": "ann", "DICOMSQL_PASSWORD": "p"},
            {},
            Login("basic", "ann", "p"),
        ),
        ({"DICOMSQL_TOKEN": "t"}, {"endpoint": URL}, Login("bearer", secret="t")),
        (
            {"DICOMSQL_TOKEN": "t", "DICOMSQL_USER": "ann"},
            {"endpoint": URL, "token_file": "f"},
            Login("bearer", file=Path("f")),
        ),
        # What stands in the environment is for an endpoint; Google never gets it.
        ({"DICOMSQL_TOKEN": "t", "DICOMSQL_USER": "ann", "DICOMSQL_PASSWORD": "p"}, {}, Login()),
    ],
)
def test_who_asks(environment: dict[str, str], given: dict[str, str], login: Login) -> None:
    made = settings(environment, **given)
    assert made.login() == login
    assert made.login().secret == login.secret


FILE_OF_ONE = """
[connections.pacs]
service = "dicomweb.orthanc"
endpoint = "https://pacs.example.org"
"""

EVERYTHING = {
    "DICOMSQL_ENDPOINT": URL,
    "DICOMSQL_USER": "ann",
    "DICOMSQL_PASSWORD": "p",
    "DICOMSQL_ANONYMOUS": "1",
}


@pytest.mark.parametrize(
    ("environment", "given", "endpoint", "connection"),
    [
        (EVERYTHING, {"connection": "pacs"}, None, "pacs"),
        ({"DICOMSQL_CONNECTION": "pacs"}, {"endpoint": URL}, URL, None),
        ({"DICOMSQL_LOCAL": "/x"}, {"endpoint": URL}, URL, None),
        (EVERYTHING, {"local": "/x"}, None, None),
        ({"DICOMSQL_LOCAL": "/x"}, {"connection": "pacs"}, None, "pacs"),
        (EVERYTHING, {}, URL, None),
    ],
)
def test_an_argument_takes_the_place_of_what_excludes_it(
    tmp_path: Path,
    environment: dict[str, str],
    given: dict[str, str],
    endpoint: str | None,
    connection: str | None,
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(FILE_OF_ONE, encoding="utf-8")
    made = settings(environment, config=file, **given)
    assert (made.endpoint, made.connection) == (endpoint, connection)
    assert (made.login().kind == "basic") == (endpoint == URL and "DICOMSQL_USER" in environment)


def test_two_of_the_same_place_are_still_refused(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(FILE_OF_ONE, encoding="utf-8")
    with pytest.raises(InterfaceError, match="not both"):
        settings({}, config=file, endpoint=URL, connection="pacs")
    with pytest.raises(InterfaceError, match="not both"):
        settings({**EVERYTHING, "DICOMSQL_CONNECTION": "pacs"}, config=file)


def test_who_is_given_outright_asks_though_the_environment_says_nobody() -> None:
    assert settings(EVERYTHING).anonymous
    assert not settings(EVERYTHING, endpoint=URL, user="ann").anonymous
    assert not settings(EVERYTHING, credentials="key.json").anonymous
    assert settings(EVERYTHING, endpoint=URL, user="ann", anonymous=True).anonymous


def test_secrets_are_not_shown() -> None:
    made = settings({}, endpoint=URL, user="ann", password="hunter2")
    for shown in (
        repr(made),
        repr(made.login()),
        repr(settings({}, endpoint=URL, token="hunter2")),
    ):
        assert "hunter2" not in shown
    assert "ann" not in repr(made)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"user": "ann"}, "--user or user= goes with --endpoint"),
        ({"token": "t"}, "token goes with --endpoint"),
        ({"user": "ann", "local": "x"}, "--user or user= goes with --endpoint"),
        ({"endpoint": URL, "user": "ann", "token": "t"}, "either a user or a token"),
        ({"endpoint": URL, "user": "ann", "credentials": "f"}, "either Google's credentials"),
        ({"endpoint": "https://ann:hunter2@pacs"}, "--user NAME"),
        ({"endpoint": URL, "connection": "pacs"}, "either an endpoint or a connection"),
        ({"connection": "pacs"}, "no connection pacs.*The file names none"),
        ({"cache": "soon"}, "'30s', '10m' or '2h'"),
        ({"max_bytes": "many"}, "max_bytes must be a number"),
    ],
)
def test_what_does_not_fit(given: dict[str, str], message: str) -> None:
    with pytest.raises(InterfaceError, match=message) as caught:
        settings({}, **given)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("10m", 600), ("2H", 7200), ("1.5 m", 90), ("24h", 86400), ("off", None)],
)
def test_ages(text: str, seconds: float | None) -> None:
    assert seconds_of(text) == seconds
    assert settings({"DICOMSQL_CACHE": text}).cache == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        ("10k", 10_000),
        ("10 kB", 10_000),
        ("1MB", 1_000_000),
        ("1.5m", 1_500_000),
        ("2gb", 2_000_000_000),
        ("1T", 10**12),
        ("2KiB", 2048),
        ("500 B", 500),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert bytes_of(text) == size
    assert settings({}, max_bytes=text).max_bytes == size


@pytest.mark.parametrize("text", ["", "0", "-1", "k", "10x", "10 iB", "1 000", "0.0001k", "1e6"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(InterfaceError, match="a number of bytes from 1 on"):
        bytes_of(text)


@pytest.mark.parametrize("text", ["", "10", "25h", "-1m", "0s", "10 minutes"])
def test_ages_that_are_none(text: str) -> None:
    with pytest.raises(InterfaceError, match="24 hours"):
        seconds_of(text)


FILE = """
[connections.pacs]
service = "dicomweb.orthanc"
endpoint = "https://pacs.example/dicom-web/"
auth = "basic"
user = "ann"
password_env = "PACS_PASSWORD"

[connections.archive]
service = "dicomweb.dcm4chee"
endpoint = "http://127.0.0.1:8080/rs"
auth = "bearer"
token_file = "archive.token"
parallel = 4
timeout = 2.5
ca_bundle = "ca.pem"
insecure_auth = true

[connections.open]
service = "dicomweb.standard"
endpoint = "http://pacs"
"""


def test_connections(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(FILE, encoding="utf-8")
    found = read_connections(file)
    assert found["pacs"] == Connection(
        "pacs", "dicomweb.orthanc", URL, Login("basic", "ann", variable="PACS_PASSWORD")
    )
    assert found["archive"] == Connection(
        "archive",
        "dicomweb.dcm4chee",
        "http://127.0.0.1:8080/rs",
        Login("bearer", file=tmp_path / "archive.token"),
        parallel=4,
        timeout=2.5,
        ca_bundle=str(tmp_path / "ca.pem"),
        insecure_auth=True,
    )
    assert found["open"].login == Login()
    made = settings({"DICOMSQL_CONFIG": str(file)}, connection="pacs")
    assert set(made.connected()) == {
        *("dicomweb.pacs", "dicomweb.archive", "dicomweb.open", "dicomweb.orthanc")
    }
    assert made.connected()["dicomweb.orthanc"].endpoint == URL
    with pytest.raises(InterfaceError, match=r"no connection pac\. Did you mean pacs\?"):
        settings({}, config=file, connection="pac")


def test_the_users_own_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert settings({}).connections == {}
    default_config_file().parent.mkdir()
    default_config_file().write_text(FILE, encoding="utf-8")
    assert set(settings({}).connections) == {"pacs", "archive", "open"}
    assert Settings().connections == {}


def test_a_secret_in_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(FILE.replace("password_env", "password"), encoding="utf-8")
    file.chmod(0o640)
    with pytest.raises(InterfaceError, match=r"chmod 600 .*password_env") as caught:
        read_connections(file)
    assert "PACS_PASSWORD" not in str(caught.value)
    file.chmod(0o600)
    assert read_connections(file)["pacs"].login.secret == "PACS_PASSWORD"
    assert "PACS_PASSWORD" not in repr(read_connections(file))


@pytest.mark.parametrize("text", ["password = 'hunter2", "password = 'hunter2 \udcff'"])
def test_no_text_of_the_file_stands_behind_an_error(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InterfaceError, match=r"is not (TOML|UTF-8)") as caught:
        settings({}, config=file)
    assert caught.value.__context__ is None
    assert "hunter2" not in str(caught.value)


HEAD = '[connections.c]\nservice = "dicomweb.orthanc"\nendpoint = "https://h"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "x is not known"),
        ("[connections", "is not TOML"),
        ("connections = 1", r"\[connections\.NAME\]"),
        ("[connections]\nc = 1", "is no table"),
        ('[connections."C-1"]\n', "small letters"),
        ('[connections.c]\nendpoint = "http://h"', "service is missing"),
        ('[connections.c]\nservice = "dicomweb.orthanc"', "endpoint is missing"),
        ('[connections.c]\nservice = "orthanc"\nendpoint = "http://h"', "dicomweb.orthanc"),
        (HEAD.replace("https://h", "https://a:hunter2@h"), "holds a user or a password"),
        (HEAD + 'usr = "hunter2"', "usr is not known. Did you mean user"),
        (HEAD + 'auth = "digest"', "basic, bearer or none"),
        (HEAD + "parallel = 0", "parallel is a whole number"),
        (HEAD + "timeout = true", "timeout is a number"),
        (HEAD + "insecure_auth = 1", "true or false"),
        (HEAD + "user = 1", "user is a text"),
        (HEAD + 'user = "ann"', 'user does not go with auth = "none"'),
        (HEAD + 'auth = "basic"\nuser = "ann"\ntoken_env = "X"', "token_env does not go"),
        (HEAD + 'auth = "basic"\npassword_env = "X"', "user is missing"),
        (HEAD + 'auth = "bearer"', "token_env or token_file"),
        (HEAD + 'auth = "bearer"\ntoken_env = "X"\ntoken_file = "y"', "with one of"),
    ],
)
def test_a_file_that_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InterfaceError, match=message) as caught:
        read_connections(file)
    assert "hunter2" not in str(caught.value)
    assert str(file) in str(caught.value) or "connection c" in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InterfaceError, match="There is no configuration file"):
        settings({}, config=tmp_path / "none.toml")
    with pytest.raises(InterfaceError, match="is no file"):
        settings({}, config=tmp_path)
