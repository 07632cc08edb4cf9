"""The fixtures that other people's tests get, in runs of pytest of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import tomllib
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

_OPTIONS = """
    import pytest

    @pytest.fixture(scope="session")
    def dicomsql_emulator_options():
        return {"quota": 3, "port": 0}
"""

_TESTS = """
    import json
    from urllib.error import HTTPError
    from urllib.request import urlopen

    import pytest

    seen = []

    @pytest.mark.parametrize("number", [1, 2])
    def test_each_has_a_store_of_its_own(number, dicomsql_store):
        assert dicomsql_store.url not in seen
        seen.append(dicomsql_store.url)
        with urlopen(dicomsql_store.url + "/studies") as answer:
            assert answer.status == 204

    def test_the_stores_of_others_are_gone(dicomsql_emulator):
        stores = dicomsql_emulator.url + "/v1/" + seen[0].split("/v1/")[1].rpartition("/")[0]
        with pytest.raises(HTTPError) as caught:
            urlopen(stores)
        assert caught.value.code == 404
        caught.value.close()

    def test_it_has_the_options(dicomsql_emulator):
        with pytest.raises(HTTPError) as caught:
            urlopen(dicomsql_emulator.url)
        assert caught.value.code == 429
        caught.value.close()
        assert dicomsql_emulator.faults == {"quota": 1}
"""

_UNUSED = """
    import sys

    def test_nothing_is_loaded():
        loaded = {name for name in sys.modules if name.startswith("dicomsql")}
        assert loaded <= {
            "dicomsql", "dicomsql.version", "dicomsql.emulator", "dicomsql.emulator.pytest_plugin"
        }
        assert not {"starlette", "uvicorn", "pydicom", "httpx"} & set(sys.modules)
"""


def run(folder: Path, **files: str) -> subprocess.CompletedProcess[str]:
    """Run pytest over some files, with the plugin and no other one of this environment."""
    for name, text in files.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text))
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider"),
            *("-p", "dicomsql.emulator.pytest_plugin", "--rootdir", str(folder), str(folder)),
        ],
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_run_that_uses_them(tmp_path: Path) -> None:
    done = run(tmp_path, conftest=_OPTIONS, test_them=_TESTS)
    assert "4 passed" in done.stdout, done.stdout


def test_a_run_that_does_not(tmp_path: Path) -> None:
    done = run(tmp_path, test_others=_UNUSED)
    assert "1 passed" in done.stdout, done.stdout


def test_pytest_finds_them() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (module,) = project["entry-points"]["pytest11"].values()
    assert hasattr(import_module(module), "dicomsql_store")
