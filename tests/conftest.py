"""What many tests need: a tiny network, a tiny dataset, a device at the end of a link."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator

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
from tests.remotes import LINKS, Remote, remote_of

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


@pytest.fixture(scope="session", autouse=True)
def _no_phones() -> Iterator[None]:
    """Let adb, where it is asked what is connected, answer by a server that ends with the tests."""
    if shutil.which("adb") is None:
        yield
        return
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANDROID_ADB_SERVER_PORT", port)
        yield
    command = ["adb", "-P", port, "kill-server"]
    subprocess.run(command, stderr=subprocess.DEVNULL, check=False)


@pytest.fixture(scope="module", params=LINKS)
def running_remote(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Remote]:
    """A device that a module's tests share."""
    kind: str = request.param
    with remote_of(kind, tmp_path_factory.mktemp(kind)) as remote:
        yield remote


@pytest.fixture
def remote(running_remote: Remote, monkeypatch: pytest.MonkeyPatch) -> Remote:
    """The same, with the client set up to find it."""
    for name, value in running_remote.environment.items():
        monkeypatch.setenv(name, value)
    return running_remote
