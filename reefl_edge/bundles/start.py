"""Where does the training of a bundle start: which arrays, from which of its files?

What inference reads is read again where training starts from the same; what differs lies in a file
of its own. Read with numpy: a device that trains need have no torch.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from reefl_edge.array_files.safetensors import Arrays, read_header, read_safetensors
from reefl_edge.bundles.artifacts import float32_onnx
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.manifest import MANIFEST_NAME
from reefl_edge.bundles.training import TrainingStep
from reefl_edge.checkpoints.checkpoint import WEIGHTS_NAME, Checkpoint
from reefl_edge.checkpoints.hashes import base_sha256
from reefl_edge.checkpoints.metadata import (
    Metadata,
    RandomPart,
    check_finite,
    differences,
    metadata_in,
    write_arrays,
)
from reefl_edge.errors import InputError
from reefl_edge.regimes import Regime, is_adapter
from reefl_edge.submodel import ArraySpec


def start_name(regime: Regime) -> str:
    """Return where in a bundle the arrays lie that nothing but the training of a regime reads."""
    return f"training/{regime}.safetensors"


def start_arrays(start: Checkpoint, inferred: Arrays) -> Arrays:
    """Return what of a start goes into a file of its own: adapters, and what inference lacks.

    Args:
        start: What training starts from, adapters unfolded.
        inferred: The arrays of the float32 ONNX artifact of inference; none where there is none.
    """
    return {
        name: array
        for name, array in start.arrays.items()
        if is_adapter(name) or name not in inferred or not np.array_equal(array, inferred[name])
    }


def write_start(start: Checkpoint, own: Arrays, path: Path) -> None:
    """Write the arrays of a start that go into a file of its own."""
    path.parent.mkdir(exist_ok=True)
    write_arrays(own, Metadata(submodel=start.submodel, random=start.random), path)


def read_start(bundle: Bundle, step: TrainingStep) -> Checkpoint:
    """Read all that a training step starts from, under its regime.

    Raises:
        InputError: A file is missing or changed, or holds other arrays than the manifest says.
    """
    arrays = _read(bundle, step, step.submodel.arrays())
    if base_sha256(arrays) != step.base_sha256:
        raise InputError(
            f"{bundle.directory / MANIFEST_NAME} says that {step.submodel.regime} training starts "
            f"from weights {step.base_sha256[:12]}, but its files hold "
            f"{base_sha256(arrays)[:12]}; export the bundle again"
        )
    return Checkpoint(
        submodel=step.submodel,
        arrays=arrays,
        class_names=bundle.manifest.class_names,
        random=_random_part(bundle, step),
    )


def _random_part(bundle: Bundle, step: TrainingStep) -> RandomPart:
    file = step.start or bundle.listed(bundle.artifact("onnx", "fp32"), WEIGHTS_NAME)
    path = bundle.directory / file.path  # held to its hash when its arrays were read
    return metadata_in(read_header(path), path).random_part


def read_trained(bundle: Bundle, step: TrainingStep) -> Arrays:
    """Read the arrays that a training step changes, as they are at its start.

    Raises:
        InputError: As for ``read_start``.
    """
    return _read(bundle, step, step.submodel.trained_arrays())


def _read(bundle: Bundle, step: TrainingStep, specs: Iterable[ArraySpec]) -> Arrays:
    expected = {spec.name: spec.shape for spec in specs}
    found: Arrays = {}
    for path in _files(bundle, step):
        found |= read_safetensors(path, expected.keys() - found.keys())
    problems = differences(found, expected)
    if problems:
        raise InputError(
            f"{bundle.directory} does not hold what {step.submodel.regime} training starts from: "
            f"{problems[0]}; export the bundle again"
        )
    check_finite(found, str(bundle.directory))
    return {name: found[name] for name in expected}


def _files(bundle: Bundle, step: TrainingStep) -> Iterator[Path]:
    """Give the files to read, held to their hashes: what is training's own comes first."""
    if step.start is not None:
        path = step.start.verified(bundle.directory)
        stated = metadata_in(read_header(path), path).submodel
        if stated != step.submodel:
            raise InputError(f"{path} is of another sub-model; export the bundle again")
        yield path
    inferred = float32_onnx(bundle.manifest.artifacts)
    if inferred is not None:
        yield bundle.file(inferred, WEIGHTS_NAME)
