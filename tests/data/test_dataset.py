"""Does a dataset in memory keep images and labels together?"""

import numpy as np
import pytest

from reefl_edge.data.dataset import ArrayDataset, num_examples
from tests.fakes.images import random_images


def test_subset_holds_the_examples_asked_for(tiny_dataset: ArrayDataset) -> None:
    subset = tiny_dataset.subset(np.array([5, 1]))

    assert num_examples(subset) == 2
    assert subset.labels.tolist() == [2, 1]
    assert np.array_equal(subset.images(np.array([0])), tiny_dataset.images(np.array([5])))
    assert subset.class_names == tiny_dataset.class_names


def test_empty_dataset_is_one(tiny_dataset: ArrayDataset) -> None:
    assert num_examples(tiny_dataset.subset(np.array([], np.int64))) == 0


def test_images_without_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="3 images but 2 labels"):
        ArrayDataset(random_images(3), np.array([0, 1]), ("a", "b"), 16)


@pytest.mark.parametrize(("labels", "span"), [([0, 2], "0 to 2"), ([-1, 0], "-1 to 0")])
def test_label_without_a_class_is_refused(labels: list[int], span: str) -> None:
    with pytest.raises(ValueError, match=f"labels run from {span}, but there are 2 classes"):
        ArrayDataset(random_images(2), np.array(labels), ("a", "b"), 16)
