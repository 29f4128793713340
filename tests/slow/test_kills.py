"""What does a command leave that is stopped at any moment, and does the next run work?

Sixty times, at moments drawn from a seed: nothing torn, nothing left, no process that runs on.
SIGKILL may leave partials, which the next run sweeps.
"""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import pytest

from reefl_edge.bundles.bundle import Bundle
from reefl_edge.checkpoints.checkpoint import Checkpoint, write_checkpoint
from reefl_edge.checkpoints.hashes import weights_sha256
from reefl_edge.checkpoints.update import read_update
from reefl_edge.models.arrays import arrays_of, random_network
from reefl_edge.profiling.report import read_report
from reefl_export.bundle import Origin, export_checkpoint
from reefl_export.recipe import stock
from reefl_export.verification import verify
from tests.bare import BARE_PYTHON, SOURCES, needs_bare
from tests.fakes.images import random_images
from tests.fakes.submodels import tiny_submodel
from tests.processes import is_gone
from tests.workplaces import Workplace

pytestmark = pytest.mark.slow

# Sixty; most where a start is cheap. An export from the cache imports no torch.
SHARES = {"convert": 22, "profile": 18, "cached-export": 8, "export": 6, "finetune": 6}
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGINT)
_OLD = b"what stood there before"


@dataclass(frozen=True, slots=True)
class Command:
    """A command that writes one output.

    Attributes:
        python: Which interpreter runs it.
        arguments: But for the output.
        output: Name of the file or folder.
        answer: What the output says, if it is whole: the same after every run.
    """

    python: Path
    arguments: tuple[str, ...]
    output: str
    answer: Callable[[Path], object]

    def argv(self, workplace: Workplace) -> list[str]:
        """Return the words of the command."""
        output = str(workplace.out / self.output)
        return [str(self.python), "-m", "reefl_edge", *self.arguments, "-o", output]


@dataclass(frozen=True, slots=True)
class Known:
    """What an undisturbed run of a command took and gave."""

    command: Command
    duration_s: float
    answer: object
    cache: Path


def report_answer(path: Path) -> object:
    return [row.key for row in read_report(path).rows]


def bundle_answer(path: Path) -> object:
    """Tell what a bundle is, once all of it was verified."""
    bundle = Bundle.open(path)
    found = verify(bundle)
    assert (found.problems, found.foreign_files) == ((), ())
    manifest = bundle.manifest
    return manifest.submodel, manifest.weights_sha256, [each.name for each in manifest.artifacts]


def update_answer(path: Path) -> object:
    update = read_update(path)
    return update.submodel, weights_sha256(update.arrays), update.provenance


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint, its bundle and a shallower one, and data; no command changes them."""
    folder = tmp_path_factory.mktemp("inputs")
    network = random_network(tiny_submodel(num_blocks=2), seed=0)
    checkpoint = Checkpoint(submodel=network.submodel, arrays=arrays_of(network))
    write_checkpoint(checkpoint, folder / "model.safetensors")
    np.savez(folder / "data.npz", images=random_images(12), labels=np.arange(12) % 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REEFL_EDGE_HOME", str(folder / "cache"))
        for name, each in (("bundle", checkpoint), ("shallower", checkpoint.cut(0))):
            export_checkpoint(each, folder / name, stock(["onnx"]), Origin(name="model"))
    return folder


def commands(inputs: Path) -> dict[str, Command]:
    """Return every command by its name."""
    model, bundle = str(inputs / "model.safetensors"), str(inputs / "bundle")
    this = Path(sys.executable)
    export = Command(this, ("export", model, "--format", "onnx"), "bundle", bundle_answer)
    measured = ("--regime", "none", "--threads", "1", "--max-exit", "0")
    trained = ("--data", str(inputs / "data.npz"), "--threads", "1")
    return {
        "convert": Command(BARE_PYTHON, ("convert", bundle), "m.safetensors", Path.read_bytes),
        "profile": Command(
            BARE_PYTHON, ("profile", "--model", bundle, *measured), "report.json", report_answer
        ),
        "cached-export": export,
        "export": export,
        "finetune": Command(this, ("finetune", model, *trained), "u.safetensors", update_answer),
    }


@pytest.fixture(scope="module")
def known(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Known]:
    """Run a command undisturbed when it is first asked for."""
    found: dict[str, Known] = {}

    def of(name: str) -> Known:
        if name not in found:
            found[name] = undisturbed(
                commands(inputs)[name], Workplace.made_in(tmp_path_factory.mktemp(name)), name
            )
        return found[name]

    return of


def undisturbed(command: Command, workplace: Workplace, name: str) -> Known:
    """Run a command to its end; from a warm cache, if that is its name."""
    if name == "cached-export":
        run(command, workplace)
    begin = time.monotonic()
    run(command, workplace)
    duration_s = time.monotonic() - begin
    answer = command.answer(workplace.out / command.output)
    assert workplace.unfinished() == []
    return Known(command, duration_s, answer, workplace.home)


def run(command: Command, workplace: Workplace) -> None:
    done = subprocess.run(
        command.argv(workplace), env=environment(workplace), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def environment(workplace: Workplace) -> dict[str, str]:
    return {**workplace.environment(), **SOURCES}


def stopped(command: Command, workplace: Workplace, *, after_s: float, number: int) -> int:
    """Start a command, send it a signal after a while, and return its exit code."""
    told = workplace.folder / "told"
    with told.open("wb") as stream:
        process = subprocess.Popen(
            command.argv(workplace),
            env=environment(workplace),
            stdout=subprocess.DEVNULL,
            stderr=stream,
        )
    try:
        process.wait(after_s)
    except subprocess.TimeoutExpired:
        process.send_signal(number)
    return process.wait()


def put_old_output(name: str, inputs: Path, output: Path) -> object:
    """Put what the command is to replace; return what it says."""
    if name.endswith("export"):
        shutil.copytree(inputs / "shallower", output)
        return bundle_answer(output)
    output.write_bytes(_OLD)
    return _OLD


def kills() -> Iterator[object]:
    """Return every kill, as the parameters of a test."""
    for name, share in SHARES.items():
        marks = [needs_bare] if name in ("convert", "profile") else []
        for seed in range(share):
            number = SIGNALS[seed % len(SIGNALS)]
            replaces = bool(Random(f"{name}-{seed}-replaces").getrandbits(1))
            what = "-replacing" if replaces else ""
            yield pytest.param(
                name, number, seed, replaces, id=f"{name}-{number.name}-{seed}{what}", marks=marks
            )


def test_there_are_sixty_kills() -> None:
    assert sum(SHARES.values()) == 60


@pytest.mark.parametrize(("name", "number", "seed", "replaces"), list(kills()))
def test_a_command_that_is_stopped_at_any_moment_leaves_nothing_torn_and_the_next_run_works(
    name: str,
    number: signal.Signals,
    seed: int,
    replaces: bool,
    known: Callable[[str], Known],
    inputs: Path,
    tmp_path: Path,
) -> None:
    right, workplace = known(name), Workplace.made_in(tmp_path)
    command, output = right.command, workplace.out / right.command.output
    if name == "cached-export":
        shutil.copytree(right.cache, workplace.home, dirs_exist_ok=True)
    old = put_old_output(name, inputs, output) if replaces else None
    after_s = Random(f"{name}-{seed}").random() * right.duration_s

    code = stopped(command, workplace, after_s=after_s, number=number)

    assert all(is_gone(process) for process in workplace.processes())
    assert_whole(output, command, old=old, right=right.answer, must_exist=replaces or code == 0)
    if number == signal.SIGKILL:
        assert code in (0, -number)
    else:
        # Before Python has come to our code, the signal itself ends it: a shell shows the same.
        assert code in (0, -number, 128 + number), (workplace.folder / "told").read_text()
        assert workplace.unfinished() == []
    run(command, workplace)
    assert command.answer(output) == right.answer
    assert list(workplace.out.iterdir()) == [output]
    assert workplace.unfinished() == []


def assert_whole(
    output: Path, command: Command, *, old: object, right: object, must_exist: bool
) -> None:
    """Hold an output to what was there before and to what was to be: it is one of them."""
    if not output.exists():
        assert not must_exist
        return
    if old == _OLD and output.read_bytes() == old:
        return
    assert command.answer(output) in (old, right)
