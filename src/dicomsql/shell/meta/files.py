"""Meta-commands that read scripts, write results to files, and run other programs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dicomsql.cli.console import row_stream
from dicomsql.cli.failures import UsageError
from dicomsql.cli.writing import asked_format
from dicomsql.shell.meta.table import Command, file_of, words_of
from dicomsql.shell.running import MetaError
from dicomsql.shell.state import OutputFile

if TYPE_CHECKING:
    from dicomsql.shell.running import Shell

__all__ = ["COMMANDS", "open_output", "writing_to"]

_GROUP = "Files and programs"

# Formats of the screen that a file of rows is of no use in.
_SCREEN = frozenset({"table", "box", "vertical", "chart"})


def open_output(shell: Shell, name: str, *, once: bool = False) -> None:
    """Let results go to a file; its ending says in which format.

    Args:
        once: the next result alone.

    Raises:
        MetaError: it cannot be made, or its ending says nothing.
    """
    close_output(shell)
    path = Path(name).expanduser()
    if path.is_dir():
        raise MetaError(f"{name} is a folder.")
    stack = ExitStack()
    look = shell.state.look
    try:
        form = asked_format(None, name) or ("csv" if look.format in _SCREEN else look.format)
        stream = stack.enter_context(row_stream(name, shell.talk))
    except UsageError as error:
        raise MetaError(str(error)) from None

    def close(dropped: bool) -> None:
        if not dropped:
            stack.close()
            return
        error = MetaError("It is left away.")
        stack.__exit__(MetaError, error, None)

    shell.state.output = OutputFile(path, form, stream, close, once=once)


def close_output(shell: Shell) -> None:
    """Let the file of results appear, if there is one."""
    output, shell.state.output = shell.state.output, None
    if output is None:
        return
    output.close(False)
    results = f"{output.results} result{'s' * (output.results != 1)}"
    shell.talk.say(f"{output.path} is written ({output.format}, {results})")


@dataclass(slots=True)
class Written:
    """A file that is written; `failed` leaves it away."""

    failed: bool = False


@contextmanager
def writing_to(shell: Shell, name: str) -> Iterator[Written]:
    """Results go to a file within the block; it appears if they all went well."""
    before, shell.state.output = shell.state.output, None
    written = Written(failed=True)
    try:
        open_output(shell, name)
        yield written
    finally:
        output = shell.state.output
        if output is not None and written.failed:
            shell.state.output = None
            output.close(True)
        close_output(shell)
        shell.state.output = before


def _output(shell: Shell, arguments: str) -> None:
    usage = "\\o FILE lets results go to a file, \\o alone ends it."
    if name := file_of(arguments, usage):
        open_output(shell, name)
        assert shell.state.output is not None
        shell.talk.say(
            f"Results go to {name} ({shell.state.output.format}), which appears with \\o"
        )
    elif shell.state.output is None:
        raise MetaError(usage)
    else:
        close_output(shell)


def _once(shell: Shell, arguments: str) -> None:
    usage = "\\once FILE lets the next result go to a file."
    name = file_of(arguments, usage)
    if not name:
        raise MetaError(usage)
    open_output(shell, name, once=True)


def _input(shell: Shell, arguments: str) -> None:
    usage = "\\i FILE runs the statements and meta-commands of a file."
    name = file_of(arguments, usage)
    if not name:
        raise MetaError(usage)
    shell.run_script(name)


def _program(shell: Shell, arguments: str) -> bool:
    import os
    import subprocess

    command = arguments or os.environ.get("SHELL") or "sh"
    with shell.interrupts.ignored():
        # The person's own command, for their own shell.
        code = subprocess.run(command, shell=True, check=False).returncode  # noqa: S602
    if code:
        shell.talk.say(f"exit code {code}")
    return not code


def _folder(shell: Shell, arguments: str) -> None:
    import os

    usage = "\\cd [FOLDER] changes the folder that files are named in."
    folders = words_of(arguments, 1, usage)
    try:
        os.chdir(Path(folders[0]).expanduser() if folders else Path.home())
    except OSError as error:
        raise MetaError(f"Cannot go there: {error.strerror}.") from None
    shell.talk.say(str(Path.cwd()))


def _echo(shell: Shell, arguments: str) -> None:
    shell.show_lines(arguments)


COMMANDS = (
    Command(
        ("o", "out"), "[FILE]", "results go to a file, until \\o", _GROUP, _output, takes="file"
    ),
    Command(("once",), "FILE", "the next result goes to a file", _GROUP, _once, takes="file"),
    Command(("i", "ir", "read"), "FILE", "run what stands in a file", _GROUP, _input, takes="file"),
    Command(("cd",), "[FOLDER]", "change the folder", _GROUP, _folder, takes="file"),
    Command(("!", "shell", "system"), "[COMMAND]", "run another program", _GROUP, _program),
    Command(("echo", "qecho"), "TEXT", "write a line", _GROUP, _echo, secret=True),
)
