"""`dicomsql config`: shows, changes and checks the file, and keeps secrets to itself."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from dicomsql.cli import main

Capture = pytest.CaptureFixture[str]


def run(capsys: Capture, *argv: str) -> tuple[int, str, str]:
    code = main(["config", *argv])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def file(home: Path) -> Path:
    return home / "config" / "dicomsql" / "config.toml"


def test_a_first_value_makes_the_file_for_its_owner_alone(capsys: Capture, file: Path) -> None:
    assert run(capsys, "path") == (0, f"{file}\n", "")
    assert run(capsys, "check")[0] == 0
    assert not file.exists()
    assert run(capsys, "set", "project", "p") == (
        0,
        "",
        f"profiles.default.project is set in {file}\n",
    )
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text() == '[profiles.default]\nproject = "p"\n'
    assert run(capsys, "get", "project") == (0, "p\n", "")


def test_profiles_are_written_changed_listed_and_taken_out(capsys: Capture, file: Path) -> None:
    pairs = "work.timeout 30 work.await on work.local true default_profile work"
    assert run(capsys, "set", "work.project", "my-p", *pairs.split())[0] == 0
    text = file.read_text()
    assert 'timeout = 30\nawait = "on"\nlocal = true\n' in text
    file.write_text(text.replace("timeout = 30", "# slow\ntimeout = 30 # seconds"))
    assert run(capsys, "set", "timeout", "1.5")[0] == 0
    assert "# slow\ntimeout = 1.5 # seconds\n" in file.read_text()
    assert "profile work (in use)\n  project = my-p\n" in run(capsys, "list")[1]
    listed = json.loads(run(capsys, "list", "--json")[1])
    assert listed["profiles"]["work"]["timeout"] == 1.5
    assert run(capsys, "unset", "work.timeout")[0] == 0
    assert run(capsys, "get", "work.timeout")[0] == 2
    code, _, err = run(capsys, "unset", "work")
    assert code == 2
    assert "work is the default profile. Name another first" in err
    assert "my-p" in file.read_text()
    assert run(capsys, "unset", "default_profile")[0] == 0
    assert run(capsys, "unset", "work")[0] == 0
    assert file.read_text() == "# slow\n"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["set", "work.projct", "x"], "no setting projct. Did you mean project?"),
        (["set", "work.timeout", "soon"], "timeout is a number greater than 0"),
        (["set", "work.output", "tabel"], "output is one of table"),
        (["set", "default_profile", "none"], "default_profile is the name of a profile"),
        (["set", "project"], "takes a key and its value"),
        (["set", "work", "x"], "name a setting in it"),
        (["set", "connections.c.usr", "x"], "no member usr. Did you mean user?"),
        (["set", "connections.c.password", "hunter2"], "password_env VARIABLE"),
        (["set", "connections.c.service", "dicomweb.orthanc"], "endpoint is missing"),
        (["set", "a..b", "x"], "is no key"),
        (["get", "work.store"], "says nothing of profiles.work.store"),
        (["unset", "nobody"], "says nothing of profiles.nobody"),
    ],
)
def test_what_does_not_fit_changes_nothing(
    capsys: Capture, file: Path, argv: list[str], said: str
) -> None:
    run(capsys, "set", "work.project", "p")
    before = file.read_text()
    code, out, err = run(capsys, *argv)
    assert (code, out) == (2, "")
    assert said in err
    assert "hunter2" not in err
    assert file.read_text() == before


def test_a_connection_is_written_whole(capsys: Capture, file: Path) -> None:
    words = "service dicomweb.orthanc endpoint https://h auth basic user ann password_env PW"
    pairs = [f"connections.c.{w}" if i % 2 == 0 else w for i, w in enumerate(words.split())]
    assert run(capsys, "set", *pairs)[0] == 0
    assert run(capsys, "check") == (0, f"{file} is right: 0 profiles, 1 connection.\n", "")
    assert run(capsys, "set", "connections.c.service", "dicomweb.orthnac")[0] == 0
    code, _, err = run(capsys, "check")
    assert (code, "Did you mean dicomweb.orthanc?" in err) == (2, True)


def test_secrets_are_shown_as_being_there_alone(
    capsys: Capture, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.parent.mkdir(parents=True)
    file.write_text(
        '[connections.c]\nservice = "dicomweb.orthanc"\nendpoint = "https://h"\n'
        'auth = "bearer"\ntoken = "hunter2"\n[profiles.w]\nproxy = "http://a:hunter2@p"\n'
    )
    file.chmod(0o600)
    monkeypatch.setenv("DICOMSQL_ENDPOINT", "https://e")
    monkeypatch.setenv("DICOMSQL_USER", "ann")
    monkeypatch.setenv("DICOMSQL_PASSWORD", "hunter2")
    monkeypatch.setenv("DICOMSQL_CREDENTIALS", '{"private_key": "hunter2"}')
    told = [
        run(capsys, "list")[1],
        run(capsys, "list", "--json")[1],
        run(capsys, "show", "--profile", "w")[1],
        run(capsys, "show", "--profile", "w", "--origin", "--json")[1],
        run(capsys, "get", "connections.c.token")[2],
        run(capsys, "get", "connections.c")[1],
        run(capsys, "get", "w")[1],
        run(capsys, "get", "w.proxy")[1],
    ]
    assert "hunter2" not in "".join(told)
    assert "environment DICOMSQL_PASSWORD" in told[3]
    assert "token = (set, not shown)" in told[0]


def test_a_file_that_is_named_is_made(capsys: Capture, tmp_path: Path) -> None:
    new = tmp_path / "new.toml"
    assert run(capsys, "set", "project", "p", "--config", str(new))[0] == 0
    new.write_text(new.read_text().replace(" = ", "="))
    assert run(capsys, "set", "project", "q", "--config", str(new))[0] == 0
    assert new.read_text() == '[profiles.default]\nproject="q"\n'


def test_show_has_values_as_the_file_takes_them(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DICOMSQL_TOKEN", "hunter2")
    shown = json.loads(run(capsys, "show", "--json", "--cache", "90m", "--await")[1])
    assert (shown["cache"], shown["await"], shown["token"]) == ("90m", True, "(set, not used)")


@pytest.mark.parametrize("off", ["0", "off", "No", "false"])
def test_local_can_be_off(capsys: Capture, monkeypatch: pytest.MonkeyPatch, off: str) -> None:
    run(capsys, "set", "w.local", "true", "e.endpoint", "https://h", "l.local", "false")
    assert json.loads(run(capsys, "show", "--json", "--profile", "w")[1])["local"]
    assert json.loads(run(capsys, "show", "--json", "--profile", "l")[1])["local"] is None
    monkeypatch.setenv("DICOMSQL_LOCAL", off)
    assert json.loads(run(capsys, "show", "--json", "--profile", "w")[1])["local"] is None
    assert json.loads(run(capsys, "show", "--json", "--profile", "e")[1])["endpoint"] == "https://h"


def test_show_says_where_each_value_comes_from(
    capsys: Capture, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(capsys, "set", "work.project", "p", "default_profile", "work")
    monkeypatch.setenv("DICOMSQL_LOCATION", "eu")
    code, out, _ = run(capsys, "show", "--origin", "--store", "s")
    origins = {line.split()[0]: line.split(maxsplit=2)[2] for line in out.splitlines()}
    assert code == 0
    assert origins["store"] == "option --store"
    assert origins["location"] == "environment DICOMSQL_LOCATION"
    assert origins["project"] == f"profile work in {file}:4"
    assert origins["timeout"] == "default"
    shown = json.loads(run(capsys, "show", "--json")[1])
    assert (shown["project"], shown["location"], shown["dataset"]) == ("p", "eu", None)


def test_a_broken_file_is_told_with_its_line(capsys: Capture, file: Path) -> None:
    file.parent.mkdir(parents=True)
    file.write_text('[profiles.w]\nproject = "p"\nstoer = "s"\n')
    said = f"error: {file}:3, profiles.w: stoer is not known. Did you mean store?\n"
    for argv in (
        ["config", "check"],
        ["config", "list"],
        ["exec", "SELECT 1"],
        ["provider", "list"],
    ):
        assert main(argv) == 2
        assert capsys.readouterr().err == said
    file.write_text("[profiles\n")
    err = run(capsys, "check")[2]
    assert err.startswith(f"error: {file} is not TOML: ")
    assert "(at line 1, column 10)" in err


def test_a_file_that_cannot_be_written(capsys: Capture, home: Path) -> None:
    (home / "config").write_text("a file")
    code, _, err = run(capsys, "set", "project", "p")
    assert code == 2
    assert "Cannot" in err


def test_a_link_stays_one(capsys: Capture, file: Path, tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.toml"
    real.write_text("# mine\n")
    file.parent.mkdir(parents=True)
    file.symlink_to(real)
    assert run(capsys, "set", "project", "p")[0] == 0
    assert file.is_symlink()
    assert real.read_text().startswith("# mine\n")


def test_a_profile_holds_for_exec(
    capsys: Capture, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(capsys, "set", "w.output", "jsonl", "w.max_calls", "5")
    assert main(["exec", "--profile", "w", "SELECT 1 AS a"]) == 0
    assert capsys.readouterr().out == '{"a":1}\n'
    # The ending of a file says more than a profile, and an option more than both.
    out = home / "x.csv"
    assert main(["exec", "--profile", "w", "-f", str(out), "SELECT 1 AS a"]) == 0
    assert out.read_text() == "a\n1\n"
    monkeypatch.setenv("DICOMSQL_PROFILE", "w")
    assert main(["exec", "-o", "tsv", "SELECT 1 AS a"]) == 0
    assert capsys.readouterr().out == "a\n1\n"
    assert main(["exec", "--profile", "ww", "SELECT 1"]) == 2
    assert "no profile ww. Did you mean w?" in capsys.readouterr().err
    assert not os.environ.get("DICOMSQL_MAX_CALLS")
