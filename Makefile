.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PEERS := $(VENV)/.peers-installed
GALLERY := caption transcribe vae gan-image gan-speech

.PHONY: help setup demo gallery test test-slow check bench soak validate docs clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

setup: $(STAMP) ## install the product and its tools into .venv (nothing to do the second time)

# uv where it is on the PATH, else the venv and pip that come with Python.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(not (3, 11) <= v < (3, 14))' || \
	  { echo "Python 3.11, 3.12 or 3.13 is needed, and $(PYTHON) is not; set PYTHON=python3.12, for example"; exit 2; }
	@echo "installing into $(VENV), about 6 GB with PyTorch"
	@if command -v uv >/dev/null; then \
	  test -x $(BIN)/python || uv venv --quiet --python $(PYTHON) $(VENV); \
	  VIRTUAL_ENV=$(VENV) uv pip install --quiet -c constraints.txt -e '.[dev,demo]'; \
	else \
	  test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV); \
	  $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,demo]'; \
	fi
	@touch $(STAMP)

demo: setup ## the whole path on a small real data set: pack, train, infer, evaluate, report
	@$(BIN)/python -m jobs.demo

gallery: demo ## captions, transcripts, a VAE and GANs on the demo's data, and one page of them: runs/gallery.html
	@$(BIN)/python -m jobs.gallery $(GALLERY:%=jobs/configs/%.yaml)

# Ray has processes for all cores itself, and one Ray serves all tests of the second pass. Both passes run, whatever fails.
test: setup ## run the tests: those without Ray in two processes, then those with it in one
	@failed=0; \
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not ray and not slow" || failed=1; \
	$(BIN)/python -m pytest -m "ray and not slow" || failed=1; \
	exit $$failed

test-slow: setup ## run what says at length what the tests say in short: more kills, more nodes lost, more ways
	@$(BIN)/python -m pytest -m slow

check: setup ## format, lint, types and import rules
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: setup $(PEERS) ## measure kernels, and ingest against its limits and peers, into bench/results
	@$(BIN)/python -m bench.kernels
	@$(BIN)/python -m bench.ingest

soak: setup ## kill batch inference 110 times, and trainings 80 times, and look for what is lost; goes on where it stopped
	@$(BIN)/python -m bench.soak
	@$(BIN)/python -m bench.soak.trainings

# In a folder of its own: Daft wants an older pyarrow than the product, which must not change to be measured.
$(PEERS): bench/peers/requirements.txt | $(STAMP)
	@if command -v uv >/dev/null; then \
	  uv pip install --quiet --python $(BIN)/python --target $(VENV)/peers -r $<; \
	else \
	  $(BIN)/pip install --quiet --disable-pip-version-check --upgrade --target $(VENV)/peers -r $<; \
	fi
	@touch $@

validate: setup ## check cluster.yaml and the files in deploy/
	@$(BIN)/python deploy/validate.py

docs: setup ## write docs/configuration.md from the types of the settings
	@$(BIN)/python -m pipeline.settings_page

clean: ## remove the environment, caches and the demo's run
	rm -rf $(VENV) runs/demo .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
