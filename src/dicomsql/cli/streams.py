"""The standard streams of the process, made so that each is there and fails as it should.

A program may be started without some of them, and then Python has None for them; the next file that
is opened would take their place, and messages would be written into it.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any

__all__ = ["ClosedOutput", "complete", "unwritten"]

# What the system says where an output, which has no name, cannot take what is written.
_OUTPUT_ERRORS = {
    number
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EIO", "EBADF", "EROFS")
    if (number := getattr(errno, name, None)) is not None
}


class ClosedOutput(io.TextIOBase):
    """Standard output of a process that was started without one: nothing can be written."""

    def writable(self) -> bool:
        return True

    def write(self, _text: str, /) -> int:
        raise OSError(errno.EBADF, "standard output is closed")


class _Messages(io.FileIO):
    """Standard error: a message that nobody can read changes nothing of what was done."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


def complete() -> None:
    """Put something in the place of each standard stream that is not there.

    Standard input is empty then, what is written to standard output fails, and messages are lost;
    messages are lost too where standard error fails, such as on a full disk.
    """
    for descriptor, flags in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest that is free is taken, which is this one.
            os.open(os.devnull, flags)
    if sys.stdin is None:
        sys.stdin = io.StringIO()
    if sys.stdout is None:
        sys.stdout = ClosedOutput()
    encoding = "utf-8" if sys.stderr is None else sys.stderr.encoding
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(_Messages(2, "w", closefd=False)),
        encoding=encoding,
        errors="backslashreplace",
        line_buffering=True,
    )


def unwritten(error: OSError) -> str:
    """What is said of an output that cannot be written; empty of any other error."""
    if error.filename is not None or error.errno not in _OUTPUT_ERRORS:
        return ""
    return f"The output cannot be written: {error.strerror}."
