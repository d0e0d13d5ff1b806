# Every line here is one that you could type yourself. For Windows, conda and a CPU-only torch see README.md.

PYTHON ?= python3
BIN := .venv/bin
ROOT := $(if $(filter 0,$(shell id -u)),--allow-root) # JupyterLab wants to be told that root means it

.PHONY: lab test test-browser check notebooks doctor

lab: .venv/installed
	mkdir -p my_work
	for notebook in notebooks/*.ipynb; do test -e my_work/$${notebook##*/} || cp $$notebook my_work/; done
	$(BIN)/jupyter lab $(ROOT) --notebook-dir my_work --LabApp.default_url /lab/tree/00_start_here.ipynb

test: .venv/installed
	$(BIN)/python -m pytest
	$(BIN)/python -m pytest --nbval-lax --nbval-current-env notebooks

# Needs a Chromium or Chrome: Debian's, say, with `apt-get install chromium`.
test-browser: .venv/installed
	$(BIN)/python -m pip install --quiet --editable '.[browser]'
	$(BIN)/python -m pytest tests/browser.py

doctor: .venv/installed
	$(BIN)/python -m course_utils.doctor

check: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python -m pytest -m "not slow"

notebooks: .venv/installed
	$(BIN)/jupyter nbconvert --to notebook --execute --inplace notebooks/*.ipynb
	$(BIN)/python scripts/normalise_notebooks.py notebooks/*.ipynb

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --editable '.[dev,parity]'
	touch .venv/installed
