"""Many images, from files and folders, in order and a few at a time."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reefl_edge.adaptive import AdaptiveSession, ConfidencePolicy
from reefl_edge.errors import InputError
from reefl_edge.runtimes.base import RuntimeName, Tensors
from reefl_edge.tasks.inference import Answer, are_many, classify, pays_side_by_side
from reefl_edge.tasks.inputs import Unreadable, files_in
from tests.fakes.runtimes import FakeRuntime, confident_logits, numbered_images
from tests.fakes.submodels import tiny_submodel

NAMES = ("ant", "bee", "cat")
# Of twenty examples at two exits: the even ones are sure at the first.
CONFIDENCES = np.stack([np.where(np.arange(20) % 2 == 0, 0.9, 0.5), np.full(20, 0.95)])


def session_on(runtime: FakeRuntime) -> AdaptiveSession:
    return AdaptiveSession(runtime, tiny_submodel(), ConfidencePolicy((0.8,)))


def write_numbered(folder: Path, count: int) -> list[Path]:
    """Write images that say their own number, and return their files."""
    paths = [folder / f"{number:02}.png" for number in range(count)]
    for path, image in zip(paths, numbered_images(range(count)), strict=True):
        Image.fromarray(image).save(path)
    return paths


@pytest.mark.parametrize("batch_size", [1, 3, 20, 100])
def test_answers_come_in_the_order_of_the_files(batch_size: int, tmp_path: Path) -> None:
    paths = write_numbered(tmp_path, 20)
    runtime = FakeRuntime(confident_logits(CONFIDENCES))

    answers = list(classify(session_on(runtime), NAMES, [tmp_path], batch_size=batch_size))

    assert [answer.input for answer in answers] == list(map(str, paths))
    assert all(isinstance(answer, Answer) and answer.label == "ant" for answer in answers)
    exits = [answer.exit_index for answer in answers if isinstance(answer, Answer)]
    assert exits == [0, 1] * 10
    firsts = [numbers for exit_index, numbers in runtime.batches if exit_index == 0]
    assert [len(numbers) for numbers in firsts][:-1] == [batch_size] * (len(firsts) - 1)
    assert [number for numbers in firsts for number in numbers] == list(range(20))


def test_what_cannot_be_read_is_told_and_the_rest_go_on(tmp_path: Path) -> None:
    paths = write_numbered(tmp_path, 4)
    paths[1].write_bytes(b"no image")
    (tmp_path / "empty").mkdir()
    np.save(tmp_path / "three.npy", numbered_images([5, 6, 7]))
    inputs = [tmp_path, tmp_path / "empty", tmp_path / "gone.png", tmp_path / "three.npy"]
    runtime = FakeRuntime(confident_logits(CONFIDENCES))

    answers = list(classify(session_on(runtime), NAMES, inputs, batch_size=2))

    told = {Path(each.input).name: each.error for each in answers if isinstance(each, Unreadable)}
    assert told.keys() == {"01.png", "empty", "gone.png"}
    assert "not a readable image" in told["01.png"]
    assert told["empty"] == f"no images in {tmp_path / 'empty'}"
    assert "no such file" in told["gone.png"]
    names = [Path(each.input).name for each in answers if isinstance(each, Answer)]
    assert names == ["00.png", "02.png", "03.png", "three.npy[0]", "three.npy[1]", "three.npy[2]"]


@pytest.mark.parametrize("batch_size", [1, 3])
def test_answers_computed_side_by_side_are_the_same_in_the_same_order(
    batch_size: int, tmp_path: Path
) -> None:
    paths = write_numbered(tmp_path, 20)
    paths[7].write_bytes(b"no image")

    alone, together = (
        [
            (each.input, getattr(each, "confidence", None), getattr(each, "exit_index", None))
            for each in classify(
                session_on(FakeRuntime(confident_logits(CONFIDENCES))),
                NAMES,
                [tmp_path],
                batch_size=batch_size,
                workers=3,
                side_by_side=side_by_side,
            )
        ]
        for side_by_side in (False, True)
    )

    assert together == alone
    assert len(together) == 20


def test_a_failure_side_by_side_ends_the_answers(tmp_path: Path) -> None:
    write_numbered(tmp_path, 8)
    session = AdaptiveSession(_Broken(), tiny_submodel(), ConfidencePolicy())

    with pytest.raises(InputError, match="the engine cannot run segment_0"):
        list(classify(session, NAMES, [tmp_path], workers=2, side_by_side=True))


@pytest.mark.parametrize(
    ("runtime", "num_files", "batch_size", "threads", "expected"),
    [
        ("onnx", 32, 1, 2, True),
        ("onnx", 31, 1, 2, False),
        ("onnx", 63, 2, 2, True),
        ("onnx", 1000, 1, 1, False),
        ("executorch", 1000, 1, 2, False),
    ],
)
def test_only_many_batches_of_onnxruntime_are_computed_side_by_side(
    runtime: RuntimeName, num_files: int, batch_size: int, threads: int, expected: bool
) -> None:
    pays = pays_side_by_side(runtime, num_files, batch_size=batch_size, threads=threads)

    assert pays == expected


def test_an_array_may_hold_many_images_and_a_few_photographs_do_not() -> None:
    assert not are_many(files_in(["photo.png"] * 31))
    assert are_many(files_in(["photo.png"] * 32))
    assert are_many(files_in(["digits.npz"]))


def test_only_a_few_files_are_read_ahead(tmp_path: Path) -> None:
    paths = write_numbered(tmp_path, 20)
    runtime = FakeRuntime(confident_logits(CONFIDENCES))
    answers = classify(session_on(runtime), NAMES, paths, workers=2)

    first = next(answers)
    for path in paths:
        path.unlink()
    rest = list(answers)

    assert isinstance(first, Answer)
    # Two threads, each with a file and another one waiting; the first file is not among them.
    assert sum(isinstance(each, Answer) for each in rest) <= 3
    assert sum(isinstance(each, Unreadable) for each in rest) >= 16


def test_progress_counts_files(tmp_path: Path) -> None:
    write_numbered(tmp_path, 3)
    told: list[tuple[int, int]] = []
    runtime = FakeRuntime(confident_logits(CONFIDENCES))

    list(
        classify(
            session_on(runtime), NAMES, [tmp_path], on_file=lambda *counts: told.append(counts)
        )
    )

    assert told == [(1, 3), (2, 3), (3, 3)]


def test_a_batch_of_nothing_is_refused(tmp_path: Path) -> None:
    runtime = FakeRuntime(confident_logits(CONFIDENCES))

    with pytest.raises(ValueError, match="at least one image, got 0"):
        list(classify(session_on(runtime), NAMES, [tmp_path], batch_size=0))


class _Broken:
    """A runtime whose artifact fails as it runs."""

    def run(self, exit_index: int, inputs: Tensors) -> Tensors:
        raise InputError(f"the engine cannot run segment_{exit_index} on {len(inputs[0])} images")


def test_an_artifact_that_fails_is_not_blamed_on_the_image(tmp_path: Path) -> None:
    (path,) = write_numbered(tmp_path, 1)
    session = AdaptiveSession(_Broken(), tiny_submodel(), ConfidencePolicy())

    with pytest.raises(InputError, match="the engine cannot run segment_0 on 1 images"):
        list(classify(session, NAMES, [path]))
