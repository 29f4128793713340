"""Is a folder of pictures, one sub-folder per class, read as a dataset?"""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reefl_edge.data.formats.folder import images_in, read_folder
from reefl_edge.data.images import decode
from reefl_edge.errors import InputError


def save_grey(path: Path, value: int, *, edge: int = 16) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (edge, edge), value).save(path)


def test_sub_folder_is_the_class_of_its_pictures(tmp_path: Path) -> None:
    save_grey(tmp_path / "dog" / "b.PNG", 20)
    save_grey(tmp_path / "dog" / "a.png", 10, edge=7)
    save_grey(tmp_path / "owl" / "c.jpg", 30)
    (tmp_path / "README").write_text("no class")

    dataset = read_folder(tmp_path, image_size=16)

    assert dataset.class_names == ("dog", "owl")
    assert dataset.labels.tolist() == [0, 0, 1]
    images = dataset.images(np.array([2, 0]))
    assert images.shape == (2, 16, 16, 3)
    assert images.dtype == np.uint8
    assert images[:, 8, 8, 0].tolist() == [30, 10]


@pytest.mark.parametrize(
    "suffix", [".avif", ".bmp", ".gif", ".jfif", ".jp2", ".pgm", ".tif", ".tiff", ".TIFF", ".webp"]
)
def test_every_kind_of_picture_is_found(tmp_path: Path, suffix: str) -> None:
    save_grey(tmp_path / f"a{suffix}", 20)

    (path,) = images_in(tmp_path)

    assert abs(int(decode(path)[8, 8, 0]) - 20) < 3


def test_what_is_skipped_is_counted_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_grey(tmp_path / "cat" / "a.png", 1)
    save_grey(tmp_path / "dog" / "more" / "a.png", 1)
    save_grey(tmp_path / "stray.png", 1)
    for name in ("cat/a.heic", "cat/b.txt", "cat/.hidden", "dog/Thumbs.db", "labels.csv"):
        (tmp_path / name).write_text("")
    (tmp_path / ".cache").mkdir()

    dataset = read_folder(tmp_path, image_size=16)

    assert dataset.class_names == ("cat", "dog")
    assert [record.getMessage() for record in caplog.records] == [
        f"4 of 5 files in {tmp_path} are no images of a class and were skipped: "
        "stray.png, cat/a.heic, cat/b.txt, ..."
    ]
    assert caplog.records[0].name.startswith("reefl_edge.")

    caplog.clear()
    assert images_in(tmp_path / "dog") == []
    assert images_in(tmp_path / "cat") == [tmp_path / "cat" / "a.png"]
    assert [record.getMessage() for record in caplog.records] == [
        f"1 of 1 files in {tmp_path / 'dog'} are no images and were skipped: more/",
        f"2 of 3 files in {tmp_path / 'cat'} are no images and were skipped: a.heic, b.txt",
    ]


def test_nothing_is_said_where_nothing_is_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_grey(tmp_path / "cat" / "a.png", 1)
    (tmp_path / "README.md").write_text("beside the classes")

    read_folder(tmp_path, image_size=16)

    assert not caplog.records


def test_links_that_lead_in_circles_are_no_classes_and_no_images(tmp_path: Path) -> None:
    save_grey(tmp_path / "cat" / "a.png", 1)
    (tmp_path / "cat" / "up").symlink_to(tmp_path)
    (tmp_path / "cat" / "b.png").symlink_to(tmp_path / "cat" / "b.png")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")

    dataset = read_folder(tmp_path, image_size=16)

    assert dataset.class_names == ("cat",)
    assert dataset.images(np.array([0])).shape == (1, 16, 16, 3)
    with pytest.raises(InputError, match=r"b\.png: too many levels of symbolic links"):
        dataset.images(np.array([1]))


def test_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    with pytest.raises(InputError, match="has no images in sub-folders named by class"):
        read_folder(tmp_path, image_size=16)


def test_picture_that_does_not_decode_is_named_when_it_is_needed(tmp_path: Path) -> None:
    save_grey(tmp_path / "cat" / "a.png", 1)
    (tmp_path / "cat" / "b.png").write_bytes(b"not a picture")

    dataset = read_folder(tmp_path, image_size=16)

    assert dataset.images(np.array([0])).shape == (1, 16, 16, 3)
    with pytest.raises(InputError, match=r"b\.png: not a readable image"):
        dataset.images(np.array([0, 1]))
