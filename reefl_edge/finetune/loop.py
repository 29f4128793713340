"""How does a client go through its examples, step after step?

Epochs, shuffling, augmentation, which exit teaches: numpy alone. What a step computes, and with
what, is the stepper's. Nothing is kept from one round to the next: weights come from the server,
running losses start at zero. Within a round, training that was stopped goes on from a checkpoint
as if it had not been.

Source: royson/reefl 61b18c1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from reefl_edge.data.augment import Augmentation, augment
from reefl_edge.data.dataset import Dataset, Images, Indices, num_examples
from reefl_edge.errors import DivergenceError
from reefl_edge.finetune.batches import GivenBatches, ShuffledBatches, check_dataset
from reefl_edge.finetune.checkpoints import OpenCheckpoints
from reefl_edge.finetune.generators import GeneratorState
from reefl_edge.finetune.modes import DistillMode
from reefl_edge.finetune.state import LoopPosition, LoopState
from reefl_edge.finetune.steppers.base import StepMetrics, Stepper
from reefl_edge.finetune.teaching import hold_out, teaching
from reefl_edge.finetune.training import LocalTraining
from reefl_edge.interruption import held_back

# Told of every step: the steps done, those to do in all, and what the step saw.
OnStep = Callable[[int, int, StepMetrics], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What happened, step by step.

    Attributes:
        num_examples: How many were trained on; ``dynamic`` holds some out.
        losses: The loss of every step, before the step.
        teacher_counts: On how many batches each exit taught.
        resumed_at: How many of the steps were taken before training was stopped and went on; 0
            where it began anew.
    """

    num_examples: int
    losses: tuple[float, ...]
    teacher_counts: tuple[int, ...]
    resumed_at: int = 0

    @property
    def num_steps(self) -> int:
        """How many steps were taken."""
        return len(self.losses)


def train(
    stepper: Stepper,
    dataset: Dataset,
    training: LocalTraining,
    *,
    order: Sequence[int] | None = None,
    checkpoints: OpenCheckpoints | None = None,
    on_step: OnStep | None = None,
) -> History:
    """Train on all examples of a client.

    Args:
        stepper: What takes the steps, and holds what is trained.
        dataset: The client's examples; images of the network's size.
        training: The settings.
        order: Which example comes when, as ``drawn_order`` gives it; None to draw it.
        checkpoints: Where training goes on from, and what keeps it; it draws the order itself.
        on_step: Called after every step with the steps done, those to do, and what the step saw.

    Raises:
        ValueError: The dataset is empty or does not fit the network, or is too small for the mode
            of distillation, which the stepper may not know either.
        DivergenceError: A loss is not finite.
        OSError: A checkpoint cannot be written.
    """
    if order is not None and checkpoints is not None:
        raise ValueError("training in an order that was given is not kept in checkpoints")
    loop = _Loop(stepper, dataset, training, order)
    tell = on_step or _tell_nobody
    if checkpoints is None:
        while not loop.is_done:
            metrics = loop.step()
            tell(loop.num_done, loop.num_steps, metrics)
    else:
        _train_kept(loop, checkpoints, tell)
    return loop.history()


def drawn_order(dataset: Dataset, training: LocalTraining) -> Indices:
    """Return which example comes when if nobody says otherwise, all epochs one after the other.

    Of the examples that are trained on: ``dynamic`` holds some out.

    Raises:
        ValueError: The dataset is too small for the mode of distillation.
    """
    drawing = np.random.default_rng(training.seed)
    _, contest = drawing.spawn(2)
    examples, _ = hold_out(dataset, training.distill, contest)
    return np.concatenate(list(_shuffled(examples, training, drawing)))


def _shuffled(
    examples: Dataset, training: LocalTraining, generator: np.random.Generator
) -> ShuffledBatches:
    return ShuffledBatches(
        num_examples(examples),
        epochs=training.epochs,
        batch_size=training.batch_size,
        generator=generator,
    )


class _Loop:
    """Local training step by step, which can say between two where it stands."""

    def __init__(
        self,
        stepper: Stepper,
        dataset: Dataset,
        training: LocalTraining,
        order: Sequence[int] | None,
    ) -> None:
        check_dataset(dataset, stepper.submodel.architecture)
        drawing = np.random.default_rng(training.seed)
        self._varying, contest = drawing.spawn(2)
        self._examples, held_out = hold_out(dataset, training.distill, contest)
        self._batches = (
            _shuffled(self._examples, training, drawing)
            if order is None
            else GivenBatches(
                order, num_examples=num_examples(self._examples), batch_size=training.batch_size
            )
        )
        self._contest = (
            None
            if held_out is None
            else ShuffledBatches(
                num_examples(held_out),
                epochs=len(self._batches),
                batch_size=training.batch_size,
                generator=contest,
            )
        )
        self._teaches = teaching(training.distill, stepper, held_out, self._contest)
        self._pixels = _pixels(self._examples, training.augmentation, self._varying)
        self._stepper = stepper
        self._training = training
        self._losses: list[float] = []
        self._teachers: list[int] = []
        self._resumed_at = 0
        self.is_between_steps = True

    @property
    def num_steps(self) -> int:
        """How many steps there are in all."""
        return len(self._batches)

    @property
    def num_done(self) -> int:
        """How many were taken."""
        return len(self._losses)

    @property
    def is_done(self) -> bool:
        """No step is left."""
        return self.num_done == self.num_steps

    def step(self) -> StepMetrics:
        """Take the next step.

        Raises:
            DivergenceError: Its loss is not finite.
        """
        self.is_between_steps = False
        indices = next(self._batches)
        metrics = self._stepper.step(
            self._pixels(indices),
            self._examples.labels[indices],
            learning_rate=self._training.rate,
            distill_weight=self._training.distill_weight,
            teaches=self._teaches(),
        )
        _check_finite(metrics, f"step {self.num_done + 1} of {self.num_steps}")
        self._losses.append(metrics.loss)
        self._teachers.append(metrics.teacher_index)
        self.is_between_steps = True
        return metrics

    def state(self) -> LoopState:
        """Say where training stands; only between steps, and of an order drawn here."""
        assert isinstance(self._batches, ShuffledBatches)
        return LoopState(
            arrays=self._stepper.arrays(),
            running_losses=self._stepper.running_losses,
            losses=np.array(self._losses, np.float64),
            teachers=np.array(self._teachers, np.int64),
            position=LoopPosition(
                batches=self._batches.position,
                varying=GeneratorState.of(self._varying),
                contest=None if self._contest is None else self._contest.position,
            ),
        )

    def go_to(self, state: LoopState) -> None:
        """Go on from where training of the same stood."""
        assert isinstance(self._batches, ShuffledBatches)
        self._stepper.load(state.arrays)
        self._stepper.running_losses = state.running_losses
        self._losses = state.losses.tolist()
        self._teachers = state.teachers.tolist()
        self._batches.go_to(state.position.batches)
        state.position.varying.put_into(self._varying)
        if self._contest is not None and state.position.contest is not None:
            self._contest.go_to(state.position.contest)
        self._resumed_at = state.num_steps

    def history(self) -> History:
        """Return what happened so far."""
        return History(
            num_examples=num_examples(self._examples),
            losses=tuple(self._losses),
            teacher_counts=_count_teachers(
                self._teachers,
                self._training.distill,
                num_exits=self._stepper.submodel.num_exits,
            ),
            resumed_at=self._resumed_at,
        )


def _train_kept(loop: _Loop, checkpoints: OpenCheckpoints, on_step: OnStep) -> None:
    """Take all steps that are left, and keep where training stands."""
    if (state := checkpoints.take_state()) is not None:
        loop.go_to(state)
        del state  # its arrays are the stepper's now
    try:
        while not loop.is_done:
            with held_back():  # a step changes its arrays one by one
                metrics = loop.step()
            if loop.is_done or checkpoints.is_due(loop.num_done):
                checkpoints.keep(loop.state())
            on_step(loop.num_done, loop.num_steps, metrics)
    except KeyboardInterrupt:
        if loop.is_between_steps:  # not where a second one did not wait
            checkpoints.keep(loop.state())
        raise
    except DivergenceError as error:
        raise DivergenceError(
            f"{error}, and name another --checkpoint folder; {checkpoints.told()}"
        ) from error


def _tell_nobody(_done: int, _total: int, _metrics: StepMetrics) -> None:
    """Be nobody who watches."""


def _check_finite(metrics: StepMetrics, step: str) -> None:
    """Refuse to go on from a loss that says nothing.

    Raises:
        DivergenceError: It is not finite.
    """
    if np.isfinite(metrics.loss) and np.isfinite(metrics.exit_losses).all():
        return
    exits = np.flatnonzero(~np.isfinite(metrics.exit_losses))
    where = f"the loss of exit {exits[0]}" if len(exits) else "the loss of distillation"
    value = metrics.exit_losses[exits[0]] if len(exits) else metrics.loss
    raise DivergenceError(
        f"training diverged at {step}, {where} is {value}; lower the learning rate"
    )


def _pixels(
    dataset: Dataset, augmentation: Augmentation, generator: np.random.Generator
) -> Callable[[Indices], Images]:
    """Return what gives a batch of 8-bit images, (B, H, W, 3)."""
    if augmentation == "none":
        return dataset.images
    return lambda indices: augment(
        dataset.originals(indices), dataset.image_size, augmentation, generator
    )


def _count_teachers(
    teachers: Sequence[int], distill: DistillMode, *, num_exits: int
) -> tuple[int, ...]:
    """Count the batches on which each exit taught; ``teachers`` has one of every step."""
    if distill == "none" or num_exits == 1:  # an exit does not teach itself
        return (0,) * num_exits
    if distill == "all":
        return (len(teachers),) * num_exits
    return tuple(teachers.count(exit_index) for exit_index in range(num_exits))
