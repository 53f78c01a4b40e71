# Everything a checkout needs: `make demo`, `make check`, `make test`, `make lint`, `make sanitize`, `make bench`, `make gpu`,
# `make docs`, `make site`, `make clean`.
#
# Each target makes the environment it needs first, from Python 3.11+, pip and a C++ compiler; a second run installs
# nothing again. The package is installed in place (pip install -e), so edits in m2t_fast/ and kernels/ take effect at
# once, and a change in csrc/, setup.py or pyproject.toml installs it again.

PYTHON ?= python3
VENV ?= .venv
# Pinned, so that the demo learns the same everywhere; TORCH=torch takes the newest. On Linux pip's usual index holds the
# CUDA build (gigabytes); with PIP_EXTRA_INDEX_URL set to PyTorch's index of CPU wheels pip takes the CPU build instead.
TORCH ?= torch==2.13.0
# Added to pytest's arguments, e.g. PYTEST_ARGS="-m 'not slow'", or "-k 'kit and not compile'" for a short `make bench`.
PYTEST_ARGS ?=
# The tests of `make check`.
CORE = tests/test_captioner.py tests/test_losses.py tests/data tests/ops/decoding tests/motion/test_read.py tests/ops/test_ops.py \
  tests/test_run_folder.py tests/captioning tests/cli/test_main.py tests/cli/test_options.py tests/cli/test_caption.py

PIP = $(VENV)/bin/python -m pip install --disable-pip-version-check -qq
BUILD_FILES = setup.py pyproject.toml MANIFEST.in m2t_fast/_version.py $(wildcard csrc/*.cpp csrc/*/*.cpp csrc/*/*.cu csrc/*/*.h)

.PHONY: demo check test fuzz hostile torture lint sanitize bench gpu gpu-rehearsal gpu-bundle docs site release clean
.SUFFIXES:

# The folder of the last demo makes room for the new one; the command itself never overwrites.
demo: $(VENV)/.installed-plot
	@rm -rf demo
	@$(VENV)/bin/m2t-fast demo --output demo

# Every test, one worker process per core and one thread per worker (PYTEST_ARGS="-n 0" for one process). They start some
# hundred processes, each of which would compile the package anew where PYTHONDONTWRITEBYTECODE is set.
test: export OMP_NUM_THREADS = 1
test: $(VENV)/.installed-dev
	@$(VENV)/bin/python -m compileall -q m2t_fast kernels tests/helpers
	@$(VENV)/bin/python -m pytest -n auto --dist worksteal $(PYTEST_ARGS)

# The inner loop, in less than two minutes on two cores: lint, types, and tests that touch every layer once.
check: export OMP_NUM_THREADS = 1
check: lint
	@$(VENV)/bin/python -m pytest -n auto --dist worksteal -m "not slow and not interpreted" $(CORE) $(PYTEST_ARGS)

lint: $(VENV)/.installed-dev
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports --no-cache
	@git ls-files '*.cpp' '*.cu' '*.h' '*.cuh' | xargs $(VENV)/bin/clang-format --dry-run --Werror

# Damages every kind of file that a command reads, for that long; what fails is kept in build/fuzz.
SECONDS ?= 60
SEED ?= 0
fuzz: export OMP_NUM_THREADS = 1
fuzz: $(VENV)/.installed-dev
	@$(VENV)/bin/python tests/helpers/fuzz.py $(SECONDS) $(SEED)

# Calls of every op with hostile tensors and options, on a copy of the extension built with the sanitizers.
COUNT ?= 5000
hostile: $(VENV)/.installed-dev
	@.ci/sanitize $(VENV) tests/helpers/hostile.py $(COUNT) $(SEED)

# Every command with a full disk from, with a kill at, and with another process beside it at every change of a file.
torture: export OMP_NUM_THREADS = 1
torture: $(VENV)/.installed-dev
	@$(VENV)/bin/python tests/helpers/torture.py

# The C++ code's tests on a copy built with AddressSanitizer and UndefinedBehaviorSanitizer (GCC on Linux).
sanitize: $(VENV)/.installed-dev
	@.ci/sanitize $(VENV)

bench: $(VENV)/.installed-dev
	@$(VENV)/bin/python -m pytest benchmarks --benchmark-only $(PYTEST_ARGS)

# The gallery and the tables of docs/, from two runs that differ in their guidance and in their epochs (unguided training
# learns more slowly); one thread, so that sums are the same.
docs: export OMP_NUM_THREADS = 1
docs: TRAIN = --data synthetic --preset kit --learning-rate 0.002 --teacher-forcing 0.9 --batch-size 32 --seed 0
docs: RUNS = build/docs/guided build/docs/unguided --data synthetic
docs: $(VENV)/.installed-plot
	@rm -rf build/docs
	@$(VENV)/bin/m2t-fast train $(TRAIN) --epochs 15 --output build/docs/guided
	@$(VENV)/bin/m2t-fast train $(TRAIN) --epochs 40 --output build/docs/unguided --lambda-spat 0 --lambda-adapt 0
	@$(VENV)/bin/m2t-fast interpret $(RUNS) --words reference --figures none --output build/docs/reference
	@$(VENV)/bin/m2t-fast interpret $(RUNS) --beam-size 2 --samples test_00072 test_00091 --output build/docs/generated
	@$(VENV)/bin/python docs/gallery.py build/docs docs
	@$(VENV)/bin/python docs/motions.py build/docs/guided

# What a release needs beyond the tests: wheel, Clang, aarch64; needs what .ci/release names.
release: $(VENV)/.installed-dev
	@.ci/release $(VENV)

# The documentation site in build/site: every page of docs/ and the API from the docstrings. Offline; a warning is an error.
site: $(VENV)/.installed-dev
	@$(VENV)/bin/python -m sphinx -q -W --keep-going -b html docs build/site
	@echo "build/site/index.html"

# On a machine with an NVIDIA GPU (docs/gpu-run.md): smoke, benchmarks, tests and sanitizer in two phases of 330 s, or
# one of them (PHASE=first, PHASE=second); results as one archive after every step. Nothing is downloaded. Without a
# .venv the Python of PYTHON is used, with its torch, triton and pytest, and m2t_fast straight from this checkout.
PHASE ?= all
GPU_PYTHON ?= $(if $(wildcard $(VENV)/bin/python),$(VENV)/bin/python,$(PYTHON))
gpu:
	@.ci/gpu $(GPU_PYTHON) $(PHASE)

# Without one: the whole of it on a stand-in, with faults injected; in less than 3 minutes on two cores.
gpu-rehearsal: $(VENV)/.installed-dev
	@$(VENV)/bin/python benchmarks/gpu_rehearsal.py

# What a bare machine lacks, in build/gpu-bundle: wheels, and the extension with CUDA kernels, for BUNDLE_PYTHON.
BUNDLE_PYTHON ?= python3.12
gpu-bundle:
	@$(GPU_PYTHON) benchmarks/gpu_bundle.py --python $(BUNDLE_PYTHON)

# Not the run folders: what was trained stays.
clean:
	rm -rf $(VENV) build dist m2t_fast.egg-info m2t_fast/_native*.so
	rm -rf .benchmarks .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/.torch:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "m2t_fast needs Python 3.11 or newer, and " \
	  + sys.executable + " is " + sys.version.split()[0] + ": make PYTHON=/path/to/python3.11")'
	@echo "Making $(VENV) and installing $(TORCH) (a download of 0.2 to 3 GB)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) "$(TORCH)"
	@touch $@

# Built once: an extra adds what it requires to the package that is installed already.
$(VENV)/.installed: $(VENV)/.torch $(BUILD_FILES)
	@echo "Building and installing m2t_fast"
	@$(PIP) -e .
	@$(VENV)/bin/python -c 'from m2t_fast import native; \
	  print("Native extension:", native.why_unavailable() or "built with " + native.build_info()["compiler"])'
	@touch $@

$(VENV)/.installed-%: $(VENV)/.installed
	@echo "Installing what m2t_fast[$*] requires"
	@$(PIP) "m2t_fast[$*]"
	@touch $@
