"""Decoding search results: dicomsql's decoder beside a JSON parser and pyarrow.

    python benchmarks/decode.py [--instances 50000] [--page 5000] [--rounds 5]

The peers make of each page what a few lines of Python make: the first value of each element, or
its list, as it stands in the JSON. dicomsql also reads dates and times, and checks every value.
CPU seconds of one thread.
"""

from __future__ import annotations

import argparse
import gc
import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pyarrow as pa
from measure import print_machine, print_table, rounds
from qido import ATTRIBUTES, pages

from dicomsql.dicom.columns import column
from dicomsql.dicom.decode import Decoder, count

FEW = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "StudyDate", "InstanceNumber")


def naive(parse: Callable[[bytes], Any], names: Sequence[str], bodies: Sequence[bytes]) -> None:
    """Parse everything, then pick."""
    for body in bodies:
        datasets = parse(body)
        arrays = []
        for name in names:
            tag = ATTRIBUTES[name]
            found = [dataset.get(tag, {}).get("Value") for dataset in datasets]
            if name == "PixelSpacing":
                arrays.append(pa.array(found))
            elif name.endswith("Name"):
                arrays.append(pa.array([v and v[0].get("Alphabetic") for v in found]))
            else:
                arrays.append(pa.array([v and v[0] for v in found]))
        pa.RecordBatch.from_arrays(arrays, names=list(names))


def uncollected(task: Callable[[], None]) -> None:
    """The same without the garbage collector, which dicomsql's decoder pauses too."""
    gc.disable()
    try:
        task()
    finally:
        gc.enable()


def projected(names: Sequence[str], bodies: Sequence[bytes]) -> None:
    """dicomsql's way."""
    decoder = Decoder([found for found in map(column, names) if found is not None])
    for body in bodies:
        decoder.decode(body)


def counted(bodies: Sequence[bytes]) -> None:
    """Rows without any of their values."""
    for body in bodies:
        count(body)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--instances", type=int, default=50_000)
    parser.add_argument("--page", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    bodies = pages(arguments.instances, arguments.page)
    megabytes = sum(map(len, bodies)) / 1e6
    parsers: dict[str, Callable[[bytes], Any]] = {"json": json.loads}
    try:
        import orjson
    except ModuleNotFoundError:
        print("orjson is not installed, so json is the only peer.")
    else:
        parsers["orjson"] = orjson.loads
    peer = list(parsers)[-1]
    print_machine()
    print(f"{arguments.instances:,} instances, {megabytes:.1f} MB, pages of {arguments.page:,}")
    for names in (FEW, tuple(ATTRIBUTES)):
        tasks: dict[str, Callable[[], object]] = {
            f"{name} + pyarrow": partial(naive, parse, names, bodies)
            for name, parse in parsers.items()
        }
        best = f"{peer} + pyarrow"
        tasks[f"{best}, gc off"] = partial(
            uncollected, partial(naive, parsers[peer], names, bodies)
        )
        tasks["dicomsql"] = partial(projected, names, bodies)
        if names is FEW:
            tasks["dicomsql, dataset only"] = partial(projected, ("dataset",), bodies)
            tasks["dicomsql, count"] = partial(counted, bodies)
        medians = rounds(tasks, arguments.rounds)
        base = medians[best]
        print_table(
            f"{len(names)} columns",
            ("", "rows/s", "MB/s", f"times {peer}"),
            [
                (
                    name,
                    f"{arguments.instances / seconds:,.0f}",
                    f"{megabytes / seconds:.0f}",
                    f"{base / seconds:.2f}",
                )
                for name, seconds in medians.items()
            ],
        )


if __name__ == "__main__":
    main()
