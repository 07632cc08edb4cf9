# make demo   the main job on the embedded emulator, with real DICOM files
# make test   the tests
# make check  what CI runs: lint, types, tests with coverage
# make compiled  the planning with sqlglot's compiled form
# make conformance  a thousand generated queries over 20,000 instances, in the emulator and in Orthanc
# make bench  the benchmarks, each with its peer beside it; two need the extra `bench`
# make docs   the parts of docs/ that are made from the code

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: demo test conformance check lint types coverage compiled bench docs clean

$(VENV)/demo-ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --constraint constraints.txt --editable '.[emulator]'
	touch $@

$(VENV)/dev-ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --constraint constraints.txt --editable '.[all,dev]'
	touch $@ $(VENV)/demo-ready

demo: $(VENV)/demo-ready
	$(BIN)/python examples/demo.py

test: $(VENV)/dev-ready
	$(BIN)/python -m pytest

# Takes an hour or so; `make test` runs a part of it.
conformance: $(VENV)/dev-ready
	DICOMSQL_ORACLE_INSTANCES=20000 DICOMSQL_ORACLE_QUERIES=1000 \
	DICOMSQL_ORACLE_ORTHANC_INSTANCES=20000 DICOMSQL_ORACLE_ORTHANC_QUERIES=100 \
		$(BIN)/python -m pytest tests/oracle tests/interop

check: lint types coverage

lint: $(VENV)/dev-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev-ready
	$(BIN)/mypy

coverage: $(VENV)/dev-ready
	$(BIN)/python -m pytest --cov --cov-report=term:skip-covered

# The tests of the planning with sqlglot's compiled form, in an environment of its own.
compiled: $(VENV)/dev-ready
	$(PYTHON) -m venv $(VENV)/compiled
	$(VENV)/compiled/bin/python -m pip --disable-pip-version-check install --quiet \
		--constraint constraints.txt --editable '.[all,dev]' 'sqlglot[c]'
	$(VENV)/compiled/bin/python -m pytest tests/planning

bench: $(VENV)/dev-ready
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/listing.py
	$(BIN)/python benchmarks/decode.py
	$(BIN)/python benchmarks/questions.py
	$(BIN)/python benchmarks/search.py
	$(BIN)/python benchmarks/memory.py

docs: $(VENV)/dev-ready
	$(BIN)/python scripts/build_docs.py

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .coverage* demo-data
