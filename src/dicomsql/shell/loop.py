"""The shell from its beginning to its end: opens the session, asks, runs, and leaves."""

from __future__ import annotations

import argparse
import sys
import threading
from importlib import import_module
from typing import TYPE_CHECKING

from dicomsql.cli.opening import session_of, settings_of
from dicomsql.output.display import Look
from dicomsql.shell.bar import connected_to
from dicomsql.shell.interrupts import Interrupts
from dicomsql.shell.meta.sessions import profile_of
from dicomsql.shell.running import MetaError, Quit, Shell
from dicomsql.shell.state import State
from dicomsql.shell.talk import Talk

if TYPE_CHECKING:
    from dicomsql.shell.completing import Following
    from dicomsql.shell.prompt import Prompt

__all__ = ["interact"]

# What most statements need.
_WARM = (
    *("dicomsql.planning.query", "dicomsql.engine.duck", "dicomsql.execution.reads"),
    *("dicomsql.session.transports", "pyarrow.compute", "dicomsql.output.table"),
)

# What a shell reports of a program that a signal ended.
_SIGNALLED = 128


def interact(arguments: argparse.Namespace) -> int:
    """Open a shell on the terminal; its exit code.

    Raises:
        UsageError: an option, or a file that it names, is wrong.
    """
    with Interrupts() as interrupts:
        talk = Talk(interrupts)
        settings = settings_of(arguments, talk)
        with (
            talk.warnings(),
            session_of(settings, talk, bool(getattr(arguments, "quiet", False))) as session,
        ):
            state = State(session, arguments, profile=profile_of(arguments))
            state.look = _look(arguments)
            shell = Shell(state, talk, interrupts)
            try:
                _begin(shell)
                _ask(shell)
            except Quit:
                pass
            except KeyboardInterrupt:
                if interrupts.ended is None:
                    raise
            finally:
                _leave(shell)
        return _SIGNALLED + interrupts.ended if interrupts.ended is not None else 0


def _begin(shell: Shell) -> None:
    """Do what the command line asks for before the first prompt."""
    from dicomsql.cli.reading import variables_of_options

    state, arguments = shell.state, shell.state.arguments
    state.variables = variables_of_options(arguments)
    if getattr(arguments, "outfile", None):
        from dicomsql.shell.meta.files import open_output

        open_output(shell, arguments.outfile)
    if getattr(arguments, "infile", None):
        try:
            shell.run_script(arguments.infile)
        except MetaError as error:
            shell.talk.say(f"error: {error}")


def _ask(shell: Shell) -> None:
    from dicomsql.version import __version__

    state, arguments = shell.state, shell.state.arguments
    shell.talk.tell(f"dicomsql {__version__}, connected to {connected_to(state)}")
    shell.talk.tell("\\? for help, \\q to leave; a statement ends with ;")
    completion = _completion(shell)
    from dicomsql.shell.prompt import Prompt

    prompt = Prompt(
        shell,
        completion,
        vi=bool(getattr(arguments, "vi", False)),
        history=bool(getattr(arguments, "history", True)),
        history_phi=bool(getattr(arguments, "history_phi", False)),
        shown=lambda: _warm(shell),
    )
    try:
        while shell.interrupts.ended is None:
            _ask_once(shell, prompt)
    finally:
        completion.close()


def _warm(shell: Shell) -> None:
    """Import what the first statement needs while it is typed."""
    session = shell.state.session

    def work() -> None:
        for name in _WARM:
            import_module(name)
        session.catalog.providers()

    # Nobody waits for it: what is missing is imported when it is needed.
    threading.Thread(target=work, name="dicomsql-warm", daemon=True).start()


def _ask_once(shell: Shell, prompt: Prompt) -> None:
    draft, shell.draft = shell.draft, ""
    try:
        text = prompt.ask(draft)
    except KeyboardInterrupt:
        return
    except (EOFError, OSError):
        raise Quit from None
    if shell.interrupts.ended is not None:
        return
    try:
        if shell.interrupts.pressed:
            # It came between Enter and the statement's begin.
            raise KeyboardInterrupt
        shell.run(text)
    except KeyboardInterrupt:
        shell.talk.say("Cancelled.")


def _completion(shell: Shell) -> Following:
    """What completes what is typed; follows the session that there is."""
    from dicomsql.shell.completing import Following

    return Following(shell.state)


def _leave(shell: Shell) -> None:
    """Tell what ends with the shell, and let the file that is open appear."""
    state, talk = shell.state, shell.talk
    talk.clear()
    if state.output is not None:
        state.output.close(False)
        state.output = None
    session = state.session
    if session.in_transaction:
        talk.say("The open transaction was rolled back.")
    if shell.interrupts.ended is not None:
        talk.say("Told to end.")
    session.close()


def _look(arguments: argparse.Namespace) -> Look:
    """How results look at first."""
    look = Look()
    look.format = getattr(arguments, "output", None) or look.format
    look.pager = getattr(arguments, "pager", None) or look.pager
    look.headers = not getattr(arguments, "hideheaders", False)
    look.delimiter = getattr(arguments, "delimiter", None) or look.delimiter
    if not sys.stdout.isatty():
        look.pager = "off"
    return look
