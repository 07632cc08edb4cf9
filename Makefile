# make demo   the main job on the embedded emulator, with real DICOM files
# make tutorial  the tutorial offline, in SQL and with Google's own clients
# make test   the tests, on all processors; ARGS='...' gives pytest further arguments
# make check  what CI runs: lint, types, tests with coverage
# make compiled  the planning with sqlglot's compiled form
# make conformance  a thousand generated queries over 20,000 instances, in the emulator and in Orthanc
# make bench  the benchmarks, each with its peer beside it; three need the extra `bench`
# make docs   the parts of docs/ that are made from the code

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest
# Over all processors; the tests of a module stay together and in order, as they share fixtures.
SPREAD := --numprocesses auto --dist loadscope --no-loadscope-reorder

.PHONY: demo tutorial test conformance check lint types compiled bench docs clean

$(VENV)/demo-ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --constraint constraints.txt --editable '.[emulator]'
	touch $@

$(VENV)/dev-ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --constraint constraints.txt --editable '.[all,dev]'
	touch $@ $(VENV)/demo-ready $(VENV)/tutorial-ready

# Over what the demo needs: de-identification, and Google's clients.
$(VENV)/tutorial-ready: $(VENV)/demo-ready
	$(PIP) install --quiet --constraint constraints.txt --editable '.[emulator,deidentify]' \
		google-api-python-client requests
	touch $@

demo: $(VENV)/demo-ready
	$(BIN)/python examples/demo.py

tutorial: $(VENV)/tutorial-ready
	PYTHON=$(BIN)/python sh examples/tutorial.sh
	$(BIN)/python examples/tutorial.py

test: $(VENV)/dev-ready
	$(PYTEST) $(SPREAD) $(ARGS)

# Takes an hour or so; `make test` runs a part of it.
conformance: $(VENV)/dev-ready
	DICOMSQL_ORACLE_INSTANCES=20000 DICOMSQL_ORACLE_QUERIES=1000 \
	DICOMSQL_ORACLE_ORTHANC_INSTANCES=20000 DICOMSQL_ORACLE_ORTHANC_QUERIES=100 \
	DICOMSQL_COPY_FILES=10000 DICOMSQL_COPY_KILLS=50 \
		$(PYTEST) tests/oracle tests/interop tests/faults

# Without our own fixtures for pytest: it would load them before coverage begins to measure.
check: ARGS = --cov -p no:dicomsql
check: lint types test

lint: $(VENV)/dev-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev-ready
	$(BIN)/mypy

# sqlglot's compiled form lies inside the package, so both go into a folder that comes before the
# environment's own sqlglot.
$(VENV)/compiled/ready: $(VENV)/dev-ready
	rm -rf $(VENV)/compiled
	$(PIP) install --quiet --constraint constraints.txt --target $(VENV)/compiled 'sqlglot[c]'
	touch $@

# The tests of the planning with sqlglot's compiled form, whose classes cannot be subclassed.
compiled: export PYTHONPATH = $(abspath $(VENV)/compiled)
compiled: $(VENV)/compiled/ready
	$(BIN)/python -c 'from sqlglot import parser as p; assert not p.__file__.endswith(".py"), p'
	$(PYTEST) $(SPREAD) tests/planning

bench: $(VENV)/dev-ready
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/listing.py
	$(BIN)/python benchmarks/python.py
	$(BIN)/python benchmarks/connections.py
	$(BIN)/python benchmarks/decode.py
	$(BIN)/python benchmarks/questions.py
	$(BIN)/python benchmarks/search.py
	$(BIN)/python benchmarks/idc_store.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/copying.py
	$(BIN)/python benchmarks/read_dicom.py

docs: $(VENV)/dev-ready
	$(BIN)/python scripts/build_docs.py

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .coverage* demo-data
