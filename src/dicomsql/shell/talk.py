"""Talks to the person in a shell: what the command line's console does, with questions that hold.

A question is answered by whoever sees it: what was typed ahead, or pasted together with the
statement, is no answer.
"""

from __future__ import annotations

import sys

from dicomsql.cli.console import Console
from dicomsql.shell.interrupts import Interrupts

__all__ = ["Talk"]


class Talk(Console):
    """The console of a shell."""

    def __init__(self, interrupts: Interrupts) -> None:
        super().__init__()
        self._interrupts = interrupts

    def ask(self, question: str) -> bool:
        """Whether the person says yes; Ctrl-C, the end of the input and anything else is a no."""
        if self._interrupts.ended is not None:
            return False
        _forget_what_was_typed()
        try:
            with self._interrupts.asking():
                return super().ask(question)
        except KeyboardInterrupt:
            self.say("")
            return False

    def tell(self, text: str) -> None:
        """Write lines that are asked for, such as those of `\\?`, to standard output."""
        from dicomsql.output.cells import safe

        self.clear()
        sys.stdout.write("".join(f"{safe(line)}\n" for line in text.split("\n")))
        sys.stdout.flush()


def _forget_what_was_typed() -> None:
    try:
        import termios

        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
    except (ImportError, OSError, ValueError):
        # Not a terminal as Unix has them: then there is nothing to forget.
        return
