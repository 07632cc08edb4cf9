"""Writes src/dicomsql/dicom/tags.tsv, the table of DICOM's attributes, from pydicom's dictionary.

    python scripts/build_tags.py            write the file
    python scripts/build_tags.py --check    exit with 1 where the committed file differs

Left out: the elements of command messages (group 0000, PS3.7), which no dataset holds, and the
delimiters of sequence items, which are no attributes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

TARGET = Path(__file__).resolve().parent.parent / "src" / "dicomsql" / "dicom" / "tags.tsv"
NO_VR = "NONE"


def build() -> str:
    """The table's text: one line of keyword, tag, VR and VM per attribute, in tag order.

    The tag of an attribute that repeats over groups or elements has `x` for the digits that vary.
    The keyword is empty for the few retired attributes that have none.
    """
    from pydicom._dicom_dict import DicomDictionary, RepeatersDictionary

    rows = [
        (f"{tag:08X}", keyword, vr, vm)
        for tag, (vr, vm, _, _, keyword) in DicomDictionary.items()
        if tag > 0x0000FFFF and vr != NO_VR
    ]
    rows += [(tag, keyword, vr, vm) for tag, (vr, vm, _, _, keyword) in RepeatersDictionary.items()]
    return "".join(f"{keyword}\t{tag}\t{vr}\t{vm}\n" for tag, keyword, vr, vm in sorted(rows))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    arguments = parser.parse_args()
    text = build()
    if not arguments.check:
        TARGET.write_text(text, encoding="ascii", newline="\n")
        return 0
    if TARGET.read_text(encoding="ascii") == text:
        return 0
    print(f"{TARGET} is out of date; run python scripts/build_tags.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
