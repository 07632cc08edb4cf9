"""Writes provider/: discovery documents and overlays in, StackQL documents out.

    python scripts/build_provider.py [folder]

Google's discovery documents are those that google-api-python-client carries; the overlays in
scripts/overlay/google say what they leave out. Texts of the discovery documents are not taken
over: descriptions are the overlays'. The documents of DICOMweb servers are made of their overlay
alone, by scripts/dicomweb_documents.py. The same input gives the same bytes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
# Run as a file, the script has its own folder on the path but not the one that holds it.
sys.path.insert(0, str(REPOSITORY))

from scripts import dicomweb_documents  # noqa: E402
from scripts.documents import Json, dump  # noqa: E402
from scripts.google_documents import ServiceDocument, ServiceOverlay  # noqa: E402

OVERLAY = REPOSITORY / "scripts" / "overlay" / "google"


@dataclass(frozen=True)
class Overlay:
    """The hand-written files.

    Attributes:
        services: by name, in the order in which the provider lists them.
    """

    provider: Json
    services: dict[str, ServiceOverlay]


def build(discovery: Mapping[str, Json], overlay: Overlay) -> dict[str, str]:
    """The documents' texts by their path below the registry's root.

    Args:
        discovery: the discovery documents by name, such as `healthcare.v1`.
        overlay: what they leave out.

    Raises:
        ValueError: the overlay and the discovery documents do not fit.
    """
    provider = overlay.provider
    folder = f"{provider['folder']}/{provider['version']}"
    made = {f"src/{folder}/provider.yaml": _HEAD + dump(_provider_document(overlay, folder))}
    for name, part in overlay.services.items():
        document = ServiceDocument(provider["name"], discovery, part)
        revisions = ", ".join(f"{v} {d['revision']}" for v, d in document.discovery.items())
        head = f"{_HEAD}# Discovery revisions: {revisions}.\n"
        made[f"src/{folder}/services/{name}.yaml"] = head + dump(document.document())
    return made


_HEAD = "# Made by scripts/build_provider.py; change scripts/overlay and run it again.\n"


def read_discovery() -> dict[str, Json]:
    """The discovery documents of the installed google-api-python-client that overlays name."""
    import googleapiclient

    folder = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents"
    names = [n for s in read_overlay().services.values() for n in s.service["discovery"]]
    return {n: json.loads((folder / f"{n}.json").read_text("utf-8")) for n in names}


def read_overlay(folder: Path = OVERLAY) -> Overlay:
    """The overlays' files."""

    def read(name: str) -> Json:
        return dict(yaml.safe_load((folder / f"{name}.yaml").read_text("utf-8")))

    provider = read("provider")
    services = {}
    for name in provider["services"]:
        document = read(name)
        parts = document["service"].get("files", {})
        schemas = read(parts["schemas"]) if "schemas" in parts else document.get("schemas", {})
        dicom = read(parts["dicom"]) if "dicom" in parts else {}
        services[name] = ServiceOverlay(document, schemas, dicom)
    return Overlay(provider, services)


def _provider_document(overlay: Overlay, folder: str) -> Json:
    provider = overlay.provider
    version = provider["version"]
    made = {key: provider[key] for key in ("id", "name", "version", "title", "description")}
    made |= {key: provider[key] for key in ("protocolType", "config")}
    made["providerServices"] = {
        name: {
            "id": f"{name}:{version}",
            "name": name,
            "preferred": True,
            "title": part.service["title"],
            "version": version,
            "description": part.service["description"],
            "service": {"$ref": f"{folder}/services/{name}.yaml"},
        }
        for name, part in overlay.services.items()
    }
    return made


def main(arguments: list[str]) -> int:
    """Write the documents below the folder given, or below provider/."""
    root = Path(arguments[0]) if arguments else REPOSITORY / "provider"
    documents = build(read_discovery(), read_overlay())
    documents |= dicomweb_documents.build(dicomweb_documents.read_overlay())
    for name, text in documents.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
