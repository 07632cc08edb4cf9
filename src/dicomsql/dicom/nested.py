"""Elements found by looking into datasets: items of sequences, blocks of private creators."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Raw

from dicomsql.dicom import values
from dicomsql.dicom.elements import raw_items, raw_members, raw_text

__all__ = ["block_text", "joined_items", "leaves"]

# PS3.5 section 7.8.1: the elements that reserve blocks are 10 to FF.
_FIRST_BLOCK = "10"


def leaves(element: Raw, path: Sequence[str]) -> list[Raw]:
    """The elements at the end of a path into a sequence that hold anything, in the items' order.

    Args:
        element: the sequence.
        path: tags, of which all but the last are sequences themselves.
    """
    found = [element]
    for tag in path:
        found = [
            held
            for sequence in found
            for item in raw_items(sequence)
            if (held := _element(raw_members(item), tag)) is not None
        ]
    return [held for held in found if raw_text(held) is not None]


def joined_items(sequences: Sequence[Raw]) -> str | None:
    """The JSON list of the items of all of these sequences, None where there are none."""
    items = [bytes(item).decode() for sequence in sequences for item in raw_items(sequence)]
    return f"[{','.join(items)}]" if items else None


def block_text(dataset: bytes, creator: str, group: str, element: str) -> str | None:
    """The text of an element of the block that a private creator reserved in a dataset.

    None where it reserved none; of several blocks, the first that has the element counts
    (PS3.5 section 7.8.1).

    Args:
        dataset: its JSON text.
        creator: without spaces at its end.
        group, element: upper-case hexadecimal digits, four and two.
    """
    held = raw_members(dataset)
    of_group = {tag.upper(): found for tag, found in held.items() if tag[:4].upper() == group}
    for tag in sorted(of_group):
        if len(tag) != 8 or tag[4:6] != "00" or tag[6:] < _FIRST_BLOCK:
            continue
        if (raw_text(of_group[tag]) or "").rstrip(values.PADDING) == creator:
            found = of_group.get(f"{group}{tag[6:]}{element}")
            if found is not None:
                return raw_text(found)
    return None


def _element(dataset: dict[str, Raw], tag: str) -> Raw | None:
    """The element of that tag, which some servers write in lower case."""
    lowered = tag.lower()
    if tag == lowered:
        return dataset.get(tag)
    # Of a tag that occurs twice the last counts.
    return next((dataset[name] for name in reversed(dataset) if name.upper() == tag), None)
