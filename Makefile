# The two commands of the README: `make demo` and `make test`. Needs make, python3 (3.11 to 3.13)
# and its venv module; everything else is installed into .venv.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --use-pep517 --constraint constraints.txt --editable
SET_UP := settings.ini setup.py constraints.txt

export PATH := $(CURDIR)/$(BIN):$(PATH)
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: help demo test test-slow docs docs-check readme clean
.DELETE_ON_ERROR:

help:
	@echo "make demo        train on made-up notes, annotate held-out ones, print scores; writes demo/"
	@echo "make test        every test but the long ones"
	@echo "make test-slow   the long ones"
	@echo "make docs-check  build the pages of the documentation and look for broken links"
	@echo "make docs        build the site in _docs (needs Quarto)"
	@echo "make readme      write README.md and its pictures from nbs/index.ipynb"
	@echo "make clean       remove .venv, demo/ and what tests and builds leave"

demo: .venv/.demo
	clinical_ner_demo --output demo

# Notebooks and test files run side by side, one to a core: each keeps to one thread.
test: export OMP_NUM_THREADS ?= 1
test: .venv/.dev
	ruff check nbs tests tools
	ruff format --check nbs tests tools
	nbdev_test
	python tools/check_export.py
	python tools/chromium.py
	python -m pytest -n auto --maxprocesses 4 --dist loadfile

test-slow: .venv/.dev
	python -m pytest -m slow

docs-check: .venv/.dev
	python tools/docs_check.py

# nbdev would write README.md anew where it is older than the front page: ours comes from tools/readme.py.
docs: .venv/.dev
	@command -v quarto >/dev/null || { echo "no Quarto: see https://quarto.org, or make docs-check"; exit 1; }
	python tools/navigation.py
	touch README.md
	PYTHONPATH="$(CURDIR)" nbdev_docs
	python tools/docs_check.py _docs

readme: .venv/.dev
	python tools/chromium.py
	python tools/pictures.py
	python tools/readme.py

clean:
	rm -rf .venv demo build dist *.egg-info _proc _docs .pytest_cache .ruff_cache .hypothesis

# A stamp per set of packages: the set is installed again when one of the files that name it changes.
.venv/.demo: $(SET_UP) | .venv/.made
	$(INSTALL) '.[demo]'
	@touch $@

.venv/.dev: $(SET_UP) | .venv/.made
	$(INSTALL) '.[dev]'
	@touch $@

.venv/.made:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2])' \
	  || { echo "$(PYTHON) is not Python 3.11 or newer: name one, as in make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv --clear .venv \
	  || { rm -rf .venv; echo "no venv module: apt install python3-venv"; exit 1; }
	@touch $@
