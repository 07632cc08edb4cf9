"""What `dicomsql` refuses before anything runs, and at the end of a run."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from dicomsql.cli import main

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize("way", ["stop", "continue"])
def test_an_open_transaction_at_the_end_is_a_failure(
    way: str, tmp_path: Path, capsys: Capture
) -> None:
    database = ["--database", str(tmp_path / "t.db"), "--on-error", way]
    sql = "CREATE TABLE t (a INT);\nBEGIN; INSERT INTO t VALUES (1);"
    assert main(["exec", *database, sql]) == 1
    assert "The transaction that line 2 began was not committed" in capsys.readouterr().err
    assert main(["exec", *database, "BEGIN; INSERT INTO t VALUES (2); COMMIT"]) == 0
    assert main(["exec", *database, "SELECT a FROM t"]) == 0
    assert capsys.readouterr().out == "a\n2\n"


@pytest.mark.parametrize(
    "options",
    [
        ["--ca-bundle", "none.pem"],
        ["--credentials", "none.json"],
        ["--endpoint", "https://h", "--token-file", "none"],
        ["--audit-log", "none/a.log"],
        ["--database", "none/t.db"],
        ["--audit-log", "."],
        ["--providers", "none"],
        ["--proxy", "http://ann:hunter2@"],
        ["--proxy", "ann:hunter2"],
        ["--proxy", "http://h:port"],
    ],
)
def test_what_options_name_is_looked_at_first(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["exec", *options, "SELECT 1"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "hunter2" not in err


def test_the_emulator_takes_a_folder(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "file").touch()
    assert main(["emulator", "--root", str(tmp_path / "file")]) == 2
    assert "--root takes a folder" in capsys.readouterr().err


def test_options_go_after_the_command(capsys: Capture) -> None:
    for words in (["--debug", "exec", "SELECT 1"], ["--config=secret", "exec", "SELECT 1"]):
        assert main(words) == 2
        option = words[0].partition("=")[0]
        err = capsys.readouterr().err
        assert err.startswith(f"error: Options go after the command: dicomsql exec {option} ...\n")
        assert "secret" not in err


def test_numbers_that_json_has_not_are_texts(capsys: Capture) -> None:
    sql = "SELECT 'nan'::DOUBLE a, ['-inf'::FLOAT, 1.5, NULL] b, {'c': 'inf'::DOUBLE} s"
    for form in ("json", "jsonl"):
        assert main(["exec", "-o", form, sql]) == 0
        found = json.loads(capsys.readouterr().out)
        row = found[0] if form == "json" else found
        assert row == {"a": "NaN", "b": ["-Infinity", 1.5, None], "s": {"c": "Infinity"}}
    assert math.isnan(float(row["a"]))


def test_files_of_one_result(tmp_path: Path, capsys: Capture) -> None:
    file = str(tmp_path / "a.file")
    assert main(["exec", "-o", "parquet", "-f", file, "SELECT 1 a"]) == 0
    assert main(["exec", "-o", "parquet", "-f", file, "SELECT 1; SELECT 2"]) == 2
    assert "holds one result" in capsys.readouterr().err


def test_a_configuration_is_a_file_of_some_size(tmp_path: Path, capsys: Capture) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"#" * 2_000_001)
    for name in ("pipe", "large"):
        assert main(["exec", "--config", str(tmp_path / name), "SELECT 1"]) == 2
        assert "configuration" in capsys.readouterr().err
    assert main(["exec", "--config", os.devnull, "SELECT 1"]) == 0
    marked = tmp_path / "marked.toml"
    marked.write_text("[profiles.w]\nproject='p'\n", encoding="utf-8-sig")
    assert main(["exec", "--config", str(marked), "--profile", "w", "SELECT 1"]) == 0
