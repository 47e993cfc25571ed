# make alone lists the targets. Every target makes the environment it needs.
RECIPE ?= recipes/sample.yaml
PYTHON ?= python3
BIN := .venv/bin
OPTIONS ?=
SECONDS ?= 60
KILLS ?= 100

.DEFAULT_GOAL := help
.PHONY: help gpu data validate train publish test test-slow check fix bench fuzz torture interop clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  RECIPE=recipes/NAME.yaml chooses the dataset (now $(RECIPE)); OPTIONS='--workers 1' goes to the command."

.venv/.made: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

.venv/.made-train: .venv/.made
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train]'
	touch $@

.venv/.made-dev: .venv/.made-train
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,train]'
	touch $@

data: .venv/.made ## build the dataset of RECIPE, proved, into out/
	$(BIN)/shardwright build $(RECIPE) $(OPTIONS)

validate: .venv/.made ## prove the dataset of RECIPE again
	$(BIN)/shardwright validate $(RECIPE) $(OPTIONS)

# Fetching torch takes minutes, so a missing GPU is told before it.
gpu:
	@if [ "$(DEVICE)" != cpu ] && ! ls /dev/nvidia0 /dev/dxg >/dev/null 2>&1; then \
	  echo "make train: a model is trained on a GPU, and there is none here." >&2; \
	  echo "  next: make train DEVICE=cpu MODEL=tiny tries the whole stage with a tiny model in two minutes" >&2; \
	  echo "  next: make train DEVICE=cpu trains on the processor, which is slow" >&2; exit 2; fi

train: gpu .venv/.made-train ## fine-tune a model on the dataset of RECIPE; CONFIG=train/configs/….yaml, DEVICE=cpu, MODEL=tiny
	$(BIN)/shardwright train $(or $(CONFIG),$(RECIPE)) --device $(or $(DEVICE),auto) \
	  $(if $(MODEL),--model $(MODEL)) $(if $(FAMILY),--family $(FAMILY)) $(OPTIONS)

publish: .venv/.made ## plan a push of the dataset of RECIPE to the places it names; OPTIONS=--yes does it
	$(BIN)/shardwright publish $(RECIPE) $(OPTIONS)

test: .venv/.made-dev ## run the tests, but for the slow ones
	$(BIN)/python -m pytest -n 2 -m 'not slow' $(OPTIONS)

test-slow: .venv/.made-dev ## run the slow tests
	$(BIN)/python -m pytest -n 2 -m slow $(OPTIONS)

check: .venv/.made-dev ## lint, formatting, types: exactly what CI runs before the tests
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

fix: .venv/.made-dev ## mend what the linter and the formatter can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: .venv/.made-dev ## measure against the peers, in the same run
	for job in rows_to_parquet images_to_shards clips_to_shards rebuild archives validate_footers validate_images publishing feeding; do $(BIN)/python benchmarks/$$job.py || exit 1; done

.venv/.made-fuzz: .venv/.made-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary atheris -c constraints.txt -e '.[dev,fuzz]' || \
	  { echo "make fuzz: there is no atheris for this Python or system; it has wheels for CPython 3.11 to 3.13 on Linux." >&2; \
	    echo "  next: make clean, then make fuzz PYTHON=python3.11 (or 3.12, 3.13)" >&2; exit 2; }
	touch $@

fuzz: .venv/.made-fuzz ## fuzz the readers, the recipe loader and the archive code for SECONDS each (default 60)
	$(BIN)/python -m fuzz.run --seconds $(SECONDS)

torture: .venv/.made-dev ## kill builds KILLS times (default 100) and pushes, fill disks, remove files under them, run two at once
	SHARDWRIGHT_KILLS=$(KILLS) $(BIN)/python -m pytest -n 2 --durations=5 $(OPTIONS) \
	  tests/stages/test_killed.py tests/stages/test_disks.py tests/stages/test_vanished.py \
	  tests/stages/test_clock.py tests/stages/test_two_builds.py tests/publish/test_killed_pushes.py

PEERS := ms-swift llama-factory data-juicer trl
INTEROP := .venv-interop

$(INTEROP)/%/.made: tests/interop/constraints-%.txt tests/interop/make_environment.py
	$(PYTHON) tests/interop/make_environment.py $* $(INTEROP)/$*
	touch $@

interop: .venv/.made-dev $(PEERS:%=$(INTEROP)/%/.made) ## load exports with other people's trainers, in environments of their own
	SHARDWRIGHT_INTEROP=$(INTEROP) $(BIN)/python -m pytest -m interop $(OPTIONS) tests/interop

clean: ## remove the environment and everything that was built here
	rm -rf .venv $(INTEROP) work out build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
