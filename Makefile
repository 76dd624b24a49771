# make train [ARGS="model=fcn8s backbone=googlenet"]   train and score; needs no account and no data set
# make test  [ARGS="-k crop"]                          lint, type checks and quick tests
# make test-next                                      quick tests on the coming Hydra and OmegaConf
# make test-reliability                               interruptions, invalid input, system errors
# make docs-numbers [ARGS="make_train bounds"]        measure again the figures that docs/measured.yaml lists
# Each first installs the packages pinned in requirements.lock into .venv, unless .venv is up to date.
# make audit                                          known vulnerabilities of the pinned packages; needs network
# make setup TORCH=cpu                                 torch without CUDA: gigabytes less; docs/QUESTIONS.md

PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
TORCH ?=
# The lock pins CUDA's packages for torch's usual build, and the digest of every file that a registry
# may serve; another build of torch has other packages, or none, and other digests.
LOCKED = $(if $(TORCH),sed -E '/^ +--hash/d; s/ \\$$//; /^(cuda|nvidia|triton)/d' requirements.lock,cat requirements.lock)
BACKEND = $(if $(filter-out registry,$(TORCH)),--torch-backend=$(TORCH))

.PHONY: setup train test test-next test-reliability docs-numbers lock audit clean

setup: .venv/installed

.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is older than Python 3.11; try make PYTHON=python3.12 ..."; exit 1; }
	@echo "installing into .venv ($(if $(TORCH),torch=$(TORCH),several gigabytes), once)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(LOCKED) | $(BIN)/uv pip install --quiet --python $(BIN)/python $(BACKEND) -r - $(if $(BACKEND),|| { echo "error: TORCH=$(TORCH) is not installed; docs/QUESTIONS.md says how without PyTorch's own index"; exit 1; })
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

train: setup
	@$(BIN)/python -m fcnexp.train $(ARGS)

test: setup
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --quiet --check
	@$(BIN)/mypy
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses=auto --dist=loadfile $(ARGS)

# Beside the pinned packages, so that .venv stays as it is.
test-next: setup
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --target .venv/next --upgrade --no-deps --prerelease=allow 'hydra-core>=1.4.0rc1' 'omegaconf>=2.4.0rc1'
	@OMP_NUM_THREADS=1 PYTHONPATH=$(CURDIR)/.venv/next $(BIN)/python -m pytest --numprocesses=auto --dist=loadfile $(ARGS)

test-reliability: setup
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/reliability --numprocesses=auto -m "not gpu" $(ARGS)

docs-numbers: setup
	@$(BIN)/python tests/docs_numbers.py $(ARGS)

lock: setup
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --upgrade pyproject.toml --extra dev --generate-hashes --no-header --no-annotate --output-file requirements.lock

audit: setup
	@$(BIN)/uv tool run pip-audit --requirement requirements.lock --disable-pip --require-hashes --strict $(ARGS)

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache
