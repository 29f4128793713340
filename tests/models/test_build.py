"""Does a network have just the arrays that its description lists?"""

from dataclasses import replace

import pytest
import torch

from reefl_edge.models import build, build_model
from reefl_edge.models.arrays import arrays_of, random_network
from reefl_edge.submodel import Regime
from tests.fakes.submodels import tiny_submodel


@pytest.mark.parametrize("regime", ["full", "frozen"])
@pytest.mark.parametrize("num_exits", [1, 2, 4])
def test_arrays_are_those_of_the_network(regime: Regime, num_exits: int) -> None:
    for max_exit in range(num_exits):
        submodel = replace(tiny_submodel(num_exits=num_exits, max_exit=max_exit), regime=regime)
        network = build(submodel)

        specs = {spec.name: spec for spec in submodel.arrays()}
        state = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
        assert state == {name: spec.shape for name, spec in specs.items()}
        for name, parameter in network.named_parameters():
            assert parameter.requires_grad == specs[name].is_trained, name
            assert parameter.dtype == torch.float32, name


def test_weights_start_as_in_the_release() -> None:
    arrays = arrays_of(random_network(tiny_submodel(), seed=0))

    for name, array in arrays.items():
        if ".norm" in name or name.startswith("classifier.norm"):
            assert (array == (1 if name.endswith("weight") else 0)).all(), name
        elif name.endswith("bias") and not name.startswith("patch_embed"):
            assert (array == 0).all(), name
    small = [arrays["pos_embed"], arrays["accumulator.mlp.fc1.weight"], arrays["cls_token"]]
    for array in small:
        assert array.std() == pytest.approx(0.02, rel=0.35)


def test_seed_gives_the_same_random_network_and_leaves_the_generator_alone() -> None:
    torch.manual_seed(5)
    untouched = torch.rand(1)
    torch.manual_seed(5)

    first, again, other = (
        arrays_of(random_network(tiny_submodel(), seed=seed))["cls_token"] for seed in (1, 1, 2)
    )

    assert (first == again).all()
    assert (first != other).any()
    assert torch.equal(torch.rand(1), untouched)


def test_named_model_has_the_options_asked_for() -> None:
    network = build_model("digits", num_classes=5, num_exits=2, max_exit=0, regime="frozen")

    assert network.exit_blocks == (3,)
    assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 1, 5)
    assert not network.cls_token.requires_grad
