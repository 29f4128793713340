# make demo   the main job on real handwriting     make test   checks and the quick tests
# make check  lint, types, import rules            make lock   pin the dependencies anew
# make test-slow   what is repeated: mutated files, kills (PYTEST_ARGS goes to pytest in both)
# make bench  measure again, for docs/benchmarks   (on a machine with nothing else to do)
# make bench BASE=COMMIT ONLY=training_step,export_speed   in turns with another commit's tree
# make test-arm64   the ONNX artifacts on an emulated Raspberry Pi, and the agent for arm64 (Debian:
#                   qemu-user-static, debootstrap; takes 0.5 GB of the user's cache folder)
#
# The first call makes .venv with the pinned dependencies; it is skipped while nothing changed.
# INT8_ARGS='--model M --update U --data D' lets bench measure the accuracy of int8, too;
# CALIBRATING_ARGS='--bundle B --data D' how long calibrating takes.
# TORCH_BACKEND=cpu takes PyTorch's CPU wheels (0.2 GB instead of 4.7) from PyTorch's own index.

PYTHON ?= python3
TORCH_BACKEND ?=
INT8_ARGS ?=
CALIBRATING_ARGS ?=
BASE ?=
ONLY ?= training_step,export_speed
AGAINST_ARGS ?=

UV := $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)
BIN := .venv/bin
LOCKED := --require-hashes --no-deps
STAMP := .venv/.stamp
# -rs: the log says what was skipped, and why.
PYTEST := $(BIN)/python -m pytest -rs --numprocesses 2 --dist loadfile

# Whatever the environment says, bytecode is kept: without it, every process that a test starts compiles
# PyTorch's modules anew, which takes longer than most tests.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo test test-slow test-arm64 check format bench bench-docs lock clean

demo: setup
	$(BIN)/reefl-edge demo --output demo-out

test: check
	$(PYTEST) -m "not slow" $(PYTEST_ARGS)

test-slow: setup
	$(PYTEST) -m slow $(PYTEST_ARGS)

test-arm64: setup
	UV=$(abspath $(UV)) REEFL_EDGE_ARM64=1 $(BIN)/python -m pytest -rs tests/arm64

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup
ifneq ($(BASE),)
	$(BIN)/python -m benchmarks.against $(BASE) --only $(ONLY) $(AGAINST_ARGS)
else
	$(BIN)/python -m benchmarks.training_step
	$(BIN)/python -m benchmarks.compiled_step
	$(BIN)/python -m benchmarks.executorch_step
	$(BIN)/python -m benchmarks.export_build
	$(BIN)/python -m benchmarks.export_command
	$(BIN)/python -m benchmarks.export_size
	$(BIN)/python -m benchmarks.export_speed
	$(BIN)/python -m benchmarks.reexport
	$(BIN)/python -m benchmarks.applying
	$(BIN)/python -m benchmarks.batches
	$(BIN)/python -m benchmarks.inference
	$(BIN)/python -m benchmarks.growth
	$(BIN)/python -m benchmarks.verdicts
	$(BIN)/python -m benchmarks.cost_model
	$(BIN)/python -m benchmarks.links
	$(BIN)/python -m benchmarks.federated_average
	$(BIN)/python -m benchmarks.federated_overhead
	$(BIN)/python -m benchmarks.federated_scale
	$(BIN)/python -m benchmarks.federated_wire
	$(BIN)/python -m benchmarks.thresholds
	$(BIN)/python -m benchmarks.calibrating $(CALIBRATING_ARGS)
	$(BIN)/python -m benchmarks.int8_accuracy $(INT8_ARGS)
	$(BIN)/python -m benchmarks.tables
endif

bench-docs: setup
	$(BIN)/python -m benchmarks.tables

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

setup: $(STAMP)

$(STAMP): requirements.lock requirements-bare.lock requirements-node.lock pyproject.toml | $(UV)
	@echo "Setting up .venv: about half a minute, and 5.8 GB with PyTorch's default wheels"
	$(UV) venv --quiet --clear --python $(PYTHON) .venv
ifeq ($(TORCH_BACKEND),)
	$(UV) pip install --python $(BIN)/python $(LOCKED) -r requirements.lock
else
	$(UV) pip install --python $(BIN)/python --torch-backend $(TORCH_BACKEND) \
	  --no-verify-hashes -c requirements.lock --group dev '.[all]'
endif
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@# The bare install, without torch and with the newest Typer, which Flower bounds in .venv; and
	@# that of a federation's node, with Flower beside it: tests run both.
	$(UV) venv --quiet --clear --python $(PYTHON) .venv-bare
	$(UV) pip install --quiet --python .venv-bare/bin/python $(LOCKED) -r requirements-bare.lock
	$(UV) venv --quiet --clear --python $(PYTHON) .venv-node
	$(UV) pip install --quiet --python .venv-node/bin/python $(LOCKED) -r requirements-node.lock
	@touch $@

.uv/bin/uv:
	$(PYTHON) -m venv .uv
	.uv/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.9

lock: | $(UV)
	$(UV) pip compile --quiet --no-header --universal --python-version 3.11 --generate-hashes \
	  --extra all --group dev pyproject.toml -o requirements.lock
	$(UV) pip compile --quiet --no-header --universal --python-version 3.11 --generate-hashes \
	  pyproject.toml -o requirements-bare.lock
	$(UV) pip compile --quiet --no-header --universal --python-version 3.11 --generate-hashes \
	  --extra node pyproject.toml -o requirements-node.lock

clean:
	rm -rf .venv .venv-bare .venv-node .uv demo-out dist
