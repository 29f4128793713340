"""How far is the predicted memory of a compiled step from what it takes?

``python -m benchmarks.memory_plan`` exports DeiT-tiny and DeiT-small, cut at the first and at the
last exit, with ONNX steps that keep what blocks compute and steps that compute it again, and with
ExecuTorch steps, takes the peak of each in a fresh process, from loading on, and writes
``results/memory_plan.json``. Lowering to ExecuTorch takes minutes a step: cells that are named
(``--cells``) go into the results that are there; what was never measured is predicted alone.
"""

import gc
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.apparatus.documents import Bar, at_most, now, parser, write
from benchmarks.apparatus.harness import in_fresh_process
from reefl_edge.architectures import named_submodel
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.finetune.compiled import CompiledName
from reefl_edge.finetune.steppers.base import Stepper
from reefl_edge.jobs import memory
from reefl_edge.jobs.workloads import random_images
from reefl_edge.regimes import Regime
from reefl_edge.step_memory import executorch_terms_mib, predicted_peak_mib
from reefl_edge.submodel import Submodel

REGIMES: tuple[Regime, ...] = ("frozen", "lora", "full")
STEPS = 3
# Whether blocks are computed again, and what runs the step.
HOW: tuple[tuple[bool, CompiledName], ...] = (
    (False, "onnx"),
    (True, "onnx"),
    (False, "executorch"),
)

# A prediction may be off by so much.
LIMIT = 0.15


class Cell(NamedTuple):
    """What is measured in one process."""

    architecture: str
    batch_size: int
    exit_index: int
    regime: Regime
    recompute: bool
    runtime: CompiledName = "onnx"

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
        runtime = "" if self.runtime == "onnx" else f", {self.runtime}"
        return f"{self.architecture}, exit {self.exit_index}, {self.regime}{again}{runtime}"

    @property
    def predicted_mib(self) -> float:
        """What it is predicted to take."""
        return predicted_peak_mib(
            self.submodel,
            batch_size=self.batch_size,
            recompute=self.recompute,
            target=self.runtime,
        )

    def program(self, folder: Path) -> Path:
        """Return where its ExecuTorch program lies."""
        name = f"{self.architecture}-{self.batch_size}-{self.exit_index}-{self.regime}.pte"
        return folder / name


def cells(*, is_quick: bool) -> list[Cell]:
    """List everything that is measured."""
    sizes = {"digits": 2} if is_quick else {"deit_tiny": 8, "deit_small": 4}
    return [
        Cell(name, batch_size, exit_index, regime, *how)
        for name, batch_size in sizes.items()
        for exit_index in ((0,) if is_quick else (0, 3))
        for regime in REGIMES
        for how in HOW
    ]


def main() -> None:
    """Measure and write the results, or take the peak of one cell and print it."""
    options = parser(__doc__, "memory_plan")
    options.add_argument("--bundles", type=Path, help="where exported bundles are, or go")
    options.add_argument("--cells", help="part of the names of those to measure; all if not given")
    options.add_argument("--peak-of", type=int, metavar="CELL")
    arguments = options.parse_args()
    measured = cells(is_quick=arguments.quick)
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.bundles or Path(scratch)
        if arguments.peak_of is not None:
            print(json.dumps(peak_mib(measured[arguments.peak_of], folder)))
            return
        quick = ["--quick"] if arguments.quick else []
        known = arguments.output.is_file() and not arguments.quick
        before = json.loads(arguments.output.read_text())["cells"] if known else {}
        found = {}
        for index, cell in enumerate(measured):
            name = str(cell)
            found[name] = {**before.get(name, {}), "predicted_mib": cell.predicted_mib}
            if arguments.cells is None or arguments.cells in name:
                export(cell, folder)
                given = [*quick, "--bundles", str(folder), "--peak-of", str(index)]
                peak = in_fresh_process("benchmarks.memory_plan", given)
                found[name] |= {"measured_mib": peak, "measured_at": now()}
    sizes = dict.fromkeys(f"{cell.architecture} {cell.batch_size}" for cell in measured)
    settings = {"batch_sizes": list(sizes), "threads": 1, "steps": STEPS}
    write(
        arguments.output,
        settings=settings,
        bars=list(bars(found)),
        cells=found,
        left_out=left_out(measured, found),
    )


def bars(found: Mapping[str, Mapping[str, Any]]) -> Iterator[Bar]:
    """Hold the worst prediction of each network to the limit."""
    for name in dict.fromkeys(cell.split(",")[0] for cell in found):
        errors = [
            abs(cell["predicted_mib"] / cell["measured_mib"] - 1)
            for title, cell in found.items()
            if title.startswith(f"{name},") and "measured_mib" in cell
        ]
        yield at_most(f"{name}: the prediction that is furthest off", max(errors), LIMIT)


def left_out(measured: list[Cell], found: Mapping[str, Any]) -> float | None:
    """Return how far ExecuTorch's formula is off a cell at most, its constants found on the others.

    They are found anew for each by least squares of what is off in shares; None if too few cells
    were measured.
    """
    chosen = [
        cell
        for cell in measured
        if cell.runtime == "executorch" and "measured_mib" in found[str(cell)]
    ]
    peaks = np.array([found[str(cell)]["measured_mib"] for cell in chosen])
    terms = np.array(
        [(1, *executorch_terms_mib(cell.submodel, cell.batch_size)) for cell in chosen]
    ).reshape(len(chosen), -1)
    if len(chosen) <= terms.shape[1]:
        return None
    shares = terms / peaks[:, None]  # of the peak: their sum, weighed by the constants, is to be 1
    errors = []
    for index in range(len(chosen)):
        others = np.delete(shares, index, axis=0)
        constants = np.linalg.lstsq(others, np.ones(len(others)), rcond=None)[0]
        errors.append(abs(shares[index] @ constants - 1))
    return float(max(errors))


def export(cell: Cell, folder: Path) -> None:
    """Export what a cell runs, unless it is there: a bundle is that of all regimes."""
    from reefl_edge.checkpoints.checkpoint import Checkpoint
    from reefl_edge.models.arrays import arrays_of, random_network
    from reefl_export.bundle import Origin, export_checkpoint
    from reefl_export.executorch.step.exporter import lower_step
    from reefl_export.recipe import stock
    from reefl_export.training import TrainingPlan

    path = cell.bundle(folder) if cell.runtime == "onnx" else cell.program(folder)
    if path.exists():
        return
    if cell.runtime == "executorch":
        lowered = lower_step(
            random_network(cell.submodel, seed=0), batch_size=cell.batch_size, facts="{}"
        )
        path.write_bytes(lowered.to_executorch().buffer)
        return
    plain = cell.submodel.folded()
    checkpoint = Checkpoint(submodel=plain, arrays=arrays_of(random_network(plain, seed=0)))
    plan = TrainingPlan(regimes=REGIMES, batch_size=cell.batch_size, recompute=cell.recompute)
    origin = Origin(name=cell.architecture)
    export_checkpoint(checkpoint, path, stock(["onnx"]), origin, training=plan)


def peak_mib(cell: Cell, folder: Path) -> float:
    """Return the peak of loading and of some steps, above the imports, of this fresh process."""
    images = random_images(cell.batch_size, cell.submodel.architecture.image_size)
    labels = np.arange(cell.batch_size) % cell.submodel.architecture.num_classes
    opened = _onnx if cell.runtime == "onnx" else _executorch
    stepper_of = opened(cell, folder)
    gc.collect()
    memory.reset_peak()
    baseline_mib = memory.resident_mib()
    stepper = stepper_of()
    for _ in range(STEPS):
        stepper.step(images, labels, learning_rate=1e-3, distill_weight=0.007, teaches=None)
    return memory.peak_mib() - baseline_mib


def _onnx(cell: Cell, folder: Path) -> Callable[[], Stepper]:
    """Import what a step takes; return what loads it."""
    from reefl_edge.finetune.compiled import step_for
    from reefl_edge.finetune.steppers.onnx import OnnxStepper

    bundle = Bundle.open(cell.bundle(folder))
    return lambda: OnnxStepper.open(bundle, step_for(bundle, cell.regime, "onnx"), threads=1)


def _executorch(cell: Cell, folder: Path) -> Callable[[], Stepper]:
    from reefl_edge.finetune.steppers.executorch import ExecuTorchStepper
    from reefl_edge.runtimes.executorch import HEAD_BYTES, STEP_METHOD, load_program, quiet_engine

    with quiet_engine():
        import executorch.runtime  # noqa: F401 - before memory is counted
    path = cell.program(folder)

    def load() -> Stepper:
        with path.open("rb") as file:
            program = load_program(path, file.read(HEAD_BYTES), path, threads=1)
        with quiet_engine():
            method = program.load_method(STEP_METHOD)
        arrays = {
            spec.name: np.full(spec.shape, 0.01, np.float32)
            for spec in cell.submodel.trained_arrays()
        }
        return ExecuTorchStepper(method, cell.submodel, batch_size=cell.batch_size, arrays=arrays)

    return load


if __name__ == "__main__":
    main()
