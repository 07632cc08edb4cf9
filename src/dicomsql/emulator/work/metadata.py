"""Changing the attributes of stored instances by a JSON Patch over their DICOM JSON.

Only the elements that the patch changes are written anew; then the file is read again, and unless
it says exactly what the patched JSON does, nothing is stored.
"""

from __future__ import annotations

import dataclasses
import io
import json
import re
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from dicomsql.dicom.part10 import BASE, Dataset
from dicomsql.emulator import attributes, events, images, index, jsonpatch, storing
from dicomsql.emulator.jobs import Context, Job, UnitError
from dicomsql.emulator.work import selection

if TYPE_CHECKING:
    from pydicom.dataset import Dataset as FileDataset

__all__ = ["UpdateMetadata", "update"]

_CHARACTER_SET = "00080005"
_UTF8 = "ISO_IR 192"
_TAG = re.compile(r"[0-9A-F]{8}")
# What tells the instance, its encoding and its pixels; changing it would make another instance.
_FIXED = frozenset(
    {
        attributes.STUDY_UID,
        attributes.SERIES_UID,
        attributes.INSTANCE_UID,
        attributes.SOP_CLASS_UID,
        _CHARACTER_SET,
    }
)
_FIXED_GROUPS = ("0000", "0002", "7FE0", "FFFE")
_NUMBERS = frozenset({"DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV"})


class UpdateMetadata:
    """The work of v1beta1's updateMetadata at a study and a series.

    Its spec: `store`, `level` and `row` as of `selection.instances`; `patch`; `action`, by which
    others are told.
    """

    def units(self, context: Context, job: Job) -> Iterable[str]:
        """The instances that are there."""
        events.check(context, job.spec["store"])
        return selection.instances(
            context, job.spec["store"], level=job.spec["level"], row=job.spec["row"]
        )

    def do(self, context: Context, job: Job, units: list[str]) -> list[UnitError | None]:
        """Patch instances; one that this operation has patched stays as it is."""
        patch = jsonpatch.read(job.spec["patch"])

        def note(db: sqlite3.Connection, row: int) -> None:
            events.owe(
                db,
                job.operation,
                job.spec["store"],
                lambda: events.described(db, [row]),
                action=job.spec["action"],
            )

        outcomes: list[UnitError | None] = []
        for unit in units:
            try:
                update(context, selection.row_of(unit), patch, job.operation, note)
                outcomes.append(None)
            except UnitError as error:
                outcomes.append(error)
        context.folder.collect_garbage()
        return outcomes

    def finish(self, context: Context, job: Job) -> None:  # noqa: ARG002 - only told
        """Tell of what failed."""
        selection.check_failures(job, "instances could not be changed")


def update(
    context: Context,
    row: int,
    patch: Sequence[jsonpatch.Operation],
    operation: int | None,
    note: Callable[[sqlite3.Connection, int], None] | None = None,
) -> None:
    """Patch one instance.

    Args:
        row: its row in the index.
        operation: the row of the operation that does it; an instance that it wrote is left alone.
        note: called with the row in the transaction that changes it.

    Raises:
        UnitError: the instance is as it was.
    """
    with context.folder.read() as db:
        found = db.execute(
            "SELECT i.file, i.storage_class, i.operation_id, m.json FROM instances i"
            " JOIN metadata m ON m.instance_id = i.id WHERE i.id = ?",
            (row,),
        ).fetchone()
    if found is None:
        raise UnitError("the instance was deleted meanwhile")
    file, storage_class, written_by, text = found
    if operation is not None and written_by == operation:
        return
    before: Dataset = json.loads(text, strict=False)
    try:
        after = jsonpatch.apply(patch, before)
    except jsonpatch.PatchFailed as error:
        raise UnitError(str(error)) from None
    changed = _check(before, after)
    if not changed:
        return
    upload = _written(context, file, after, changed)
    entry = dataclasses.replace(upload.entry, storage_class=storage_class, operation=operation)
    (admitted,) = context.folder.admit_all([upload.path])
    with context.folder.write() as db:
        current = db.execute(
            "SELECT 1 FROM instances WHERE id = ? AND file = ?", (row, file)
        ).fetchone()
        if current:
            index.replace(db, row, dataclasses.replace(entry, file=admitted))
            if note is not None:
                note(db, row)
    if not current:
        context.folder.path(admitted).unlink(missing_ok=True)
        raise UnitError("the instance was changed or deleted meanwhile")


def _check(before: Dataset, after: Any) -> set[str]:
    """The tags of the elements that a patch changed, as far as they may be."""
    if not isinstance(after, dict):
        raise UnitError("the patch leaves no data set")
    tags = {*before, *after}
    changed = {tag for tag in tags if _element(before.get(tag)) != _element(after.get(tag))}
    for tag in sorted(changed):
        if not _TAG.fullmatch(tag):
            raise UnitError("the patch makes a member that is no tag of eight hexadecimal digits")
        if tag in _FIXED or tag[:4] in _FIXED_GROUPS:
            raise UnitError(f"the patch changes {tag}, which has to stay as it is")
        if tag in after:
            _check_element(tag, after[tag])
    return changed


def _check_element(tag: str, element: Any) -> None:
    if not isinstance(element, dict) or not isinstance(element.get("vr"), str):
        raise UnitError(f"the patch leaves {tag} without a vr")
    for member in _members(element):
        if "BulkDataURI" in member:
            raise UnitError(f"the patch changes {tag}, which holds bulk data or points to it")


def _members(element: Any) -> Iterable[dict[str, Any]]:
    left = [element]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            yield value
            left += value.values()
        elif isinstance(value, list):
            left += value


def _written(context: Context, file: str, after: Dataset, changed: set[str]) -> storing.Upload:
    """The patched file, received and proven."""
    try:
        import pydicom
    except ImportError:
        raise UnitError("pydicom is not installed: pip install 'dicomsql[emulator]'") from None
    expected = dict(after)
    try:
        with images.quiet():
            dataset = pydicom.dcmread(context.folder.path(file))
            if any(not _is_ascii(after.get(tag)) for tag in changed):
                expected[_CHARACTER_SET] = {"vr": "CS", "Value": [_UTF8]}
                _encode_as_utf8(dataset)
            kept = {tag: after[tag] for tag in changed if tag in after}
            made = pydicom.Dataset.from_json(kept)
            for tag in changed:
                number = int(tag, 16)
                if tag in kept:
                    dataset[number] = made[number]
                elif number in dataset:
                    del dataset[number]
            out = io.BytesIO()
            pydicom.dcmwrite(out, dataset)
    except FileNotFoundError:
        raise UnitError("the instance was deleted meanwhile") from None
    except images.CannotDecode:
        raise UnitError("the patch makes values that cannot be written as their VR says") from None
    received = storing.receive(context.folder, [out.getvalue()])
    if isinstance(received, storing.Outcome):
        raise UnitError(f"the patch makes an {received.failure}")
    found = received.entry.dataset
    for tag in {*expected, *found}:
        if _element(expected.get(tag)) != _element(found.get(tag)):
            storing.discard([received])
            raise UnitError(f"{tag} would not be stored as the patch has it")
    return received


def _encode_as_utf8(dataset: FileDataset) -> None:
    """Texts that the file's character set may lack need one that has all."""
    dataset.decode()
    dataset.SpecificCharacterSet = _UTF8


def _is_ascii(element: Any) -> bool:
    return json.dumps(element, ensure_ascii=False).replace(BASE, "").isascii()


def _element(element: Any) -> Any:
    """An element in a form that can be compared: numbers as numbers, nothing as nothing."""
    if not isinstance(element, dict) or "vr" not in element:
        return element
    values = element.get("Value")
    if not values and not {"InlineBinary", "BulkDataURI"} & element.keys():
        return element["vr"]
    if element["vr"] == "SQ" and isinstance(values, list):
        items = [
            {tag: _element(e) for tag, e in item.items()} if isinstance(item, dict) else item
            for item in values
        ]
        return {**element, "Value": items}
    if element["vr"] in _NUMBERS and isinstance(values, list):
        return {**element, "Value": [_number(value) for value in values]}
    return element


def _number(value: Any) -> Any:
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value
