"""How long does ``reefl-edge infer`` take: for one photograph, and for a folder of them?

* **cold start**: the whole command on one photograph, in turns with a script that imports
  onnxruntime, loads the same graphs and runs them once: from the start of a process to its end.
  Both find their modules compiled, as on every start but the first after an installation.
* **throughput**: the whole command on a folder, against what its cores could do at best: the
  processor time of decoding plus that of computing, each measured alone on one thread, over the
  number of cores. The time of a command on one photograph is taken off, which every command takes.
* **memory**: the peak of a command on a tenth of the folder, and on all of it.

    python -m benchmarks.inference
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from benchmarks.apparatus.artifacts import bundle_of, measured_network, recipes_for, say
from benchmarks.apparatus.documents import Bar, at_most, parser, write
from benchmarks.apparatus.harness import Samples, in_fresh_process, interleave, median, ratio
from benchmarks.apparatus.measured import settings_of
from reefl_edge.adaptive import AdaptiveSession, ConfidencePolicy
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.data.images import read_image
from reefl_edge.runtimes.base import default_threads

# What the issue asks for.
COLD_START_LIMIT = 1.25
THROUGHPUT_LIMIT = 1.10
# Flat: no more than so much, for ten times as many photographs.
MEMORY_LIMIT = 1.05

_ALONE = """
import os, sys
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import numpy as np, onnxruntime
from PIL import Image
graphs, photograph = sys.argv[1:-1], sys.argv[-1]
options = onnxruntime.SessionOptions()
sessions = [
    onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    for graph in graphs
]
edge = sessions[0].get_inputs()[0].shape[1]
with Image.open(photograph) as image:
    pixels = np.asarray(image.convert("RGB").resize((edge, edge), Image.Resampling.BILINEAR))
carried = [pixels[None]]
for session in sessions:
    names = [put.name for put in session.get_inputs()]
    *carried, logits = session.run(None, dict(zip(names, carried)))
print(logits.argmax())
"""


class Sizes(NamedTuple):
    """How large the measurement is."""

    starts: int
    photographs: int
    folder_runs: int
    edge: int
    batch_size: int


FULL_SIZE = Sizes(starts=15, photographs=1000, folder_runs=3, edge=1024, batch_size=1)
QUICK_SIZE = Sizes(starts=2, photographs=20, folder_runs=2, edge=32, batch_size=4)


def main() -> None:
    """Measure and write the results, or what the cores could do and print it."""
    options = parser(__doc__, "inference")
    options.add_argument("--best-of", nargs=2, metavar=("BUNDLE", "FOLDER"))
    options.add_argument("--photographs", type=int, help="in the folder, at least 320")
    arguments = options.parse_args()
    if arguments.best_of is not None:
        print(json.dumps(best_seconds(*map(Path, arguments.best_of))))
        return
    sizes = QUICK_SIZE if arguments.quick else FULL_SIZE
    sizes = sizes._replace(photographs=arguments.photographs or sizes.photographs)
    network = measured_network(is_quick=arguments.quick)
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        keep_compiled(folder / "compiled")
        recipes = [each for each in recipes_for(["onnx"]) if each.precision == "fp32"]
        bundle = bundle_of(network, recipes, folder / "bundle")
        write_photographs(folder / "photographs", sizes.photographs, sizes.edge)
        write_photographs(folder / "tenth", sizes.photographs // 10, sizes.edge)
        starts = measure_starts(bundle, folder, rounds=sizes.starts)
        one_s = float(np.median(starts["infer"]["wall_ms"])) / 1e3
        found = measure_folder(bundle, folder, sizes, one_s=one_s)
    write(
        arguments.output,
        settings={**settings_of(network.submodel), **sizes._asdict(), "cores": default_threads()},
        bars=[*bars(starts, found)],
        one_photograph={name: median(taken["wall_ms"]) for name, taken in starts.items()},
        folder=found,
        samples=starts,
    )


def bars(starts: Samples, found: Mapping[str, Any]) -> Iterator[Bar]:
    """Hold one photograph to onnxruntime alone, and a folder to what its cores could do."""
    start = ratio(starts["infer"]["wall_ms"], starts["onnxruntime alone"]["wall_ms"])
    yield at_most("one photograph: to onnxruntime alone", start, COLD_START_LIMIT)
    wall, best_s = found["wall_s"], found["best_s"]
    throughput = {
        "ratio": wall["median"] / best_s,
        "low": wall["low"] / best_s,
        "high": wall["high"] / best_s,
    }
    yield at_most("a folder: to what its cores could do", throughput, THROUGHPUT_LIMIT)
    peaks = found["peak_mib"]
    growth = peaks["photographs"] / peaks["tenth"]
    yield at_most("memory of a folder to that of its tenth", growth, MEMORY_LIMIT)


def measure_folder(bundle: Bundle, folder: Path, sizes: Sizes, *, one_s: float) -> dict[str, Any]:
    """Time commands on a folder, less the time of one photograph, and take their memory."""
    say("what the cores could do")
    best_s = in_fresh_process(  # on one thread; this process may have a pool of another size
        "benchmarks.inference",
        ["--best-of", str(bundle.directory), str(folder / "photographs")],
    )
    whole = command_of(bundle, folder / "photographs", batch_size=sizes.batch_size)
    tenth = command_of(bundle, folder / "tenth", batch_size=sizes.batch_size)
    walls = []
    for run in range(sizes.folder_runs):
        say(f"a folder: {run + 1} of {sizes.folder_runs}")
        walls.append(seconds_of(whole) - one_s)
    peaks = {"tenth": peak_mib(tenth), "photographs": peak_mib(whole)}
    return {"wall_s": median(walls), "best_s": best_s, "peak_mib": peaks}


def keep_compiled(folder: Path) -> None:
    """Let all commands from here on find compiled modules: in a folder, if not beside sources."""
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
        os.environ["PYTHONPYCACHEPREFIX"] = str(folder)


def write_photographs(folder: Path, count: int, edge: int) -> None:
    """Write pictures as a camera does: JPEG, smooth, with some noise."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for index in range(count):
        coarse = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize((edge, edge * 3 // 4), Image.Resampling.BICUBIC)
        grain = generator.integers(0, 16, (edge * 3 // 4, edge, 3), dtype=np.uint8)
        Image.fromarray(np.asarray(smooth) // 2 + grain).save(folder / f"{index:05}.jpg")


def measure_starts(bundle: Bundle, folder: Path, *, rounds: int) -> Samples:
    """Time commands on one photograph, and onnxruntime alone, in turns."""
    photograph = folder / "photographs" / "00000.jpg"
    graphs = sorted((bundle.directory / "onnx").glob("segment_*.onnx"))
    commands = {
        "infer": command_of(bundle, photograph),
        "onnxruntime alone": [sys.executable, "-c", _ALONE, *map(str, graphs), str(photograph)],
    }
    runs = {name: partial(seconds_of, command) for name, command in commands.items()}
    for run in runs.values():  # modules are compiled, and files in memory, from here on
        run()
    say("one photograph")
    return interleave(runs, rounds=rounds)


def best_seconds(directory: Path, folder: Path) -> float:
    """Return how long the cores would take if none ever waited; call it in a fresh process."""
    bundle = Bundle.open(directory)
    edge = bundle.manifest.submodel.architecture.image_size
    paths = sorted(folder.iterdir())
    images, decoding_s = cpu_of(lambda: [read_image(path, image_size=edge) for path in paths])
    session = AdaptiveSession.open(bundle, policy=ConfidencePolicy((1.0,)), threads=1)
    session.predict(images[0])
    _, computing_s = cpu_of(lambda: [session.predict(image) for image in images])
    return (decoding_s + computing_s) / default_threads()


def cpu_of(run: Any) -> tuple[Any, float]:
    """Return what a call gives, and the processor time it takes."""
    start = process_time()
    return run(), process_time() - start


def command_of(bundle: Bundle, given: Path, *, batch_size: int = 1) -> list[str]:
    """Return the command that classifies photographs, always to the deepest exit."""
    return [
        *(sys.executable, "-m", "reefl_edge", "infer", str(bundle.directory), str(given)),
        *("--threshold", "1", "--json", "--batch-size", str(batch_size)),
    ]


def seconds_of(command: Sequence[str]) -> float:
    """Return how long a command takes, from the start of its process to its end."""
    started = perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return perf_counter() - started


def peak_mib(command: Sequence[str]) -> float:
    """Return the most memory that a command takes."""
    code = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, "
        "check=True)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command], stdout=subprocess.PIPE, check=True
    )
    return int(done.stdout) / 2**10


if __name__ == "__main__":
    main()
