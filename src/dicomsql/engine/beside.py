"""The files of a database are their owner's alone, though DuckDB makes them as open as the process.

The umask would do it too, but it is the whole process's: what other threads make meanwhile would be
closed to people who are meant to read it. So what DuckDB would make is there before it looks: the
database, made where nobody else gets, and the log beside it, which DuckDB goes on with if it is
empty. It removes the log whenever all that is in it has gone into the database.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb

__all__ = ["Beside", "make_private"]

_OWNER = stat.S_IRUSR | stat.S_IWUSR
# What DuckDB writes beside a database: what is not in it yet, also while it is put there, and what
# it makes of both after a crash.
_LOGS = (".wal", ".wal.checkpoint", ".wal.recovery")


def make_private(path: Path, folder: Path) -> None:
    """Make a database without tables that only its owner can read, unless there is a file.

    Args:
        path: of the file.
        folder: that nobody else can get into.

    Raises:
        OSError: it cannot be made there.
    """
    if path.exists():
        return
    made = folder / "new.duckdb"
    duckdb.connect(str(made)).close()
    # Under another name first: nobody finds half of it.
    with tempfile.NamedTemporaryFile(
        prefix=f".{path.name}.", dir=path.parent, delete=False
    ) as file:
        whole = Path(file.name)
        try:
            file.write(made.read_bytes())
            file.flush()
            _name(whole, path)
        finally:
            whole.unlink(missing_ok=True)
            made.unlink()


def _name(whole: Path, path: Path) -> None:
    """Give a file its name, unless another process was faster."""
    try:
        path.hardlink_to(whole)
    except FileExistsError:
        return
    except OSError:
        # The file system has no links.
        whole.rename(path)


class Beside:
    """The logs beside a database.

    Parameters:
        path: the database's file.
    """

    def __init__(self, path: Path) -> None:
        self._logs = [path.with_name(path.name + end) for end in _LOGS]

    @contextmanager
    def kept_private(self) -> Iterator[None]:
        """Around what may write them."""
        self.close_to_others()
        with suppress(OSError):
            os.close(os.open(self._logs[0], os.O_CREAT | os.O_EXCL | os.O_WRONLY, _OWNER))
        try:
            yield
        finally:
            # Another connection may have written the log into the database in between, so that
            # DuckDB has made it anew.
            self.close_to_others()

    def close_to_others(self) -> None:
        """Take from others what they may do with the logs that are there."""
        for log in self._logs:
            with suppress(OSError):
                if stat.S_IMODE(log.stat().st_mode) & ~_OWNER:
                    log.chmod(_OWNER)

    def remove_empty(self) -> None:
        """Take the log away that nothing was written to; the database is still open."""
        with suppress(OSError):
            if not self._logs[0].stat().st_size:
                self._logs[0].unlink()
