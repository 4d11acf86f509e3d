# make demo    the main job on real input: a trained ResNet-8, every layer in RTL simulation
# make test    all tests
# make lint    types and style
#
# Everything is installed in .venv; nothing else on the machine changes, but for compiled
# simulators in your cache folder.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed

# The first Python that is new enough; PYTHON=… overrides.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; \
	done)

.PHONY: demo test lint clean

demo: $(STAMP)
	$(BIN)/smartdeal generate --rows 12 --cols 16 -o build/demo
	$(BIN)/smartdeal simulate resnet8 --rows 12 --cols 16

test: $(STAMP)
	$(BIN)/pytest -n 2

lint: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/pyright

# setup.py lists the packages, so a new one takes a new installation too.
$(STAMP): pyproject.toml setup.py constraints.txt
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or newer on the path; install one, or say make PYTHON=…" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[sim,boards,dev]"
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
