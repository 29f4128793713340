"""Does a label mean the model's class of the same name, whatever the data's order?"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reefl_edge.data.classes import in_model_order
from reefl_edge.data.dataset import ArrayDataset
from reefl_edge.data.reading import read_dataset
from reefl_edge.errors import InputError
from tests.data.published import (
    cifar_10_files,
    cifar_100_files,
    leaf_document,
    write_files,
    write_leaf,
    write_wav,
)
from tests.fakes.images import random_images

MODEL = ("owl", "cat", "dog")


def dataset_of(names: tuple[str, ...], labels: list[int]) -> ArrayDataset:
    images = random_images(len(labels))
    groups = np.arange(len(labels)) + 7
    return ArrayDataset(images, np.array(labels, np.int64), names, 16, groups)


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (("owl", "cat", "dog"), [0, 1, 2, 1]),
        (("cat", "dog", "owl"), [2, 0, 1, 0]),
        (("dog", "owl", "cat"), [1, 2, 0, 2]),
    ],
)
def test_labels_come_in_the_models_order(names: tuple[str, ...], labels: list[int]) -> None:
    mapped = in_model_order(dataset_of(names, labels), MODEL)

    assert mapped.labels.tolist() == [0, 1, 2, 1]
    assert mapped.class_names == MODEL


def test_all_but_the_labels_stays() -> None:
    dataset = dataset_of(("cat", "dog", "owl"), [2, 0, 1])

    mapped = in_model_order(dataset, MODEL)

    indices = np.array([2, 0])
    assert np.array_equal(mapped.images(indices), dataset.images(indices))
    assert np.array_equal(mapped.originals(indices)[0], dataset.originals(indices)[0])
    assert mapped.groups is not None
    assert mapped.groups.tolist() == [7, 8, 9]
    assert mapped.image_size == 16


def test_data_may_have_fewer_classes_than_the_model() -> None:
    mapped = in_model_order(dataset_of(("dog", "cat"), [0, 1, 1]), MODEL)

    assert mapped.labels.tolist() == [2, 1, 1]
    assert mapped.class_names == MODEL


@pytest.mark.parametrize(
    ("names", "model", "message"),
    [
        (("cat", "cow", "owl"), MODEL, "no class called 'cow', only 'owl', 'cat', 'dog'"),
        (("cow", "cat", "owl", "pig"), MODEL, "no class called 'cow', 'pig', only"),
        (("cat", "dog", "cat"), MODEL, "several of its classes are called 'cat'"),
        (("a", "a", "b"), ("0", "1", "2"), "several of its classes are called 'a'"),
        (("cat", "owl"), ("owl", "cat", "cat"), "several of the model's classes are called 'cat'"),
        (("a", "b"), ("0", "1", "2"), r"it has 2 classes \('a', 'b'\), the model 3, without"),
        (tuple("abcdefg"), MODEL, "'a', 'b', 'c', 'd', 'e' and 2 more"),
    ],
)
def test_names_that_do_not_fit_are_named(
    names: tuple[str, ...], model: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        in_model_order(dataset_of(names, [0, 1]), model)


def test_equal_names_need_no_map_even_where_one_comes_twice() -> None:
    names = ("crane", "maillot", "crane")  # as ImageNet has it
    dataset = dataset_of(names, [0, 2])

    assert in_model_order(dataset, names) is dataset


def test_a_model_without_names_takes_the_datas_in_their_order() -> None:
    mapped = in_model_order(dataset_of(("b", "a", "c"), [0, 1]), ("0", "1", "2"))

    assert mapped.class_names == ("b", "a", "c")
    assert mapped.labels.tolist() == [0, 1]


def test_a_number_is_a_name_too() -> None:
    numbers = tuple(str(index) for index in range(11))
    mapped = in_model_order(dataset_of(tuple(sorted(numbers)), [2, 10]), numbers)

    assert mapped.labels.tolist() == [10, 9]


def write_npz(folder: Path, **arrays: Any) -> Path:
    path = folder / "data.npz"
    np.savez(path, **arrays)
    return path


def write_npz_of_names(folder: Path) -> Path:
    return write_npz(folder, images=random_images(2), labels=[0, 2], class_names=["a", "b", "c"])


def write_sounds(folder: Path) -> Path:
    return write_npz(
        folder,
        audio=np.zeros((2, 800), np.int16),
        labels=[0, 2],
        sample_rate=16_000,
        class_names=["a", "b", "c"],
    )


def write_folder(folder: Path) -> Path:
    from PIL import Image

    for name in ("a/1.png", "c/1.png"):
        (folder / name).parent.mkdir()
        Image.new("L", (4, 4)).save(folder / name)
    return folder


def write_speech(folder: Path) -> Path:
    for name in ("a/x_nohash_0.wav", "c/x_nohash_0.wav"):
        write_wav(folder / name, np.zeros(800, np.int16))
    return folder


@pytest.mark.parametrize("write", [write_npz_of_names, write_sounds, write_folder, write_speech])
def test_every_source_is_brought_into_the_models_order(tmp_path: Path, write: Any) -> None:
    path = write(tmp_path)

    dataset = read_dataset(path, image_size=16, class_names=("c", "b", "a"))

    assert dataset.labels.tolist() == [2, 0]
    assert dataset.class_names == ("c", "b", "a")
    with pytest.raises(InputError, match="the model has no class called"):
        read_dataset(path, image_size=16, class_names=("x", "y", "z"))


def test_published_sets_are_brought_into_the_models_order(tmp_path: Path) -> None:
    write_files(tmp_path / "cifar-10-batches-py", cifar_10_files())
    write_files(tmp_path / "cifar-100-python", cifar_100_files())
    write_leaf(tmp_path / "leaf", leaf_document({"f1": [10, 0]}))

    def labels_in(name: str, names: tuple[str, ...]) -> list[int]:
        labels: list[int] = read_dataset(
            tmp_path / name, image_size=32, class_names=names
        ).labels.tolist()
        return labels

    assert labels_in("cifar-10-batches-py#test", ("bird", "car", "plane")) == [2, 0]
    assert labels_in("cifar-100-python#test", ("wasp", "bee", "apple")) == [1, 2, 1]
    femnist = read_dataset(tmp_path / "leaf", image_size=28).class_names
    assert labels_in("leaf", femnist[::-1]) == [51, 61]


def test_data_without_names_goes_by_index(tmp_path: Path) -> None:
    path = write_npz(tmp_path, images=random_images(2), labels=[0, 2])

    dataset = read_dataset(path, image_size=16, class_names=MODEL)

    assert dataset.labels.tolist() == [0, 2]
    assert dataset.class_names == MODEL
