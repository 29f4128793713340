"""What an artifact says of validation images."""

from pathlib import Path

import numpy as np
import pytest

from reefl_edge.bundles.bundle import Bundle
from reefl_edge.errors import InputError, ParityError
from reefl_edge.tasks.validation import ValidationImages, answers_of, read_validation
from tests.fakes.bundles import listed_artifact, tiny_manifest
from tests.fakes.images import random_images
from tests.fakes.runtimes import FakeRuntime, confident_logits, numbered_images

BUNDLE = Bundle(Path("bundle"), tiny_manifest(listed_artifact("onnx")))
IMAGES = ValidationImages(3, lambda indices: numbered_images(indices.tolist()), None)
LOGITS = confident_logits([[0.9, 0.8, 0.7], [0.95, 0.9, 0.85]])


def test_a_split_without_labels_is_read_where_none_are_needed(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    images, labels = random_images(3), np.arange(2)
    np.savez(path, train_images=images[:2], train_labels=labels, test_images=images)

    test = read_validation(f"{path}#test", BUNDLE, labels_for=None)
    train = read_validation(f"{path}#train", BUNDLE, labels_for=None)

    assert (test.count, test.labels) == (3, None)
    assert test.images(np.array([2])).shape[1:3] == train.images(np.array([0])).shape[1:3]
    assert train.labels is not None
    with pytest.raises(InputError, match="#test holds images without labels, which evaluate needs"):
        read_validation(f"{path}#test", BUNDLE, labels_for="evaluate")


def test_the_logits_of_every_exit_come_in_order() -> None:
    answers = answers_of(FakeRuntime(LOGITS), BUNDLE, IMAGES, artifact="onnx-fp32")

    np.testing.assert_array_equal(answers.logits, LOGITS)
    assert len(answers.images_sha256) == 64


def test_logits_that_are_no_numbers_are_refused_by_exit() -> None:
    broken = LOGITS.copy()
    broken[1, 2, 0] = np.nan

    with pytest.raises(ParityError, match="no numbers at exit 1, for 1 of 3 images") as refused:
        answers_of(FakeRuntime(broken), BUNDLE, IMAGES, artifact="onnx-fp16")

    assert str(refused.value).startswith("onnx-fp16 gives logits")
