"""What does an ONNX artifact answer on this machine? Needs numpy and onnxruntime, nothing else.

``run_artifact.py FOLDER IMAGES.npy ANSWERS.npz``: the logits of every exit for all images, and what
the adaptive graph says of each image at a few thresholds.
"""

import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

THRESHOLDS = (0.0001, 0.6, 1.0)


def answers(folder: Path, images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """Run an artifact on images, uint8 (N, H, W, 3)."""
    found: dict[str, NDArray[Any]] = {"machine": np.array(platform.machine())}
    carried = [images]
    for exit_index, path in enumerate(sorted(folder.glob("segment_*.onnx"))):
        session = _session(path)
        names = [value.name for value in session.get_inputs()]
        *carried, found[f"logits_{exit_index}"] = session.run(
            None, dict(zip(names, carried, strict=True))
        )
    adaptive = _session(folder / "adaptive.onnx")
    for threshold in THRESHOLDS:
        feeds = ({"images": image[None], **_policy(adaptive, threshold)} for image in images)
        answered = (adaptive.run(["logits", "exit_index"], feed) for feed in feeds)
        logits, exits = zip(*answered, strict=True)
        found[f"adaptive_logits_{threshold}"] = np.concatenate(logits)
        found[f"adaptive_exits_{threshold}"] = np.concatenate(exits)
    return found


def _policy(adaptive: onnxruntime.InferenceSession, threshold: float) -> dict[str, Any]:
    """Return the inputs that say where to stop: one threshold for all exits."""
    shapes = {value.name: value.shape for value in adaptive.get_inputs()}
    return {
        "thresholds": np.full(shapes["thresholds"], threshold, np.float32),
        "temperatures": np.ones(shapes["temperatures"], np.float32),
        "measure": np.array(0),
    }


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


if __name__ == "__main__":
    found = answers(Path(sys.argv[1]), np.load(sys.argv[2]))
    np.savez(sys.argv[3], allow_pickle=False, **found)
