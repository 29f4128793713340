"""Images without labels, from whatever holds images."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reefl_edge.data.unlabelled import read_pictures
from reefl_edge.errors import InputError

# Ten images of one colour each: 0, 10, 20 ...
SHADES = np.arange(10, dtype=np.uint8) * 10
PIXELS = np.broadcast_to(SHADES[:, None, None, None], (10, 8, 8, 3)).copy()


def shades_in(path: Path, *, limit: int) -> list[int]:
    images = read_pictures(path, image_size=16, class_names=("a", "b"), limit=limit)
    assert images.dtype == np.uint8
    assert images.shape[1:] == (16, 16, 3)
    return [int(shade) for shade in images[:, 0, 0, 0]]


def write_folder(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for index, image in enumerate(PIXELS):
        Image.fromarray(image).save(folder / f"{index}.png")
    return folder


def write_npy(path: Path) -> Path:
    np.save(path, PIXELS)
    return path.with_suffix(".npy")


def test_a_folder_an_array_file_and_a_dataset_give_the_same_images(tmp_path: Path) -> None:
    np.savez(tmp_path / "sets.npz", test_images=PIXELS, test_labels=np.arange(10) % 2)
    sources = (
        write_folder(tmp_path / "folder"),
        write_npy(tmp_path / "array"),
        tmp_path / "sets.npz#test",
    )

    for source in sources:
        assert shades_in(source, limit=20) == SHADES.tolist()


def test_a_folder_of_classes_is_read_whatever_they_are_called(tmp_path: Path) -> None:
    write_folder(tmp_path / "photos" / "sunsets")

    assert shades_in(tmp_path / "photos", limit=20) == SHADES.tolist()


def test_where_there_are_more_than_asked_for_they_are_spread_over_all(tmp_path: Path) -> None:
    assert shades_in(write_npy(tmp_path / "array"), limit=4) == [0, 30, 60, 90]


def test_no_images_and_no_file_are_named(tmp_path: Path) -> None:
    np.save(tmp_path / "none.npy", PIXELS[:0])

    with pytest.raises(InputError, match=r"none\.npy holds no images"):
        shades_in(tmp_path / "none.npy", limit=4)
    with pytest.raises(InputError, match="no such file or folder"):
        shades_in(tmp_path / "missing", limit=4)


def test_labels_and_class_names_may_be_anything(tmp_path: Path) -> None:
    np.savez(tmp_path / "out.npz", test_images=PIXELS, test_labels=np.arange(10) + 100)
    np.savez(tmp_path / "other.npz", images=PIXELS, labels=[0] * 10, class_names=["x", "x", "y"])

    assert shades_in(tmp_path / "out.npz#test", limit=20) == SHADES.tolist()
    assert shades_in(tmp_path / "other.npz", limit=20) == SHADES.tolist()


def test_what_is_skipped_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_folder(tmp_path / "flat")
    (tmp_path / "flat" / "notes.txt").write_text("")

    shades_in(tmp_path / "flat", limit=2)

    assert [record.getMessage() for record in caplog.records] == [
        f"1 of 11 files in {tmp_path / 'flat'} are no images and were skipped: notes.txt"
    ]
