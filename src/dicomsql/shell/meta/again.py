"""Meta-commands that take up the statement that is begun, or the last one."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from dicomsql.shell.meta.table import Command, file_of, words_of
from dicomsql.shell.running import MetaError

if TYPE_CHECKING:
    from dicomsql.shell.running import Shell

# The one that is begun, else the last one.
_GROUP = "The current statement"

# Seconds between two runs of \watch, and the least of them: servers' quotas are shared.
_WATCH_EVERY = 2.0
_LEAST_WATCH = 0.1


def _go(shell: Shell, arguments: str) -> bool:
    return _into(shell, arguments, shell.state.look.expanded)


def _go_vertical(shell: Shell, arguments: str) -> bool:
    return _into(shell, arguments, "on")


def _into(shell: Shell, arguments: str, expanded: str) -> bool:
    """Run it, with its result on the screen or in a file."""
    file = file_of(arguments, "\\g takes the file that the result goes to, or nothing.")
    text = shell.take()
    look = replace(shell.state.look, expanded=expanded)
    if expanded == "on" and look.format in {"table", "box"}:
        look.format = "vertical"
    if not file:
        return shell.run_sql(text, look)
    from dicomsql.shell.meta.files import writing_to

    with writing_to(shell, file) as output:
        went_well = shell.run_sql(text, look)
        output.failed = not went_well
    return went_well


def _watch(shell: Shell, arguments: str) -> bool:
    usage = "\\watch [SECONDS] takes the seconds between two runs, such as \\watch 5."
    said = words_of(arguments, 1, usage)
    try:
        seconds = float(said[0].removesuffix("s")) if said else _WATCH_EVERY
    except ValueError:
        raise MetaError(usage) from None
    if not _LEAST_WATCH <= seconds <= threading.TIMEOUT_MAX:
        raise MetaError(f"{usage} The least is {_LEAST_WATCH}.")
    text = shell.take()
    look = replace(shell.state.look, pager="off")
    over = threading.Event()
    try:
        while True:
            shell.talk.say(f"{datetime.now():%H:%M:%S}, every {seconds:g} s; Ctrl-C ends it")
            if not shell.run_sql(text, look):
                return False
            over.wait(seconds)
    except KeyboardInterrupt:
        if shell.interrupts.ended is not None:
            raise
        # Below the mark that the terminal makes of Ctrl-C.
        shell.talk.say("")
        return True


def _plot(shell: Shell, arguments: str) -> bool:
    text = arguments.rstrip(";").strip() or shell.take()
    return shell.run_sql(text, replace(shell.state.look, format="chart"))


def _print(shell: Shell, _arguments: str) -> None:
    shell.show_lines(shell.pending or shell.state.text or "There is no statement yet.")


def _reset(shell: Shell, _arguments: str) -> None:
    shell.pending = shell.draft = ""


def _write(shell: Shell, arguments: str) -> None:
    usage = "\\w FILE writes the statement to a file."
    name = file_of(arguments, usage)
    text = shell.pending or shell.state.text
    if not name or not text:
        raise MetaError("There is no statement yet." if name else usage)
    path = Path(name).expanduser()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{text};\n")
    except OSError as error:
        raise MetaError(f"Cannot write {name}: {error.strerror}.") from None


def _edit(shell: Shell, arguments: str) -> None:
    """Give the text to the person's editor; what comes back stands in the next prompt."""
    name = file_of(arguments, "\\e [FILE] edits the statement, or a file.")
    if name:
        path = Path(name).expanduser()
        _edited(shell, path)
        from dicomsql.shell.running import read_text

        shell.pending, shell.draft = "", read_text(name).rstrip()
        return
    text = shell.pending or shell.state.text
    # The folder is its owner's alone, and with it whatever else the editor puts there.
    with tempfile.TemporaryDirectory(prefix="dicomsql-") as folder:
        path = Path(folder) / "statement.sql"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{text};\n" if text else "")
        _edited(shell, path)
        try:
            after = path.read_text(encoding="utf-8").rstrip()
        except (OSError, UnicodeDecodeError):
            raise MetaError("The editor left no text that could be read.") from None
    shell.pending, shell.draft = "", after


def _edited(shell: Shell, path: Path) -> None:
    import shlex
    import subprocess

    command = os.environ.get("VISUAL") or os.environ.get("EDITOR") or _EDITOR
    with shell.interrupts.ignored():
        try:
            done = subprocess.run([*shlex.split(command), str(path)], check=False)
        except (OSError, ValueError):
            raise MetaError(
                f"The editor {command!r} cannot be started; EDITOR says which to take."
            ) from None
    if done.returncode:
        raise MetaError(f"The editor ended with exit code {done.returncode}; nothing was taken.")


_EDITOR = "notepad" if sys.platform == "win32" else "vi"

COMMANDS = (
    Command(("g",), "[FILE]", "run it; into a file", _GROUP, _go, takes="file"),
    Command(
        ("gx", "G"),
        "[FILE]",
        "run it, each value on a line of its own",
        _GROUP,
        _go_vertical,
        takes="file",
    ),
    Command(("watch",), "[SECONDS]", "run it again and again until Ctrl-C", _GROUP, _watch),
    Command(
        ("plot",),
        "[SELECT ...]",
        "run it and draw bars of its two columns, or a histogram of its one",
        _GROUP,
        _plot,
        secret=True,
    ),
    Command(("e", "edit"), "[FILE]", "edit it, or a file, in $EDITOR", _GROUP, _edit, takes="file"),
    Command(("p", "print"), "", "show it", _GROUP, _print),
    Command(("w",), "FILE", "write it to a file", _GROUP, _write, takes="file"),
    Command(("r", "reset"), "", "forget what is begun", _GROUP, _reset),
)
