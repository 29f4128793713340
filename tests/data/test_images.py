"""Does every picture become 8-bit RGB of the model's size, and is a broken one named?"""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reefl_edge.data.images import as_rgb, decode, resize
from reefl_edge.errors import InputError
from tests.fakes import random_images


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK", "1", "I;16"])
def test_any_mode_becomes_rgb(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "picture.tif"
    Image.new(mode, (5, 3)).save(path)

    pixels = decode(path)

    assert pixels.shape == (3, 5, 3)
    assert pixels.dtype == np.uint8


def test_picture_keeps_its_pixels(tmp_path: Path) -> None:
    (pixels,) = random_images(1)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    assert np.array_equal(decode(tmp_path / "picture.png"), pixels)


@pytest.mark.parametrize("kept", [0, 20, 60, 300])
def test_broken_picture_is_named(kept: int, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    Image.fromarray(random_images(1)[0]).save(path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"picture\.png: not a readable image"):
        decode(path)


def test_missing_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"picture\.png: no such file"):
        decode(tmp_path / "picture.png")


def test_image_of_the_right_size_is_not_touched() -> None:
    images = random_images(2)
    assert resize(images, 16) is images


def test_resizing_is_bilinear() -> None:
    ramp = np.zeros((1, 2, 2, 3), np.uint8)
    ramp[:, :, 1] = 200

    enlarged = resize(ramp, 4)

    # Centres of the four columns lie at 1/4 and 3/4 of the way from centre to centre.
    assert enlarged[0, 0, :, 0].tolist() == [0, 50, 150, 200]
    assert (enlarged == enlarged[:, :1]).all()


def test_float_images_are_refused() -> None:
    with pytest.raises(ValueError, match="images must be uint8, got float32"):
        as_rgb(np.zeros((1, 4, 4), np.float32))


@pytest.mark.parametrize("shape", [(4, 4), (1, 4, 4, 4), (1, 3, 4, 4), (1, 1, 4, 4, 3)])
def test_array_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"must be \(N, H, W, 3\) or \(N, H, W\), got"):
        as_rgb(np.zeros(shape, np.uint8))
