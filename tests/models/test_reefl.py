"""Does the network compute what ReeFL says, exit by exit and gradient by gradient?"""

from typing import Any

import pytest
import torch
from torch import Tensor

from reefl_edge.models import ReeFL
from tests.fakes.networks import lively_network, normal_images
from tests.fakes.submodels import deep_submodel
from tests.models.plain_reefl import classify, run_plain


def arrays_with_gradients(network: ReeFL) -> dict[str, Tensor]:
    return {name: p.detach().clone().requires_grad_() for name, p in network.named_parameters()}


@pytest.mark.parametrize("num_exits", [4, 12])
def test_every_exit_agrees_with_the_plain_recurrence(num_exits: int) -> None:
    network = lively_network(deep_submodel(num_exits=num_exits, max_exit=num_exits - 1))
    images = normal_images(3)

    with torch.no_grad():
        logits = network(images)
        plain = run_plain(network.state_dict(), images, network.submodel)

    assert logits.shape == (num_exits, 3, 3)
    torch.testing.assert_close(logits, torch.stack(plain.logits), atol=1e-5, rtol=1e-5)


def test_history_of_raw_class_tokens_would_be_another_function() -> None:
    network = lively_network(deep_submodel(num_exits=12, max_exit=2))
    images = normal_images(3)

    with torch.no_grad():
        logits = network(images)
        raw = run_plain(network.state_dict(), images, network.submodel, history="raw").logits

    torch.testing.assert_close(logits[0], raw[0], atol=1e-5, rtol=1e-5)  # no history yet
    for exit_index in (1, 2):
        assert (logits[exit_index] - raw[exit_index]).abs().max() > 0.01


def test_plain_recurrence_keeps_the_last_row_of_each_call() -> None:
    network = lively_network(deep_submodel(num_exits=12, max_exit=11))
    with torch.no_grad():
        plain = run_plain(network.state_dict(), normal_images(2), network.submodel)

    for call, sequence in enumerate(plain.sequences):
        for slot in range(call):
            assert torch.equal(sequence[:, slot + 1], plain.outputs[slot][:, -1])
        assert torch.equal(sequence[:, -1], plain.raw_tokens[call])


def test_accumulator_runs_after_every_block_on_two_to_thirteen_tokens() -> None:
    network = lively_network(deep_submodel(num_exits=4, max_exit=3))
    lengths = []

    def note_length(_: object, inputs: tuple[Any, ...]) -> None:
        cache = inputs[1]
        seen = 0 if cache is None else cache.keys.shape[1]
        lengths.append(1 + seen + 1)  # the meta token, the history, the latest class token

    network.accumulator.register_forward_pre_hook(note_length)
    with torch.no_grad():
        logits = network(normal_images(1))

    assert lengths == list(range(2, 14))
    assert len(logits) == 4


def test_prediction_reads_the_meta_row_and_the_raw_class_token() -> None:
    network = lively_network(deep_submodel(num_exits=4, max_exit=1))
    images = normal_images(2)
    with torch.no_grad():
        logits = network(images)
        plain = run_plain(network.state_dict(), images, network.submodel)

    meta_row, last_row = plain.outputs[5][:, 0], plain.outputs[5][:, -1]
    expected = classify(network.state_dict(), meta_row + plain.raw_tokens[5])
    modulated = classify(network.state_dict(), meta_row + last_row)
    torch.testing.assert_close(logits[1], expected, atol=1e-5, rtol=1e-5)
    assert (logits[1] - modulated).abs().max() > 0.01


def test_gradients_agree_with_those_of_the_plain_recurrence() -> None:
    network = lively_network(deep_submodel(num_exits=4, max_exit=1), scale=0.2)
    images, arrays = normal_images(2), arrays_with_gradients(network)
    pull = torch.randn(2, 2, 3, generator=torch.Generator().manual_seed(1))

    torch.autograd.backward((network(images) * pull).sum())
    plain = torch.stack(run_plain(arrays, images, network.submodel).logits)
    torch.autograd.backward((plain * pull).sum())

    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert arrays[name].grad is not None, name
        torch.testing.assert_close(parameter.grad, arrays[name].grad, atol=1e-4, rtol=1e-4)


def test_client_of_depth_three_trains_only_its_own_rows_of_the_depth_embedding() -> None:
    network = lively_network(deep_submodel(num_exits=4, max_exit=0))

    torch.autograd.backward(network(normal_images(2)).square().sum())

    gradient = network.accumulator.depth_embedding.grad
    assert gradient is not None
    assert gradient.shape == (13, 16)
    assert (gradient[:4].abs().amax(1) > 0).all()
    assert (gradient[4:] == 0).all()


def test_cut_network_predicts_the_same_at_the_exits_it_keeps() -> None:
    whole = lively_network(deep_submodel(num_exits=4, max_exit=3))
    cut = lively_network(whole.submodel.cut(1))
    cut.load_state_dict({name: whole.state_dict()[name] for name in cut.state_dict()})
    images = normal_images(2)

    with torch.no_grad():
        assert torch.equal(cut(images), whole(images)[:2])


def test_examples_of_a_batch_do_not_see_each_other() -> None:
    network = lively_network(deep_submodel(num_exits=4, max_exit=1))
    images = normal_images(3)

    with torch.no_grad():
        together = network(images)
        alone = torch.cat([network(image[None]) for image in images], dim=1)

    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
