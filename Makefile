# make demo   installs everything and runs the main job; DATA=path/to/category uses your own images
# make app    opens the App on the demo's dataset
# make test   runs the tests but for those that take long, in about ten minutes
# make test-slow  runs those: kills, fuzzing, a run without network, Ray, PyTorch, most of the App; make test-all runs both
# make test-versions  runs the tests without a browser on each of PYTHONS, with the oldest and the newest FiftyOne
# make bundle builds app/review.js, the panel Review in the browser, from app/src; needs npm
# make docs   builds the pages of docs/, README and the docstrings into site/
# make audit  prints licences and known vulnerabilities of all that is installed
# make bench  prints the figures of benchmarks/README.md; make bench-accuracy those of every method and embedder

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?=

export FIFTYONE_DO_NOT_TRACK := true
export FIFTYONE_PLUGINS_DIR := $(CURDIR)
export SENTRY_OPT_OUT := 1
# FiftyOne's notice that a mongod of major version 6 is old
export FIFTYONE_DATABASE_VALIDATION := false

CATEGORY := $(abspath $(if $(DATA),$(DATA),.demo/sample/brick))
# Two clones, or two folders of one name, must not meet in one dataset
NAME := segad-demo-$(notdir $(CATEGORY))-$(firstword $(shell printf %s "$(CATEGORY)" | cksum))

.PHONY: demo app test test-slow test-all test-versions lint bundle docs audit bench bench-accuracy install clean

demo: $(VENV)/installed $(if $(DATA),,.demo/sample/brick)
	@mkdir -p .demo
	$(BIN)/python examples/mvtec_category.py $(CATEGORY) --name $(NAME) --sheet .demo/contact_sheet.png
	@echo "Open it in the App with: make app$(if $(DATA), DATA=$(DATA))"

app: $(VENV)/installed
	$(BIN)/fiftyone app launch $(NAME)

.demo/sample/brick: | $(VENV)/installed
	$(BIN)/python examples/make_sample_dataset.py .demo/sample

# A worker per core; the tests of a file stay together, since they share what is costly to make
PYTEST := $(BIN)/python -m pytest -n logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder --durations 10
LONG := slow or ray or torch

test: $(VENV)/installed-dev
	$(PYTEST) -m "not ($(LONG))" $(ARGS)

test-slow: $(VENV)/installed-dev
	$(PYTEST) -m "$(LONG)" $(ARGS)

test-all: $(VENV)/installed-dev
	$(PYTEST) $(ARGS)

PYTHONS ?= python3.10 python3.11 python3.12 python3.13
FIFTYONES ?= 1.22.0 1.22.1

# Without the extras, which do not exist for each: their tests are skipped, and say why
test-versions:
	set -e; for python in $(PYTHONS); do for fiftyone in $(FIFTYONES); do \
		venv=.versions/$$python-$$fiftyone; $$python -m venv $$venv; \
		$$venv/bin/pip install --quiet --editable . fiftyone==$$fiftyone hypothesis pytest scikit-learn; \
		$$venv/bin/pip install --quiet --no-deps fastdup==2.54 || true; \
		$$venv/bin/python tools/ensure_mongod.py; \
		$$venv/bin/python -m pytest -m "not browser" $(ARGS); \
	done; done

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/check_house.py
	@if command -v npm >/dev/null; then $(MAKE) --silent app/node_modules && npm --prefix app run --silent check \
		|| { echo "app/review.js is not what make bundle makes of app/src"; exit 1; }; \
		else echo "app/review.js is not compared with app/src: there is no npm"; fi

# The half of the panel Review that runs in the browser; committed, so that users need no npm
bundle: app/node_modules
	npm --prefix app run --silent build

app/node_modules: app/package-lock.json
	npm --prefix app ci --silent --no-audit --no-fund
	@touch $@

docs: $(VENV)/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "Open site/index.html"

audit: $(VENV)/installed
	$(PYTHON) -m venv .audit # apart, so that what audits is not audited
	.audit/bin/pip install --quiet pip-audit pip-licenses
	.audit/bin/pip-licenses --python $(BIN)/python --order=license
	$(BIN)/pip freeze --exclude-editable >.audit/installed.txt
	.audit/bin/pip-audit --no-deps --disable-pip --requirement .audit/installed.txt

bench: $(VENV)/installed-dev
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/calibration.py
	$(BIN)/python benchmarks/zones.py
	$(BIN)/python benchmarks/parts.py
	$(BIN)/python benchmarks/dirty_bank.py
	$(BIN)/python benchmarks/decisions.py
	$(BIN)/python benchmarks/teaching.py
	$(BIN)/python benchmarks/import_time.py
	$(BIN)/python benchmarks/engines.py
	$(BIN)/python benchmarks/search.py
	$(BIN)/python benchmarks/growth.py
	$(BIN)/python benchmarks/growth.py --images 1000 --side 1024 --input-size 512

bench-accuracy: $(VENV)/installed-dev
	$(BIN)/python benchmarks/accuracy.py $(DATA)

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml tools/ensure_mongod.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable .
	$(BIN)/python tools/ensure_mongod.py
	$(BIN)/pip install --quiet --no-deps fastdup==2.54 || \
		echo "fastdup is not to be had here (it has wheels for Python 3.9 to 3.12 on Linux and macOS)"
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	@echo "pip will name fastdup's pins as conflicts: they are known, see docs/install.md"
	$(BIN)/pip install --quiet --editable ".[dev]"
	$(BIN)/pip install --quiet --no-deps timm # its torchvision would come with another torch
	@touch $@

$(VENV)/installed-docs: $(VENV)/installed
	$(BIN)/pip install --quiet --editable ".[docs]"
	@touch $@

clean:
	rm -rf $(VENV) .audit .demo .versions site
