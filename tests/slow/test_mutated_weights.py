"""Is a mutated checkpoint, update or foreign file read right, or refused in one line?"""

import json
from pathlib import Path
from random import Random

import numpy as np
import pytest
from safetensors.numpy import load, save

from reefl_edge.checkpoints.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from reefl_edge.checkpoints.description import ModelDescription
from reefl_edge.checkpoints.foreign.writing import to_released, write_released
from reefl_edge.checkpoints.hashes import base_sha256, weights_sha256
from reefl_edge.checkpoints.metadata import Provenance
from reefl_edge.checkpoints.update import Update, apply_update, read_update, write_update
from reefl_edge.models.arrays import arrays_of, random_network
from reefl_edge.tasks.models import open_model
from tests.fakes.submodels import tiny_submodel
from tests.slow import mutations
from tests.slow.cases import Case, Refused, answer, cases

pytestmark = pytest.mark.slow

OURS = (
    *(f"bytes-{name}" for name in mutations.BYTES),
    *(f"header-{name}" for name in (*mutations.DOCUMENTS, *mutations.BYTES, "nested")),
    *(f"metadata-{name}" for name in (*mutations.DOCUMENTS, *mutations.BYTES, "nested")),
    "poisoned",
)
FOREIGN = (
    *(f"{suffix}-{name}" for suffix in ("safetensors", "pth", "npz") for name in mutations.BYTES),
    *(f"npz-member-{name}" for name in (*mutations.ZIPS, *mutations.BYTES)),
    *(f"safetensors-header-{name}" for name in mutations.DOCUMENTS),
)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    """A tiny checkpoint with class names."""
    network = random_network(tiny_submodel(num_blocks=2), seed=0)
    return Checkpoint(
        submodel=network.submodel, arrays=arrays_of(network), class_names=("ant", "bee", "cat")
    )


@pytest.fixture(scope="module")
def update(checkpoint: Checkpoint) -> Update:
    """An update of what the frozen regime trains."""
    submodel = checkpoint.submodel.with_regime("frozen")
    arrays = {spec.name: checkpoint.arrays[spec.name] + 1 for spec in submodel.trained_arrays()}
    provenance = Provenance(
        base_sha256=base_sha256(checkpoint.arrays), server_round=1, num_examples=12
    )
    return Update(submodel=submodel, arrays=arrays, provenance=provenance)


def mutated(content: bytes, case: Case) -> bytes:
    """Mutate a safetensors file of ours, or of anybody's."""
    where, _, name = case.mutation.partition("-")
    match where:
        case "bytes":
            return mutations.BYTES[name](content, case.random())
        case "header":
            return mutations.changed_header(content, case.random(), name)
        case "metadata":
            return mutations.changed_metadata(content, case.random(), name)
    return poisoned(content, case.random())


def poisoned(content: bytes, random: Random) -> bytes:
    """Put a number that is none into an array, and write the hash that fits."""
    length = int.from_bytes(content[:8], "little")
    ((key, text),) = json.loads(content[8 : 8 + length])["__metadata__"].items()
    arrays = {name: np.copy(array) for name, array in load(content).items()}
    chosen = arrays[random.choice(sorted(arrays))].reshape(-1)
    chosen[random.randrange(chosen.size)] = random.choice((np.nan, np.inf))
    said = {**json.loads(text), "weights_sha256": weights_sha256(arrays), "metadata_sha256": None}
    return save(arrays, {key: json.dumps(said)})


@cases("checkpoint", OURS)
def test_a_mutated_checkpoint_is_read_right_or_refused_in_one_line(
    case: Case, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    write_checkpoint(checkpoint, path)
    path.write_bytes(mutated(path.read_bytes(), case))

    read = answer(lambda: read_checkpoint(path))
    opened = answer(lambda: open_model(path), may_raise=ValueError)

    assert isinstance(read, Refused) == isinstance(opened, Refused)
    if not isinstance(read, Refused):
        assert_same(read, checkpoint)
        assert not isinstance(opened, Refused)
        assert_same(opened.checkpoint, checkpoint)
        assert case.mutation != "poisoned"


@cases("update", OURS)
def test_a_mutated_update_is_applied_right_or_refused_in_one_line(
    case: Case, checkpoint: Checkpoint, update: Update, tmp_path: Path
) -> None:
    path = tmp_path / "update.safetensors"
    write_update(update, path)
    path.write_bytes(mutated(path.read_bytes(), case))

    applied = answer(lambda: apply_update(checkpoint, read_update(path)))

    if not isinstance(applied, Refused):
        assert_same(applied, apply_update(checkpoint, update))
        assert read_update(path).provenance == update.provenance
        assert case.mutation != "poisoned"


@cases("foreign", FOREIGN)
def test_a_mutated_foreign_file_is_a_model_or_refused_in_one_line(
    case: Case, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    suffix, _, mutation = case.mutation.partition("-")
    path = write_foreign(checkpoint, tmp_path / f"state_dict.{suffix}")
    path.write_bytes(changed_foreign(path.read_bytes(), case.random(), mutation))
    facts = ModelDescription(num_exits=2, num_heads=2)

    opened = answer(lambda: open_model(path, facts), may_raise=ValueError)

    if not isinstance(opened, Refused):
        arrays = opened.checkpoint.arrays
        assert {name: array.shape for name, array in arrays.items()} == {
            spec.name: spec.shape for spec in opened.checkpoint.submodel.arrays()
        }
        assert all(np.isfinite(array).all() for array in arrays.values())
        assert mutation not in ("member-terabytes", "member-removed", "header-removed")


def write_foreign(checkpoint: Checkpoint, path: Path) -> Path:
    """Write the state dict of the released code; .npz holds the same arrays."""
    if path.suffix == ".npz":
        np.savez(path, **to_released(checkpoint))  # type: ignore[arg-type]
    else:
        write_released(checkpoint, path)
    return path


def changed_foreign(content: bytes, random: Random, mutation: str) -> bytes:
    """Mutate the bytes of a file, a member of an archive, or the header of a safetensors file."""
    where, _, name = mutation.partition("-")
    match where:
        case "member":
            return mutations.changed_zip(content, random, name)
        case "header":
            return mutations.changed_header(content, random, name)
    return mutations.BYTES[mutation](content, random)


def assert_same(found: Checkpoint, expected: Checkpoint) -> None:
    """Hold everything that answers depend on to what was written."""
    assert found.submodel == expected.submodel
    assert found.names() == expected.names()
    assert found.random == expected.random
    assert found.arrays.keys() == expected.arrays.keys()
    for name, array in expected.arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array, err_msg=name)
