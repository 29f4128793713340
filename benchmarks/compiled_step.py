"""Is the compiled step as fast as PyTorch's, and how much smaller?

``python -m benchmarks.compiled_step`` exports DeiT-tiny and DeiT-small with compiled steps, times
each in turns with ``finetune``'s step in place, takes the memory of both in fresh processes, and
writes ``results/compiled_step.json``: part by part, so that nothing is lost if it is stopped. Parts
that are named (``--parts``) go into the results that are there; each says when it was measured.
"""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from benchmarks.apparatus.documents import Bar, at_most, now, on_threads, parser, write
from benchmarks.apparatus.harness import (
    Run,
    in_fresh_process,
    interleave,
    median,
    peak_above_imports_mib,
    ratio,
)
from reefl_edge.architectures import named_submodel
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.jobs import memory
from reefl_edge.jobs.workloads import random_images
from reefl_edge.regimes import Regime
from reefl_edge.submodel import Submodel

if TYPE_CHECKING:
    from reefl_edge.models.reefl import ReeFL

REGIMES: tuple[Regime, ...] = ("frozen", "lora", "full")
STEPPERS = ("eager", "onnx", "onnx again")
WARMUP_STEPS = 2
MEMORY_STEPS = 2
NUM_CLASSES = 100

TIME_LIMIT = 1.0
MEMORY_LIMITS = {"onnx": 1.0, "onnx again": 0.45}
PROCESS_LIMIT = 0.6
COMPILE_LIMIT = 2.0


class Sizes(NamedTuple):
    """How large the measurement is: images of a step by architecture, and rounds."""

    batch_sizes: dict[str, int]
    rounds: int


FULL_SIZE = Sizes({"deit_small": 4, "deit_tiny": 8}, rounds=5)
QUICK_SIZE = Sizes({"digits": 2}, rounds=2)


def main() -> None:
    """Measure parts and write the results, or take the memory of one process and print it."""
    options = parser(__doc__, "compiled_step")
    options.add_argument("--parts", help="compile, time ARCHITECTURE THREADS, memory ARCHITECTURE")
    options.add_argument("--bundles", type=Path, help="where exported bundles are, or go")
    options.add_argument("--memory-of", nargs=3, metavar=("ARCHITECTURE", "REGIME", "STEPPER"))
    options.add_argument("--time-of", nargs=2, metavar=("ARCHITECTURE", "THREADS"))
    arguments = options.parse_args()
    sizes = QUICK_SIZE if arguments.quick else FULL_SIZE
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.bundles or Path(scratch)
        if arguments.memory_of is not None:
            name, regime, stepper = arguments.memory_of
            print(json.dumps(memory_of(sizes, folder, name, cast(Regime, regime), stepper)))
            return
        if arguments.time_of is not None:
            name, threads = arguments.time_of
            print(json.dumps(step_times(sizes, folder, name, int(threads))))
            return
        parts = all_parts(sizes) if arguments.parts is None else arguments.parts.split(",")
        export({name: sizes.batch_sizes[name] for name in _named(parts)}, folder)
        known = arguments.output.is_file() and not arguments.quick
        found = json.loads(arguments.output.read_text())["parts"] if known else {}
        settings = {**sizes._asdict(), "warmup_steps": WARMUP_STEPS, "num_classes": NUM_CLASSES}
        for part in parts:
            found[part] = {"measured_at": now()} | measure(
                part, sizes, folder, is_quick=arguments.quick
            )
            write(arguments.output, settings=settings, bars=list(bars(found)), parts=found)


def all_parts(sizes: Sizes) -> list[str]:
    """Name everything that is measured; memory first, while this process is small."""
    return [
        *(f"memory {name}" for name in sizes.batch_sizes),
        *(f"time {name} {threads}" for name in sizes.batch_sizes for threads in (1, 2)),
        "compile",
    ]


def measure(part: str, sizes: Sizes, folder: Path, *, is_quick: bool) -> dict[str, Any]:
    """Measure one part."""
    match part.split():
        case ["compile"]:
            return compile_times(next(iter(sizes.batch_sizes)))
        case ["time", name, threads]:  # onnxruntime has one pool of threads in a process
            found: dict[str, Any] = fresh(folder, is_quick, "--time-of", name, threads)
            return found
        case ["memory", name]:
            return {
                f"{regime} {stepper}": fresh(folder, is_quick, "--memory-of", name, regime, stepper)
                for regime in REGIMES
                for stepper in STEPPERS
            }
        case _:
            raise ValueError(f"no part is called {part!r}")


def bars(found: dict[str, Any]) -> Iterator[Bar]:
    """Hold what was found to what the issue asks for."""
    for part, findings in found.items():
        kind, *details = part.split()
        if kind == "compile":
            yield at_most("compiling a frozen step: time to the plain backbone's export",
                          findings["ratio"], COMPILE_LIMIT)  # fmt: skip
        for regime in REGIMES if kind == "time" else ():
            what = f"{details[0]}, {regime}: time to eager{on_threads(int(details[1]))}"
            yield at_most(what, findings[regime]["to_eager"], TIME_LIMIT)
        for regime in REGIMES if kind == "memory" else ():
            eager = findings[f"{regime} eager"]
            for stepper, limit in MEMORY_LIMITS.items():
                of = findings[f"{regime} {stepper}"]
                what = f"{details[0]}, {regime}, {stepper}"
                share = of["peak_above_imports_mib"] / eager["peak_above_imports_mib"]
                yield at_most(f"{what}: memory to eager", share, limit)
                if stepper == "onnx":
                    share = of["process_mib"] / eager["process_mib"]
                    yield at_most(f"{what}: whole process to eager's", share, PROCESS_LIMIT)


def submodel_of(name: str, regime: Regime) -> Submodel:
    """Return what is trained: all exits."""
    return named_submodel(name, num_classes=10 if name == "digits" else NUM_CLASSES, regime=regime)


def _named(parts: list[str]) -> list[str]:
    """Return the architectures that parts are of."""
    return list(dict.fromkeys(part.split()[1] for part in parts if part != "compile"))


def export(batch_sizes: dict[str, int], folder: Path) -> None:
    """Export what is not there yet: for each architecture, with and without recomputation."""
    from reefl_edge.checkpoints.checkpoint import Checkpoint
    from reefl_edge.models.arrays import arrays_of, random_network
    from reefl_export.bundle import Origin, export_checkpoint
    from reefl_export.recipe import stock
    from reefl_export.training import TrainingPlan

    for name, batch_size in batch_sizes.items():
        submodel = submodel_of(name, "full")
        checkpoint = Checkpoint(
            submodel=submodel, arrays=arrays_of(random_network(submodel, seed=0))
        )
        for stepper in STEPPERS[1:]:
            path = bundle_path(folder, name, stepper)
            if path.exists():
                continue
            plan = TrainingPlan(
                regimes=REGIMES, batch_size=batch_size, recompute=stepper == "onnx again"
            )
            export_checkpoint(checkpoint, path, stock(["onnx"]), Origin(name=name), training=plan)


def bundle_path(folder: Path, name: str, stepper: str) -> Path:
    """Return where a bundle lies."""
    return folder / f"{name}-{stepper.replace(' ', '-')}"


def step_times(sizes: Sizes, folder: Path, name: str, threads: int) -> dict[str, Any]:
    """Time each regime's step in turns with eager's."""
    import torch

    torch.set_num_threads(threads)
    summary: dict[str, Any] = {}
    for regime in REGIMES:
        runs = {
            stepper: step_run(sizes, folder, name, regime, stepper, threads=threads)
            for stepper in ("eager", "onnx")
        }
        for run in runs.values():
            for _ in range(WARMUP_STEPS):
                run()
        samples = interleave(runs, rounds=sizes.rounds, pause_s=0.05)
        wall = {stepper: taken["wall_ms"] for stepper, taken in samples.items()}
        summary[regime] = {
            "to_eager": ratio(wall["onnx"], wall["eager"]),
            "eager_ms": median(wall["eager"]),
            "onnx_ms": median(wall["onnx"]),
            "samples": samples,
        }
    return summary


def fresh(folder: Path, is_quick: bool, *arguments: str) -> Any:
    """Measure in a process of its own."""
    quick = ["--quick"] if is_quick else []
    options = [*quick, "--bundles", str(folder), *arguments]
    return in_fresh_process("benchmarks.compiled_step", options)


def memory_of(
    sizes: Sizes, folder: Path, name: str, regime: Regime, stepper: str
) -> dict[str, float]:
    """Return the peak of a step on one thread above the imports, and of the whole process."""
    if stepper == "eager":
        import torch

        import reefl_edge.finetune.steppers.eager

        torch.set_num_threads(1)
    else:
        import reefl_edge.finetune.steppers.onnx  # noqa: F401 - before memory is counted
    peak = peak_above_imports_mib(
        lambda: step_run(sizes, folder, name, regime, stepper, threads=1),
        warmup_runs=WARMUP_STEPS,
        runs=MEMORY_STEPS,
    )
    return {"peak_above_imports_mib": peak, "process_mib": memory.peak_mib()}


def step_run(
    sizes: Sizes, folder: Path, name: str, regime: Regime, stepper: str, *, threads: int
) -> Run:
    """Return a step that learns next to nothing."""
    batch_size, submodel = sizes.batch_sizes[name], submodel_of(name, regime)
    images = random_images(batch_size, submodel.architecture.image_size)
    labels = np.arange(batch_size) % submodel.architecture.num_classes
    stepping: Any
    if stepper == "eager":
        from reefl_edge.finetune.steppers.eager import EagerStepper
        from reefl_edge.models.arrays import random_network

        stepping = EagerStepper(random_network(submodel, seed=0))
    else:
        from reefl_edge.finetune.compiled import step_for
        from reefl_edge.finetune.steppers.onnx import OnnxStepper

        bundle = Bundle.open(bundle_path(folder, name, stepper))
        stepping = OnnxStepper.open(bundle, step_for(bundle, regime, "onnx"), threads=threads)
    return lambda: stepping.step(
        images, labels, learning_rate=1e-3, distill_weight=0.007, teaches=None
    )


def _embedding(network: "ReeFL") -> Any:
    """Return what turns images into tokens, as a module."""
    import torch

    class Embedding(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.network.embed(images)

    return Embedding()


def compile_times(name: str) -> dict[str, Any]:
    """Time the compilation of a frozen step, and PyTorch's export of the plain backbone."""
    import torch

    from reefl_edge.models.arrays import arrays_of, random_network
    from reefl_export.onnx.step.assembly import assemble_step
    from reefl_export.onnx.step.parts import pieces_of, trace_pieces
    from reefl_export.onnx.step.templates import templates_of
    from reefl_export.quiet import quiet

    network = random_network(submodel_of(name, "frozen"), seed=0)
    image = torch.zeros(1, 3, *[network.submodel.architecture.image_size] * 2)
    backbone = torch.nn.Sequential(_embedding(network), *network.blocks).eval()

    @quiet("torch.onnx")
    def plain() -> None:
        torch.onnx.export(backbone, (image,), dynamo=True, verbose=False)

    def step() -> None:
        pieces = pieces_of(network, batch_size=4)
        templates = templates_of(pieces, trace_pieces(pieces))
        assemble_step(network, templates, arrays_of(network), batch_size=4)

    times: dict[str, list[float]] = {"plain": [], "step": []}
    for _ in range(2):  # the first also imports
        for kind, make in (("plain", plain), ("step", step)):
            start = perf_counter()
            make()
            times[kind].append(perf_counter() - start)
    return {
        "plain_s": times["plain"],
        "step_s": times["step"],
        "ratio": times["step"][-1] / times["plain"][-1],
    }


if __name__ == "__main__":
    main()
