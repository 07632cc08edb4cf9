"""One order for settings: given, environment, profile, what holds for all, others' variables."""

from __future__ import annotations

from pathlib import Path

import pytest

import dicomsql
from dicomsql.config import OPTIONS, Settings, read_configuration, resolve, settings
from dicomsql.errors import InterfaceError

FILE = """\
default_profile = "work"
files = "off"

[profiles.work]
project = "of-profile"
location = "us-central1"
store = "s"
timeout = 30
await = true
max_bytes = "2GB"
output = "json"
database = "mine.db"

[profiles.pacs]
endpoint = "https://pacs.example/rs"
user = "ann"
files = "on"

[profiles.google]
credentials = "key.json"
impersonate = "robot@example"
anonymous = "off"

[connections.archive]
service = "dicomweb.orthanc"
endpoint = "https://archive.example"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(FILE, encoding="utf-8")
    return path


def test_the_order(file: Path) -> None:
    environment = {"DICOMSQL_LOCATION": "eu", "GOOGLE_CLOUD_PROJECT": "ambient"}
    found = resolve(environment, {"config": file, "dicom_store": "given"})
    made = found.settings
    assert (made.dicom_store, found.origin("dicom_store")) == ("given", "option --store")
    assert (made.location, found.origin("location")) == ("eu", "environment DICOMSQL_LOCATION")
    assert made.project == "of-profile"
    assert found.origin("project") == f"profile work in {file}:5"
    assert (made.files, found.origin("files")) == (False, f"{file}:2")
    assert (made.dataset, found.origin("dataset")) == (None, "default")
    assert (made.profile, found.origin("profile")) == ("work", f"{file}:1")
    assert (made.timeout, made.await_operations, made.max_bytes) == (30.0, True, 2_000_000_000)
    assert made.database == file.parent / "mine.db"
    assert found.face("output") == "json"
    # Variables of others stand behind the profile, since they are set for other reasons.
    elsewhere = resolve(environment, {"config": file, "profile": "pacs", "password": "p"})
    assert elsewhere.origin("project") == "environment GOOGLE_CLOUD_PROJECT"
    assert elsewhere.settings.files


def test_a_profile_is_named_by_option_environment_or_the_file(file: Path) -> None:
    assert settings({"DICOMSQL_PROFILE": "google"}, config=file).profile == "google"
    assert settings({"DICOMSQL_PROFILE": "google"}, config=file, profile="work").profile == "work"
    file.write_text('[profiles.default]\nproject = "p"\n', encoding="utf-8")
    assert settings({}, config=file).project == "p"
    with pytest.raises(InterfaceError, match=r"no profile defalt\. Did you mean default\?"):
        settings({}, config=file, profile="defalt")


@pytest.mark.parametrize(
    "given", [{"endpoint": "https://other"}, {"local": "x"}, {"connection": "archive"}]
)
def test_who_a_profile_asks_as_goes_to_its_own_server_alone(
    file: Path, given: dict[str, str]
) -> None:
    made = settings({}, config=file, profile="pacs", **given)
    assert made.login().kind == "none"
    assert (made.user, made.password) == (None, None)
    google = settings({}, config=file, profile="google", endpoint="https://other")
    assert (google.credentials, google.impersonate) == (None, None)


def test_a_profile_s_server_is_asked_as_its_user(file: Path) -> None:
    made = settings({"DICOMSQL_PASSWORD": "p"}, config=file, profile="pacs")
    assert (made.login().kind, made.login().user, made.login().secret) == ("basic", "ann", "p")
    # Of the environment, a token takes the place of the profile's user, and is not sent with it.
    other = settings({"DICOMSQL_TOKEN": "t", "DICOMSQL_PASSWORD": "p"}, config=file, profile="pacs")
    assert (other.login().kind, other.login().secret) == ("bearer", "t")
    key = settings({}, config=file, profile="google")
    assert key.credentials == str(file.parent / "key.json")


def test_a_server_of_the_environment_takes_the_place_of_the_profile_s(file: Path) -> None:
    made = settings({"DICOMSQL_LOCAL": "/x"}, config=file, profile="pacs")
    assert (made.local, made.endpoint) == (Path("/x"), None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('projct = "p"', r"config.toml:2, profiles.p: projct is not known. Did you mean project\?"),
        ("project = 1", "config.toml:2, profiles.p: project is a text that is not empty"),
        ("\ntimeout = true", "config.toml:3, profiles.p: timeout is a number greater than 0"),
        ("timeout = 0", "timeout is a number greater than 0"),
        ('parallel = "4"', "parallel is a whole number"),
        ('await = "perhaps"', "await is 'on' or 'off'"),
        ('output = "xml"', "output is one of table, box, csv"),
        ('cache = "soon"', "cache is an age such as '30s'"),
        ('max_bytes = "many"', "max_bytes is a number of bytes"),
        ('endpoint = "pacs"', "config.toml:2, profiles.p: .*is no URL"),
        ('password = "hunter2"', "Put it into DICOMSQL_PASSWORD"),
        ("yes = true", "yes has to be said for each command"),
        ("show_phi = true", "show_phi has to be said for each command"),
        ('proxy = "http://a:hunter2@h"', "holds a password in a file that others may read"),
        ("local = 0", "local is a folder, true for"),
        ('endpoint = "https://h"\nlocal = true', "give either endpoint or local"),
        ('connection = "none"', "connection is the name of a connection of this file"),
    ],
)
def test_a_profile_that_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f"[profiles.p]\n{text}\n", encoding="utf-8")
    file.chmod(0o644)
    with pytest.raises(InterfaceError, match=message) as caught:
        read_configuration(file)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('project = "p"', "config.toml:1: project stands in a profile"),
        ("\nprofile = 1", r"config.toml:2: profile is not known. Did you mean profiles\?"),
        ('default_profile = "x"\n[profiles.xy]', r"default_profile is the name of a profile"),
        ("[profiles]\na = 1", r"config.toml:2: write \[profiles.a\]"),
        ('[profiles."a b"]', "letters, digits, - and _"),
        ('files = "perhaps"', "files is 'on' or 'off'"),
        ("a = 1\nb = ", "is not TOML: .*line 2"),
        ('[connections.c]\n\nusr = "x"', "config.toml:3, connections.c: usr is not known"),
    ],
)
def test_a_file_that_is_wrong_is_told_with_the_line(
    tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InterfaceError, match=message):
        read_configuration(file)


def test_a_wrong_variable_is_told_by_its_name() -> None:
    with pytest.raises(InterfaceError, match="DICOMSQL_TIMEOUT: timeout must be a number"):
        settings({"DICOMSQL_TIMEOUT": "soon"})


def test_each_setting_of_a_session_is_in_the_table() -> None:
    named = {option.name for option in OPTIONS if not option.face}
    assert named == set(Settings.__dataclass_fields__) - {"connections"}
    variables = [option.environment for option in OPTIONS if option.environment]
    assert len(variables) == len(set(variables))


def test_connect_takes_a_profile(file: Path) -> None:
    with dicomsql.connect(config=str(file), profile="work") as connection:
        assert connection._session.settings.project == "of-profile"


def test_a_url_of_sqlalchemy_takes_a_profile() -> None:
    from sqlalchemy.engine import make_url

    from dicomsql.integrations.sqlalchemy.url import connect_arguments

    url = make_url("dicomsql:///?profile=work&config=/c.toml")
    assert connect_arguments(url) == {"profile": "work", "config": "/c.toml"}
