"""Trainings as real processes, killed and gone on with, by whatever stepper.

The network is tiny and its images are noise: what takes time is the start of a process.
"""

import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import pytest

from reefl_edge.bundles.artifacts import Target
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.checkpoints.checkpoint import Checkpoint, write_checkpoint
from reefl_edge.finetune.checkpoints import TrainingCheckpoints
from reefl_edge.finetune.state_file import read_state
from reefl_edge.models.arrays import arrays_of, random_network
from reefl_export.bundle import Origin, export_checkpoint
from reefl_export.recipe import stock
from reefl_export.training import TrainingPlan
from tests.bare import BARE_PYTHON, SOURCES
from tests.fakes.images import random_images
from tests.fakes.submodels import tiny_submodel
from tests.workplaces import Workplace

NUM_STEPS = 600
# Of the steps that are left, a process that is to be stopped takes this share at most.
_LONGEST_SHARE = 0.4
_LONGEST_S = 120


@dataclass(frozen=True, slots=True)
class StepperCase:
    """How a command trains.

    Attributes:
        python: Which interpreter runs it.
        model: What it trains, of what ``write_inputs`` writes.
        options: What else it is told.
    """

    python: Path
    model: str
    options: tuple[str, ...] = ()


# What trains without torch runs in the bare environment: it starts faster.
STEPPERS = {
    "eager": StepperCase(Path(sys.executable), "model.safetensors"),
    "onnx": StepperCase(BARE_PYTHON, "bundle"),
    "executorch": StepperCase(Path(sys.executable), "bundle", ("--runtime", "executorch")),
}


def write_inputs(folder: Path, *, target: Target = "onnx") -> None:
    """Write a model, as a file and as a bundle that trains with a format's step, and data."""
    network = random_network(tiny_submodel(num_blocks=2), seed=0)
    checkpoint = Checkpoint(submodel=network.submodel, arrays=arrays_of(network))
    write_checkpoint(checkpoint, folder / "model.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REEFL_EDGE_HOME", str(folder / "cache"))
        export_checkpoint(
            checkpoint,
            folder / "bundle",
            stock(["onnx"]),
            Origin(name="tiny"),
            training=TrainingPlan(regimes=("frozen",), batch_size=2, targets=(target,)),
        )
    np.savez(folder / "data.npz", images=random_images(15), labels=np.arange(15) % 3)


def trainable_bundle(folder: Path) -> Bundle:
    """Write what ``write_inputs`` does, and open the bundle in it."""
    write_inputs(folder)
    return Bundle.open(folder / "bundle")


@dataclass(frozen=True, slots=True)
class Training:
    """A training of 600 steps that keeps every fifth, in a place of its own.

    Attributes:
        case: How it trains.
        inputs: Where ``write_inputs`` wrote.
        workplace: Where it works.
    """

    case: StepperCase
    inputs: Path
    workplace: Workplace

    @property
    def update(self) -> Path:
        """What it writes at the end."""
        return self.workplace.out / "update.safetensors"

    @property
    def checkpoints(self) -> Path:
        """The folder that it keeps its steps in."""
        return self.workplace.out / "run"

    def start(self) -> "subprocess.Popen[str]":
        """Begin it, or go on with it."""
        words = [
            *(self.case.python, "-m", "reefl_edge", "finetune", self.inputs / self.case.model),
            *("--data", self.inputs / "data.npz", "-o", self.update, "--threads", 1),
            # 12 examples, of which 3 are held out: the contest has a position of its own.
            *("--epochs", NUM_STEPS // 6, "--batch-size", 2),
            *("--distill", "dynamic", "--augment", "crop-flip", *self.case.options),
            *("--checkpoint", self.checkpoints, "--checkpoint-every", 5, "--resume"),
        ]
        return subprocess.Popen(
            [str(word) for word in words],
            env={**self.workplace.environment(), **SOURCES, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self) -> bytes:
        """Let it come to its end; return the update file."""
        process = self.start()
        _, told = process.communicate(timeout=_LONGEST_S)
        assert process.returncode == 0, told
        return self.update.read_bytes()

    def assert_tidy(self) -> None:
        """Hold what lies there to what is to stay."""
        assert self.workplace.unfinished() == []
        assert sorted(self.workplace.out.iterdir()) == [self.checkpoints, self.update]
        kept = sorted(path.name for path in self.checkpoints.iterdir())
        assert kept == ["training-a.safetensors", "training-b.safetensors"]

    def num_kept(self) -> int:
        """Return how many steps the newest checkpoint has, once all that lie there were read."""
        paths = self.checkpoints.glob("*.safetensors")
        return max((read_state(path)[1].num_steps for path in paths), default=0)


def killed_again_and_again(training: Training, random: Random, *, num_kills: int) -> None:
    """Kill a training and let it go on, so many times; nothing that it leaves is torn."""
    for _ in range(num_kills):
        before = training.num_kept()
        is_starting = random.random() < 0.25
        code, _ = stopped(training, random, signal.SIGKILL, is_starting=is_starting)
        assert code in (0, -signal.SIGKILL)
        assert training.num_kept() >= before


def stopped(
    training: Training, random: Random, number: signal.Signals, *, is_starting: bool = False
) -> tuple[int, str]:
    """Stop a training at a random moment, while it starts or later.

    Returns:
        Its exit code, and what it told.
    """
    before = training.num_kept()
    process = training.start()
    if is_starting:
        _wait(process, random.random())
    else:
        most = int(_LONGEST_SHARE * (NUM_STEPS - before))
        _wait_for_step(training, process, before + random.randint(1, max(1, most)))
        _wait(process, 0.02 * random.random())  # somewhere in the steps to the next, or its writing
    process.send_signal(number)
    _, told = process.communicate(timeout=_LONGEST_S)
    return process.returncode, told


def _wait_for_step(training: Training, process: "subprocess.Popen[str]", step: int) -> None:
    """Wait until a training keeps a step, or has ended."""
    checkpoints = TrainingCheckpoints(folder=training.checkpoints)
    until = time.monotonic() + _LONGEST_S
    while process.poll() is None and (checkpoints.num_steps() or 0) < step:
        assert time.monotonic() < until
        time.sleep(0.002)


def _wait(process: "subprocess.Popen[str]", duration_s: float) -> None:
    with suppress(subprocess.TimeoutExpired):
        process.wait(duration_s)
