"""Every regime's network: its arrays, its start, and the plain formulation it must equal."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from reefl_edge.architectures import named_submodel
from reefl_edge.finetune.step import local_step, trained_parameters
from reefl_edge.models.adapted import ParallelBlock, SerialBlock
from reefl_edge.models.arrays import network_from, random_network
from reefl_edge.models.build import build
from reefl_edge.models.reefl import ReeFL
from reefl_edge.models.vit import Block
from reefl_edge.regimes import REGIMES, Regime
from reefl_edge.submodel import Submodel
from tests.fakes.networks import random_arrays, random_batch
from tests.fakes.submodels import narrow_submodel
from tests.models.plain_regimes import plain_logits, plain_step

RATE, WEIGHT = 0.05, 0.5
# Every tier of four exits and of twelve.
TIERS = [(4, tier) for tier in range(4)] + [(12, tier) for tier in range(12)]
# Where ten steps are taken: of twelve exits, the first, one in the middle and the last.
STEP_TIERS = [(4, tier) for tier in range(4)] + [(12, 0), (12, 5), (12, 11)]


def network_with(submodel: Submodel, arrays: dict[str, Tensor]) -> ReeFL:
    return network_from(submodel, {name: array.numpy() for name, array in arrays.items()})


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize(("num_exits", "max_exit"), TIERS)
def test_the_network_has_the_arrays_of_its_submodel(
    regime: Regime, num_exits: int, max_exit: int
) -> None:
    submodel = narrow_submodel(regime, num_exits=num_exits, max_exit=max_exit)

    network = build(submodel)

    expected = {spec.name: (spec.shape, spec.is_trained) for spec in submodel.arrays()}
    actual = {
        name: (tuple(parameter.shape), parameter.requires_grad)
        for name, parameter in network.named_parameters()
    }
    assert actual == expected
    assert network.state_dict().keys() == expected.keys()


def test_lora_starts_as_the_identity_and_its_a_as_a_linear_layer() -> None:
    submodel = named_submodel("deit_small", num_classes=10, max_exit=0, regime="lora")

    arrays = random_network(submodel, seed=0).state_dict()

    for part in ("lora_q", "lora_v"):
        a = arrays[f"blocks.1.attn.{part}.a"]  # uniform within 1 / sqrt(384): std 0.0295
        assert a.abs().max() <= 384**-0.5
        assert a.std() == pytest.approx(0.0295, rel=0.02)
        assert not arrays[f"blocks.1.attn.{part}.b"].any()


@pytest.mark.parametrize("regime", ["parallel-adapter", "serial-adapter"])
def test_bottleneck_adapters_start_as_every_linear_layer(regime: Regime) -> None:
    submodel = named_submodel("deit_small", num_classes=10, max_exit=0, regime=regime)

    arrays = random_network(submodel, seed=0).state_dict()

    for adapter in ("attn_adapter", "mlp_adapter"):
        for layer in ("down", "up"):
            assert arrays[f"blocks.1.{adapter}.{layer}.weight"].std() == pytest.approx(
                0.02, rel=0.05
            )
            assert not arrays[f"blocks.1.{adapter}.{layer}.bias"].any()


def test_scale_and_shift_start_near_one_and_zero() -> None:
    submodel = named_submodel("deit_small", num_classes=10, max_exit=0, regime="ssf")

    arrays = random_network(submodel, seed=0).state_dict()

    for site in ("blocks.1.mlp.ssf_fc1", "blocks.1.attn.ssf_k", "patch_embed.ssf"):
        scale, shift = arrays[f"{site}.scale"], arrays[f"{site}.shift"]
        assert scale.mean() == pytest.approx(1, abs=0.005)
        assert shift.mean() == pytest.approx(0, abs=0.005)
        for drawn in (scale, shift):
            assert drawn.std() == pytest.approx(0.02, rel=0.15)


@pytest.mark.parametrize(
    ("regime", "is_identity"),
    [("lora", True), ("parallel-adapter", False), ("serial-adapter", False), ("ssf", False)],
)
def test_only_lora_changes_nothing_at_the_start(regime: Regime, is_identity: bool) -> None:
    submodel = narrow_submodel(regime, num_exits=4, max_exit=3)
    adapted = random_network(submodel, seed=0)
    plain = random_network(narrow_submodel("full", num_exits=4, max_exit=3), seed=1)
    plain.load_state_dict({name: adapted.state_dict()[name] for name in plain.state_dict()})
    images, _ = random_batch(size=2)

    with torch.no_grad():
        difference = (adapted(images) - plain(images)).abs().max()

    assert (difference < 1e-6) == is_identity


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize(("num_exits", "max_exit"), TIERS)
def test_logits_and_gradients_are_those_of_the_plain_formulation(
    regime: Regime, num_exits: int, max_exit: int
) -> None:
    submodel = narrow_submodel(regime, num_exits=num_exits, max_exit=max_exit)
    arrays = random_arrays(submodel)
    network = network_with(submodel, arrays)
    images, labels = random_batch(size=2)
    trained = trained_parameters(network)

    logits, gradients = logits_and_gradients(
        lambda leaves: functional_call(network, leaves, (images,)), trained, labels
    )
    expected_logits, expected_gradients = logits_and_gradients(
        lambda leaves: plain_logits(arrays | leaves, images, submodel), trained, labels
    )

    assert (logits - expected_logits).abs().max() <= 2e-5
    for name, expected in expected_gradients.items():
        # Softmax does not see a shift of all keys: its gradient is rounding, around zero.
        scale = 1e-2 if name.endswith("ssf_k.shift") else expected.abs().max()
        assert (gradients[name] - expected).abs().max() <= 1e-4 * scale, name


def logits_and_gradients(
    run: Callable[[dict[str, Tensor]], Tensor], trained: dict[str, Tensor], labels: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return logits, and the gradient of the exits' summed losses for every trained array."""
    leaves = {name: array.clone().requires_grad_() for name, array in trained.items()}
    logits = run(leaves)
    loss = torch.stack([functional.cross_entropy(one, labels) for one in logits]).sum()
    gradients = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
    return logits.detach(), dict(zip(leaves, gradients, strict=True))


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize(("num_exits", "max_exit"), STEP_TIERS)
def test_ten_steps_end_where_those_of_the_released_recipe_end(
    regime: Regime, num_exits: int, max_exit: int
) -> None:
    submodel = narrow_submodel(regime, num_exits=num_exits, max_exit=max_exit)
    arrays = random_arrays(submodel)
    network = network_with(submodel, arrays)
    parameters, running_losses = trained_parameters(network), torch.zeros(submodel.num_exits)
    trained, expected, expected_losses = [*parameters], arrays, [0.0] * submodel.num_exits

    for seed in range(10):
        images, labels = random_batch(size=2, seed=seed)
        parameters, running_losses, _ = local_step(
            network,
            parameters,
            running_losses,
            images,
            labels,
            torch.tensor(RATE),
            torch.tensor(WEIGHT),
        )
        expected = plain_step(
            expected, trained, expected_losses, images, labels, submodel, rate=RATE, weight=WEIGHT
        )

    moved = max((expected[name] - arrays[name]).abs().max().item() for name in trained)
    assert moved > 0.01
    for name in trained:
        assert (parameters[name] - expected[name]).abs().max() <= 1e-4, name


@pytest.mark.parametrize("regime", ["frozen", "lora", "parallel-adapter", "serial-adapter"])
def test_nothing_is_kept_for_what_lies_before_the_first_trained_array(regime: Regime) -> None:
    network = random_network(narrow_submodel(regime, num_exits=4, max_exit=3), seed=0)
    images, _ = random_batch(size=2)
    first = network.blocks[0]
    assert isinstance(first, Block | ParallelBlock | SerialBlock)

    tokens = network.embed(images)
    attended = first.attn(first.norm1(tokens))

    assert not tokens.requires_grad
    # LoRA is inside attention; the others' first trained array lies behind it.
    assert attended.requires_grad == (regime == "lora")
    assert first(tokens).requires_grad == (regime != "frozen")
