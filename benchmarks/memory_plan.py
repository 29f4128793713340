"""How far is the predicted memory of a compiled step from what it takes?

``python -m benchmarks.memory_plan`` exports DeiT-tiny and DeiT-small, cut at the first and at the
last exit, with ONNX steps that keep what blocks compute and steps that compute it again, takes the
peak of each in a fresh process, from loading on, and writes ``results/memory_plan.json``.
"""

import gc
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.apparatus.documents import Bar, at_most, parser, write
from benchmarks.apparatus.harness import in_fresh_process
from reefl_edge.architectures import named_submodel
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.jobs import memory
from reefl_edge.jobs.workloads import random_images
from reefl_edge.regimes import Regime
from reefl_edge.step_memory import predicted_peak_mib
from reefl_edge.submodel import Submodel

REGIMES: tuple[Regime, ...] = ("frozen", "lora", "full")
STEPS = 3

# A prediction may be off by so much.
LIMIT = 0.15


class Cell(NamedTuple):
    """What is measured in one process."""

    architecture: str
    batch_size: int
    exit_index: int
    regime: Regime
    recompute: bool

    @property
    def submodel(self) -> Submodel:
        """What is trained."""
        num_classes = 10 if self.architecture == "digits" else 100
        whole = named_submodel(self.architecture, num_classes=num_classes, regime=self.regime)
        return whole.cut(self.exit_index)

    def bundle(self, folder: Path) -> Path:
        """Return where its bundle lies."""
        kind = "again" if self.recompute else "kept"
        return folder / f"{self.architecture}-{self.exit_index}-{kind}"

    def __str__(self) -> str:
        """Name it in the table."""
        again = ", again" if self.recompute else ""
        return f"{self.architecture}, exit {self.exit_index}, {self.regime}{again}"


def cells(*, is_quick: bool) -> list[Cell]:
    """List everything that is measured."""
    sizes = {"digits": 2} if is_quick else {"deit_tiny": 8, "deit_small": 4}
    return [
        Cell(name, batch_size, exit_index, regime, recompute)
        for name, batch_size in sizes.items()
        for exit_index in ((0,) if is_quick else (0, 3))
        for regime in REGIMES
        for recompute in (False, True)
    ]


def main() -> None:
    """Measure and write the results, or take the peak of one cell and print it."""
    options = parser(__doc__, "memory_plan")
    options.add_argument("--bundles", type=Path, help="where exported bundles are, or go")
    options.add_argument("--peak-of", type=int, metavar="CELL")
    arguments = options.parse_args()
    measured = cells(is_quick=arguments.quick)
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.bundles or Path(scratch)
        if arguments.peak_of is not None:
            print(json.dumps(peak_mib(measured[arguments.peak_of], folder)))
            return
        quick = ["--quick"] if arguments.quick else []
        found = {}
        for index, cell in enumerate(measured):
            export(cell, folder)
            given = [*quick, "--bundles", str(folder), "--peak-of", str(index)]
            found[str(cell)] = {
                "measured_mib": in_fresh_process("benchmarks.memory_plan", given),
                "predicted_mib": predicted_peak_mib(
                    cell.submodel, batch_size=cell.batch_size, recompute=cell.recompute
                ),
            }
    sizes = dict.fromkeys(f"{cell.architecture} {cell.batch_size}" for cell in measured)
    settings = {"runtime": "onnx", "batch_sizes": list(sizes), "threads": 1, "steps": STEPS}
    write(arguments.output, settings=settings, bars=list(bars(found)), cells=found)


def bars(found: Mapping[str, Mapping[str, float]]) -> Iterator[Bar]:
    """Hold the worst prediction of each network to the limit."""
    for name in dict.fromkeys(cell.split(",")[0] for cell in found):
        errors = [
            abs(cell["predicted_mib"] / cell["measured_mib"] - 1)
            for title, cell in found.items()
            if title.startswith(f"{name},")
        ]
        yield at_most(f"{name}: the prediction that is furthest off", max(errors), LIMIT)


def export(cell: Cell, folder: Path) -> None:
    """Export the bundle of a cell, which is that of all regimes, unless it is there."""
    from reefl_edge.checkpoints.checkpoint import Checkpoint
    from reefl_edge.models.arrays import arrays_of, random_network
    from reefl_export.bundle import Origin, export_checkpoint
    from reefl_export.recipe import stock
    from reefl_export.training import TrainingPlan

    path = cell.bundle(folder)
    if path.exists():
        return
    plain = cell.submodel.folded()
    checkpoint = Checkpoint(submodel=plain, arrays=arrays_of(random_network(plain, seed=0)))
    plan = TrainingPlan(regimes=REGIMES, batch_size=cell.batch_size, recompute=cell.recompute)
    origin = Origin(name=cell.architecture)
    export_checkpoint(checkpoint, path, stock(["onnx"]), origin, training=plan)


def peak_mib(cell: Cell, folder: Path) -> float:
    """Return the peak of loading and of some steps, above the imports, of this fresh process."""
    from reefl_edge.finetune.compiled import step_for
    from reefl_edge.finetune.steppers.onnx import OnnxStepper

    bundle = Bundle.open(cell.bundle(folder))
    images = random_images(cell.batch_size, cell.submodel.architecture.image_size)
    labels = np.arange(cell.batch_size) % cell.submodel.architecture.num_classes
    gc.collect()
    memory.reset_peak()
    baseline_mib = memory.resident_mib()
    stepper = OnnxStepper.open(bundle, step_for(bundle, cell.regime, "onnx"), threads=1)
    for _ in range(STEPS):
        stepper.step(images, labels, learning_rate=1e-3, distill_weight=0.007, teaches=None)
    return memory.peak_mib() - baseline_mib


if __name__ == "__main__":
    main()
