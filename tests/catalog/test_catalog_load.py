"""Names are found in any case, mistakes are answered, and the compiled form is only ever a copy."""

from __future__ import annotations

import json
import pickle
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dicomsql.catalog import pack, places
from dicomsql.catalog.load import Catalog
from dicomsql.catalog.model import Operations
from dicomsql.errors import DocumentError, PlanningError


def test_a_service_is_known_with_its_resources(catalog: Catalog) -> None:
    assert [p.name for p in catalog.providers()] == ["dicomweb", "google"]
    google = catalog.provider("GOOGLE")
    assert google.auth == "google"
    assert google.scopes == ("https://www.googleapis.com/auth/cloud-platform",)
    service = catalog.service("google", "Healthcare")
    assert len(service.resource_names) == 36
    assert service.operations == Operations("/v1/{+name}", "/v1/{+name}:cancel", "metadata.counter")
    resources = [catalog.resource("google", "healthcare", n) for n in service.resource_names]
    names = {m.full_name for r in resources for m in r.methods.values()}
    assert len(names) == 154 + 5 + 6
    assert all(
        m.servers == ("https://healthcare.googleapis.com",) for m in resources[0].for_verb("select")
    )


def test_a_resource_can_be_pickled(catalog: Catalog) -> None:
    for name in ("dicom_stores", "datasets", "studies"):
        found = catalog.resource("google", "healthcare", name)
        assert pickle.loads(pickle.dumps(found)) == found


@pytest.mark.parametrize(
    ("parts", "prefix"),
    [
        (("google", "healthcare", "dicom_stores"), ()),
        (("Google", "HealthCare", "DICOM_Stores"), ("other",)),
        (("healthcare", "dicom_stores"), ("google",)),
        (("dicom_stores",), ("google", "healthcare")),
        (("dicom_stores",), ("google", "healthcare", "studies")),
    ],
)
def test_resolve(catalog: Catalog, parts: tuple[str, ...], prefix: tuple[str, ...]) -> None:
    assert catalog.resolve(parts, prefix).full_name == "google.healthcare.dicom_stores"


@pytest.mark.parametrize(
    ("parts", "prefix"),
    [
        (("google", "healthcare", "studies", "DELETE"), ()),
        (("studies", "delete"), ("google", "healthcare")),
        (("delete",), ("google", "healthcare", "studies")),
    ],
)
def test_resolve_method(catalog: Catalog, parts: tuple[str, ...], prefix: tuple[str, ...]) -> None:
    assert catalog.resolve_method(parts, prefix).full_name == "google.healthcare.studies.delete"


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (("gogle", "healthcare", "studies"), "no provider gogle. Did you mean google?"),
        (("google", "helthcare", "studies"), "no service helthcare. Did you mean healthcare?"),
        (
            ("google", "healthcare", "dicom_store"),
            "no resource dicom_store. Did you mean dicom_stores?",
        ),
        (
            ("studies",),
            "studies is neither a local table nor a resource's full name; write provider.",
        ),
        (("a", "google", "healthcare", "studies"), "nor a resource's full name"),
    ],
)
def test_unknown_resources(catalog: Catalog, parts: tuple[str, ...], said: str) -> None:
    with pytest.raises(PlanningError) as error:
        catalog.resolve(parts)
    assert said in str(error.value)


def test_unknown_methods_and_schemas(catalog: Catalog) -> None:
    with pytest.raises(PlanningError, match=r"no method exprt\. Did you mean export\?"):
        catalog.resolve_method(("google", "healthcare", "dicom_stores", "exprt"))
    with pytest.raises(PlanningError, match="no full name of a method"):
        catalog.resolve_method(("dicom_stores", "export"))
    with pytest.raises(PlanningError, match=r"no schema DicomStor\. Did you mean DicomStore\?"):
        catalog.schema("google", "healthcare", "DicomStor")
    assert "labels" in catalog.schema("google", "healthcare", "DicomStore").definition["properties"]


def test_the_compiled_form_is_private(compiled: Path) -> None:
    files = sorted(compiled.iterdir())
    assert [f.name.split("-")[0] for f in files] == ["provider", "provider", "service"]
    if sys.platform != "win32":
        assert {stat.S_IMODE(f.stat().st_mode) for f in files} == {0o600}


def test_listing_providers_imports_nothing_heavy(compiled: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from dicomsql.catalog.load import Catalog\n"
        "Catalog.open(cache=Path(sys.argv[1])).providers()\n"
        "heavy = {'yaml', 'jsonschema', 'sqlglot', 'duckdb', 'pyarrow', 'httpx', 'pydicom',"
        " 'msgspec', 'tempfile', 'dicomsql.catalog.compile', 'dicomsql.catalog.check'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(compiled)], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize("damage", [b"", b"{", b"0123\n{}", None])
def test_a_damaged_compiled_form_is_made_again(
    registry: Any,
    provider_document: Any,
    service_document: Any,
    tmp_path: Path,
    damage: bytes | None,
) -> None:
    root, cache = registry(provider_document, service_document), tmp_path / "cache"
    before = Catalog.open(root, cache=cache).resource("library", "shelving", "shelves")
    files = [f for f in cache.iterdir() if f.name.startswith("service")]
    whole = [f.read_bytes() for f in files]
    for file, data in zip(files, whole, strict=True):
        file.write_bytes(data[:-1] if damage is None else damage)
    assert Catalog.open(root, cache=cache).resource("library", "shelving", "shelves") == before
    assert [f.read_bytes() for f in files] == whole
    assert not [f for f in cache.iterdir() if f.name.startswith(".")]


def test_a_changed_document_is_read_anew(
    registry: Any, provider_document: Any, service_document: Any, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    root = registry(provider_document, service_document)
    Catalog.open(root, cache=cache).service("library", "shelving")
    resources = service_document["components"]["x-stackQL-resources"]
    del resources["shelf_ids"]
    registry(provider_document, service_document)
    service = Catalog.open(root, cache=cache).service("library", "shelving")
    assert service.resource_names == ("shelves",)


def test_another_version_of_the_compiler_makes_its_own_form(
    registry: Any,
    provider_document: Any,
    service_document: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root, cache = registry(provider_document, service_document), tmp_path / "cache"
    Catalog.open(root, cache=cache)
    before = {f.name for f in cache.iterdir()}
    assert len(pack.makers()) > 10_000
    monkeypatch.setattr(pack, "makers", lambda: b"another")
    Catalog.open(root, cache=cache)
    assert len({f.name for f in cache.iterdir()} - before) == len(before) == 3


def test_a_cache_that_cannot_be_written_is_done_without(
    registry: Any, provider_document: Any, service_document: Any, tmp_path: Path
) -> None:
    root, file = registry(provider_document, service_document), tmp_path / "file"
    file.write_text("in the way")
    catalog = Catalog.open(root, cache=file / "cache")
    assert catalog.resource("library", "shelving", "shelves").own_id == "shelfId"
    assert file.read_text() == "in the way"


def test_a_write_that_fails_leaves_nothing(
    registry: Any,
    provider_document: Any,
    service_document: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(self: Path, target: Path) -> Path:
        raise OSError("no space left")

    monkeypatch.setattr(Path, "replace", full)
    root, cache = registry(provider_document, service_document), tmp_path / "cache"
    assert Catalog.open(root, cache=cache).service("library", "shelving").name == "shelving"
    assert list(cache.iterdir()) == []


def test_a_user_without_a_home_has_no_cache(
    registry: Any, provider_document: Any, service_document: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def homeless() -> Path:
        raise RuntimeError("no home")

    monkeypatch.setattr(places, "default_cache_root", homeless)
    catalog = Catalog.open(registry(provider_document, service_document))
    assert catalog.service("library", "shelving").version == "v0.2.0"


def test_the_newest_version_of_a_provider_is_taken(tmp_path: Path) -> None:
    for version in ("v9.0", "v10.0", "v10.0-rc"):
        folder = tmp_path / "books" / version
        folder.mkdir(parents=True)
        (folder / "provider.yaml").touch()
    (found,) = places.provider_files(tmp_path)
    assert found.path.parent.name == "v10.0-rc"
    assert found.base == tmp_path


def test_an_extra_registry_stands_beside_the_bundled_one_or_for_it(
    registry: Any, provider_document: Any, service_document: Any, tmp_path: Path
) -> None:
    catalog = Catalog.open(registry(provider_document, service_document), cache=tmp_path / "c")
    assert [p.name for p in catalog.providers()] == ["dicomweb", "google", "library"]
    provider_document["name"] = "google"
    catalog = Catalog.open(registry(provider_document, service_document), cache=tmp_path / "c")
    assert catalog.provider("google").services == ("shelving",)


def test_folders_and_files_that_are_no_documents(
    registry: Any, provider_document: Any, service_document: Any, tmp_path: Path
) -> None:
    with pytest.raises(DocumentError, match=r"no <provider>/<version>/provider\.yaml"):
        Catalog.open(tmp_path, cache=tmp_path)
    root = registry(provider_document, service_document)
    service = root / "src" / "library" / "v0.2.0" / "services" / "shelving.yaml"
    for text, said in (
        ("a: [1", r"no YAML: .* at line 2, column 1"),
        ("- 1", "a document is a mapping"),
        ("a: \x01", "no YAML"),
    ):
        service.write_text(text)
        with pytest.raises(DocumentError, match=said):
            Catalog.open(root, cache=tmp_path / "c").service("library", "shelving")
    service.unlink()
    with pytest.raises(DocumentError, match="cannot be read"):
        Catalog.open(root, cache=tmp_path / "c").service("library", "shelving")


def test_a_service_document_outside_the_registry_is_not_read(
    registry: Any, provider_document: Any, service_document: Any, tmp_path: Path
) -> None:
    services = provider_document["providerServices"]
    services["shelving"]["service"]["$ref"] = "library/../../../secret.yaml"
    (tmp_path / "secret.yaml").write_text(json.dumps(service_document))
    root = registry(provider_document, service_document)
    with pytest.raises(DocumentError, match="lies outside the registry"):
        Catalog.open(root, cache=tmp_path / "c").service("library", "shelving")


def test_a_missing_bundle_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(places, "__file__", str(tmp_path / "a" / "b" / "c" / "places.py"))
    with pytest.raises(DocumentError, match="install it again"):
        places.bundled_root()
