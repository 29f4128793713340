"""Are predictions complete, in order, and counted right?"""

from typing import Any

import numpy as np
import pytest

from reefl_edge.data.dataset import ArrayDataset
from reefl_edge.finetune.evaluate import Logits, accuracy, checkpoint_logits, exit_logits
from reefl_edge.models import ReeFL
from reefl_edge.runtimes.eager import EagerRuntime
from tests.fakes.networks import checkpoint_of


def logits_of(network: ReeFL, dataset: ArrayDataset, **settings: Any) -> Logits:
    runtime = EagerRuntime(network, threads=1)
    return exit_logits(runtime, network.submodel, dataset, **settings)


def test_batches_do_not_change_the_logits(tiny_network: ReeFL, tiny_dataset: ArrayDataset) -> None:
    seen = []

    whole = logits_of(tiny_network, tiny_dataset)
    parts = logits_of(tiny_network, tiny_dataset, batch_size=4, on_step=lambda *at: seen.append(at))

    assert whole.shape == (2, 10, 3)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(parts, whole, atol=1e-5)
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_logits_come_in_the_datasets_order(tiny_network: ReeFL, tiny_dataset: ArrayDataset) -> None:
    order = np.array([7, 2, 9])

    logits = logits_of(tiny_network, tiny_dataset)
    picked = logits_of(tiny_network, tiny_dataset.subset(order))

    np.testing.assert_allclose(picked, logits[:, order], atol=1e-5)


def test_of_a_checkpoint_it_is_eager(tiny_network: ReeFL, tiny_dataset: ArrayDataset) -> None:
    logits = checkpoint_logits(checkpoint_of(tiny_network), tiny_dataset)

    np.testing.assert_allclose(logits, logits_of(tiny_network, tiny_dataset), atol=1e-6)


def test_batch_of_nothing_is_refused(tiny_network: ReeFL, tiny_dataset: ArrayDataset) -> None:
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        logits_of(tiny_network, tiny_dataset, batch_size=0)


def test_accuracy_is_the_share_of_right_answers_per_exit() -> None:
    right_three_times = [[5, 0, 0], [0, 5, 0], [0, 5, 0], [0, 0, 5]]
    right_once = [[5, 0, 0], [5, 0, 0], [5, 0, 0], [5, 0, 0]]
    logits = np.array([right_once, right_three_times], np.float32)

    assert accuracy(logits, np.array([0, 1, 2, 2])).tolist() == [0.25, 0.75]


def test_accuracy_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="need a label for every example, got 0 for 0"):
        accuracy(np.zeros((2, 0, 3), np.float32), np.zeros(0, np.int64))
    with pytest.raises(ValueError, match="got 3 for 4"):
        accuracy(np.zeros((2, 4, 3), np.float32), np.zeros(3, np.int64))
