"""The command `version`: what a report of a fault needs to say."""

from __future__ import annotations

import argparse
import json
import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, requires, version

from dicomsql.version import __version__


def show(arguments: argparse.Namespace) -> int:
    """Write the versions of dicomsql, Python, the packages it needs and the provider documents."""
    found: dict[str, str | dict[str, str | None]] = {
        "dicomsql": __version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}",
        "packages": _packages(),
        "providers": _providers(),
    }
    if arguments.json:
        sys.stdout.write(json.dumps(found) + "\n")
        return 0
    for key, value in found.items():
        if isinstance(value, str):
            sys.stdout.write(f"{key} {value}\n")
            continue
        sys.stdout.write(f"{key}\n")
        for name, number in value.items():
            sys.stdout.write(f"  {name} {number or '-'}\n")
    return 0


def _packages() -> dict[str, str | None]:
    """The packages that dicomsql names, without those of its development; None: not installed."""
    try:
        named = requires("dicomsql") or []
    except PackageNotFoundError:
        # The sources without an installation.
        return {}
    found: dict[str, str | None] = {}
    for requirement in named:
        name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        if name == "dicomsql" or re.search(r"extra == ['\"](dev|bench)['\"]", requirement):
            continue
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return dict(sorted(found.items()))


def _providers() -> dict[str, str | None]:
    from dicomsql.catalog.load import Catalog

    return {provider.name: provider.version for provider in Catalog.open().providers()}
