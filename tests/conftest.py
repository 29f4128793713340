"""What many tests need: one tiny network, one tiny dataset."""

import os
import signal

# For the tests that import onnxruntime themselves, before reefl_edge has said so.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import numpy as np
import pytest
import torch
from hypothesis import settings

from reefl_edge.data.dataset import ArrayDataset
from reefl_edge.models import ReeFL
from tests.fakes.images import random_images
from tests.fakes.networks import lively_network
from tests.fakes.submodels import tiny_submodel

# The same examples in every run, however slow the machine: a failure is one of the code.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

# A shell lets what it starts in the background ignore Ctrl-C, and processes inherit that: the
# commands that tests interrupt would run on.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def tiny_network() -> ReeFL:
    """Four blocks, two exits, three classes, images of 16 x 16 pixels."""
    return lively_network(tiny_submodel())


@pytest.fixture
def tiny_dataset() -> ArrayDataset:
    """Ten images of noise for the tiny network, of three classes."""
    labels = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0], np.int64)
    return ArrayDataset(random_images(10), labels, ("a", "b", "c"), 16)


@pytest.fixture(autouse=True)
def _one_torch_thread() -> None:
    """Compute on one thread: threads that wait for each other make tiny tensors slow."""
    torch.set_num_threads(1)
