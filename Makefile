# make demo   the whole story on the embedded glyphs, into demo/
# make test   lint, types and tests, the documentation's strict build among them
# make other-processors   the numerical tests again, as TensorFlow computes without oneDNN and without AVX-512
# make versions   the first steps of a user with the lowest and with the newest versions of Keras, TensorFlow, numpy, LiteRT
# make hub-rows    KerasHub's models in the table of compatibility, in an environment of their own
# make docs   the documentation with what the notebooks print, into build/site
# Each makes an environment in .venv and installs what it alone needs, which tools/install.py reports.

PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python
PYTEST := $(RUN) -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile
NUMERICAL := $(PYTEST) -q -m numerical
export TF_CPP_MIN_LOG_LEVEL ?= 2

# The rows of KerasHub in docs/compatibility.md that are not there yet, in an environment of their own.
hub-rows: build/hub/ready
	build/hub/bin/python benchmarks/compatibility.py --hub

build/hub/ready: benchmarks/hub_requirements.txt pyproject.toml
	$(PYTHON) -m venv build/hub
	build/hub/bin/python -m pip install --quiet --editable ".[test]"
	build/hub/bin/python -m pip install --quiet --no-deps --requirement benchmarks/hub_requirements.txt
	touch $@

.PHONY: demo test other-processors versions hub-rows docs lint types clean

demo: $(VENV)/run
	$(RUN) -m isplit_tf demo --output demo --overwrite

test: $(VENV)/test lint types
	$(PYTEST)

other-processors: $(VENV)/test
	TF_ENABLE_ONEDNN_OPTS=0 $(NUMERICAL)
	TF_ENABLE_ONEDNN_OPTS=1 ONEDNN_MAX_CPU_ISA=AVX2 $(NUMERICAL)
	TF_ENABLE_ONEDNN_OPTS=0 ONEDNN_MAX_CPU_ISA=AVX2 $(NUMERICAL)

versions: $(VENV)/test build/lowest/ready
	build/lowest/bin/python -m pytest -q -m versions tests/test_versions.py
	$(RUN) -m pytest -q -m versions tests/test_versions.py

build/lowest/ready: tests/lowest.txt pyproject.toml
	$(PYTHON) -m venv build/lowest
	build/lowest/bin/python -m pip install --quiet --editable . pytest pytest-timeout --constraint tests/lowest.txt
	touch $@

docs: $(VENV)/docs
	$(RUN) tools/site/notebook_pages.py build/notebooks
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict

lint: $(VENV)/test
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

types: $(VENV)/test
	$(RUN) -m mypy

$(VENV)/run: pyproject.toml
	@$(PYTHON) tools/install.py $(VENV)
	@touch $@

$(VENV)/test: pyproject.toml
	@$(PYTHON) tools/install.py $(VENV) test,litert
	@touch $@ $(VENV)/run

$(VENV)/docs: pyproject.toml
	@$(PYTHON) tools/install.py $(VENV) docs
	@touch $@ $(VENV)/run

clean:
	rm -rf $(VENV) demo build dist *.egg-info
