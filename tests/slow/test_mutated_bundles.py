"""Does a mutated bundle give the right answer, or refuse in one line?

Whoever reads a bundle is asked: who opens its model, who runs its ONNX graphs, its ExecuTorch
program, and who verifies it. Files that are *hashed anew* get past the manifest's hashes, and reach
the checks behind them.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest

from reefl_edge.adaptive import AdaptiveSession, ConfidencePolicy
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.checkpoints.hashes import weights_sha256
from reefl_edge.models.arrays import arrays_of, random_network
from reefl_edge.runtimes.base import RuntimeName, default_threads
from reefl_edge.tasks.models import open_model
from reefl_export.bundle import Origin, export_checkpoint
from reefl_export.destination import check_replaceable
from reefl_export.recipe import stock
from reefl_export.verification import verify
from tests.fakes.images import random_images
from tests.fakes.submodels import tiny_submodel
from tests.slow import mutations
from tests.slow.cases import Case, Refused, answer, cases

pytestmark = pytest.mark.slow

MANIFEST = "manifest.json"
WEIGHTS = "onnx/weights.safetensors"
PROGRAM = "model.pte"
JSON = (*mutations.DOCUMENTS, *mutations.BYTES, "nested")


@dataclass(frozen=True, slots=True)
class Answers:
    """What a bundle says to whoever asks; a refusal of one line counts, too.

    Attributes:
        model: Identity of the weights, names of the classes, and what is random.
        onnx: The logits of the deepest exit, as text.
        executorch: The same, of the other runtime.
        problems: What is found not to hold.
    """

    model: object
    onnx: object
    executorch: object
    problems: tuple[str, ...] | Refused


def ask(folder: Path) -> Answers:
    """Ask everybody; anything but an answer or one line fails the test."""
    answer(lambda: check_replaceable(folder))
    problems = answer(lambda: verify(Bundle.open(folder)).problems)
    if not isinstance(problems, Refused):
        assert all(len(problem.splitlines()) == 1 for problem in problems), problems
    return Answers(
        model=answer(lambda: _model(folder), may_raise=ValueError),
        onnx=answer(lambda: _logits(folder, "onnx")),
        executorch=answer(lambda: _logits(folder, "executorch")),
        problems=problems,
    )


def _model(folder: Path) -> object:
    checkpoint = open_model(folder).checkpoint
    return weights_sha256(checkpoint.arrays), checkpoint.names(), checkpoint.submodel


def _logits(folder: Path, runtime: RuntimeName) -> object:
    # As many as the export computed with: the pool of a process stays as it is.
    session = AdaptiveSession.open(folder, runtime=runtime, threads=default_threads())
    images = random_images(2)
    session.predict(images)  # as early as the bundle wants to stop
    return session.with_policy(ConfidencePolicy()).predict(images).logits.tolist()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of every format; no test changes it."""
    network = random_network(tiny_submodel(num_blocks=2), seed=0)
    checkpoint = Checkpoint(
        submodel=network.submodel, arrays=arrays_of(network), class_names=("ant", "bee", "cat")
    )
    folder = tmp_path_factory.mktemp("original") / "bundle"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REEFL_EDGE_HOME", str(folder.parent / "cache"))
        export_checkpoint(checkpoint, folder, stock(), Origin(name="tiny", threshold=0.8))
    return folder


@pytest.fixture(scope="module")
def right(original: Path) -> Answers:
    """What the bundle answers as it was exported."""
    answers = ask(original)
    assert answers.problems == ()
    assert not any(isinstance(each, Refused) for each in vars_of(answers))
    return answers


def vars_of(answers: Answers) -> tuple[object, ...]:
    """Return what was answered by those who may give a wrong answer."""
    return answers.model, answers.onnx, answers.executorch


def assert_right_or_refused(found: object, right: object) -> None:
    assert isinstance(found, Refused) or found == right


def files_in(folder: Path) -> list[str]:
    """Return the files of a bundle but its manifest, by their path."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in found if name != MANIFEST)


@pytest.fixture
def bundle(original: Path, tmp_path: Path) -> Path:
    """A copy to mutate."""
    return Path(shutil.copytree(original, tmp_path / "bundle"))


def hash_anew(bundle: Path, name: str) -> None:
    """Let the manifest say of a file what it is now."""
    content = (bundle / name).read_bytes()

    def said_anew(document: Any) -> Any:
        if isinstance(document, list):
            return [said_anew(each) for each in document]
        if not isinstance(document, dict):
            return document
        if document.get("path") == name and "sha256" in document:
            sha256 = hashlib.sha256(content).hexdigest()
            return {**document, "sha256": sha256, "size_bytes": len(content)}
        return {key: said_anew(each) for key, each in document.items()}

    manifest = bundle / MANIFEST
    manifest.write_text(json.dumps(said_anew(json.loads(manifest.read_bytes()))))


def mutate(bundle: Path, name: str, change: Callable[[bytes], bytes]) -> bool:
    """Change a file of a bundle; tell whether it is another one now."""
    before = (bundle / name).read_bytes()
    (bundle / name).write_bytes(change(before))
    return (bundle / name).read_bytes() != before


@cases("manifest", JSON)
def test_a_mutated_manifest_gives_the_right_answer_or_one_line(
    case: Case, bundle: Path, right: Answers
) -> None:
    mutate(
        bundle, MANIFEST, lambda text: mutations.changed_json(text, case.random(), case.mutation)
    )

    answers = ask(bundle)

    for found, expected in zip(vars_of(answers), vars_of(right), strict=True):
        assert_right_or_refused(found, expected)


@cases("bundle-file", mutations.BYTES)
def test_a_mutated_file_gives_the_right_answer_or_one_line_and_is_found(
    case: Case, bundle: Path, right: Answers
) -> None:
    random = case.random()
    name = random.choice(files_in(bundle))
    is_changed = mutate(
        bundle, name, lambda content: mutations.BYTES[case.mutation](content, random)
    )

    answers = ask(bundle)

    for found, expected in zip(vars_of(answers), vars_of(right), strict=True):
        assert_right_or_refused(found, expected)
    assert bool(answers.problems) == is_changed


def removed(bundle: Path, name: str, _: Random) -> None:
    (bundle / name).unlink()


def linked(bundle: Path, name: str, _: Random) -> None:
    outside = shutil.move(bundle / name, bundle.parent / "outside")
    (bundle / name).symlink_to(outside)


def made_a_folder(bundle: Path, name: str, _: Random) -> None:
    (bundle / name).unlink()
    (bundle / name).mkdir()


def made_a_fifo(bundle: Path, name: str, _: Random) -> None:
    (bundle / name).unlink()
    os.mkfifo(bundle / name)


def exchanged(bundle: Path, name: str, random: Random) -> None:
    other = random.choice([each for each in files_in(bundle) if each != name])
    shutil.move(bundle / name, bundle.parent / "aside")
    shutil.move(bundle / other, bundle / name)
    shutil.move(bundle.parent / "aside", bundle / other)


FOLDERS = {
    "removed": removed,
    "linked": linked,
    "made-a-folder": made_a_folder,
    "made-a-fifo": made_a_fifo,
    "exchanged": exchanged,
}


@cases("bundle-folder", FOLDERS)
def test_a_folder_that_lacks_a_file_gives_the_right_answer_or_one_line_and_is_found(
    case: Case, bundle: Path, right: Answers
) -> None:
    random = case.random()
    FOLDERS[case.mutation](bundle, random.choice(files_in(bundle)), random)

    answers = ask(bundle)

    for found, expected in zip(vars_of(answers), vars_of(right), strict=True):
        assert_right_or_refused(found, expected)
    assert answers.problems


SAFETENSORS = (
    *(f"bytes-{name}" for name in mutations.BYTES),
    *(f"header-{name}" for name in JSON),
    *(f"metadata-{name}" for name in JSON),
)


@cases("rehashed-weights", SAFETENSORS)
def test_mutated_weights_under_a_fitting_hash_give_the_right_model_or_one_line(
    case: Case, bundle: Path, right: Answers
) -> None:
    where, _, name = case.mutation.partition("-")
    change = {
        "bytes": lambda content, random, name: mutations.BYTES[name](content, random),
        "header": mutations.changed_header,
        "metadata": mutations.changed_metadata,
    }[where]
    mutate(bundle, WEIGHTS, lambda content: change(content, case.random(), name))
    hash_anew(bundle, WEIGHTS)

    answers = ask(bundle)

    # onnxruntime takes the numbers as they are; whose they are, the checkpoint's own hash says.
    assert_right_or_refused(answers.model, right.model)
    assert_right_or_refused(answers.executorch, right.executorch)
    assert answers.problems or answers.onnx == right.onnx


@cases("rehashed-graph", mutations.BYTES)
def test_a_mutated_graph_under_a_fitting_hash_is_another_graph_or_refused_in_one_line(
    case: Case, bundle: Path, right: Answers
) -> None:
    random = case.random()
    name = random.choice([each for each in files_in(bundle) if each.endswith(".onnx")])
    mutate(bundle, name, lambda content: mutations.BYTES[case.mutation](content, random))
    hash_anew(bundle, name)

    answers = ask(bundle)

    assert answers.model == right.model
    assert answers.executorch == right.executorch


# Others may end the process: ExecuTorch takes what a program says for meant (docs/deploy.md).
@cases("rehashed-program", ("cut", "beheaded", "new-head"))
def test_a_mutated_program_under_a_fitting_hash_is_refused_in_one_line(
    case: Case, bundle: Path, right: Answers
) -> None:
    change = {"cut": mutations.cut, "beheaded": mutations.beheaded}.get(case.mutation, _new_head)
    mutate(bundle, PROGRAM, lambda content: change(content, case.random()))
    hash_anew(bundle, PROGRAM)

    answers = ask(bundle)

    assert (answers.model, answers.onnx) == (right.model, right.onnx)


def _new_head(content: bytes, random: Random) -> bytes:
    """Put other bytes where a file's format and its root are told."""
    return random.randbytes(16) + content[16:]


@cases("rehashed-package", mutations.BYTES)
def test_a_mutated_package_under_a_fitting_hash_is_another_one_or_refused_in_one_line(
    case: Case, bundle: Path, right: Answers
) -> None:
    random = case.random()
    name = random.choice([each for each in files_in(bundle) if each.startswith("coreml/")])
    mutate(bundle, name, lambda content: mutations.BYTES[case.mutation](content, random))
    hash_anew(bundle, name)

    answers = ask(bundle)

    assert vars_of(answers) == vars_of(right)
