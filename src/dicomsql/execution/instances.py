"""Instances in an answer that is given as it is: all of it came, and it is what was asked for."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from dicomsql.dicom.multipart import MultipartReader
from dicomsql.errors import IncompleteError, OperationalError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dicomsql.catalog.model import Method
    from dicomsql.execution.calls import Page

__all__ = ["check_answer"]

# How a method's path names a study, a series and an instance (PS3.18 table 10.3-1), and their UIDs.
_NAMED = (("studies", "0020000D"), ("series", "0020000E"), ("instances", "00080018"))
# What asks for instances; `application/dicom+json` asks for their attributes.
_OF_INSTANCES = re.compile(r"application/dicom(?![\w+])")
# Media types under which an instance may come that has its answer for itself.
_SINGLE = frozenset({"application/dicom", "application/octet-stream", "binary/octet-stream", ""})


def check_answer(method: Method, page: Page, given: Mapping[str, object]) -> None:
    """Make sure that an answer of parts, or of instances, is whole.

    A connection may end where no length of the answer tells that more was to come. Of instances
    every element ends within them, and their UIDs are those of the call. Whether they are all that
    the server has, the answer does not tell.

    Args:
        given: the call's parameters.

    Raises:
        IncompleteError: it is cut off, or is something else than was asked for.
    """
    wants_instances = _OF_INSTANCES.search(method.accept) is not None
    try:
        files = _files(page, wants_instances)
        if not wants_instances:
            return
        asked = _asked(method, given)
        if not files:
            raise IncompleteError("it holds no instance")
        for file in files:
            _check_instance(file, asked)
    except OperationalError as error:
        raise IncompleteError(
            f"{method.full_name}: the server's answer is not what was asked for: "
            f"{str(error).rstrip('.')}."
        ) from None


def _files(page: Page, wants_instances: bool) -> list[bytes]:
    """The parts of an answer, or its one body."""
    if page.media.startswith("multipart/"):
        return [part.read() for part in MultipartReader(page.content_type, [page.body])]
    if not page.body:
        return []
    if wants_instances and page.media not in _SINGLE:
        raise IncompleteError(f"it is {page.media} instead of instances")
    return [page.body]


def _asked(method: Method, given: Mapping[str, object]) -> dict[str, object]:
    """The UIDs of the call, by their tags."""

    def found() -> Iterator[tuple[str, object]]:
        for name, tag in _NAMED:
            parameter = re.search(rf"/{name}/{{(\w+)}}", method.path)
            if parameter is not None and parameter[1] in given:
                yield tag, given[parameter[1]]

    return dict(found())


def _check_instance(file: bytes, asked: Mapping[str, object]) -> None:
    from dicomsql.dicom.part10 import InvalidDicom, text
    from dicomsql.dicom.skim import choose, survey

    try:
        found = survey(io.BytesIO(file), len(file), choose(tuple(tag for _, tag in _NAMED)))
    except InvalidDicom:
        raise IncompleteError("one of its files is no DICOM file") from None
    if found.broken:
        raise IncompleteError(f"one of its instances is not whole: {found.broken}")
    if any(text(found.dataset, tag) != uid for tag, uid in asked.items()):
        raise IncompleteError("one of its instances is another than the one that was asked for")
