# Every target sets itself up: a virtual environment in .venv, made once from setup.cfg.
.DEFAULT_GOAL := help
.PHONY: help run figure1 figure2 figure3 test lint mutants bench figures notebooks docs clean

VENV ?= .venv
# What is installed into the environment; CI gives a wheel instead.
PACKAGE ?= --editable .[dev]
# The newest Python that dm_control supports, else whatever there is.
PYTHON ?= $(firstword $(foreach p,python3.12 python3.11 python3,$(if $(shell $(p) -c 1 2>/dev/null && echo yes),$(p))))
BIN := $(VENV)/bin
ARGS ?=
# The folder src under the name that it is imported by, for tools that read it.
named = mkdir -p build/types && ln -sfn $(CURDIR)/src build/types/expedition
PAGES := README.md docs results notebooks src experiments benchmarks

$(VENV)/.installed: setup.cfg pyproject.toml
	@echo "installing into $(VENV), once: some minutes, up to 2.5 GB"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(PACKAGE)
	touch $@

help: ## List the targets
	@grep -E '^[a-z0-9]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | sort

run: $(VENV)/.installed ## Train IMPALA on cart-pole swing-up (3 minutes); ARGS="--seed 1" adds flags
	$(BIN)/python -m experiments.impala $(ARGS)

test: $(VENV)/.installed ## Run all tests, two files at a time; ARGS="-k vtrace" adds flags
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(VENV)/.installed ## Check style, formatting, floors and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(named)
	MYPYPATH=build/types $(BIN)/mypy --package expedition

mutants: $(VENV)/.installed ## Break the code on purpose: every mistake must fail a test
	$(BIN)/python tests/mutants.py

bench: $(VENV)/.installed ## Measure: the whole system beside its bounds and a public peer
	$(BIN)/python -m benchmarks $(ARGS)

figure1: $(VENV)/.installed ## Tabular cart-pole: what K agents learn together; ARGS="--quick" is rough
	$(BIN)/python -m experiments.figure1 $(ARGS)

figure2: $(VENV)/.installed ## Regret on the two chains (minutes); ARGS="--quick" takes one
	$(BIN)/python -m experiments.figure2 $(ARGS)

figure3: $(VENV)/.installed ## A team learns to swing up a cart-pole (hours); ARGS="--quick" takes minutes
	$(BIN)/python -m experiments.figure3 $(ARGS)

figures: $(VENV)/.installed ## Redraw all pictures from their CSVs: runs/ and results/
	$(BIN)/python -m experiments.figures $(ARGS)

notebooks: $(VENV)/.installed ## Run the notebooks anew and keep what they show
	$(BIN)/jupyter nbconvert --log-level ERROR --to notebook --execute --inplace \
	  --ExecutePreprocessor.record_timing=False --ClearMetadataPreprocessor.enabled=True \
	  --ClearMetadataPreprocessor.preserve_nb_metadata_mask="['kernelspec', ('language_info', 'name')]" \
	  notebooks/*.ipynb

docs: $(VENV)/.installed ## Build the site in build/site; its warnings are errors
	$(named)
	mkdir -p build/pages && cd build/pages && ln -sfn $(addprefix ../../,$(PAGES)) .
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

clean: ## Remove the environment and what builds leave
	rm -rf $(VENV) build dist *.egg-info
