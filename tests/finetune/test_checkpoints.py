"""Does training that was stopped give, bit for bit, what it would have given, or say why not?"""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from reefl_edge.data.augment import Augmentation
from reefl_edge.data.dataset import ArrayDataset
from reefl_edge.errors import DivergenceError, InputError
from reefl_edge.finetune.checkpoints import TrainingCheckpoints
from reefl_edge.finetune.client import ClientResult, train_client
from reefl_edge.finetune.loop import train
from reefl_edge.finetune.modes import DistillMode
from reefl_edge.finetune.state_file import TrainingIdentity, read_state
from reefl_edge.finetune.steppers.base import StepMetrics
from reefl_edge.finetune.training import LocalTraining
from reefl_edge.submodel import Regime
from tests.fakes.images import random_images
from tests.fakes.networks import checkpoint_of, lively_network
from tests.fakes.steppers import FakeStepper
from tests.fakes.submodels import tiny_submodel

MODEL = checkpoint_of(lively_network(tiny_submodel()))
# 7 batches an epoch, the last one partial; or 5, where 4 examples are held out, in 2 batches.
COUNT = 19
DATA = ArrayDataset(random_images(COUNT, edge=20), np.arange(COUNT) % 3, ("a", "b", "c"), 16)
TRAINING = LocalTraining(epochs=3, batch_size=3)


class Stop(Exception):
    """What ends a process that nobody asked first."""


def stopping(step: int, error: type[BaseException]) -> Callable[..., None]:
    """Return what raises after a step."""

    def on_step(done: int, *_: object) -> None:
        if done == step:
            raise error

    return on_step


def finetune(
    folder: Path | None,
    *,
    training: LocalTraining = TRAINING,
    regime: Regime = "frozen",
    every: int = 100,
    resume: bool = True,
    on_step: Callable[..., None] | None = None,
) -> ClientResult:
    checkpoints = (
        None if folder is None else TrainingCheckpoints(folder=folder, every=every, resume=resume)
    )
    return train_client(MODEL, regime, DATA, training, checkpoints=checkpoints, on_step=on_step)


def stopped(folder: Path, *, at: int, **settings: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        finetune(folder, on_step=stopping(at, KeyboardInterrupt), **settings)


def assert_same(actual: ClientResult, expected: ClientResult) -> None:
    assert actual.update.provenance == expected.update.provenance
    assert replace(actual.history, resumed_at=0) == expected.history
    assert actual.update.arrays.keys() == expected.update.arrays.keys()
    for name, array in actual.update.arrays.items():
        np.testing.assert_array_equal(array, expected.update.arrays[name], err_msg=name)


def slots(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, the newest last."""
    return sorted(folder.iterdir(), key=lambda path: read_state(path)[1].num_steps)


@pytest.mark.parametrize("augmentation", get_args(Augmentation))
@pytest.mark.parametrize("distill", get_args(DistillMode))
def test_training_that_is_stopped_again_and_again_gives_what_it_would_have_given(
    distill: DistillMode, augmentation: Augmentation, tmp_path: Path
) -> None:
    training = replace(TRAINING, distill=distill, augmentation=augmentation)
    whole = finetune(None, training=training)

    for step in (1, 7, 10):  # in an epoch and at the end of one
        stopped(tmp_path, at=step, training=training)
    result = finetune(tmp_path, training=training)

    assert result.history.resumed_at == 10
    assert_same(result, whole)


class TornStepper(FakeStepper):
    """Is stopped in the middle of its third step, by a signal that does not wait."""

    def step(self, *batch: Any, **settings: Any) -> StepMetrics:
        """Take two steps, and half of one."""
        metrics = super().step(*batch, **settings)
        if metrics.loss == 3:
            raise KeyboardInterrupt
        return metrics


def test_half_a_step_is_not_kept(tmp_path: Path) -> None:
    stopped(tmp_path, at=1)
    (path,) = tmp_path.iterdir()
    identity, _ = read_state(path)
    path.unlink()
    checkpoints = TrainingCheckpoints(folder=tmp_path, every=2).opened(identity)

    with pytest.raises(KeyboardInterrupt):
        train(TornStepper(identity.submodel), DATA, TRAINING, checkpoints=checkpoints)

    assert [read_state(each)[1].num_steps for each in tmp_path.iterdir()] == [2]


@pytest.mark.parametrize("regime", ["full", "lora"])
def test_training_of_any_regime_goes_on(regime: Regime, tmp_path: Path) -> None:
    whole = finetune(None, regime=regime)

    stopped(tmp_path, at=5, regime=regime)

    assert_same(finetune(tmp_path, regime=regime), whole)


def test_what_ends_unasked_goes_on_from_the_last_checkpoint_that_was_due(tmp_path: Path) -> None:
    with pytest.raises(Stop):
        finetune(tmp_path, every=3, on_step=stopping(8, Stop))

    result = finetune(tmp_path, every=5)

    assert result.history.resumed_at == 6
    assert_same(result, finetune(None))


def test_training_without_a_checkpoint_yet_begins(tmp_path: Path) -> None:
    result = finetune(tmp_path / "new")

    assert result.history.resumed_at == 0
    assert_same(result, finetune(None))


def test_training_that_is_done_gives_its_update_again_without_a_step(tmp_path: Path) -> None:
    whole = finetune(tmp_path)

    again = finetune(tmp_path, on_step=stopping(21, AssertionError))

    assert again.history.resumed_at == 21
    assert_same(again, whole)


def test_a_folder_with_a_checkpoint_is_refused_unless_it_is_to_go_on(tmp_path: Path) -> None:
    stopped(tmp_path, at=2)
    before = [path.read_bytes() for path in slots(tmp_path)]

    with pytest.raises(InputError, match=r"holds a checkpoint of step 2; resume \(--resume\)"):
        finetune(tmp_path, resume=False)

    assert [path.read_bytes() for path in slots(tmp_path)] == before


OTHER_MODEL = checkpoint_of(lively_network(tiny_submodel(), seed=1))
OTHER_PIXELS = replace(DATA, pixels=random_images(COUNT, edge=20)[::-1])
OTHER_LABELS = replace(DATA, labels=(np.arange(COUNT) + 1) % 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": OTHER_MODEL}, r"weights_sha256 is \w{12} there, \w{12} here"),
        ({"source": MODEL.cut(0)}, "submodel.max_exit is 1 there, 0 here"),
        ({"regime": "ssf"}, "submodel.regime is frozen there, ssf here"),
        ({"dataset": OTHER_PIXELS}, r"data_sha256 is \w{12} there, \w{12} here"),
        ({"dataset": OTHER_LABELS}, r"data_sha256 is \w{12} there, \w{12} here"),
        (
            {"training": replace(TRAINING, seed=7, distill="all")},
            "training.distill is dynamic-ma there, all here; training.seed is 0 there, 7 here;",
        ),
        (
            {"training": LocalTraining(epochs=9, server_round=2, batch_size=2, seed=1)},
            "training.server_round is 300 there, 2 here, and 1 more; name another folder",
        ),
    ],
)  # fmt: skip
def test_another_training_is_refused_by_what_differs(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    stopped(tmp_path, at=2)
    own: dict[str, Any] = {"source": MODEL, "regime": "frozen", "dataset": DATA}
    asked = {**own, "training": TRAINING, **change}

    with pytest.raises(InputError, match=f"{tmp_path} is of another training: .*{message}"):
        train_client(**asked, checkpoints=TrainingCheckpoints(folder=tmp_path, resume=True))


def test_another_stepper_is_refused(tmp_path: Path) -> None:
    stopped(tmp_path, at=2)
    (path,) = tmp_path.iterdir()
    identity, _ = read_state(path)

    with pytest.raises(InputError, match="stepper is eager there, onnx here"):
        TrainingCheckpoints(folder=tmp_path, resume=True).opened(replace(identity, stepper="onnx"))


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)


def edited(path: Path) -> None:
    content = path.read_bytes()
    assert b"has_uint32" in content
    path.write_bytes(content.replace(b'has_uint32\\":0', b'has_uint32\\":1', 1))


def exchanged(path: Path) -> None:
    np.savez(path.with_suffix(".npz"), images=random_images(1))
    path.with_suffix(".npz").replace(path)


DAMAGES = [cut_short, emptied, flipped, edited, exchanged]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_told_and_the_one_before_it_used(
    damage: Callable[[Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stopped(tmp_path, at=8, every=3)
    before, newest = slots(tmp_path)
    damage(newest)

    with caplog.at_level(logging.WARNING):
        result = finetune(tmp_path)

    assert result.history.resumed_at == 6
    (told,) = caplog.messages
    assert str(newest) in told
    assert told.endswith("the checkpoint of step 6 is used")
    assert_same(result, finetune(None))
    assert read_state(newest)[1].num_steps == 21  # the damaged one was replaced, not the good one
    assert read_state(before)[1].num_steps == 6


@pytest.mark.parametrize("damage", DAMAGES)
def test_where_all_is_damaged_nothing_is_begun_and_nothing_lost(
    damage: Callable[[Path], None], tmp_path: Path
) -> None:
    stopped(tmp_path, at=2)
    (path,) = tmp_path.iterdir()
    damage(path)
    content = path.read_bytes()

    with pytest.raises(InputError, match=rf"{path}.*; remove {tmp_path} to begin anew"):
        finetune(tmp_path)

    assert path.read_bytes() == content


def test_a_checkpoint_of_a_later_version_is_refused(tmp_path: Path) -> None:
    stopped(tmp_path, at=2)
    (path,) = tmp_path.iterdir()
    version = b'schema_version\\":'
    path.write_bytes(path.read_bytes().replace(version + b"1", version + b"9"))

    with pytest.raises(InputError, match="newer than 1, the newest this reefl-edge reads"):
        finetune(tmp_path)


def test_a_loss_that_is_not_finite_ends_training_and_leaves_the_last_good_checkpoint(
    tmp_path: Path,
) -> None:
    training = replace(TRAINING, learning_rate=1e38)

    with pytest.raises(
        DivergenceError,
        match=r"diverged at step 2 of 21, the loss of exit 0 is nan; .* keeps step 1$",
    ):
        finetune(tmp_path, training=training, every=1)

    (path,) = tmp_path.iterdir()
    assert read_state(path)[1].num_steps == 1


def test_arrays_that_are_not_finite_are_not_kept(tmp_path: Path) -> None:
    stopped(tmp_path, at=2)
    (path,) = tmp_path.iterdir()
    identity, state = read_state(path)
    state.arrays["classifier.linear.bias"][1] = np.nan
    later = replace(state, losses=np.append(state.losses, 1.0))
    checkpoints = TrainingCheckpoints(folder=tmp_path, resume=True).opened(identity)

    with pytest.raises(DivergenceError, match=r"at step 3, classifier\.linear\.bias is not"):
        checkpoints.keep(later)

    assert [*tmp_path.iterdir()] == [path]


def test_a_label_outside_the_classes_is_refused_before_anything_is_kept(tmp_path: Path) -> None:
    labels = DATA.labels.copy()
    dataset = replace(DATA, labels=labels)
    labels[3] = 3
    checkpoints = TrainingCheckpoints(folder=tmp_path, every=1)

    with pytest.raises(ValueError, match="labels run from 0 to 3"):
        train_client(MODEL, "frozen", dataset, TRAINING, checkpoints=checkpoints)

    assert [*tmp_path.iterdir()] == []


def test_only_two_checkpoints_are_kept(tmp_path: Path) -> None:
    finetune(tmp_path, every=1)

    assert [read_state(path)[1].num_steps for path in slots(tmp_path)] == [20, 21]


def test_every_must_be_a_step_at_least() -> None:
    with pytest.raises(ValueError, match="every must be at least 1, got 0"):
        TrainingCheckpoints(folder=Path("run"), every=0)


def test_an_identity_travels_as_it_is(tmp_path: Path) -> None:
    training = replace(TRAINING, learning_rate=0.1 + 0.2)
    stopped(tmp_path, at=1, training=training)
    (path,) = tmp_path.iterdir()

    identity, _ = read_state(path)

    assert isinstance(identity, TrainingIdentity)
    assert identity.training == training
    assert identity.submodel == MODEL.submodel.with_regime("frozen")


def test_where_training_stands_is_handed_over_once_and_not_held(tmp_path: Path) -> None:
    stopped(tmp_path, at=2)
    (path,) = tmp_path.iterdir()
    identity, _ = read_state(path)
    checkpoints = TrainingCheckpoints(folder=tmp_path, resume=True).opened(identity)

    first, second = checkpoints.take_state(), checkpoints.take_state()

    assert first is not None
    assert first.num_steps == 2
    assert second is None
