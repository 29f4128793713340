"""Is an .npz file read as a dataset, or refused with the reason?"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reefl_edge.data.dataset import Dataset
from reefl_edge.data.formats.arrays import read_images, read_npz
from reefl_edge.errors import InputError
from tests.fakes.images import random_images

CLASS_NAMES = ("cat", "dog", "owl")


def read(path: Path, *, image_size: int = 16, **arrays: Any) -> Dataset:
    """Write arrays to a file, and read it as a dataset."""
    np.savez_compressed(path, **arrays)
    return read_npz(path, image_size=image_size, class_names=CLASS_NAMES)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data.npz"


def test_colour_images_come_as_they_are(path: Path) -> None:
    images = random_images(4)

    dataset = read(path, images=images, labels=np.array([2, 0, 1, 1], np.uint8))

    assert np.array_equal(dataset.images(np.array([3, 0])), images[[3, 0]])
    assert dataset.labels.tolist() == [2, 0, 1, 1]
    assert dataset.labels.dtype == np.int64
    assert dataset.class_names == CLASS_NAMES


def test_grey_images_get_three_equal_channels(path: Path) -> None:
    grey = random_images(2)[..., 0]

    images = read(path, images=grey, labels=[0, 1]).images(np.array([0, 1]))

    assert images.shape == (2, 16, 16, 3)
    assert all(np.array_equal(images[..., channel], grey) for channel in range(3))


def test_images_are_resized_when_asked_for(path: Path) -> None:
    images = np.full((1, 5, 9, 3), 77, np.uint8)

    resized = read(path, image_size=32, images=images, labels=[0]).images(np.array([0]))

    assert resized.shape == (1, 32, 32, 3)
    assert (resized == 77).all()


def test_class_names_may_be_bytes(path: Path) -> None:
    dataset = read(path, images=random_images(1), labels=[1], class_names=[b"x", b"\xc3\xa4"])
    assert dataset.class_names == ("x", "\xe4")


def test_class_names_of_the_file_win(path: Path) -> None:
    dataset = read(path, images=random_images(1), labels=[1], class_names=["x", "y"])
    assert dataset.class_names == ("x", "y")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"labels": [0]}, "has no array 'images', only labels"),
        ({"images": random_images(1)}, "has no array 'labels', only images"),
        ({"images": random_images(1) / 255, "labels": [0]}, "must be uint8 or uint16, got float64"),
        ({"images": random_images(2)[..., :2], "labels": [0, 1]}, r"got \(2, 16, 16, 2\)"),
        ({"images": random_images(1)[0, 0], "labels": [0]}, r"got \(16, 3\)"),
        ({"images": random_images(1)[:, :0], "labels": [0]}, r"must have pixels, got \(1, 0, 16"),
        ({"images": random_images(1), "labels": [0], "class_names": 3}, "must be text .* int64"),
        ({"images": random_images(1), "labels": [0], "class_names": [["a"]]}, r"str32 \(1, 1\)"),
        (
            {"images": random_images(1), "labels": [0], "class_names": [b"\xff"]},
            "codec can't decode",
        ),
        ({"images": random_images(1), "labels": [0], "groups": [[1, 2]]}, r"got \(1, 2\)"),
        ({"images": random_images(2), "labels": [0]}, "2 images but 1 labels"),
        ({"images": random_images(1), "labels": [0.0]}, r"labels must be integers \(N,\)"),
        ({"images": random_images(1), "labels": [[0]]}, r"got int64 \(1, 1\)"),
        ({"images": random_images(1), "labels": [3]}, "labels run from 3 to 3, .* 3 classes"),
        ({"images": random_images(1), "labels": [-1]}, "labels run from -1 to -1"),
        ({"images": np.array([{}]), "labels": [0]}, "not a readable .npy or .npz file"),
    ],
)
def test_file_that_is_no_dataset_is_refused(
    path: Path, arrays: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read(path, **arrays)


def test_array_alone_is_read_as_images(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", random_images(2))

    assert np.array_equal(read_images(tmp_path / "images.npy"), random_images(2))


def test_images_of_16_bits_are_scaled_as_those_of_files_are(path: Path) -> None:
    images = np.full((1, 4, 4), 65535, np.uint16)
    images[0, 0, 0] = 257 * 7

    read_back = read(path, images=images, labels=[0]).originals(np.array([0]))[0]

    assert read_back[0, 0].tolist() == [7, 7, 7]
    assert read_back[1, 1].tolist() == [255, 255, 255]


def test_file_cut_anywhere_is_refused(path: Path) -> None:
    np.savez_compressed(path, images=random_images(2), labels=[0, 1])
    content = path.read_bytes()
    for kept in range(0, len(content), 41):
        path.write_bytes(content[:kept])
        with pytest.raises(InputError, match=r"data\.npz: not a readable"):
            read_npz(path, image_size=16, class_names=CLASS_NAMES)


def test_file_with_a_wrong_byte_is_read_or_refused(path: Path) -> None:
    np.savez_compressed(path, images=random_images(2), labels=[0, 1])
    content, num_refused = path.read_bytes(), 0
    for position in range(0, len(content), 5):
        path.write_bytes(
            content[:position] + bytes([content[position] ^ 0x5A]) + content[position + 1 :]
        )
        try:
            read_npz(path, image_size=16, class_names=CLASS_NAMES)
        except InputError:
            num_refused += 1
    assert num_refused > len(content) / 10  # most bytes are checked; a date's are not


def test_missing_file_is_named(path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.npz: no such file"):
        read_npz(path, image_size=16, class_names=CLASS_NAMES)
