# Everything starts here: `make` lists the targets. Each of them first brings .venv up to date, so `make repro` and
# `make test` work in a fresh clone. Wanted: make, and a Python from 3.11 to 3.13 with venv (another one: PYTHON=...).

SHELL := /bin/sh
export SHELL  # dvc starts its stages with $SHELL, which is not a shell for every account
export PATH := $(CURDIR)/.venv/bin:$(PATH)
unexport PYTHONPATH PYTHONHOME

# Without a HOME to write to, everything that wants one gets it here.
ifneq ($(shell test -d "$$HOME" && test -w "$$HOME" && echo yes),yes)
export HOME := $(CURDIR)/.cache/home
export DVC_SITE_CACHE_DIR := $(CURDIR)/.cache/dvc
endif

# Old and new pips alike build the two packages that come as source in isolation, with the pinned setuptools.
export PIP_USE_PEP517 := 1
export PIP_CONSTRAINT := requirements.lock
export PIP_BUILD_CONSTRAINT := requirements.lock
PIP := .venv/bin/python -m pip --quiet --disable-pip-version-check
.PHONY: help repro report pdf lab size carry test test-all lint lock clean setup

help:
	@awk -F ':.*## ' '/^[a-z%-]+:.*## /{ sub("%", "NAME", $$1); printf "  make %-14s %s\n", $$1, $$2 }' Makefile

repro: setup  ## run what is out of date of the whole pipeline; print Table 1 and where the report lies
	@.venv/bin/python -m masksr check
	@.venv/bin/python -m dvc repro
	@.venv/bin/python -m masksr summary

report: setup  ## the report alone, with what it needs
	@.venv/bin/python -m masksr check
	@.venv/bin/python -m dvc repro report
	@.venv/bin/python -m masksr summary

pdf: report  ## the report as results/NAME/report.pdf, printed by Chromium (another one: CHROMIUM=...)
	@.venv/bin/python -m masksr pdf

lab: setup  ## open the notebooks in JupyterLab
	@.venv/bin/python -m jupyterlab --ContentsManager.pre_save_hook=masksr.tools.lab.keep_metadata \
	  $$([ "$$(id -u)" != 0 ] || echo --allow-root)

test: setup  ## the tests, but for the slow ones
	@.venv/bin/python -m pytest -m "not slow"

test-all: setup  ## all tests
	@.venv/bin/python -m pytest

lint: setup  ## ruff, no outputs in notebooks/, and imports that go one way
	@.venv/bin/python -m ruff check
	@.venv/bin/nbstripout --verify --keep-id notebooks/*.ipynb
	@.venv/bin/lint-imports --no-logo --no-cache

profile-%: profiles/%.yaml  ## copy profiles/NAME.yaml (mini, real, real_pesr, real_figure5, real_flat, real_both, study, paper) to params.yaml
	@known=$(filter 1,$(FORCE)); \
	for profile in profiles/*.yaml; do cmp -s params.yaml "$$profile" && known=1; done; \
	if [ -e params.yaml ] && [ -z "$$known" ]; then \
	  echo "params.yaml holds changes of your own. Keep them: cp params.yaml profiles/mine.yaml" \
	    "Drop them: make $@ FORCE=1" >&2; exit 1; \
	fi; \
	cp $< params.yaml && echo "params.yaml is now $<"

size:  ## lines and files of masksr, tests, benchmarks; the longest file and line
	@for part in masksr tests benchmarks; do \
	  git ls-files -z "$$part/*.py" | xargs -0 awk -v part="$$part" 'FNR == 1 { files++ } { lines++; n[FILENAME]++ } \
	    length > widest { widest = length } END { for (f in n) if (n[f] > n[longest]) longest = f; \
	    print part ": " lines " lines, " files " files, longest " longest " (" n[longest] "), longest line " widest }'; \
	done; awk 'END { print "README: " NR " lines" }' README.md

carry: setup  ## build carry/, for the first minutes on a GPU machine without a network (docs/gpu.md)
	@.venv/bin/python -m benchmarks.carry

lock:  ## resolve requirements.lock again from pyproject.toml (needs uv); pins stay where they still fit
	@uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --quiet \
	  --no-emit-index-url --no-annotate --custom-compile-command 'make lock' --output-file requirements.lock

clean:  ## remove what runs made: data, weights, trainings, caches; not the environment, not results in git
	@for made in runs data/sets data/weights results/*/report.html results/*/report.json results/*/report.pdf results/*/times.csv \
	    .cache .dvc/cache .dvc/tmp .pytest_cache .hypothesis .ruff_cache; do \
	  if [ -e "$$made" ]; then echo "removing $$made"; rm -rf "$$made"; fi; \
	done

# .venv/made-from tells where the environment was made and from what; while that holds, nothing is done.
setup:
	@set -e; \
	made_from() { pwd -P; cat requirements.lock pyproject.toml; }; \
	runs() { .venv/bin/python -c ''; } 2>/dev/null; \
	if ! runs || ! made_from | cmp -s - .venv/made-from; then \
	  if ! runs || [ "$$(head -n 1 .venv/made-from 2>/dev/null)" != "$$(pwd -P)" ]; then \
	    rm -rf .venv; \
	    for python in "$(PYTHON)" python3 python3.13 python3.12 python3.11 python ""; do \
	      fits='import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))'; \
	      if "$$python" -c "$$fits" 2>/dev/null; then break; fi; \
	    done; \
	    if [ -z "$$python" ]; then \
	      echo "No Python from 3.11 to 3.13 with venv was found. Install one (on Debian and Ubuntu also" \
	        "python3-venv), or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; \
	    fi; \
	    "$$python" -m venv .venv; \
	  fi; \
	  rm -f .venv/made-from; mkdir -p "$$HOME"; \
	  echo "Installing requirements.lock into .venv; the first time this takes some minutes and 8 GB of disk."; \
	  $(PIP) install --requirement requirements.lock; \
	  $(PIP) install --no-deps --no-build-isolation --editable .; \
	  made_from > .venv/made-from; \
	fi; \
	[ -e .git ] || grep -qs no_scm .dvc/config.local || .venv/bin/python -m dvc config --local core.no_scm true
