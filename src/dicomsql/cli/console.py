"""Talks to the person: messages, progress and questions on stderr, rows on stdout or in a file."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from dicomsql.cli.failures import ReaderGoneError, UsageError
from dicomsql.cli.streams import ClosedOutput
from dicomsql.errors import OperationalError, Warning
from dicomsql.output.progress import ProgressLine

if TYPE_CHECKING:
    from dicomsql.progress import Standing


class Console:
    """Standard error, with a line of progress where it is a terminal.

    Attributes:
        line: the line of progress.
    """

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self.line = ProgressLine(sys.stderr)

    @property
    def interactive(self) -> bool:
        """Whether someone is there who can see a question and answer it."""
        return self._terminal and sys.stdin is not None and sys.stdin.isatty()

    @property
    def shows_progress(self) -> bool:
        return self.line.is_drawn

    def say(self, text: str) -> None:
        """Write a line."""
        with self.line.hidden():
            sys.stderr.write(f"{text}\n")

    def progress(self, standing: Standing | str) -> None:
        """Show on the line of progress how far something is."""
        self.line.show(standing)

    def clear(self) -> None:
        """Take the line of progress away."""
        self.line.clear()

    def ask(self, question: str) -> bool:
        """Whether the person says yes; anything else, and the end of the input, is a no."""
        with self.line.hidden():
            sys.stderr.write(f"{question.rstrip()} [y/N] ")
            sys.stderr.flush()
            return sys.stdin.readline().strip().lower() in {"y", "yes"}

    def ask_to_stop(self, operation: str) -> bool:
        """Whether an operation that is waited for is to be cancelled with its statement."""
        return self.ask(f"The operation {operation} goes on. Cancel it too?")

    @contextmanager
    def warnings(self) -> Iterator[None]:
        """Tell dicomsql's warnings as lines; others go their usual way."""
        with warnings.catch_warnings():
            warnings.simplefilter("always", category=Warning)
            usual = warnings.showwarning

            def show(
                message: BaseException | str,
                category: type[BaseException],
                *place: object,
            ) -> None:
                if issubclass(category, Warning):
                    self.say(f"warning: {message}")
                else:
                    usual(message, category, *place)  # type: ignore[arg-type]

            warnings.showwarning = show  # type: ignore[assignment]
            yield


class RowStream:
    """Where rows go; takes the line of progress away before each write.

    Attributes:
        written: bytes that have been.
    """

    def __init__(self, file: BinaryIO, console: Console) -> None:
        self._file = file
        self._console = console
        self.written = 0

    def write(self, data: bytes) -> None:
        self._console.clear()
        self.written += len(data)
        try:
            self._file.write(data)
        except BrokenPipeError:
            raise ReaderGoneError from None
        except OSError as error:
            raise _unwritten(error) from None

    def flush(self) -> None:
        try:
            self._file.flush()
        except BrokenPipeError:
            raise ReaderGoneError from None
        except OSError as error:
            raise _unwritten(error) from None


def _unwritten(error: OSError) -> OperationalError:
    return OperationalError(f"The output cannot be written: {error.strerror}.")


@contextmanager
def row_stream(outfile: str | None, console: Console) -> Iterator[RowStream]:
    """Standard output, or a file that only its owner reads and that appears when all went well.

    Raises:
        UsageError: the file cannot be made.
    """
    if outfile is None or outfile == "-":
        if sys.stdout is None or isinstance(sys.stdout, ClosedOutput):
            raise UsageError("Standard output is closed; name a file with -f FILE.")
        stream = RowStream(sys.stdout.buffer, console)
        yield stream
        stream.flush()
        return
    import tempfile

    path = Path(outfile).expanduser().resolve()
    if path.exists() and not path.is_file():
        # A pipe or a device cannot be replaced; a folder cannot be written and says so here.
        with _closing(_opened(path)) as file:
            yield RowStream(file, console)
        return
    try:
        # mkstemp makes the file readable for its owner alone.
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise UsageError(f"Cannot write {outfile}: {error.strerror}.") from None
    try:
        with _closing(os.fdopen(descriptor, "wb")) as file:
            yield RowStream(file, console)
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


@contextmanager
def _closing(file: BinaryIO) -> Iterator[BinaryIO]:
    """A file that is written to its end, or whose failure is told once.

    Raises:
        OperationalError: what is held of it cannot be written.
    """
    try:
        yield file
    except BaseException:
        # What is held would fail once more.
        with suppress(OSError):
            file.close()
        raise
    try:
        file.close()
    except BrokenPipeError:
        raise ReaderGoneError from None
    except OSError as error:
        raise _unwritten(error) from None


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("wb")
    except OSError as error:
        raise UsageError(f"Cannot write {path}: {error.strerror}.") from None
