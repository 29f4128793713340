"""What does calibrating take beside running every exit on the same images once?

Both in one process, in turns. Choosing from the logits alone is timed on as many as the bar names.

    python -m benchmarks.calibrating --bundle bundle --data val.npz
"""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.apparatus.documents import at_most, parser, write
from benchmarks.apparatus.harness import interleave, median, ratio
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.thresholds import Promise
from reefl_edge.runtimes.opening import open_runtime
from reefl_edge.tasks.calibrating import CalibrationRequest, calibrate_bundle
from reefl_edge.tasks.validation import answers_of, read_validation
from reefl_edge.thresholds.calibrate import CalibrationPlan, calibrate

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
        images = read_validation(arguments.data, bundle, needs_labels=True)
        runtime = open_runtime("onnx", bundle)
        request = CalibrationRequest(plan=_PLAN, data=arguments.data, runtime="onnx")
        samples = interleave(
            {
                "run": lambda: answers_of(runtime, bundle, images, artifact="onnx-fp32"),
                "calibrate": lambda: calibrate_bundle(bundle, request),
            },
            rounds=arguments.rounds,
        )
        logits = answers_of(runtime, bundle, images, artifact="onnx-fp32").logits
    assert images.labels is not None  # as asked for
    again = np.arange(NUM_CHOSEN_FROM) % images.count
    exit_ms = np.arange(1.0, len(logits) + 1)
    many, labels = logits[:, again], images.labels[again]
    choosing = interleave(
        {"choose": lambda: calibrate(many, labels, _PLAN, exit_ms=exit_ms)}, rounds=5
    )
    chosen_s = median(choosing["choose"]["wall_ms"])["median"] / 1e3
    calibrated, run = samples["calibrate"]["wall_ms"], samples["run"]["wall_ms"]
    what = f"calibrating {images.count} images, to running every exit on them once"
    write(
        arguments.output,
        settings={
            "num_images": images.count,
            "image_size": bundle.manifest.submodel.architecture.image_size,
            "weights": bundle.manifest.weights_sha256[:12],
            "rounds": arguments.rounds,
        },
        bars=[
            at_most(what, ratio(calibrated, run), RATIO_LIMIT),
            at_most(
                f"seconds to choose per exit, with temperatures, from {NUM_CHOSEN_FROM} logits",
                chosen_s,
                CHOOSING_LIMIT_S,
            ),
        ],
        samples=samples,
        choosing=choosing,
    )


if __name__ == "__main__":
    main()
