"""What does calibrating take beside running every exit on the same images once?

Both in one process, in turns. Choosing from the logits alone is timed on as many as the bar names.

    python -m benchmarks.calibrating --bundle bundle --data val.npz
"""

import shutil
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.apparatus.documents import Bar, at_most, parser, write
from benchmarks.apparatus.harness import Samples, interleave, median, ratio
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.thresholds import Promise
from reefl_edge.runtimes.opening import open_runtime
from reefl_edge.tasks.calibrating import CalibrationRequest, calibrate_bundle
from reefl_edge.tasks.validation import ValidationImages, answers_of, read_validation
from reefl_edge.thresholds.calibrate import CalibrationPlan, calibrate
from reefl_edge.thresholds.exits import Labels, Logits

RATIO_LIMIT, CHOOSING_LIMIT_S, NUM_CHOSEN_FROM = 1.1, 1.0, 5000
_PLAN = CalibrationPlan(
    promise=Promise(kind="max-drop", limit=5.0, confidence=0.95),
    is_per_exit=True,
    has_temperatures=True,
)


def main() -> None:
    """Time both, and choosing alone, and write the results."""
    options = parser(__doc__, "calibrating")
    options.add_argument("--bundle", type=Path, help="a bundle of a trained network")
    options.add_argument("--data", type=Path, help="labelled images of its classes")
    options.add_argument("--rounds", type=int, default=3)
    arguments = options.parse_args()
    if arguments.bundle is None or arguments.data is None:
        print("skipped: give --bundle and --data")
        return
    with TemporaryDirectory() as scratch:
        bundle = Bundle.open(Path(shutil.copytree(arguments.bundle, Path(scratch, "bundle"))))
        images = read_validation(arguments.data, bundle, labels_for="the benchmark")
        samples, logits = _calibrating(bundle, images, arguments.data, rounds=arguments.rounds)
    assert images.labels is not None  # as asked for
    choosing = _choosing(logits, images.labels)
    write(
        arguments.output,
        settings={
            "num_images": images.count,
            "image_size": bundle.manifest.submodel.architecture.image_size,
            "weights": bundle.manifest.weights_sha256[:12],
            "rounds": arguments.rounds,
        },
        bars=_bars(samples, choosing, images.count),
        samples=samples,
        choosing=choosing,
    )


def _calibrating(
    bundle: Bundle, images: ValidationImages, data: Path, *, rounds: int
) -> tuple[Samples, Logits]:
    """Run every exit on the images, and calibrate on them, in turns; and return the logits."""
    runtime = open_runtime("onnx", bundle)
    run = partial(answers_of, runtime, bundle, images, artifact="onnx-fp32")
    request = CalibrationRequest(plan=_PLAN, data=data, runtime="onnx")
    samples = interleave(
        {"run": run, "calibrate": partial(calibrate_bundle, bundle, request)}, rounds=rounds
    )
    return samples, run().logits


def _choosing(logits: Logits, labels: Labels) -> Samples:
    """Choose from as many logits as the bar names; the same come again where there are fewer."""
    again = np.arange(NUM_CHOSEN_FROM) % len(labels)
    many, exit_ms = logits[:, again], np.arange(1.0, len(logits) + 1)
    choose = partial(calibrate, many, labels[again], _PLAN, exit_ms=exit_ms)
    return interleave({"choose": choose}, rounds=5)


def _bars(samples: Samples, choosing: Samples, num_images: int) -> list[Bar]:
    calibrated, run = samples["calibrate"]["wall_ms"], samples["run"]["wall_ms"]
    return [
        at_most(
            f"calibrating {num_images} images, to running every exit on them once",
            ratio(calibrated, run),
            RATIO_LIMIT,
        ),
        at_most(
            f"seconds to choose per exit, with temperatures, from {NUM_CHOSEN_FROM} logits",
            median(choosing["choose"]["wall_ms"])["median"] / 1e3,
            CHOOSING_LIMIT_S,
        ),
    ]


if __name__ == "__main__":
    main()
