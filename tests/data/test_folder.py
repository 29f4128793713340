"""Is a folder of pictures, one sub-folder per class, read as a dataset?"""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reefl_edge.data.folder import read_folder
from reefl_edge.errors import InputError

CLASS_NAMES = ("owl", "cat", "dog")


def save_grey(path: Path, value: int, *, edge: int = 16) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (edge, edge), value).save(path)


def test_sub_folder_is_the_class_of_its_pictures(tmp_path: Path) -> None:
    save_grey(tmp_path / "dog" / "b.PNG", 20)
    save_grey(tmp_path / "dog" / "a.png", 10, edge=7)
    save_grey(tmp_path / "owl" / "c.jpg", 30)
    (tmp_path / "owl" / "notes.txt").write_text("no picture")
    (tmp_path / "README").write_text("no class")

    dataset = read_folder(tmp_path, image_size=16, class_names=CLASS_NAMES)

    assert dataset.labels.tolist() == [2, 2, 0]  # in the model's order, not the alphabet's
    assert dataset.class_names == CLASS_NAMES
    images = dataset.images(np.array([2, 0]))
    assert images.shape == (2, 16, 16, 3)
    assert images.dtype == np.uint8
    assert images[:, 8, 8, 0].tolist() == [30, 10]


def test_folder_of_an_unknown_class_is_refused(tmp_path: Path) -> None:
    save_grey(tmp_path / "cow" / "a.png", 0)
    with pytest.raises(InputError, match="cow is named like none of the model's classes"):
        read_folder(tmp_path, image_size=16, class_names=CLASS_NAMES)


def test_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    with pytest.raises(InputError, match="has no images in sub-folders named by class"):
        read_folder(tmp_path, image_size=16, class_names=CLASS_NAMES)


def test_picture_that_does_not_decode_is_named_when_it_is_needed(tmp_path: Path) -> None:
    save_grey(tmp_path / "cat" / "a.png", 1)
    (tmp_path / "cat" / "b.png").write_bytes(b"not a picture")

    dataset = read_folder(tmp_path, image_size=16, class_names=CLASS_NAMES)

    assert dataset.images(np.array([0])).shape == (1, 16, 16, 3)
    with pytest.raises(InputError, match=r"b\.png: not a readable image"):
        dataset.images(np.array([0, 1]))
