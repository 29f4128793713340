"""Does a network survive its file?"""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reefl_edge.checkpoints.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from reefl_edge.errors import InputError
from reefl_edge.models import ReeFL, load_checkpoint, save_checkpoint
from reefl_edge.models.arrays import arrays_of, network_from
from reefl_edge.submodel import Regime
from tests.fakes.networks import lively_network, normal_images
from tests.fakes.submodels import tiny_submodel


@pytest.mark.parametrize("regime", ["full", "frozen"])
@pytest.mark.parametrize("max_exit", [0, 1])
def test_loaded_network_predicts_the_same(regime: Regime, max_exit: int, tmp_path: Path) -> None:
    network = lively_network(replace(tiny_submodel(max_exit=max_exit), regime=regime))
    path = tmp_path / "model.safetensors"

    save_checkpoint(network, path, class_names=("a", "b", "c"))
    loaded = load_checkpoint(str(path))

    assert loaded.submodel == network.submodel
    assert not loaded.training
    with torch.no_grad():
        assert torch.equal(loaded(normal_images(2)), network(normal_images(2)))
    trained = {name: p.requires_grad for name, p in network.named_parameters()}
    assert {name: p.requires_grad for name, p in loaded.named_parameters()} == trained
    assert read_checkpoint(path).class_names == ("a", "b", "c")
    assert read_checkpoint(path).random == "nothing"


def test_a_saved_network_says_that_it_is_random(tiny_network: ReeFL, tmp_path: Path) -> None:
    save_checkpoint(tiny_network, tmp_path / "model.safetensors", random="everything")

    assert read_checkpoint(tmp_path / "model.safetensors").random == "everything"


def test_network_does_not_share_memory_with_the_arrays_it_came_from(tiny_network: ReeFL) -> None:
    arrays = {name: array.copy() for name, array in arrays_of(tiny_network).items()}
    network = network_from(tiny_network.submodel, arrays)

    arrays["cls_token"] += 1

    assert torch.equal(network.cls_token, tiny_network.cls_token)


def test_file_that_lacks_an_array_gives_no_network(tiny_network: ReeFL, tmp_path: Path) -> None:
    arrays = arrays_of(tiny_network)
    del arrays["accumulator.meta_token"]
    path = tmp_path / "model.safetensors"
    write_checkpoint(Checkpoint(submodel=tiny_network.submodel, arrays=arrays), path)

    with pytest.raises(InputError, match=r"accumulator\.meta_token is missing"):
        load_checkpoint(path)
