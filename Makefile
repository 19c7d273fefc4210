# Environments are made on first use and renewed when a requirements file changes.
# Variables: PYTHON (3.11 or newer), CONFIG (for plan), CONSTRAINTS (a pip constraints file), others where they are used.

PYTHON ?= python3
CONFIG ?= configs/quickstart.yaml
CONSTRAINTS ?=

# A stamp of its own for each constraints file: other versions are another environment.
STAMP := .installed$(addprefix -,$(notdir $(CONSTRAINTS)))
USER_ENV := .venv/$(STAMP)
DEV_ENV := .venv-dev/$(STAMP)
BENCH_ENV := .venv-bench/$(STAMP)

REQUIREMENTS_.venv := requirements.txt
REQUIREMENTS_.venv-dev := requirements-dev.txt
REQUIREMENTS_.venv-bench := requirements-bench.txt

.PHONY: help quickstart plan test soak faults check benchmark clean
.DELETE_ON_ERROR:

help: ## list the targets
	@grep -E '^[a-z0-9 %-]+:.*##' Makefile | sed -E 's/^([a-z0-9 %-]+):.*## (.*)/\1|\2/; s/%/NNN/' | \
		while IFS='|' read -r target text; do printf '  make %-12s %s\n' "$$target" "$$text"; done

quickstart: $(USER_ENV) ## install into .venv and train the first grid
	.venv/bin/python run.py configs/quickstart.yaml

plan: $(USER_ENV) ## say what CONFIG would cost, without training
	.venv/bin/python run.py $(CONFIG) --plan

# Compiled without optimising, because each program runs once; `make soak` compiles as users do where numbers matter.
test: $(DEV_ENV) ## run the tests that take seconds
	XLA_FLAGS="$(XLA_FLAGS) --xla_backend_optimization_level=0" .venv-dev/bin/python -m pytest -rs -n auto --dist worksteal -m "not soak"

# Of these the numbers do not matter, so they are compiled without optimising, too.
ANY_NUMBERS := $(addprefix tests/test_,chosen.py commands.py damage.py figures.py page.py sources.py)
soak: $(DEV_ENV) ## run the tests that take minutes
	XLA_FLAGS="$(XLA_FLAGS) --xla_backend_optimization_level=0" .venv-dev/bin/python -m pytest -rs -n auto --dist worksteal --durations=10 -m soak $(ANY_NUMBERS)
	.venv-dev/bin/python -m pytest -rs -n auto --dist worksteal --durations=10 -m soak $(addprefix --ignore=,$(ANY_NUMBERS))

# KILLS: of workers, at random moments. FAULTS: words of the names of tests, all if empty.
KILLS ?= 200
FAULTS ?=
faults: $(DEV_ENV) ## try every fault of docs/faults.md, KILLS=200 among them (root for disks and Slurm; an hour)
	.venv-dev/bin/python -m pip install --quiet --disable-pip-version-check \
		-r requirements-ray.txt -r requirements-slurm.txt
	GROKJAX_KILLS=$(KILLS) .venv-dev/bin/python -m pytest -n 1 -rs -v -k "$(FAULTS)" --junitxml=.faults.xml \
		tests/test_cluster.py tests/test_faults.py tests/test_slurm.py
	GROKJAX_KILLS=$(KILLS) .venv-dev/bin/python -m tests.fault_table .faults.xml $(or $(TABLE),/dev/stdout)

check: $(DEV_ENV) ## format, lint, order of imports and types
	.venv-dev/bin/ruff format --check .
	.venv-dev/bin/ruff check .
	.venv-dev/bin/lint-imports --no-logo
	.venv-dev/bin/pyright

benchmark: $(BENCH_ENV) ## compare with PyTorch and plain JAX on this machine, quiet please (10 minutes)
	.venv-bench/bin/python -m benchmarks

# ONLY="layernorm depth" picks experiments; ARGS="axes.seed=[456,789]" are overrides of all of them.
# Without ONLY, all of configs/source_*: a new config there is one more experiment.
reproduce-%: $(USER_ENV) ## train a source's experiments, measure, and write docs/results/source_*.md
	for name in $(or $(ONLY),$(sort $(basename $(notdir $(wildcard configs/source_$*/*.yaml))))); do \
		.venv/bin/python run.py configs/source_$*/$$name.yaml $(ARGS) || exit $$?; \
		if grep -q '^measurements:' configs/source_$*/$$name.yaml; then \
			.venv/bin/python run.py --measure results/s$*_$$name || exit $$?; \
		fi; \
	done
	.venv/bin/python -m analysis.sources $* results docs/results/source_$*

clean: ## remove environments and caches; results stay
	rm -rf .venv .venv-dev .venv-bench .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(USER_ENV): requirements.txt
$(DEV_ENV): requirements.txt requirements-dev.txt
$(BENCH_ENV): requirements.txt requirements-bench.txt

# An environment without a working pip is the rest of an interrupted attempt.
$(USER_ENV) $(DEV_ENV) $(BENCH_ENV): $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		found=$$($(PYTHON) --version 2>&1 | head -n 1); \
		echo "grokjax needs Python 3.11 or newer, but '$(PYTHON)' is: $$found." >&2; \
		echo "Name another one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "'$(PYTHON)' comes without the venv module; on Debian and Ubuntu install it with" \
			"'apt install python3-venv', or name another: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(@D)/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check \
		$(if $(CONSTRAINTS),--constraint $(CONSTRAINTS)) \
		--requirement $(REQUIREMENTS_$(@D))
	@touch $@
