# `make table2` prints Table 2 on a fresh machine; `make test` checks the code. Both make their own .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
QUIETLY := --quiet --disable-pip-version-check
TESTS := hypothesis pytest pytest-benchmark # what the tests need

.PHONY: table2 test lint types install docs bundles gpu examples ranges trust clean

table2: $(VENV)/.installed
	$(BIN)/python benchmarks/compare.py --preset quick --jobs 2 --out results/table2

test: $(VENV)/.installed-dev lint types
	$(BIN)/python -m pytest

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

install: $(VENV)/.installed

# The site, in site/. It fails on a warning.
docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "The site: site/index.html"

# The bundles in the package, from worlds whose users are known. On one thread, the same machine writes the same bytes.
bundles: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/hsrl-gym build synthetic --shape rl4rs --force --out hsrl_gym/bundles/rl4rs
	OMP_NUM_THREADS=1 $(BIN)/hsrl-gym build synthetic --shape ml1m --force --out hsrl_gym/bundles/ml1m

# Tests, throughput and a short Table 2 on CUDA, with a report in results/gpu/REPORT.md. Without CUDA it does nothing.
gpu: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/gpu.py

# The examples for other libraries, in a short form. RLlib and RL Zoo pin others and have environments of their own.
examples: $(VENV)/.installed-dev $(VENV)-rllib/.installed $(VENV)-rl-zoo/.installed
	$(BIN)/python -m pytest tests/examples tests/agent/test_examples.py -rs
	$(VENV)-rllib/bin/python -m pytest tests/examples -k rllib
	$(VENV)-rl-zoo/bin/python -m pytest tests/examples -k rl_zoo

# The lowest versions that pyproject.toml allows. Their own warnings of what has changed since are no errors here.
ranges: $(VENV)-lowest/.installed
	$(VENV)-lowest/bin/python -m pytest -m 'not slow and not speed and not cuda' \
		-W ignore::DeprecationWarning -W ignore::FutureWarning -p no:cacheprovider \
		tests/test_ranges.py tests/bundle tests/data tests/envs tests/gym tests/items \
		tests/agent/test_hsrl.py tests/agent/test_policies.py tests/agent/test_ppo.py tests/agent/test_vec_env.py

# What the package promises, tested: at most 20 minutes on two cores, with a report in results/trust/REPORT.md.
trust: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/trust.py

# Constrained as a whole: one torch for everybody, and a CPU build that is already in .venv stays.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $(QUIETLY) -c constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install $(QUIETLY) -c constraints.txt -e '.[dev,examples]'
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/python -m pip install $(QUIETLY) -c constraints.txt -e '.[docs]'
	touch $@

$(VENV)-rllib/.installed: pyproject.toml constraints-rllib.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install $(QUIETLY) -c constraints-rllib.txt -e . 'ray[rllib]' $(TESTS)
	touch $@

$(VENV)-rl-zoo/.installed: pyproject.toml constraints-rl-zoo.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install $(QUIETLY) -c constraints-rl-zoo.txt -e . rl_zoo3 $(TESTS)
	touch $@

$(VENV)-lowest/.installed: pyproject.toml constraints-lowest.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install $(QUIETLY) -c constraints-lowest.txt -e . $(TESTS)
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-* results build site *.egg-info
