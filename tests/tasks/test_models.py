"""Is a model what its path or name stands for, and wrong where it stands for nothing?"""

from pathlib import Path

import numpy as np
import pytest

from reefl_edge.checkpoints.description import ModelDescription
from reefl_edge.data.dataset import ArrayDataset
from reefl_edge.errors import InputError
from reefl_edge.finetune.client import train_client
from reefl_edge.finetune.training import LocalTraining
from reefl_edge.tasks.models import open_model


def test_a_name_stands_for_random_weights_of_the_seed() -> None:
    first, again, other = (open_model("digits", seed=seed) for seed in (3, 3, 4))

    assert (first.checkpoint.random, first.checkpoint_path, first.seed) == ("everything", None, 3)
    name = "classifier.linear.weight"
    assert np.array_equal(first.checkpoint.arrays[name], again.checkpoint.arrays[name])
    assert not np.array_equal(first.checkpoint.arrays[name], other.checkpoint.arrays[name])


def test_a_checkpoint_stands_for_itself_and_nothing_is_drawn(checkpoint_path: Path) -> None:
    model = open_model(str(checkpoint_path), seed=3)

    assert (model.name, model.checkpoint_path, model.seed) == ("model", checkpoint_path, 0)
    assert (model.image_size, model.class_names) == (16, ("0", "1", "2"))


def test_a_model_cut_or_kept_knows_its_file_but_an_updated_one_has_none(
    checkpoint_path: Path, tiny_dataset: ArrayDataset
) -> None:
    model = open_model(checkpoint_path)
    cut = model.cut(0)
    result = train_client(cut.checkpoint, "frozen", tiny_dataset, LocalTraining())

    updated = cut.updated(result.update)

    assert model.cut(None) == model
    assert cut.checkpoint_path == checkpoint_path
    assert updated.checkpoint_path is None
    name = "accumulator.meta_token"
    assert np.array_equal(updated.checkpoint.arrays[name], result.update.arrays[name])


def test_what_stands_for_nothing_is_a_wrong_argument_or_a_missing_file(
    checkpoint_path: Path,
) -> None:
    with pytest.raises(ValueError, match=r"'dits' is no file, no bundle .* did you mean digits"):
        open_model("dits")
    with pytest.raises(InputError, match=r"missing\.safetensors: no such file"):
        open_model("missing.safetensors")
    with pytest.raises(ValueError, match="says otherwise: num_classes is 3, not 7"):
        open_model(checkpoint_path, ModelDescription(num_classes=7))
