"""How long does an update take to go into a bundle, against copying the bundle's files?

A LoRA update of DeiT-S and a bundle with its float32 ONNX artifact. In one fresh process, in turns:

* ``apply``: the library call; it must not import torch.
* ``copy``: the files, written as a bundle is: synced, and put in place whole.
* ``plain copy``: the files, left to the system to write.
* ``hash``: one pass of SHA-256 over the files, of which ``apply`` makes three.

And each as a process of its own: the command ``reefl-edge apply``, and ``cp -r``.

    python -m benchmarks.applying
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from benchmarks.apparatus.documents import at_most, parser, write
from benchmarks.apparatus.harness import Samples, in_fresh_process, interleave, median, ratio
from benchmarks.apparatus.measured import measured_submodel, settings_of
from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.checkpoints.hashes import base_sha256
from reefl_edge.checkpoints.metadata import Provenance
from reefl_edge.checkpoints.update import Update, write_update
from reefl_edge.files import replacing_folder, sha256_of_file

LIMIT = 3.0

_APPLY = "from reefl_edge.__main__ import main; main()"


class Sizes(NamedTuple):
    """How large the measurement is."""

    rounds: int


FULL_SIZE = Sizes(rounds=15)
QUICK_SIZE = Sizes(rounds=2)


def main() -> None:
    """Measure and write the results, or take the samples of one process."""
    options = parser(__doc__, "applying")
    options.add_argument("--samples-of", type=Path, metavar="FOLDER")
    arguments = options.parse_args()
    sizes = QUICK_SIZE if arguments.quick else FULL_SIZE
    if arguments.samples_of is not None:
        print(json.dumps(take_samples(arguments.samples_of, sizes)))
        return
    again = ["--quick"] if arguments.quick else []
    with TemporaryDirectory() as scratch:
        prepare(Path(scratch), is_quick=arguments.quick)
        samples: Samples = in_fresh_process(
            "benchmarks.applying", [*again, "--samples-of", scratch]
        )
        size_bytes = sum(each.stat().st_size for each in Path(scratch, "bundle").rglob("*"))
    write(
        arguments.output,
        settings={
            **settings_of(measured_submodel(is_quick=arguments.quick)),
            **sizes._asdict(),
            "bundle_mb": round(size_bytes / 1e6, 1),
        },
        bars=[
            at_most("apply to copying the files", against(samples, "apply", "copy"), LIMIT),
            at_most(
                "apply to copying them unsynced", against(samples, "apply", "plain copy"), LIMIT
            ),
        ],
        commands=against(samples, "apply command", "cp command"),
        time={name: median(taken["wall_ms"]) for name, taken in samples.items()},
        imports_torch=False,  # else the process would have failed
        samples=samples,
    )


def prepare(folder: Path, *, is_quick: bool) -> None:
    """Write a bundle and an update of its model."""
    from benchmarks.apparatus.artifacts import bundle_of, checkpoint_of, measured_network
    from reefl_export.recipe import stock

    network = measured_network(is_quick=is_quick)
    bundle_of(network, stock(["onnx"]), folder / "bundle")
    write_update(lora_update(checkpoint_of(network)), folder / "update.safetensors")


def lora_update(checkpoint: Checkpoint) -> Update:
    """Return an update as training might have left it."""
    submodel = checkpoint.submodel.with_regime("lora")
    generator = np.random.default_rng(0)
    arrays = {
        spec.name: generator.normal(scale=0.02, size=spec.shape).astype(np.float32)
        for spec in submodel.trained_arrays()
    }
    base = base_sha256(checkpoint.arrays)
    provenance = Provenance(base_sha256=base, server_round=1, num_examples=1)
    return Update(submodel=submodel, arrays=arrays, provenance=provenance)


def take_samples(folder: Path, sizes: Sizes) -> Samples:
    """Take turns in this process, which must be fresh."""
    from reefl_edge import update_bundle

    bundle, update, output = (folder / name for name in ("bundle", "update.safetensors", "new"))

    def copy() -> None:
        with replacing_folder(output, check=lambda _: None) as partial:
            shutil.copytree(bundle, partial, dirs_exist_ok=True)

    def plain_copy() -> None:
        shutil.rmtree(folder / "plain", ignore_errors=True)
        shutil.copytree(bundle, folder / "plain")

    def hash_files() -> None:
        for path in bundle.rglob("*"):
            if path.is_file():
                sha256_of_file(path)

    def command(*words: object) -> None:
        subprocess.run([*map(str, words)], check=True, capture_output=True)

    def cp() -> None:
        shutil.rmtree(folder / "cp", ignore_errors=True)
        command("cp", "-r", bundle, folder / "cp")

    update_bundle(bundle, update, output)
    samples = interleave(
        {
            "apply": lambda: update_bundle(bundle, update, output),
            "copy": copy,
            "plain copy": plain_copy,
            "hash": hash_files,
            "apply command": lambda: command(
                sys.executable, "-c", _APPLY, "apply", bundle, update, "-o", output
            ),
            "cp command": cp,
        },
        rounds=sizes.rounds,
    )
    assert "torch" not in sys.modules, "torch was imported"
    return samples


def against(samples: Samples, name: str, other: str) -> dict[str, Any]:
    """Return the ratio of two wall times, with its interval."""
    return ratio(samples[name]["wall_ms"], samples[other]["wall_ms"])


if __name__ == "__main__":
    main()
