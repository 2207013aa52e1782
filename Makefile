# Two commands do everything: `make demo` speaks, `make test` checks.

PYTHON ?= python3
HEADS ?= 12
TEXT ?= The birds sang in the old garden while the rain fell softly.

.DELETE_ON_ERROR:
.PHONY: help demo venv test check format lock clean

help:
	@echo "make demo [TEXT='…'] [HEADS=3|6|12]   hear it: lean install, export, speak to demo.wav"
	@echo "make test                             everything that is tested, in .venv"
	@echo "make venv                             .venv with all that tests and training need"
	@echo "make check                            ruff and mypy"
	@echo "make lock                             write requirements.lock from .venv"

demo: .venv-demo/installed
	.venv-demo/bin/python -m export.build --heads $(HEADS) --output engine-$(HEADS)
	.venv-demo/bin/python -m runtime.tts --engine engine-$(HEADS) "$(TEXT)" -o demo.wav

.venv-demo/installed: pyproject.toml requirements.lock
	$(PYTHON) -m venv .venv-demo
	.venv-demo/bin/python -m pip install --quiet --constraint requirements.lock --editable ".[export,phonemes]"
	touch $@

venv: .venv/installed

.venv/installed: pyproject.toml requirements.lock
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --constraint requirements.lock torch
	.venv/bin/python -m pip install --quiet --constraint requirements.lock --editable ".[dev]"
	touch $@

test: venv
	.venv/bin/python -m pytest

check: venv
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

format: venv
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

lock: venv
	.venv/bin/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' > requirements.lock

clean:
	rm -rf .venv .venv-demo engine-* demo.wav build dist
