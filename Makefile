# `make book` and `make test` do everything on a fresh machine.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
HALF := $(VENV)/.half
DATA ?= flower_photos

.PHONY: help book test test-torch execute train serve lint clean

help:
	@echo "make book     build the book into _build/html"
	@echo "make test     run every test, the notebooks included"
	@echo "make test-torch  test the networks' twin in PyTorch, which it installs (CPU)"
	@echo "make execute  run the notebooks that are out of date (cpu preset) and keep their outputs"
	@echo "make train    train four of the shipped networks again: DATA=folder or source; resumable"
	@echo "make serve    show the built book on http://127.0.0.1:8000"

# What an interrupted install left behind looks installed to pip; so it is made afresh.
$(READY): requirements.txt constraints.txt pyproject.toml
	test ! -e $(HALF) && $(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	touch $(HALF)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -c constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	mv $(HALF) $@

book: $(READY)
	$(BIN)/python -m tools.notebooks execute --stale
	$(BIN)/python -m tools.build

test: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	SRLIB_PRESET=smoke $(BIN)/python -m pytest -n 2 --dist loadscope tests
	SRLIB_PRESET=smoke $(BIN)/python -m pytest -p tools.recount --nbval-lax \
	  --nbval-current-env --nbval-cell-timeout=120 -p no:cacheprovider book/*.ipynb

test-torch: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-torch.txt -c constraints.txt
	$(BIN)/python -m pytest -p no:cacheprovider tests/twin

execute: $(READY)
	$(BIN)/python -m tools.notebooks execute --stale

train: $(READY)
	$(BIN)/python -m experiments.train_zoo --photos $(DATA)

serve: book
	cd _build/html && ../../$(BIN)/python -m http.server --bind 127.0.0.1 8000

lint: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf _build
