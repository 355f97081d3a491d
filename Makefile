# `make table2` prints Table 2 on a fresh machine; `make test` checks the code. Both make their own .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: table2 test lint types install docs bundles gpu trust clean

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
	OMP_NUM_THREADS=1 $(BIN)/hsrl-gym build synthetic --shape rl4rs --out hsrl_gym/bundles/rl4rs
	OMP_NUM_THREADS=1 $(BIN)/hsrl-gym build synthetic --shape ml1m --out hsrl_gym/bundles/ml1m

# Tests, throughput and a short Table 2 on CUDA, with a report in results/gpu/REPORT.md. Without CUDA it does nothing.
gpu: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/gpu.py

# What the package promises, tested: at most 20 minutes on two cores, with a report in results/trust/REPORT.md.
trust: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/trust.py

# Constrained as a whole: one torch for everybody, and a CPU build that is already in .venv stays.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	touch $@

clean:
	rm -rf $(VENV) results build site *.egg-info
