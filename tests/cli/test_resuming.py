"""``reefl-edge finetune`` with ``--checkpoint`` and ``--resume``, and what it shows meanwhile."""

import errno
import os
import re
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from reefl_edge.checkpoints.checkpoint import read_checkpoint
from reefl_edge.cli import render
from reefl_edge.cli.training_progress import steps_on
from reefl_edge.finetune.compiled import CompiledName, StepperName
from reefl_edge.finetune.modes import DistillMode
from reefl_edge.finetune.state_file import num_steps_in
from reefl_edge.finetune.steppers.base import StepMetrics
from reefl_edge.runtimes.base import default_threads
from reefl_export.bundle import Origin, export_checkpoint
from reefl_export.recipe import stock
from reefl_export.training import TrainingPlan
from tests.cli.conftest import Type, Typed
from tests.fakes.images import random_images

by_each_stepper = pytest.mark.parametrize(
    "stepper",
    [
        "eager",
        "onnx",
        pytest.param(
            "executorch",
            marks=[
                pytest.mark.slow,
                pytest.mark.skipif(
                    find_spec("executorch") is None, reason="executorch makes the program"
                ),
            ],
        ),
    ],
)


@pytest.fixture
def stepper() -> StepperName:
    """What trains where a test does not say."""
    return "eager"


@pytest.fixture(scope="module")
def bundle_for(
    home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[CompiledName], Path]:
    """Return a bundle of the model with a step of four images; each is made once."""
    folder = tmp_path_factory.mktemp("bundles")

    @cache
    def made(target: CompiledName) -> Path:
        plan = TrainingPlan(regimes=("frozen",), batch_size=4, targets=(target,))
        export_checkpoint(
            read_checkpoint(home / "model.safetensors"),
            folder / target,
            stock(["onnx"]),
            Origin(name="model"),
            training=plan,
        )
        return folder / target

    return made


@pytest.fixture
def finetune(
    stepper: StepperName,
    bundle_for: Callable[[CompiledName], Path],
    type_command: Type,
    home: Path,
    tmp_path: Path,
) -> Type:
    """Type ``finetune`` with further options: 3 steps an epoch, 12 in all."""
    model = home / "model.safetensors" if stepper == "eager" else bundle_for(stepper)
    # onnxruntime's one pool in this process has the threads that the export ran with.
    threads = 1 if stepper == "eager" else default_threads()

    def typed(*options: object) -> Typed:
        return type_command(
            *("finetune", model, "--runtime", stepper, "--data", home / "data.npz"),
            *("-o", tmp_path / "update.safetensors", "--threads", threads),
            *("--epochs", 4, "--batch-size", 4, *options),
        )

    return typed


@contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    """Let no file grow beyond a size, as on a full disk: the system's "file too large"."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


@by_each_stepper
def test_the_same_line_begins_goes_on_and_is_done(finetune: Type, tmp_path: Path) -> None:
    run, update = tmp_path / "run", tmp_path / "update.safetensors"
    plain = finetune("--json").document
    content = update.read_bytes()

    first, second = (finetune("--checkpoint", run, "--resume", "--json") for _ in range(2))

    assert f"{run} keeps no step yet: training begins" in first.stderr
    assert f"{run} keeps step 12" in second.stderr
    assert first.document == plain
    assert second.document == {**plain, "resumed_at": 12}
    assert update.read_bytes() == content


def test_a_folder_in_use_is_refused_before_the_model_is_opened(
    finetune: Type, type_command: Type, home: Path, tmp_path: Path
) -> None:
    finetune("--checkpoint", tmp_path / "run")

    typed = type_command(
        *("finetune", home / "missing.safetensors", "--data", home / "data.npz"),
        *("-o", tmp_path / "other.safetensors", "--checkpoint", tmp_path / "run"),
    )

    assert typed.exit_code == 3
    assert "holds a checkpoint of step 12; resume (--resume) goes on from it" in typed.stderr


@by_each_stepper
def test_another_training_is_refused_in_one_line(finetune: Type, tmp_path: Path) -> None:
    finetune("--checkpoint", tmp_path / "run")

    typed = finetune("--checkpoint", tmp_path / "run", "--resume", "--seed", 5)

    assert typed.exit_code == 3
    assert "error: " in typed.stderr.splitlines()[-1]
    assert "training.seed is 0 there, 5 here; name another folder" in typed.stderr


def test_a_training_with_another_stepper_is_another_one(
    finetune: Type,
    bundle_for: Callable[[CompiledName], Path],
    type_command: Type,
    home: Path,
    tmp_path: Path,
) -> None:
    finetune("--checkpoint", tmp_path / "run")

    typed = type_command(
        *("finetune", bundle_for("onnx"), "--data", home / "data.npz", "--epochs", 4),
        *("-o", tmp_path / "other.safetensors", "--checkpoint", tmp_path / "run", "--resume"),
    )

    assert typed.exit_code == 3
    assert "is of another training: stepper is eager there, onnx here; name" in typed.stderr


@by_each_stepper
def test_a_label_of_no_class_is_refused_and_nothing_kept(finetune: Type, tmp_path: Path) -> None:
    np.savez(tmp_path / "bad.npz", images=random_images(2), labels=np.array([0, 3]))

    typed = finetune("--data", tmp_path / "bad.npz", "--checkpoint", tmp_path / "run")

    assert typed.exit_code == 3
    assert "labels run from 0 to 3" in " ".join(typed.stderr.split())
    assert [each.name for each in tmp_path.iterdir()] == ["bad.npz"]


@pytest.mark.parametrize(
    ("options", "exit_code", "message"),
    [
        (("--resume",), 2, "say from which folder with --checkpoint"),
        (("--checkpoint-every", 5), 2, "say in which folder with --checkpoint"),
        (("--checkpoint", "run", "--checkpoint-every", 0), 2, "--checkpoint-every"),
        (("--checkpoint", "/proc/nowhere/run"), 3, "no such file or directory"),
        (("--checkpoint", __file__), 3, "not a directory"),
    ],
)
def test_checkpoints_that_cannot_be_are_refused(
    finetune: Type, tmp_path: Path, options: tuple[object, ...], exit_code: int, message: str
) -> None:
    typed = finetune(*options)

    assert typed.exit_code == exit_code
    assert message in " ".join(typed.stderr.replace("│", "").split())
    assert [*tmp_path.iterdir()] == []


@by_each_stepper
def test_a_full_disk_leaves_the_last_good_checkpoint(finetune: Type, tmp_path: Path) -> None:
    each_step = ("--checkpoint-every", 1)
    finetune("--checkpoint", tmp_path / "whole", *each_step)
    update = (tmp_path / "update.safetensors").read_bytes()
    (tmp_path / "update.safetensors").unlink()
    # Every step adds its loss: the last checkpoint is the first that has no room.
    size_before_last = min(path.stat().st_size for path in (tmp_path / "whole").iterdir())
    run = tmp_path / "run"

    with files_of_at_most(size_before_last):
        typed = finetune("--checkpoint", run, *each_step)

    assert typed.exit_code == 3
    error = typed.stderr.splitlines()[-1]
    assert error.startswith(f"error: {run}/training-")
    assert error.endswith(os.strerror(errno.EFBIG).lower())
    assert sorted(num_steps_in(path) for path in run.iterdir()) == [10, 11]
    assert not (tmp_path / "update.safetensors").exists()
    resumed = finetune("--checkpoint", run, *each_step, "--resume", "--json")
    assert resumed.document["resumed_at"] == 11
    assert (tmp_path / "update.safetensors").read_bytes() == update


@by_each_stepper
def test_training_that_diverges_says_where_and_what_is_kept(finetune: Type, tmp_path: Path) -> None:
    run = tmp_path / "run"

    typed = finetune("--checkpoint", run, "--checkpoint-every", 1, "--lr", "1e38")

    assert typed.exit_code == 6
    error = typed.stderr.splitlines()[-1]
    assert re.fullmatch(
        rf"error: training diverged at step 2 of 12, the loss of exit 0 is \S+; "
        rf"lower the learning rate, and name another --checkpoint folder; {run} keeps step 1",
        error,
    )
    assert not (tmp_path / "update.safetensors").exists()


def test_a_terminal_shows_losses_and_who_teaches(
    finetune: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")

    typed = finetune()

    shown = re.sub(r"\x1b\[[0-9;?]*\w", "", typed.stderr)
    assert re.search(r"12/12 .* loss \d\.\d{3} \d\.\d{3}, exit [01] teaches, \d+ MiB", shown)


def test_a_log_tells_now_and_then_how_far_training_is(
    finetune: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render, "_TOLD_EVERY_S", 0.0)

    lines = finetune("--distill", "none").stderr.splitlines()

    assert lines[0] == "fine-tune"
    assert re.fullmatch(
        r"fine-tune: 3 of 12 after \d+ s, loss \d\.\d{3} \d\.\d{3}, \d+ MiB", lines[3]
    )


class NotedBar:
    """Notes what it is to show."""

    def __init__(self) -> None:
        self.details: list[str] = []

    def step(self, _done: int, _total: int, detail: str = "") -> None:
        """Note the detail."""
        self.details.append(detail)

    def say(self, description: str) -> None:
        """Take no notice."""


@pytest.mark.parametrize(
    ("distill", "told"),
    [
        ("none", "loss 1.500 0.250, "),
        ("all", "loss 1.500 0.250, all teach, "),
        ("forward", "loss 1.500 0.250, exit 1 teaches, "),
    ],
)
def test_a_step_is_told_by_its_losses_and_teacher(distill: DistillMode, told: str) -> None:
    bar = NotedBar()
    losses = np.array([1.5, 0.25], np.float32)

    steps_on(bar, distill)(1, 2, StepMetrics(loss=2.0, exit_losses=losses, teacher_index=1))

    (detail,) = bar.details
    assert re.fullmatch(re.escape(told) + r"\d+ MiB", detail)
