"""Does the command line refuse a mutated file in one line? Real processes of the bare environment.

What the readers make of mutated files is looked at in process, in numbers; here, that nothing on
the way to the shell makes more of it than one line and an exit code.
"""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from reefl_edge.checkpoints.checkpoint import Checkpoint, write_checkpoint
from reefl_edge.models.arrays import arrays_of, random_network
from reefl_export.bundle import Origin, export_checkpoint
from reefl_export.recipe import stock
from tests.bare import BARE_PYTHON, ROOT, SOURCES, needs_bare
from tests.fakes.images import random_images
from tests.fakes.submodels import tiny_submodel
from tests.slow import mutations
from tests.slow.cases import Case, cases
from tests.workplaces import Workplace

pytestmark = [pytest.mark.slow, needs_bare]

EXIT_CODES = (0, 2, 3, 5, 6)
# Which file is mutated, and which command reads it.
READERS = {
    "infer-manifest": ("bundle/manifest.json", ("infer", "bundle", "images.npy", "--json")),
    "infer-weights": (
        "bundle/onnx/weights.safetensors",
        ("infer", "bundle", "images.npy", "--json"),
    ),
    "infer-images": ("images.npy", ("infer", "bundle", "images.npy", "--json")),
    "verify-graph": ("bundle/onnx/segment_0.onnx", ("verify", "bundle", "--json")),
    "verify-manifest": ("bundle/manifest.json", ("verify", "bundle", "--json")),
    "convert-checkpoint": (
        "model.safetensors",
        ("convert", "model.safetensors", "-o", "o.safetensors"),
    ),
    "devices-profile": ("config/reefl-edge/device_profiles/rpi5.toml", ("devices", "--json")),
}


@dataclass(frozen=True, slots=True)
class Said:
    """What a command said."""

    exit_code: int
    stdout: str
    stderr: str


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the commands read; no test changes it."""
    folder = tmp_path_factory.mktemp("original") / "files"
    folder.mkdir()
    network = random_network(tiny_submodel(num_blocks=2), seed=0)
    checkpoint = Checkpoint(submodel=network.submodel, arrays=arrays_of(network))
    write_checkpoint(checkpoint, folder / "model.safetensors")
    np.save(folder / "images.npy", random_images(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REEFL_EDGE_HOME", str(folder.parent / "cache"))
        export_checkpoint(checkpoint, folder / "bundle", stock(["onnx"]), Origin(name="tiny"))
    profiles = folder / "config" / "reefl-edge" / "device_profiles"
    profiles.mkdir(parents=True)
    shutil.copy(ROOT / "device_profiles" / "rpi5.toml", profiles)
    return folder


def say(arguments: tuple[str, ...], files: Path, workplace: Workplace) -> Said:
    """Run a command of the bare environment among files."""
    done = subprocess.run(
        [BARE_PYTHON, "-m", "reefl_edge", *arguments],
        cwd=files,
        env={**workplace.environment(), **SOURCES, "XDG_CONFIG_HOME": str(files / "config")},
        capture_output=True,
        text=True,
        errors="replace",
    )
    return Said(done.returncode, done.stdout, done.stderr)


def mutated(content: bytes, name: str, case: Case) -> bytes:
    """Mutate a file in the way that goes deepest into its format."""
    random = case.random()
    text = (*mutations.DOCUMENTS, *mutations.BYTES)
    if name.endswith(".json"):
        return mutations.changed_json(content, random, random.choice(text))
    if name.endswith("model.safetensors"):
        return mutations.changed_header(content, random, random.choice(text))
    return mutations.BYTES[random.choice(sorted(mutations.BYTES))](content, random)


@cases("command-line", READERS)
def test_a_mutated_file_is_answered_right_or_by_one_line_and_an_exit_code(
    case: Case, original: Path, tmp_path: Path
) -> None:
    name, arguments = READERS[case.mutation]
    workplace, files = Workplace.made_in(tmp_path), tmp_path / "files"
    shutil.copytree(original, files)
    (files / name).write_bytes(mutated((files / name).read_bytes(), name, case))

    said = say(arguments, files, workplace)

    assert said.exit_code in EXIT_CODES, said.stderr
    assert "Traceback" not in said.stderr
    errors = [line for line in said.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == (said.exit_code != 0), said.stderr
    if case.mutation.startswith("infer") and name != "images.npy" and said.exit_code == 0:
        assert labels_in(said) == labels_in(say(arguments, original, workplace))
    assert workplace.unfinished() == []


def labels_in(said: Said) -> list[object]:
    """Return the class of each image."""
    return [each["label"] for each in json.loads(said.stdout)["predictions"]]
