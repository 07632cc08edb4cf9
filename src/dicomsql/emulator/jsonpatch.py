"""JSON Patch (RFC 6902): read once, applied to any number of documents."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["InvalidPatch", "Operation", "PatchFailed", "apply", "read"]

_OPERATIONS = {
    "add": {"path", "value"},
    "remove": {"path"},
    "replace": {"path", "value"},
    "move": {"path", "from"},
    "copy": {"path", "from"},
    "test": {"path", "value"},
}
_POINTER = re.compile(r"(?:/(?:[^~/]|~[01])*)*")
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")


class InvalidPatch(Exception):
    """What was given is no JSON Patch; the text says what is wrong, without a value."""


class PatchFailed(Exception):
    """A patch does not fit a document; the text says which of its operations, without a value."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a patch.

    Attributes:
        op: `add`, `remove`, `replace`, `move`, `copy` or `test`.
        path: the parts of its JSON Pointer (RFC 6901).
        source: those of `from`.
        value: as it was given.
    """

    op: str
    path: tuple[str, ...]
    source: tuple[str, ...] = ()
    value: Any = None


def read(patch: Any) -> list[Operation]:
    """The operations of a patch document.

    Raises:
        InvalidPatch: it is none.
    """
    if not isinstance(patch, list):
        raise InvalidPatch("a JSON Patch is a list of operations")
    found = []
    for number, operation in enumerate(patch, 1):
        op = operation.get("op") if isinstance(operation, dict) else None
        needed = _OPERATIONS.get(op) if isinstance(op, str) else None
        if needed is None:
            raise InvalidPatch(f"operation {number} has no op that there is")
        if missing := needed - operation.keys():
            raise InvalidPatch(f"operation {number} has no {' and no '.join(sorted(missing))}")
        path, source = operation["path"], operation.get("from", "") if "from" in needed else ""
        if not all(isinstance(p, str) and _POINTER.fullmatch(p) for p in (path, source)):
            raise InvalidPatch(f"operation {number} has a path that is no JSON Pointer")
        made = Operation(str(op), _parts(path), _parts(source), operation.get("value"))
        if op == "move" and made.path[: len(made.source)] == made.source != made.path:
            raise InvalidPatch(f"operation {number} moves a value into itself")
        found.append(made)
    return found


def apply(operations: Sequence[Operation], document: Any) -> Any:
    """A copy of the document with all operations done to it.

    Raises:
        PatchFailed: one of them cannot be done, or a test does not hold.
    """
    # as the only member of a dictionary, the document itself can be replaced and removed
    root = {"": copy.deepcopy(document)}
    for number, operation in enumerate(operations, 1):
        try:
            _do(operation, root)
        except (LookupError, ValueError, TypeError):
            raise PatchFailed(f"operation {number} ({operation.op}) does not fit") from None
    if "" not in root:
        raise PatchFailed("the patch leaves nothing")
    return root[""]


def _do(operation: Operation, root: dict[str, Any]) -> None:
    path = ("", *operation.path)
    source = ("", *operation.source)
    match operation.op:
        case "add":
            _add(root, path, copy.deepcopy(operation.value))
        case "remove":
            _remove(root, path)
        case "replace":
            _remove(root, path)
            _add(root, path, copy.deepcopy(operation.value))
        case "move":
            value = _get(root, source)
            _remove(root, source)
            _add(root, path, value)
        case "copy":
            _add(root, path, copy.deepcopy(_get(root, source)))
        case _:
            # compared as texts of JSON, in which true is not 1
            if _canonical(_get(root, path)) != _canonical(operation.value):
                raise ValueError


def _get(value: Any, path: Sequence[str]) -> Any:
    for part in path:
        value = value[_key(value, part)]
    return value


def _add(root: Any, path: Sequence[str], value: Any) -> None:
    parent = _get(root, path[:-1])
    if isinstance(parent, list):
        position = len(parent) if path[-1] == "-" else int(_key(parent, path[-1], one_more=True))
        parent.insert(position, value)
    else:
        parent[_key(parent, path[-1])] = value


def _remove(root: Any, path: Sequence[str]) -> None:
    parent = _get(root, path[:-1])
    del parent[_key(parent, path[-1])]


def _key(container: Any, part: str, *, one_more: bool = False) -> Any:
    if isinstance(container, dict):
        return part
    listed = isinstance(container, list) and _INDEX.fullmatch(part)
    if listed and int(part) < len(container) + one_more:
        return int(part)
    raise LookupError


def _parts(pointer: str) -> tuple[str, ...]:
    return tuple(p.replace("~1", "/").replace("~0", "~") for p in pointer.split("/")[1:])


def _canonical(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, dict):
        return json.dumps({k: _canonical(v) for k, v in value.items()}, sort_keys=True)
    if isinstance(value, list):
        return json.dumps([_canonical(v) for v in value])
    return json.dumps(value)
