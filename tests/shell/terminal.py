"""A program on a terminal of its own, whose screen the tests read: a pty and a model of a screen.

    with Terminal(["shell", "--local", str(root)]) as terminal:
        terminal.wait_for_prompt()
        terminal.type("SELECT 1;\\r")
        terminal.wait_for("1 row")
        terminal.wait_for_prompt()

Waits are for what is on the screen, and end with an assertion that shows the screen.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import pyte

# Seconds after which what a test waits for is taken not to come.
PATIENCE = 30.0

# Names of keys -> what terminals send for them.
KEYS = {
    "enter": "\r",
    "tab": "\t",
    "escape": "\x1b",
    "backspace": "\x7f",
    "up": "\x1b[A",
    "down": "\x1b[B",
    "right": "\x1b[C",
    "left": "\x1b[D",
    "home": "\x1b[H",
    "end": "\x1b[F",
    "delete": "\x1b[3~",
    "page-up": "\x1b[5~",
    "page-down": "\x1b[6~",
    "s-tab": "\x1b[Z",
    "a-enter": "\x1b\r",
    **{f"c-{letter}": chr(ord(letter) - 96) for letter in "abcdefghijklmnopqrstuvwxyz"},
}


class Terminal:
    """`python -m dicomsql ...` on a pty.

    Parameters:
        arguments: of the command line.
        columns, rows: the size of the screen.
        environment: variables beside those of the test's own process, which the fixtures have
            cleaned; TERM is xterm-256color.
        home: the user's folder, where the program keeps its files.
        program: what is started instead, whole.
    """

    def __init__(
        self,
        arguments: Sequence[str] = (),
        *,
        columns: int = 100,
        rows: int = 30,
        environment: Mapping[str, str] | None = None,
        home: Path | None = None,
        program: Sequence[str] | None = None,
    ) -> None:
        self.output = b""
        self._columns, self._rows = columns, rows
        self._screen = pyte.HistoryScreen(columns, rows, history=5_000, ratio=0.5)
        self._stream = pyte.ByteStream(self._screen)
        self._master, slave = pty.openpty()
        self._set_size(columns, rows)
        variables = {
            **os.environ,
            "TERM": "xterm-256color",
            "PAGER": "",
            "LINES": "",
            "COLUMNS": "",
        }
        for name in ("LINES", "COLUMNS", "NO_COLOR"):
            variables.pop(name, None)
        if home is not None:
            for name in ("HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
                variables[name] = str(home)
            variables["XDG_CONFIG_HOME"] = str(home / "config")
        variables.update(environment or {})
        command = [*program] if program else [sys.executable, "-m", "dicomsql", *arguments]
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=variables,
            start_new_session=True,
            preexec_fn=_own_terminal,  # noqa: PLW1509 - it makes one call and takes no lock
        )
        os.close(slave)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()

    # -- typing ----------------------------------------------------------------------------------

    def type(self, text: str) -> None:
        """Send text as it would be typed; `\\r` is the Enter key."""
        data = text.encode()
        while data:
            # What the program writes meanwhile is read: a full pty would stop both.
            self._read(0)
            _, writable, _ = select.select([], [self._master], [], 0.1)
            if writable:
                data = data[os.write(self._master, data[:1024]) :]

    def press(self, *keys: str) -> None:
        """Press keys by their names, such as `c-c`, `tab`, `a-enter`."""
        for key in keys:
            self.type(KEYS[key])

    def paste(self, text: str) -> None:
        """Paste text as terminals do that say where it begins and ends."""
        self.type("\x1b[200~" + text.replace("\n", "\r") + "\x1b[201~")

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size; the program is told as by any terminal."""
        while self._read(0):
            pass
        screen = self._screen
        # As terminals do it: lines go at the top, as many as it takes to keep the cursor's line.
        gone = max(0, screen.cursor.y - rows + 1)
        kept = [screen.buffer[y + gone] for y in range(min(rows, self._rows - gone))]
        x, y = screen.cursor.x, screen.cursor.y - gone
        screen.resize(rows, columns)
        screen.buffer.clear()
        screen.buffer.update(enumerate(kept))
        screen.cursor.x, screen.cursor.y = min(x, columns - 1), y
        self._columns, self._rows = columns, rows
        self._set_size(columns, rows)

    # -- looking ---------------------------------------------------------------------------------

    def lines(self) -> list[str]:
        """The screen's lines, without the spaces behind them."""
        return [line.rstrip() for line in self._screen.display]

    def all_lines(self) -> list[str]:
        """What has left the screen at the top, and the screen."""
        history = [
            "".join(line[x].data for x in range(self._screen.columns)).rstrip()
            for line in self._screen.history.top
        ]
        return history + self.lines()

    def text(self) -> str:
        """The screen as text, without the empty lines at its end."""
        return "\n".join(self.lines()).rstrip("\n")

    def cursor(self) -> tuple[int, int]:
        """The column and the line of the cursor, from 0 on."""
        return self._screen.cursor.x, self._screen.cursor.y

    def color_of(self, text: str) -> str:
        """The color of the first letter of a text on the screen; `default` where it has none."""
        for y, line in enumerate(self.lines()):
            if (x := line.find(text)) >= 0:
                return str(self._screen.buffer[y][x].fg)
        raise AssertionError(f"{text!r} is not on the screen:\n{self.text()}")

    def wait_for(self, text: str, *, count: int = 1, patience: float = PATIENCE) -> None:
        """Wait until a text stands on the screen, `count` times at least."""
        self.wait_until(
            lambda: "\n".join(self._screen.display).count(text) >= count,
            f"{text!r} on the screen",
            patience,
        )

    def wait_for_pattern(self, pattern: str, *, patience: float = PATIENCE) -> None:
        """Wait until a regular expression is found on the screen, line ends included."""
        self.wait_until(
            lambda: re.search(pattern, self.text()) is not None, f"/{pattern}/", patience
        )

    def wait_for_prompt(self, prompt: str = "dicomsql> ") -> None:
        """Wait until the shell asks: its prompt alone stands before the cursor."""
        self.wait_until(lambda: self._asks(prompt), f"the prompt {prompt!r}")

    def wait_for_run(self) -> None:
        """Wait until what was typed is being run: the terminal is as programs get it."""
        self.wait_until(self.is_sane, "the statement to run")

    def run(self, text: str) -> None:
        """Type a line at the prompt and Enter, and wait until the shell asks again."""
        self.type(text)
        # Not the prompt at which it is typed is waited for, but the next.
        self.wait_until(lambda: not self._asks("dicomsql> "), f"{text!r} to be typed")
        self.type("\r")
        self.wait_for_prompt()

    def wait_until_gone(self, text: str, *, patience: float = PATIENCE) -> None:
        """Wait until a text is no more on the screen."""
        self.wait_until(lambda: text not in self.text(), f"{text!r} to go", patience)

    def wait_until(self, holds: object, what: str, patience: float = PATIENCE) -> None:
        """Wait until a condition holds, which is asked whenever the program has written."""
        assert callable(holds)
        end = time.monotonic() + patience
        while not holds():
            if not self._read(0.2) and self.process.poll() is not None and not self._read(0):
                assert holds(), f"{what}: the program ended before.\n{self.text()}"
                return
            assert time.monotonic() < end, f"waited in vain for {what}:\n{self.text()}"

    def wait(self, patience: float = PATIENCE) -> int:
        """Wait until the program has ended; its exit code."""
        end = time.monotonic() + patience
        while self.process.poll() is None:
            self._read(0.1)
            assert time.monotonic() < end, f"the program has not ended:\n{self.text()}"
        while self._read(0):
            pass
        return self.process.returncode

    # -- the end ---------------------------------------------------------------------------------

    def is_sane(self) -> bool:
        """Whether the terminal echoes and edits lines, as a shell has to leave it."""
        flags = termios.tcgetattr(self._master)[3]
        return bool(flags & termios.ECHO and flags & termios.ICANON)

    def signal(self, number: int) -> None:
        """Send the program a signal."""
        self.process.send_signal(number)

    def close(self) -> None:
        """End the program if it has not, and let go of the terminal."""
        if self.process.poll() is None:
            # Its children, such as a pager, too: it leads a session of its own.
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        with suppress(OSError):
            os.close(self._master)

    def _set_size(self, columns: int, rows: int) -> None:
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)

    def _asks(self, prompt: str) -> bool:
        x, y = self.cursor()
        return self._screen.display[y][:x] == prompt and not self.is_sane()

    def _read(self, timeout: float) -> bool:
        """Take what the program has written, and answer what it asks of a terminal."""
        ready, _, _ = select.select([self._master], [], [], timeout)
        if not ready:
            return False
        try:
            data = os.read(self._master, 65_536)
        except OSError:
            return False
        if not data:
            return False
        self.output += data
        self._stream.feed(data)
        if b"\x1b[6n" in data:
            x, y = self.cursor()
            os.write(self._master, f"\x1b[{y + 1};{x + 1}R".encode())
        return True


def _own_terminal() -> None:
    """Make standard input the controlling terminal, so that its Ctrl-C is a signal."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
