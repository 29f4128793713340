"""Does every picture become 8-bit RGB of the model's size, and is a broken one named?"""

import io
import os
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import PHOTOMETRIC_INTERPRETATION

from reefl_edge.data.images import as_rgb, decode, resize
from reefl_edge.errors import InputError
from tests.fakes.images import random_images


def saved(folder: Path, image: Image.Image, name: str, **options: Any) -> Path:
    """Save a picture, and return its path."""
    image.save(folder / name, **options)
    return folder / name


@pytest.mark.parametrize(
    "mode", ["RGB", "RGBA", "L", "LA", "P", "PA", "CMYK", "YCbCr", "1", "I;16"]
)
def test_any_mode_becomes_rgb(mode: str, tmp_path: Path) -> None:
    pixels = decode(saved(tmp_path, Image.new(mode, (5, 3)), "picture.tif"))

    assert pixels.shape == (3, 5, 3)
    assert pixels.dtype == np.uint8


# Grey of 16 bits, and what is left of it in 8: the nearest of the values that 257 divides.
DEEP = np.array([[0, 128, 129, 257 * 100, 65535]], np.uint16)
SHALLOW = [0, 0, 1, 100, 255]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("deep.png", {}),
        ("deep.tif", {}),
        ("deep.tiff", {"compression": "tiff_lzw"}),
        ("deep.pgm", {}),
        ("deep.jp2", {}),
    ],
)
def test_grey_of_16_bits_is_scaled_over_its_full_range(
    tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    path = saved(tmp_path, Image.fromarray(DEEP), name, **options)

    assert decode(path).tolist() == [[[level] * 3 for level in SHALLOW]]


def test_grey_of_16_bits_may_have_its_high_byte_first(tmp_path: Path) -> None:
    image = Image.frombytes("I;16B", (5, 1), DEEP.astype(">u2").tobytes())

    assert decode(saved(tmp_path, image, "deep.tif"))[0, :, 0].tolist() == SHALLOW


def test_grey_of_16_bits_may_count_from_white(tmp_path: Path) -> None:
    white_is_zero = {PHOTOMETRIC_INTERPRETATION: 0}
    path = saved(tmp_path, Image.fromarray(65535 - DEEP), "deep.tif", tiffinfo=white_is_zero)

    assert decode(path)[0, :, 0].tolist() == SHALLOW


def test_of_colour_of_16_bits_the_high_bytes_count(tmp_path: Path) -> None:
    rows = b"\0" + bytes([200, 7, 100, 7, 50, 7])
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    (tmp_path / "deep.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
            for kind, content in chunks
        )
    )

    assert decode(tmp_path / "deep.png").tolist() == [[[200, 100, 50]]]


@pytest.mark.parametrize("mode", ["I", "F", "LAB"])
def test_pixels_of_another_range_are_refused(mode: str, tmp_path: Path) -> None:
    path = saved(tmp_path, Image.new(mode, (5, 3)), "picture.tif")

    with pytest.raises(InputError, match=f"mode '{mode}', not of 8 or 16 bits"):
        decode(path)


def test_grey_of_12_bits_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(DEEP), "picture.tif")
    bits = struct.pack("<HHIHH", 258, 3, 1, 16, 0)  # the entry of a TIFF directory
    content = path.read_bytes()
    assert content.count(bits) == 1
    path.write_bytes(content.replace(bits, struct.pack("<HHIHH", 258, 3, 1, 12, 0)))

    with pytest.raises(InputError, match="its pixels are of 12 bits"):
        decode(path)


CORNERS = np.zeros((8, 16, 3), np.uint8)
CORNERS[:4, :4] = 255  # white at the top left


@pytest.mark.parametrize(
    ("orientation", "corner"),
    [(1, (0, 0)), (2, (0, -1)), (3, (-1, -1)), (4, (-1, 0)), (6, (0, -1)), (8, (-1, 0))],
)
@pytest.mark.parametrize("name", ["photo.jpg", "photo.png", "photo.webp", "photo.tif"])
def test_a_photograph_is_turned_as_its_exif_says(
    tmp_path: Path, name: str, orientation: int, corner: tuple[int, int]
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation

    pixels = decode(saved(tmp_path, Image.fromarray(CORNERS), name, exif=exif))

    assert pixels.shape == ((16, 8, 3) if orientation > 4 else (8, 16, 3))
    assert pixels[corner].min() > 200
    opposite = tuple(-1 - index for index in corner)
    assert pixels[opposite].max() < 50


def test_an_uncompressed_tiff_is_turned_without_mixing_its_rows(tmp_path: Path) -> None:
    grey = np.arange(6, dtype=np.uint8).reshape(2, 3)
    orientation = {ExifTags.Base.Orientation: 6}

    path = saved(tmp_path, Image.fromarray(grey), "grey.tif", tiffinfo=orientation)

    assert np.array_equal(decode(path)[..., 0], np.rot90(grey, k=-1))


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        ("RGBA", "cut.png"),
        ("RGBA", "cut.webp"),
        ("RGBA", "cut.gif"),
        ("LA", "cut.png"),
        ("PA", "cut.tif"),
    ],
)
def test_what_is_transparent_shows_the_white_page(mode: str, name: str, tmp_path: Path) -> None:
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 0, 255))

    path = saved(
        tmp_path, image.convert(mode), name, **({"lossless": True} if "webp" in name else {})
    )

    assert decode(path).tolist() == [[[255, 255, 255], [0, 0, 0]]]


def test_what_is_half_transparent_is_mixed_with_the_page(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.new("RGBA", (1, 1), (0, 0, 100, 51)), "cut.png")

    assert decode(path).tolist() == [[[204, 204, 224]]]


@pytest.mark.parametrize("mode", ["P", "L", "RGB"])
def test_a_colour_declared_transparent_shows_the_page(mode: str, tmp_path: Path) -> None:
    transparency = (0, 0, 0) if mode == "RGB" else 0

    path = saved(tmp_path, Image.new(mode, (2, 2)), "cut.png", transparency=transparency)

    assert (decode(path) == 255).all()


def test_a_picture_without_pixels_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.bmp").write_bytes(
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 0, 5, 1, 24, 0, 0, 0, 0, 0, 0)
    )

    with pytest.raises(InputError, match=r"empty\.bmp: not a readable image"):
        decode(tmp_path / "empty.bmp")


def test_other_formats_are_refused_before_they_are_read(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.new("RGB", (3, 3)), "drawing.eps")

    with pytest.raises(InputError, match=r"it is EPS, none of AVIF, BMP, .*, WEBP"):
        decode(path)


def test_a_large_picture_is_read_without_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path, Image.new("RGB", (10, 3)), "large.png")

    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)  # Pillow warns above, and raises at twice it
    assert decode(path).shape == (3, 10, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(InputError, match=r"exceeds limit of 20 pixels"):
        decode(path)


def outcome_of(path: Path) -> str:
    """Say whether a file is read, or why it is refused."""
    try:
        decode(path)
    except InputError as error:
        return str(error).removeprefix(f"{path}: ").partition(": ")[0]
    return "read"


FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_damaged_picture_is_read_or_refused(tmp_path: Path, format_name: str) -> None:
    whole = io.BytesIO()
    Image.fromarray(random_images(1)[0]).save(whole, format_name)
    content, path = whole.getvalue(), tmp_path / "damaged"
    generator = np.random.default_rng(0)
    for kept in (*range(0, len(content), len(content) // 12), *[len(content)] * 60):
        damaged = bytearray(content[:kept])
        for position in generator.integers(0, max(1, kept), 2 if kept else 0):
            damaged[position] = generator.integers(0, 256)
        path.write_bytes(damaged)
        assert outcome_of(path) in ("read", "not a readable image")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")

    with pytest.raises(InputError, match="is no regular file"):
        decode(tmp_path / "pipe.png")
    with pytest.raises(InputError, match="too many levels of symbolic links"):
        decode(tmp_path / "loop.png")


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
    with pytest.raises(ValueError, match="images must be uint8 or uint16, got float32"):
        as_rgb(np.zeros((1, 4, 4), np.float32))


@pytest.mark.parametrize("shape", [(1, 0, 4), (1, 4, 0, 3)])
def test_images_without_pixels_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="images must have pixels, got"):
        as_rgb(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("shape", [(4, 4), (1, 4, 4, 4), (1, 3, 4, 4), (1, 1, 4, 4, 3)])
def test_array_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"must be \(N, H, W, 3\) or \(N, H, W\), got"):
        as_rgb(np.zeros(shape, np.uint8))


def test_warnings_of_decoders_in_several_threads_leave_the_filters_as_they_were(
    tmp_path: Path,
) -> None:
    paths = [tmp_path / f"{index}.png" for index in range(16)]
    for path in paths:
        Image.new("RGB", (64, 64)).save(path)
    before = list(warnings.filters)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(decode, paths))

    assert list(warnings.filters) == before
