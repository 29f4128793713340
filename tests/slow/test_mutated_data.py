"""Is a mutated data set valid all the same, or refused in one line?"""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from reefl_edge.data.dataset import Dataset, num_examples
from reefl_edge.data.reading import read_dataset
from tests.data.published import cifar_10_files, cifar_100_files, leaf_document, write_wav
from tests.fakes.images import random_images
from tests.slow import mutations
from tests.slow.cases import Case, Refused, answer, cases

pytestmark = pytest.mark.slow

EDGE = 16
CLASSES = ("ant", "bee", "cat")
NPZ = (
    *(f"bytes-{name}" for name in mutations.BYTES),
    *(f"member-{name}" for name in (*mutations.ZIPS, *mutations.BYTES)),
)
ARCHIVES = (
    *(f"bytes-{name}" for name in mutations.BYTES),
    *(f"member-{name}" for name in (*mutations.TARS, *mutations.BYTES)),
)
IMAGE_FORMATS = {"png": "PNG", "jpg": "JPEG", "bmp": "BMP", "tif": "TIFF", "gif": "GIF"}
IMAGES = tuple(f"{suffix}-{name}" for name in mutations.BYTES for suffix in IMAGE_FORMATS)
# A pack of clips, and a folder of them.
PACK = (*NPZ, *(f"wav-{name}" for name in mutations.BYTES))


def assert_valid_or_refused(
    path: Path, *, split: str | None = None, class_names: tuple[str, ...] = ()
) -> None:
    """Read a data set and all its images; what is given out is within bounds."""
    named = path if split is None else path.with_name(f"{path.name}#{split}")

    def whole() -> tuple[Dataset, NDArray[np.uint8]]:
        dataset = read_dataset(named, image_size=EDGE, class_names=class_names)
        return dataset, dataset.images(np.arange(num_examples(dataset)))

    read = answer(whole)

    if not isinstance(read, Refused):
        dataset, images = read
        count = num_examples(dataset)
        assert count > 0
        assert images.dtype == np.uint8
        assert images.shape == (count, EDGE, EDGE, 3)
        assert 0 <= dataset.labels.min() <= dataset.labels.max() < len(dataset.class_names)
        assert all(isinstance(name, str) for name in dataset.class_names)
        assert dataset.groups is None or dataset.groups.shape == (count,)


def mutated_npz(arrays: dict[str, Any], case: Case) -> bytes:
    """Write an .npz file, mutated as a whole or in a member."""
    stream, random = io.BytesIO(), case.random()
    random.choice((np.savez, np.savez_compressed))(stream, **arrays)
    where, _, name = case.mutation.partition("-")
    if where == "member":
        return mutations.changed_zip(stream.getvalue(), random, name)
    return mutations.BYTES[name](stream.getvalue(), random)


@cases("npz", NPZ)
def test_mutated_arrays_are_valid_or_refused_in_one_line(case: Case, tmp_path: Path) -> None:
    arrays = {
        "images": random_images(6, edge=8),
        "labels": np.arange(6) % 3,
        "class_names": np.array(CLASSES),
        "groups": np.array(["ann", "bob"] * 3),
    }
    (tmp_path / "data.npz").write_bytes(mutated_npz(arrays, case))

    assert_valid_or_refused(tmp_path / "data.npz", class_names=CLASSES)


@cases("speech-pack", PACK)
def test_mutated_sounds_are_valid_or_refused_in_one_line(case: Case, tmp_path: Path) -> None:
    sound = np.random.default_rng(0).integers(-(2**12), 2**12, 4000).astype(np.int16)
    where, _, name = case.mutation.partition("-")
    if where == "wav":
        clip = tmp_path / "words" / "yes" / "ann_nohash_0.wav"
        write_wav(clip, sound)
        clip.write_bytes(mutations.BYTES[name](clip.read_bytes(), case.random()))
        assert_valid_or_refused(tmp_path / "words")
        return
    arrays = {
        "audio": sound,
        "offsets": np.array([0, 1500, 2500, 4000]),
        "labels": np.array([0, 1, 0]),
        "sample_rate": np.array(8000),
        "class_names": np.array(["yes", "no"]),
        "speaker": np.array([0, 1, 2]),
        "is_test": np.array([False, True, False]),
    }
    (tmp_path / "sounds.npz").write_bytes(mutated_npz(arrays, case))

    assert_valid_or_refused(tmp_path / "sounds.npz", split=case.random().choice((None, "train")))


@cases("cifar", ARCHIVES)
def test_a_mutated_archive_is_valid_or_refused_in_one_line(case: Case, tmp_path: Path) -> None:
    random, path = case.random(), tmp_path / "cifar.tar.gz"
    folder, make = random.choice(
        (("cifar-10-batches-py", cifar_10_files), ("cifar-100-python", cifar_100_files))
    )
    files = {f"{folder}/{name}": content for name, content in make().items()}
    where, _, name = case.mutation.partition("-")
    path.write_bytes(mutations.changed_tar(files, random, name if where == "member" else "none"))
    if where == "bytes":
        path.write_bytes(mutations.BYTES[name](path.read_bytes(), random))

    assert_valid_or_refused(path, split=random.choice(("train", "test")))


@cases("leaf", (*mutations.DOCUMENTS, *mutations.BYTES, "nested"))
def test_mutated_writers_are_valid_or_refused_in_one_line(case: Case, tmp_path: Path) -> None:
    document = leaf_document({"ann": [0, 10], "bob": [61]})
    content = mutations.json_bytes(document)
    (tmp_path / "part_0.json").write_bytes(
        mutations.changed_json(content, case.random(), case.mutation)
    )

    assert_valid_or_refused(tmp_path)


@cases("image-folder", IMAGES)
def test_a_mutated_picture_is_valid_or_refused_in_one_line(case: Case, tmp_path: Path) -> None:
    suffix, _, mutation = case.mutation.partition("-")
    for label, image in zip(CLASSES, random_images(3, edge=24), strict=True):
        path = tmp_path / label / f"first.{suffix}"
        path.parent.mkdir()
        path.write_bytes(picture(image, IMAGE_FORMATS[suffix]))
    path.write_bytes(mutations.BYTES[mutation](path.read_bytes(), case.random()))

    assert_valid_or_refused(tmp_path, class_names=CLASSES)


def picture(image: NDArray[np.uint8], name: str) -> bytes:
    """Return an image as a file of a format holds it."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, name)
    return stream.getvalue()
