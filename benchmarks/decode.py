"""Decoding search results: dicomsql's decoder beside JSON parsers, and what the machine could do.

    python benchmarks/decode.py [--instances 50000] [--page 5000] [--rounds 5]

json and orjson parse everything, and a few lines of Python pick the first value of each element, or
its list, for pyarrow. msgspec alone builds typed Python objects of just the wanted attributes, and
no Arrow. dicomsql also reads dates and times, and checks every value. The ceiling is a C++ program
with simdjson (decode_ceiling.cpp), where a compiler and the library are installed.

CPU seconds of one thread, the garbage collector as Python has it.
"""

from __future__ import annotations

import argparse
import gc
import json
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
from measure import print_machine, print_table, rounds
from qido import ATTRIBUTES, pages

from dicomsql.dicom.columns import AttributeColumn, Kind, column
from dicomsql.dicom.decode import Decoder, count

FEW = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "StudyDate", "InstanceNumber")
CEILING = "C++ with simdjson"

_PYTHON_TYPES: dict[Kind, Any] = {
    Kind.INTEGER: int,
    Kind.DECIMAL: float,
    Kind.NAME: msgspec.defstruct("Name", [("Alphabetic", str | None, None)]),
}
_CEILING_KINDS = {Kind.INTEGER: "integer", Kind.DECIMAL: "number", Kind.NAME: "name"}


def attributes(names: Sequence[str]) -> list[AttributeColumn]:
    """The columns of those names."""
    return [found for found in map(column, names) if found is not None]


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


def typed(names: Sequence[str]) -> msgspec.json.Decoder[Any]:
    """msgspec's decoder for just these attributes."""
    fields = []
    for one in attributes(names):
        values: Any = list[_PYTHON_TYPES.get(one.kind, str)]  # type: ignore[misc]
        element = msgspec.defstruct("Element", [("Value", values, ())], gc=False)
        fields.append((f"tag_{one.tag}", element | None, None))
    renamed = {name: name.removeprefix("tag_") for name, *_ in fields}
    row: Any = msgspec.defstruct("Row", fields, rename=renamed, gc=False)
    return msgspec.json.Decoder(list[row])


def each(decode: Callable[[bytes], object], bodies: Sequence[bytes]) -> None:
    """Every page by itself, as they come from a server."""
    for body in bodies:
        decode(body)


def ceiling(names: Sequence[str], folder: Path, times: int) -> float | str:
    """The median seconds of the C++ program over the pages in a folder, or why there is none."""
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        return "there is no C++ compiler"
    program = folder / "decode_ceiling"
    if not program.exists():
        source = Path(__file__).with_name("decode_ceiling.cpp")
        flags = ["-std=c++17", "-O3", "-march=native", str(source), "-lsimdjson"]
        built = subprocess.run([compiler, *flags, "-o", program], capture_output=True, check=False)
        if built.returncode:
            return "decode_ceiling.cpp cannot be compiled; simdjson's headers may be missing"
    wanted = ",".join(
        f"{one.tag}:{_CEILING_KINDS.get(one.kind, 'text')}"
        for one in sorted(attributes(names), key=lambda one: one.tag)
    )
    files = sorted(folder.glob("*.json"))
    command = [str(program), str(times + 1), wanted, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    _, *seconds = map(float, done.stdout.split())
    return statistics.median(seconds)


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
        print("orjson is not installed, so json is the only parser.")
    else:
        parsers["orjson"] = orjson.loads
    peer = list(parsers)[-1]
    print_machine()
    print(f"{arguments.instances:,} instances, {megabytes:.1f} MB, pages of {arguments.page:,}")
    with tempfile.TemporaryDirectory() as folder:
        for number, body in enumerate(bodies):
            Path(folder, f"{number:06}.json").write_bytes(body)
        for names in (FEW, tuple(ATTRIBUTES)):
            tasks: dict[str, Callable[[], object]] = {
                f"{name} + pyarrow": partial(naive, parse, names, bodies)
                for name, parse in parsers.items()
            }
            best = f"{peer} + pyarrow"
            tasks[f"{best}, gc off"] = partial(
                uncollected, partial(naive, parsers[peer], names, bodies)
            )
            tasks["msgspec alone"] = partial(each, typed(names).decode, bodies)
            tasks["dicomsql"] = partial(each, Decoder(attributes(names)).decode, bodies)
            if names is FEW:
                dataset = Decoder(attributes(["dataset"]))
                tasks["dicomsql, dataset only"] = partial(each, dataset.decode, bodies)
                tasks["dicomsql, count"] = partial(each, count, bodies)
            medians = rounds(tasks, arguments.rounds)
            highest = ceiling(names, Path(folder), arguments.rounds)
            if isinstance(highest, str):
                print(f"\nNo ceiling: {highest}.")
            else:
                medians[CEILING] = highest
            print_table(
                f"{len(names)} columns",
                ("", "rows/s", "MB/s", f"times {peer}", "of C++"),
                [
                    (
                        name,
                        f"{arguments.instances / seconds:,.0f}",
                        f"{megabytes / seconds:.0f}",
                        f"{medians[best] / seconds:.1f}",
                        f"{highest / seconds:.0%}" if isinstance(highest, float) else "",
                    )
                    for name, seconds in medians.items()
                ],
            )


if __name__ == "__main__":
    main()
