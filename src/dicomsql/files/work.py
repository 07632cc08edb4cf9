"""What is read of some files for a table of them; it runs here, or in another process."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from dicomsql.dicom.skim import Chosen
from dicomsql.files.headers import examine, read_dataset
from dicomsql.files.local import InvalidFileError, LocalFile, reason_of

__all__ = ["Done", "Task", "work"]


@dataclass(frozen=True, slots=True)
class Task:
    """What is wanted of each file.

    Attributes:
        chosen: attributes; None for none.
        checked: whether the file is an instance, as a whole.
        digest: of its bytes.
    """

    chosen: Chosen | None
    checked: bool
    digest: bool

    @property
    def is_nothing(self) -> bool:
        """Whether no file has to be opened."""
        return self.chosen is None and not self.checked and not self.digest


@dataclass(frozen=True, slots=True)
class Done:
    """What was read, in the order of the files.

    Attributes:
        datasets: DICOM JSON objects with commas between them.
        problems: why a file is not what it should be, as far as that was looked at; empty else.
        digests: SHA-256, in hexadecimal digits; None where none was wanted or could be had.
    """

    datasets: bytes
    problems: tuple[str, ...]
    digests: tuple[str | None, ...]


def work(task: Task, files: Sequence[LocalFile]) -> Done:
    """Read what is wanted of some files; what cannot be read of one has no effect on the others."""
    datasets, problems, digests = [], [], []
    for file in files:
        dataset, problem, digest = b"{}", file.problem, None
        try:
            if task.checked:
                dataset, problem = examine(file, task.chosen or Chosen())
            elif task.chosen is not None:
                dataset = read_dataset(file, task.chosen)
            if task.digest:
                digest = _digest(file)
        except InvalidFileError as error:
            problem = problem or str(error)
        datasets.append(dataset)
        problems.append(problem)
        digests.append(digest)
    return Done(b",".join(datasets), tuple(problems), tuple(digests))


_PIECE = 256 * 1024


def _digest(file: LocalFile) -> str:
    digest = hashlib.sha256()
    with file.open() as stream:
        try:
            while piece := stream.read(_PIECE):
                digest.update(piece)
        except OSError as error:
            raise InvalidFileError(reason_of(error)) from None
    return digest.hexdigest()
