"""The corpus, the oracle over it and the two servers that hold it too, each made once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import oracle_corpus
import orthanc
import pytest
from oracle_queries import Maker
from oracle_reading import Rows
from oracle_worlds import (
    INSTANCES,
    ORTHANC_INSTANCES,
    PLACE,
    World,
    fill_emulator,
    rows_of,
    tables,
)

from dicomsql.config import Settings
from dicomsql.session import Session


@dataclass(frozen=True)
class Corpus:
    """Files, and the rows that they make."""

    files: list[bytes]
    rows: Rows


def _corpus(instances: int) -> Corpus:
    rows = Rows()
    made = list(oracle_corpus.made(instances))
    assert all(rows.add(file) for file in made)
    found = (path.read_bytes() for path in oracle_corpus.real_paths())
    real = [file for file in found if rows.add(file)]
    assert len(real) > 20, "the real files are not there"
    return Corpus(made + real, rows)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return _corpus(INSTANCES)


@pytest.fixture(scope="module")
def emulator_world(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The corpus in the emulator in process."""
    root = tmp_path_factory.mktemp("oracle") / "emulator"
    fill_emulator(root, corpus.files)
    with Session(Settings(local=root, **PLACE)) as session, tables(corpus.rows) as oracle:
        rows_of(session, "USE google.healthcare")
        yield World(session, oracle)


@pytest.fixture(scope="module")
def emulator_maker(corpus: Corpus) -> Maker:
    return Maker(corpus.rows)


@pytest.fixture(scope="module")
def small_corpus() -> Corpus:
    return _corpus(ORTHANC_INSTANCES)


@pytest.fixture(scope="module")
def orthanc_world(
    small_corpus: Corpus, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """A part of the corpus in a real Orthanc."""
    orthanc.need()
    with orthanc.running(tmp_path_factory.mktemp("orthanc")) as server:
        assert server.store(small_corpus.files) == len(small_corpus.files)
        with (
            Session(Settings(endpoint=server.url)) as session,
            tables(small_corpus.rows) as oracle,
        ):
            rows_of(session, "USE dicomweb.orthanc")
            yield World(session, oracle)


@pytest.fixture(scope="module")
def orthanc_maker(small_corpus: Corpus) -> Maker:
    return Maker(small_corpus.rows)
