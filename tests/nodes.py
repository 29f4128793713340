"""A federation of real processes on this machine: a SuperLink, and nodes of four depths.

Two nodes train with PyTorch; two in an environment without it, by the compiled ONNX step of bundles
that end at their exit, one of them on a device at the end of an ssh link. The network is tiny and
its images are noise: what takes time is the start of processes.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import psutil
import pytest

from reefl_edge.checkpoints.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from reefl_edge.data.dataset import ArrayDataset
from reefl_edge.federation.flower.deployment import FOLDER, Deployment
from reefl_edge.federation.flower.processes import LOOPBACK, free_port
from reefl_edge.federation.report import MODEL_NAME
from reefl_edge.federation.settings import FederationSettings
from reefl_edge.federation.telemetry import ROUNDS_NAME, read_rounds
from reefl_edge.models.arrays import arrays_of, random_network
from reefl_edge.tasks.federating import deploy_federation, init_federation
from reefl_export.bundle import Origin, export_checkpoint
from reefl_export.recipe import stock
from reefl_export.training import TrainingPlan
from tests.bare import ROOT, SOURCES
from tests.fakes.images import random_images
from tests.fakes.submodels import tiny_submodel
from tests.processes import is_gone

NODE_PYTHON = ROOT / ".venv-node" / "bin" / "python"
needs_node = pytest.mark.skipif(
    not NODE_PYTHON.exists(), reason="there is no .venv-node: make it with 'make setup'"
)

NUM_NODES = 4
# As simulated clients are called: what a client draws at random depends on its name.
NAMES = tuple(f"client-{index}" for index in range(NUM_NODES))
WITHOUT_TORCH = NAMES[2:]
CLASSES = ("a", "b", "c")
_NUM_EXAMPLES = 60
_BATCH_SIZE = 8
# Processes of five Pythons start on two cores.
_LONGEST_S = 400.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a federation lies, with what its nodes train.

    Attributes:
        folder: With ``model.safetensors``, ``data.npz``, the part of each node, and bundles.
        title: What the federation is called.
    """

    folder: Path
    title: str = "federation"

    @property
    def settings(self) -> FederationSettings:
        """What a simulation of the same federation is set to."""
        return FederationSettings(
            model=str(self.folder / "model.safetensors"),
            regime="lora",
            num_rounds=2,
            num_clients=NUM_NODES,
            clients_per_round=NUM_NODES,
            data=str(self.folder / "data.npz"),
            alpha=100.0,
            batch_size=_BATCH_SIZE,
            seed=3,
            output=str(self.folder / "simulated"),
        )

    @property
    def federation(self) -> Path:
        """The folder of the federation."""
        return self.folder / self.title

    @property
    def deployment(self) -> Deployment:
        """Its certificates, keys and nodes."""
        return Deployment(self.federation / FOLDER)

    def model_of(self, name: str) -> Path:
        """Return what a node trains."""
        is_compiled = name in WITHOUT_TORCH
        return self.folder / (f"bundle-{name}" if is_compiled else "model.safetensors")

    def data_of(self, name: str) -> Path:
        """Return the examples of a node."""
        return self.folder / f"{name}.npz"

    def fill(self) -> None:
        """Write the model, and the data of all clients."""
        self._install()
        network = random_network(tiny_submodel(num_blocks=NUM_NODES, num_exits=NUM_NODES), seed=0)
        checkpoint = Checkpoint(
            submodel=network.submodel, arrays=arrays_of(network), class_names=CLASSES
        )
        write_checkpoint(checkpoint, self.folder / "model.safetensors")
        labels = np.arange(_NUM_EXAMPLES) % len(CLASSES)
        images = random_images(_NUM_EXAMPLES)
        np.savez(self.folder / "data.npz", images=images, labels=labels)

    def part(self) -> None:
        """Give each node its own part of the data, and those without PyTorch their bundles."""
        checkpoint = read_checkpoint(self.folder / "model.safetensors")
        with np.load(self.folder / "data.npz") as data:
            images, labels = data["images"], data["labels"]
        size = checkpoint.submodel.architecture.image_size
        partition = self.settings.sharing().partition(ArrayDataset(images, labels, CLASSES, size))
        for index, name in enumerate(NAMES):
            (part,) = partition.of_client(index)
            own = part.images(np.arange(len(part.labels)))
            np.savez(self.data_of(name), images=own, labels=part.labels)
            if name in WITHOUT_TORCH:
                self._export(checkpoint.cut(index), self.model_of(name))

    def deploy(self, **changed: object) -> None:
        """Make the same federation a deployed one.

        Args:
            changed: Settings that are otherwise.
        """
        settings = replace(
            self.settings,
            num_clients=0,
            data="",
            min_clients=NUM_NODES,
            wait_for_clients_s=_LONGEST_S,
            output=str(self.federation / "output"),
        )
        init_federation(self.federation, replace(settings, **changed))  # type: ignore[arg-type]
        deploy_federation(self.federation, ["localhost"], NAMES, listen=LOOPBACK, port=free_port())
        for name in NAMES:
            is_compiled = name in WITHOUT_TORCH
            self.tell(
                name,
                {
                    "model": str(self.model_of(name)),
                    "data": str(self.data_of(name)),
                    "runtime": "onnx" if is_compiled else "eager",
                    "threads": 1,
                },
            )

    def tell(self, name: str, settings: Mapping[str, str | int]) -> None:
        """Change what a node is told, as a person does: in its file."""
        path = self.deployment.node_folder(name) / "node.toml"
        text = path.read_text()
        for key, value in settings.items():
            written = f'"{value}"' if isinstance(value, str) else str(value)
            text, found = re.subn(rf"(?m)^{key} = .*$", f"{key} = {written}", text)
            assert found == 1, key
        path.write_text(text)

    @contextmanager
    def joined(
        self, name: str, environment: Mapping[str, str] | None = None
    ) -> Iterator["subprocess.Popen[str]"]:
        """Let a node take part while the block runs, in the environment that it is to have."""
        python = NODE_PYTHON if name in WITHOUT_TORCH else Path(sys.executable)
        folder = self.deployment.node_folder(name)
        process = self._start(python, "join", folder, environment=environment or {})
        try:
            yield process
        finally:
            process.terminate()
            process.communicate()

    @contextmanager
    def started(
        self, environment: Mapping[str, str] | None = None
    ) -> Iterator["subprocess.Popen[str]"]:
        """Run the federation while the block runs."""
        words = ("run", self.federation)
        process = self._start(Path(sys.executable), *words, environment=environment or {})
        try:
            yield process
        finally:
            process.terminate()
            process.communicate()

    def wait_for(self, name: str, said: str) -> None:
        """Wait until Flower's part of a node has said something."""
        log = self.deployment.node_folder(name) / "node.log"
        end = time.monotonic() + _LONGEST_S
        while time.monotonic() < end:
            if log.exists() and said in log.read_text(errors="replace"):
                return
            time.sleep(0.1)
        raise AssertionError(f"{name} never said {said!r}: {log.read_text(errors='replace')}")

    def trained(self) -> Checkpoint:
        """Return what the federation has made of the model."""
        return read_checkpoint(self.federation / "output" / MODEL_NAME)

    def problems(self) -> list[dict[str, str | None]]:
        """Return who was asked in each round of the federation, and what was wrong with each."""
        rounds = read_rounds(self.federation / "output" / ROUNDS_NAME)
        return [
            {client.client: client.problem for client in each.clients}
            for each in rounds
            if each.server_round
        ]

    def is_left(self) -> bool:
        """Wait until nothing that was started for it runs; tell whether it came to that."""
        return all(is_gone(process) for process in self._processes())

    def _start(
        self, python: Path, *words: object, environment: Mapping[str, str]
    ) -> "subprocess.Popen[str]":
        sources = f"{SOURCES['PYTHONPATH']}:{self.folder / 'installed'}"
        return subprocess.Popen(
            [str(python), "-m", "reefl_edge", "federate", *map(str, words)],
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment, "PYTHONPATH": sources},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _install(self) -> None:
        """Let Pythons that run the sources know which version they have, as if installed."""
        folder = self.folder / "installed" / f"reefl_edge-{version('reefl-edge')}.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: reefl-edge\nVersion: {version('reefl-edge')}\n"
        )

    def _processes(self) -> list[psutil.Process]:
        return [
            process
            for process in psutil.process_iter(["cwd"])
            if (process.info["cwd"] or "").startswith(str(self.federation))
        ]

    def _export(self, checkpoint: Checkpoint, bundle: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("REEFL_EDGE_HOME", str(self.folder / "cache"))
            export_checkpoint(
                checkpoint,
                bundle,
                stock(["onnx"]),
                Origin(name="tiny"),
                training=TrainingPlan(regimes=("lora",), batch_size=_BATCH_SIZE, targets=("onnx",)),
            )


@contextmanager
def all_joined(place: Place, environments: Mapping[str, Mapping[str, str]]) -> Iterator[None]:
    """Let all nodes take part while the block runs."""
    with ExitStack() as stack:
        for name in NAMES:
            stack.enter_context(place.joined(name, environments.get(name)))
        yield


def finished(process: "subprocess.Popen[str]") -> str:
    """Wait until a run has come to its end; return what it said."""
    stdout, stderr = process.communicate(timeout=_LONGEST_S)
    assert process.returncode == 0, stderr
    return stdout + stderr
