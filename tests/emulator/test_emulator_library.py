"""The emulator in a with block: where it is, what it leaves behind, how it ends."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import httpx
import pytest

import dicomsql
from dicomsql.emulator import Emulator, EmulatorError

_INSTANCE = "studies/1.1/series/1.1.1/instances/1.1.1.1"


def test_it_serves_for_as_long_as_the_block_lasts(make_dicom: object, tmp_path: Path) -> None:
    assert callable(make_dicom)
    file = make_dicom()
    root = tmp_path / "root"
    kind = {"content-type": "application/dicom"}
    accept = {"accept": "application/dicom; transfer-syntax=*"}
    with Emulator(root) as emulator:
        store = emulator.make_store()
        assert store.name == (
            "projects/test-project/locations/us-central1/datasets/test-dataset/dicomStores/store-1"
        )
        assert store.url == f"{emulator.url}/v1/{store.name}/dicomWeb"
        stored = httpx.post(f"{store.url}/studies", content=file, headers=kind, trust_env=False)
        assert stored.status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(store.url, trust_env=False)
    with Emulator(str(root)) as emulator:
        again = f"{emulator.url}/v1/{store.name}/dicomWeb/{_INSTANCE}"
        assert httpx.get(again, headers=accept, trust_env=False).content == file
        with pytest.raises(EmulatorError, match="already exists"):
            emulator.make_store("store-1")
        emulator.remove_store(store)
        emulator.remove_store(store)
        assert httpx.get(again, headers=accept, trust_env=False).status_code == 404


def test_sql_over_it() -> None:
    with Emulator() as emulator:
        store = emulator.make_store(
            project="p", location="eu", dataset="d", body={"labels": {"a": "b"}}
        )
        with dicomsql.connect(endpoint=emulator.url, **store.place) as connection:
            cursor = connection.cursor()
            cursor.execute("SELECT name, labels FROM google.healthcare.dicom_stores")
            assert cursor.fetchall() == [(store.name, '{"a":"b"}')]


@pytest.mark.parametrize("form", ["http://127.0.0.1:{}", "localhost:{}", "http://[::1]:{}/"])
def test_a_variable_that_names_it_for_clients_is_not_another_server(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", form.format(port))
    with Emulator(port=port) as emulator, httpx.Client(trust_env=False) as client:
        buckets = f"{emulator.url}/storage/v1/b?project=p"
        assert client.post(buckets, json={"name": "bucket"}).status_code == 200
        assert [item["name"] for item in client.get(buckets).json()["items"]] == ["bucket"]


def test_a_variable_that_names_another_server_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    with Emulator() as other:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", other.url)
        with Emulator() as emulator, httpx.Client(trust_env=False) as client:
            made = client.post(f"{emulator.url}/storage/v1/b?project=p", json={"name": "bucket"})
            assert made.status_code == 200
            found = client.get(f"{other.url}/storage/v1/b?project=p").json()["items"]
        assert [item["name"] for item in found] == ["bucket"]


def test_nothing_is_left_when_it_ends() -> None:
    threads, descriptors = set(threading.enumerate()), _descriptors()
    emulator = Emulator()
    for _ in range(2):
        with emulator:
            root = emulator.root
            store = emulator.make_store()
            with httpx.Client(trust_env=False) as client:
                assert client.get(f"{store.url}/studies").status_code == 204
                idle = socket.create_connection(("127.0.0.1", httpx.URL(store.url).port or 0))
        with idle:
            assert idle.recv(1) == b""
        assert set(threading.enumerate()) == threads
        assert not root.exists()
    assert _descriptors() == descriptors
    emulator.close()


def _descriptors() -> set[str]:
    """What this process has open, as far as the system tells."""
    folder = Path("/proc/self/fd")
    if not folder.exists():
        return set()
    return {str(one.readlink()) for one in folder.iterdir() if one.exists()}


def test_it_is_closed_when_the_program_ends_without(tmp_path: Path) -> None:
    code = """
        import threading
        from dicomsql.emulator import Emulator
        emulator = Emulator().start()
        emulator.make_store()
        print(emulator.root)
        """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(str(tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks on this system")
def test_a_fork_that_ends_takes_nothing_away() -> None:
    code = """
        import os, sys
        from dicomsql.emulator import Emulator
        with Emulator() as emulator:
            child = os.fork()
            if not child:
                emulator.close()
                sys.exit(0)
            assert os.waitpid(child, 0)[1] == 0
            emulator.make_store()
            assert emulator.root.exists()
        """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_what_it_refuses(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(EmulatorError, match="holds other things"):
        Emulator(tmp_path).start()
    for wrong in ({"fault": "often"}, {"latency": -1.0}, {"quota": 0}, {"operation_delay": -1}):
        with pytest.raises(EmulatorError):
            Emulator(**wrong)
    emulator = Emulator()
    for name in ("url", "root", "faults"):
        with pytest.raises(EmulatorError, match="does not run"):
            getattr(emulator, name)
    with emulator:
        with pytest.raises(EmulatorError, match="runs already"):
            emulator.start()
        port = int(emulator.url.rpartition(":")[2])
        with pytest.raises(EmulatorError, match="Give another port"):
            Emulator(port=port).start()
        with pytest.raises(EmulatorError, match="refuses"):
            emulator.make_store("no id at all")
        assert not emulator.faults


def test_importing_it_imports_nothing_of_the_extra() -> None:
    code = """
        import sys
        for name in ("starlette", "uvicorn", "pydicom", "numpy", "PIL"):
            sys.modules[name] = None
        from dicomsql.emulator import Emulator, EmulatorError
        try:
            Emulator().start()
        except EmulatorError as error:
            print(error)
        heavy = {"sqlglot", "duckdb", "pyarrow", "httpx", "yaml", "jsonschema", "sqlite3"}
        print(sorted(heavy & set(sys.modules)))
        """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    said, imported = done.stdout.splitlines()
    assert 'pip install "dicomsql[emulator]"' in said
    assert imported == "[]"
