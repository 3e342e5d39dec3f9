# Everything a person or CI runs. `make help` lists it.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet

# llama.cpp without its image tools; whoever sets CMAKE_ARGS chooses for themselves.
export CMAKE_ARGS ?= -DLLAVA_BUILD=OFF

.PHONY: help setup ask test check mutants format classifier classifier-report clean \
        bench bench-decode bench-drafts bench-start bench-first-token bench-contention \
        bench-niceness bench-footprint bench-forms bench-typing bench-65b \
        soak soak-mix soak-cgroup soak-long

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.dev  ## make .venv with the package, the starter model and the tools

ask: export QUESTION = $(Q)
ask: $(VENV)/.package  ## ask a question: make ask Q="..."
	@$(BIN)/modelrouter ask "$$QUESTION" < /dev/null

test: check  ## check, then run all tests
	$(BIN)/pytest

check: $(VENV)/.dev  ## formatting, lint, types, the direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

mutants: $(VENV)/.dev  ## test the tests of the scheduler's core: each planted mistake must be found
	$(BIN)/python tests/mutants.py

format: $(VENV)/.dev  ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: bench-start bench-decode bench-drafts bench-first-token bench-contention bench-niceness bench-footprint bench-forms bench-typing  ## every measurement

bench-start: $(VENV)/.dev  ## how long --help and the imports take
	$(BIN)/python benchmarks/start.py

bench-decode: $(VENV)/.dev  ## batched decoding beside a bare llama_decode loop
	$(BIN)/python benchmarks/decode.py

bench-drafts: $(VENV)/.dev  ## passes and seconds a token with and without drafts
	$(BIN)/python benchmarks/drafts.py

bench-first-token: $(VENV)/.dev  ## ask's first token beside llama_cpp.Llama's
	$(BIN)/python benchmarks/first_token.py

bench-contention: $(VENV)/.dev  ## decoding beside a busy program, with libgomp's spinning and ours
	$(BIN)/python benchmarks/contention.py

bench-niceness: $(VENV)/.dev  ## a small model beside a larger one, at each niceness of the larger
	$(BIN)/python benchmarks/niceness.py

# 36.7 GB are written to DISK. For less: OPTIONS="--layers 12 --pin 2.5 --limit", 5.8 GB.
bench-65b: $(VENV)/.dev  ## a 65B larger than memory, plain llama.cpp and ours: make bench-65b DISK=folder
	@test -d "$(DISK)" || { echo "DISK must name a folder on the disk to be measured"; exit 1; }
	$(BIN)/python benchmarks/large.py "$(DISK)" $(OPTIONS)

bench-footprint: $(VENV)/.dev  ## predicted memory beside real workers', over a zoo of models
	$(BIN)/python benchmarks/footprint.py

bench-forms: $(VENV)/.dev  ## answers held to a form beside free ones
	$(BIN)/python benchmarks/forms.py

bench-typing: $(VENV)/.dev  ## an editor's key strokes: what of a prompt was read before, and the time
	$(BIN)/python benchmarks/keystrokes.py

soak: $(VENV)/.dev  ## the long proofs with real processes: about 10 minutes
	$(BIN)/python benchmarks/soak/soak.py mix cgroup long

soak-mix: $(VENV)/.dev  ## 1,000 requests of all kinds, workers killed: the budget, and no request lost
	$(BIN)/python benchmarks/soak/soak.py mix

soak-cgroup: $(VENV)/.dev  ## the same under a memory limit of the kernel's, where one can be set
	$(BIN)/python benchmarks/soak/soak.py cgroup

soak-long: $(VENV)/.dev  ## 10,000 short requests: nothing grows
	$(BIN)/python benchmarks/soak/soak.py long

HAS_POOL = test -n "$(wildcard $(POOL)/*.jsonl)" || { echo "POOL must name the folder of the public prompts"; exit 1; }

# The manifest's date: that of the last commit that changed the prompts, in any checkout.
PROMPTS_DATE = $${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct -- 'data/prompts/*.jsonl')}

classifier: $(VENV)/.dev  ## count the prompts, train the shipped classifier: make classifier POOL=folder
	@$(HAS_POOL)
	$(BIN)/python -m modelrouter.classifier.census $(sort $(wildcard data/prompts/*.jsonl)) > data/prompts/COUNTS.md
	$(BIN)/python -m modelrouter.classifier.census $(sort $(wildcard data/hard/*.jsonl)) > data/hard/COUNTS.md
	SOURCE_DATE_EPOCH=$(PROMPTS_DATE) $(BIN)/modelrouter classifier train --out modelrouter/classifier/artifact \
	  $(sort $(wildcard data/prompts/*.jsonl)) $(sort $(wildcard $(POOL)/*.jsonl))

classifier-report: $(VENV)/.dev  ## print every figure of docs/classifier.md: make classifier-report POOL=folder
	@$(HAS_POOL)
	@$(BIN)/python benchmarks/classifier_report.py $(POOL)

clean:  ## remove what was built; the next build of llama-cpp-python comes from pip's cache
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# ── the virtual environment ──────────────────────────────────────────────────────────────────────

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "modelrouter needs Python 3.11 or later; \`make PYTHON=python3.12 ...\` names another"; exit 1; }
	@command -v c++ > /dev/null || { echo "a C++ compiler is needed: apt install g++"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "python3 cannot make virtual environments: apt install python3-venv"; exit 1; }
	@$(PIP) install --upgrade "pip>=25.1"

$(VENV)/.package: pyproject.toml constraints.txt | $(BIN)/python
	@$(BIN)/python -c 'import llama_cpp' 2> /dev/null || \
	  echo "building llama.cpp for this machine: once, about 9 minutes on 2 cores"
	@$(PIP) install --constraint constraints.txt --editable ".[starter]"
	@touch $@

$(VENV)/.dev: $(VENV)/.package
	@$(PIP) install --constraint constraints.txt --editable ".[starter,training]" --group dev
	@touch $@
