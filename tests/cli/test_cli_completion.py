"""The scripts of `dicomsql completion`, run by the shells that they are for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dicomsql.cli import main

Complete = Callable[..., list[str]]

_BASH = r"""
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
compopt() { :; }
_dicomsql
printf '%s\n' "${COMPREPLY[@]}"
"""

# Without its line editor, which needs a terminal: what the script would offer is printed.
_ZSH = r"""
compdef() { :; }
_describe() { print -rl -- ${found%%:*} }
_files() { print -rl -- *(N) }
compadd() { shift; print -rl -- "$@" }
source "$1"; shift
words=("$@"); CURRENT=$#
_dicomsql
"""

_FISH = r"""
source $argv[1]
complete -C (string join -- " " $argv[2..-1])
"""

_RUN = {
    "bash": ["bash", "--norc", "-c", _BASH, "_"],
    "zsh": ["zsh", "-f", "-c", _ZSH, "_"],
    "fish": ["fish", "--no-config", "-c", _FISH],
}


@pytest.fixture(params=sorted(_RUN))
def complete(
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Complete:
    """What a shell offers for the last of some words."""
    name: str = request.param
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    assert main(["completion", name]) == 0
    script = tmp_path / "script"
    script.write_text(capsys.readouterr().out)
    # The program that the script calls for names.
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "dicomsql").write_text(f'#!/bin/sh\nexec {sys.executable} -m dicomsql "$@"\n')
    (folder / "dicomsql").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    place = tmp_path / "place"
    place.mkdir()
    (place / "my report.sql").touch()

    def go(*words: str) -> list[str]:
        done = subprocess.run(
            [*_RUN[name], str(script), "dicomsql", *words],
            capture_output=True, text=True, timeout=60, check=False, cwd=place,
        )  # fmt: skip
        assert done.stderr == ""
        offered = {line.partition("\t")[0] for line in done.stdout.splitlines() if line}
        # zsh filters by what is typed only as it offers.
        return sorted(word for word in offered if word.startswith(words[-1]))

    return go


def test_commands_options_and_values(complete: Complete) -> None:
    assert complete("ex") == ["exec", "explain"]
    assert complete("config", "") == ["check", "get", "list", "path", "set", "show", "unset"]
    assert complete("config", "show", "--or") == ["--origin"]
    assert complete("exec", "--out") == ["--outfile", "--output"]
    assert complete("exec", "-o", "js") == ["json", "jsonl"]
    assert complete("exec", "--on-error", "") == ["continue", "stop"]
    # The value of an option is no command, though it has the name of one.
    assert complete("exec", "--project", "config", "--dry") == ["--dry-run"]
    assert complete("exec", "-i", "my") == ["my report.sql"]
    assert complete("completion", "f") == ["fish"]


def test_profiles_and_connections(
    complete: Complete, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    assert main(["config", "set", "work.project", "p", "test.project", "q"]) == 0
    assert complete("exec", "--profile", "") == ["test", "work"]
    assert complete("shell", "--connection", "") == []
    assert complete("config", "get", "work.") == ["work.project"]
    assert complete("config", "unset", "def") == ["default_profile"]
    assert complete("config", "set", "sto") == ["store"]
    (home / "config" / "dicomsql" / "config.toml").write_text("broken")
    assert complete("exec", "--profile", "") == []
