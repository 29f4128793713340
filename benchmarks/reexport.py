"""How long does an export take whose artifacts are in the cache, and does it import torch?

The whole command ``reefl-edge export`` in a fresh process, from a checkpoint file to a new folder;
the first one fills the cache.

    python -m benchmarks.reexport
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import NamedTuple

from benchmarks.apparatus.artifacts import checkpoint_of, measured_network
from benchmarks.apparatus.documents import at_most, parser, write
from benchmarks.apparatus.harness import median
from benchmarks.apparatus.measured import settings_of
from reefl_edge.checkpoints.checkpoint import write_checkpoint

LIMIT_S = 2.0

_EXPORT = "from reefl_edge.__main__ import main; main()"
# Looks, once the command has ended, what it has imported.
_EXPORT_WITHOUT_TORCH = """
import sys
from reefl_edge.__main__ import main
try:
    main()
finally:
    assert "torch" not in sys.modules, "torch was imported"
"""


class Sizes(NamedTuple):
    """How large the measurement is."""

    runs: int
    formats: str


FULL_SIZE = Sizes(runs=7, formats="executorch,onnx,coreml")
QUICK_SIZE = Sizes(runs=2, formats="onnx")


def main() -> None:
    """Measure and write the results."""
    arguments = parser(__doc__, "reexport").parse_args()
    sizes = QUICK_SIZE if arguments.quick else FULL_SIZE
    network = measured_network(is_quick=arguments.quick)
    with TemporaryDirectory() as scratch:
        model = Path(scratch, "model.safetensors")
        write_checkpoint(checkpoint_of(network), model)
        seconds_of_export(_EXPORT, model, Path(scratch, "first"), formats=sizes.formats)
        seconds = [
            seconds_of_export(
                _EXPORT_WITHOUT_TORCH, model, Path(scratch, f"again-{run}"), formats=sizes.formats
            )
            for run in range(sizes.runs)
        ]
    figure = median(seconds)
    write(
        arguments.output,
        settings={**settings_of(network.submodel), **sizes._asdict()},
        bars=[
            at_most(
                "seconds of an export served from the cache",
                {"ratio": figure["median"], "low": figure["low"], "high": figure["high"]},
                LIMIT_S,
            )
        ],
        imports_torch=False,  # else the command would have failed
        seconds=seconds,
    )


def seconds_of_export(code: str, model: Path, output: Path, *, formats: str) -> float:
    """Return how long the command takes, from the start of its process to its end."""
    command = [sys.executable, "-c", code, "export", str(model), "--format", formats]
    started = perf_counter()
    subprocess.run([*command, "-o", str(output)], stdout=subprocess.DEVNULL, check=True)
    return perf_counter() - started


if __name__ == "__main__":
    main()
