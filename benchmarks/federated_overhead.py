"""What does a client's round cost besides its steps?

Ours: a task is read out of Flower's records, what trains starts again from its arrays, and the
update goes into records, with the time of the one step taken off. Against it, what the released
code does for each client of each round: build the network, load all of its weights, and take the
trained ones out; there is no step, nor anything of Flower's, nor an adapter, in that. DeiT-S at its
deepest exit, in turns, in one process, on one thread.

    python -m benchmarks.federated_overhead
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from time import perf_counter_ns
from typing import Any

import numpy as np
import torch
from flwr.app import RecordDict
from numpy.typing import NDArray

from benchmarks.apparatus.documents import Bar, at_most, parser, write
from benchmarks.apparatus.harness import interleave, median, ratio
from benchmarks.apparatus.measured import measured_submodel, settings_of
from benchmarks.apparatus.plain_reefl import plain_arrays, plain_reefl
from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.data.dataset import ArrayDataset, Dataset
from reefl_edge.federation.flower.records import read_task, reply_content, task_content
from reefl_edge.federation.messages import ClientReply, ClientTask
from reefl_edge.finetune.client import train_ready
from reefl_edge.finetune.ready import ReadyClient, ready_client
from reefl_edge.finetune.steppers.base import Losses, StepMetrics, Stepper
from reefl_edge.finetune.training import LocalTraining
from reefl_edge.jobs.workloads import random_images
from reefl_edge.regimes import Regime, is_adapter
from reefl_edge.submodel import Submodel

REGIMES: tuple[Regime, ...] = ("frozen", "lora", "full")
OVERHEAD_LIMIT = 0.2
_ROUNDS, _QUICK_ROUNDS = 15, 2
_SHA256 = "0" * 64
_TRAINING = LocalTraining(batch_size=1)


class TimedStepper:
    """A stepper that says how long its steps took."""

    def __init__(self, stepper: Stepper) -> None:
        self._stepper = stepper
        self.running_losses: Losses = stepper.running_losses
        self.step_ms: list[float] = []

    @property
    def submodel(self) -> Submodel:
        """What is trained."""
        return self._stepper.submodel

    def step(self, *batch: Any, **how: Any) -> StepMetrics:
        """Take a step."""
        began = perf_counter_ns()
        metrics = self._stepper.step(*batch, **how)
        self.step_ms.append((perf_counter_ns() - began) / 1e6)
        return metrics

    def arrays(self) -> Arrays:
        """Return a copy of the trained arrays."""
        return self._stepper.arrays()

    def load(self, arrays: Arrays) -> None:
        """Go on from other trained arrays."""
        self._stepper.load(arrays)


def main() -> None:
    """Measure and write the results."""
    arguments = parser(__doc__, "federated_overhead").parse_args()
    rounds = _QUICK_ROUNDS if arguments.quick else _ROUNDS
    torch.set_num_threads(1)
    whole = measured_submodel(is_quick=arguments.quick)
    samples = {regime: take_samples(replace(whole, regime=regime), rounds) for regime in REGIMES}
    write(
        arguments.output,
        settings={**settings_of(whole), "rounds": rounds, "threads": 1},
        bars=[bar(regime, taken) for regime, taken in samples.items()],
        time={
            regime: {name: median(taken) for name, taken in by_name.items()}
            for regime, by_name in samples.items()
        },
        samples=samples,
    )


def take_samples(submodel: Submodel, rounds: int) -> dict[str, list[float]]:
    """Return milliseconds of both, besides steps."""
    generator = np.random.default_rng(0)
    arrays = {
        spec.name: 0.02 * generator.standard_normal(spec.shape, np.float32)
        for spec in submodel.arrays()
    }
    trained = {spec.name: arrays[spec.name] for spec in submodel.trained_arrays()}
    task = ClientTask(
        client="client-0",
        submodel=submodel,
        arrays=trained,
        training=_TRAINING,
        frozen_sha256=_SHA256,
        base_sha256=_SHA256,
    )
    client = ready_client(
        Checkpoint(submodel=submodel, arrays=arrays), submodel.regime, _TRAINING, threads=1
    )
    timed = TimedStepper(client.stepper)
    edge = submodel.architecture.image_size
    names = tuple(map(str, range(submodel.architecture.num_classes)))
    dataset = ArrayDataset(random_images(1, edge), np.zeros(1, np.int64), names, image_size=edge)
    runs: dict[str, Callable[[], object]] = {
        "ours": partial(client_round, task_content(task), replace(client, stepper=timed), dataset),
        "rebuilt": partial(
            rebuilt, submodel, plain_tensors(arrays), [*plain_arrays(plain_tensors(trained))]
        ),
    }
    for run in runs.values():
        run()
    timed.step_ms.clear()
    samples = interleave(runs, rounds=rounds)
    ours = samples["ours"]["wall_ms"]
    return {
        "ours": [wall - step for wall, step in zip(ours, timed.step_ms, strict=True)],
        "rebuilt": samples["rebuilt"]["wall_ms"],
    }


def client_round(content: RecordDict, client: ReadyClient, dataset: Dataset) -> RecordDict:
    """Do what a client does from a task to its reply."""
    task = read_task(content)
    restarted = client.restarted(task.arrays, base_sha256=task.base_sha256)
    result = train_ready(restarted, dataset, task.training)
    reply = ClientReply(client=task.client, update=result.update, losses=result.history.losses)
    return reply_content(reply)


def rebuilt(
    submodel: Submodel, arrays: dict[str, torch.Tensor], trained: list[str]
) -> dict[str, NDArray[Any]]:
    """Build a network, load its weights, and take out those that are trained."""
    state = plain_reefl(submodel, arrays).state_dict()
    return {name: state[name].cpu().numpy() for name in trained}


def plain_tensors(arrays: Arrays) -> dict[str, torch.Tensor]:
    """Return arrays as PyTorch reads them, where they are; but adapters, which no plain one has."""
    return {name: torch.from_numpy(array) for name, array in arrays.items() if not is_adapter(name)}


def bar(regime: Regime, samples: dict[str, list[float]]) -> Bar:
    """Hold the overhead to what the issue asks for."""
    return at_most(
        f"{regime}: overhead of a client's round to that of a rebuilt network",
        ratio(samples["ours"], samples["rebuilt"]),
        OVERHEAD_LIMIT,
    )


if __name__ == "__main__":
    main()
