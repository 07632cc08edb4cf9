"""Where provider documents lie: the bundled registry, a further one, and the compiled forms."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicomsql.config import default_cache_root
from dicomsql.errors import DocumentError


@dataclass(frozen=True, slots=True)
class ProviderFile:
    """A provider document in a registry.

    Attributes:
        path: the `provider.yaml`.
        base: the folder that the references to service documents start from.
    """

    path: Path
    base: Path


def bundled_root() -> Path:
    """The registry that dicomsql comes with: inside the installed package, else beside `src`.

    Raises:
        DocumentError: there is none, so the installation is incomplete.
    """
    package = Path(__file__).resolve().parents[1]
    for root in (package / "_provider", package.parents[1] / "provider"):
        if root.is_dir():
            return root
    raise DocumentError(
        "the provider documents that come with dicomsql are missing; install it again",
        document=str(package / "_provider"),
    )


def provider_files(root: Path) -> tuple[ProviderFile, ...]:
    """The provider documents of a registry, the newest version of each folder.

    A registry is a folder with `src/<provider>/<version>/provider.yaml` in it, or that `src`.

    Raises:
        DocumentError: the folder holds no provider document.
    """
    base = root / "src" if (root / "src").is_dir() else root
    newest: dict[str, Path] = {}
    for path in sorted(base.glob("*/*/provider.yaml"), key=lambda p: _version(p.parent.name)):
        newest[path.parent.parent.name] = path
    if not newest:
        raise DocumentError(
            "no <provider>/<version>/provider.yaml is in this folder or its src", document=str(root)
        )
    return tuple(ProviderFile(path, base) for _, path in sorted(newest.items()))


def service_file(provider: ProviderFile, reference: str) -> Path:
    """The service document that a provider document refers to.

    Raises:
        DocumentError: the reference leaves the registry.
    """
    path = (provider.base / reference).resolve()
    if not path.is_relative_to(provider.base.resolve()):
        raise DocumentError(
            f"the service document {reference!r} lies outside the registry",
            document=str(provider.path),
            path="/providerServices",
        )
    return path


def compiled_folder() -> Path | None:
    """The folder of compiled documents, which may not exist; None for a user without a home."""
    try:
        return default_cache_root() / "providers"
    except RuntimeError:
        return None


def _version(name: str) -> tuple[tuple[int, Any], ...]:
    """A key that sorts `v2.0` before `v10.0`."""
    parts = name.lstrip("v").replace("-", ".").split(".")
    return tuple((1, int(part)) if part.isdecimal() else (0, part) for part in parts)
