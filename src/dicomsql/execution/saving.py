"""An answer's bytes into a file: all of them or none, and never in the place of another file."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dicomsql.errors import OperationalError
from dicomsql.execution.calls import Page

if TYPE_CHECKING:
    from dicomsql.execution.run import Run
    from dicomsql.transport.base import Request


def check_free(name: str) -> None:
    """Make sure, before anything is asked for, that a file can be made.

    Raises:
        OperationalError: there is one of that name, or no folder for it.
    """
    path = Path(name)
    if os.path.lexists(path):
        raise OperationalError(f"{name} is there already; it is not overwritten. Nothing was read.")
    if not path.parent.is_dir():
        raise OperationalError(f"There is no folder {path.parent}; make it first.")


def save(run: Run, request: Request, name: str) -> Page:
    """Make a call and put its answer's bytes into a new file, which its owner alone may read.

    Returns:
        A page whose body is a sentence about it.

    Raises:
        OperationalError: the file cannot be written, or was made by another program meanwhile.
    """
    path = Path(name)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        with run.send(request, stream=True) as response:
            status, kind = response.status, response.header("content-type")
            descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            size = 0
            with os.fdopen(descriptor, "wb") as file:
                for piece in response.iter_bytes():
                    run.check()
                    file.write(piece)
                    size += len(piece)
                file.flush()
                os.fsync(file.fileno())
        # A link, unlike a renaming, does not take the place of a file.
        os.link(partial, path)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise OperationalError(f"{name} cannot be written: {reason}.") from None
    finally:
        with suppress(FileNotFoundError):
            partial.unlink()
    said = f"{size:,} byte{'s' * (size != 1)} were written to {name}."
    return Page(said.encode(), kind.partition(";")[0].strip().lower(), status)
