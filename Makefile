# Every line here is one you could type yourself. For Windows, conda and a CPU-only torch, see README.md.

PYTHON ?= python3
BIN := .venv/bin
ROOT := $(if $(filter 0,$(shell id -u)),--allow-root) # JupyterLab refuses to run as root unless told to

.PHONY: lab test check test-browser test-colab test-colab-short test-environment stress notebooks bench links doctor
.PHONY: check-in slides test-slides site test-site

lab: .venv/installed
	$(BIN)/python scripts/copy_notebooks.py
	$(BIN)/jupyter lab $(ROOT) --notebook-dir my_work --LabApp.default_url /lab/tree/00_start_here.ipynb

# Two tests at a time, then two notebooks.
test: .venv/installed
	$(BIN)/python -m pytest -n 2 --dist worksteal
	$(BIN)/python -m pytest -n 2 --dist loadfile --nbval-lax --nbval-current-env notebooks

# Needs Chromium or Chrome, such as Debian's: `apt-get install chromium`.
test-browser: .venv/installed
	$(BIN)/python -m pip install --quiet --editable '.[browser]'
	$(BIN)/python -m pytest tests/pages/jupyterlab.py

# Every notebook alone in an empty folder, in an environment without the course. About 20 minutes.
test-colab: .venv/installed build/colab/installed
	$(BIN)/python -m pytest tests/notebooks/colab.py

# The same with a few of the notebooks; of the others the first cell and all imports.
test-colab-short: .venv/installed build/colab/installed
	$(BIN)/python -m pytest -m "not weekly" tests/notebooks/colab.py

# What conda does with environment.yml, as far as pip can do it, then `make check` in there. About ten minutes.
test-environment: .venv/installed
	$(PYTHON) -m venv --clear build/environment
	$(BIN)/python scripts/pip_part.py environment.yml > build/environment/requirements.txt
	build/environment/bin/python -m pip install --quiet --requirement build/environment/requirements.txt
	$(MAKE) check BIN=build/environment/bin

doctor: .venv/installed
	$(BIN)/python -m course_utils.classroom.doctor

# One line for the teacher of a workshop: `make check-in NAME="Ada"`.
check-in: .venv/installed
	$(BIN)/python -m course_utils.classroom.doctor --line "$(NAME)"

# Writes to build/slides: a file for each notebook, and the hand-out. None of them needs a network.
slides: .venv/slides
	$(BIN)/python scripts/make_slides.py

# Opens every slide in Chromium: it must fit, and fetch nothing. Look at the screenshots in runs/slides/.
test-slides: slides
	$(BIN)/python -m pip install --quiet --editable '.[browser]'
	$(BIN)/python -m pytest tests/pages/slides.py

check: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

notebooks: .venv/installed
	$(BIN)/jupyter nbconvert --to notebook --execute --inplace notebooks/*.ipynb
	$(BIN)/python scripts/normalise_notebooks.py notebooks/*.ipynb

# Trains, and gets killed a hundred times on the way.
stress: .venv/installed
	rm -rf build/stress && mkdir -p build/stress
	$(BIN)/python scripts/killed_runs.py build/stress 100
	STRESS=1 $(BIN)/python -m pytest tests/mathematics/test_properties.py

# Takes a good hour on two otherwise idle cores. If stopped, it picks up where it left off.
bench: .venv/installed
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	$(BIN)/python benchmarks/bench.py

# Writes build/site/index.html. Needs no network once installed. Always starts afresh: a rebuild would not warn again.
site: .venv/site
	rm -rf build/site build/doctrees build/jupyter_execute docs/reference
	$(BIN)/python -m sphinx -W --keep-going --quiet -c docs -d build/doctrees . build/site

# Opens every page in Chromium, without a network. Look at the screenshots in runs/site/. About five minutes.
test-site: site
	$(BIN)/python -m pip install --quiet --editable '.[browser]'
	$(BIN)/python -m pytest tests/pages/website.py

# Copies the repository's address from pyproject.toml to wherever it is needed. For a fork: `make links REPO=owner/name`.
links: .venv/installed
	$(BIN)/python scripts/stamp_links.py $(REPO)

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --editable '.[dev,parity]'
	touch .venv/installed

.venv/slides: .venv/installed
	$(BIN)/python -m pip install --quiet --editable '.[slides]'
	touch .venv/slides

# What Colab ships, as far as the course needs it; its ipywidgets is version 7.
build/colab/installed:
	$(PYTHON) -m venv build/colab
	build/colab/bin/python -m pip install torch torchvision matplotlib 'ipywidgets<8' tqdm safetensors ipykernel
	touch build/colab/installed

.venv/site: .venv/installed
	$(BIN)/python -m pip install --quiet --editable '.[site]'
	touch .venv/site
