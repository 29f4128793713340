"""Is the right reader found for what is named, and the right part read?"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from reefl_edge.data.dataset import ArrayDataset, Subset
from reefl_edge.data.reading import read_dataset, split_of
from reefl_edge.errors import InputError
from tests.fakes.images import random_images

NAMES = ("a", "b", "c")


def test_classes_that_nobody_names_are_called_by_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, **pack())

    dataset = read_dataset(f"{path}#test", image_size=8)

    assert dataset.class_names == ("0", "1", "2")
    assert dataset.labels.tolist() == [2, 0]


def test_a_label_beyond_every_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, images=random_images(2), labels=np.array([0, 10**12]))

    with pytest.raises(InputError, match="labels run from 0 to 1000000000000, but there are"):
        read_dataset(path, image_size=8)


def pack() -> dict[str, Any]:
    return {
        "train_images": random_images(4),
        "train_labels": np.array([0, 1, 2, 1]),
        "train_writer": np.array([5, 5, 6, 6]),
        "test_images": random_images(2, seed=1)[..., 0],
        "test_labels": np.array([2, 0]),
    }


def clips(**changes: Any) -> dict[str, Any]:
    return {
        "audio": np.arange(3000, dtype=np.int16),
        "offsets": np.array([0, 500, 1500, 3000]),
        "labels": np.array([2, 0, 1]),
        "speaker": np.array([1, 0, 1]),
        "is_test": np.array([False, True, False]),
        "sample_rate": np.array(16_000),
        **changes,
    }


def by_speaker(**changes: Any) -> dict[str, Any]:
    """Return sounds of equal length whose speakers say which split they are in."""
    arrays = clips(audio=np.zeros((3, 800), np.int16))
    del arrays["offsets"], arrays["is_test"]
    splits = {"speaker_split": np.array([0, 1]), "split_names": np.array(["train", "val"])}
    return {**arrays, **splits, **changes}


def read(path: Path, arrays: dict[str, Any], split: str = "") -> Any:
    np.savez(path / "pack.npz", **arrays)
    return read_dataset(path / f"pack.npz{split}", image_size=16, class_names=NAMES)


def test_the_arrays_of_one_split_are_read(tmp_path: Path) -> None:
    train = read(tmp_path, pack(), "#train")
    test = read(tmp_path, pack(), "#test")

    assert train.labels.tolist() == [0, 1, 2, 1]
    assert train.groups.tolist() == [5, 5, 6, 6]
    assert np.array_equal(train.images(np.array([2])), random_images(4)[[2]])
    assert test.labels.tolist() == [2, 0]
    assert test.groups is None
    assert test.images(np.array([0])).shape == (1, 16, 16, 3)


def test_a_file_without_splits_is_read_as_before(tmp_path: Path) -> None:
    dataset = read(tmp_path, {"images": random_images(2), "labels": np.array([1, 0])})

    assert dataset.labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("arrays", "split", "message"),
    [
        (pack(), "", "write the split after the name, as #train; it has test, train"),
        (pack(), "#dev", "as #train; it has test, train"),
        ({"images": random_images(1)}, "", "has no array 'labels', only images"),
        ({"train_images": random_images(1)}, "#train", "has no array 'train_labels'"),
        (pack() | {"train_writer": np.array([1])}, "#train", r"groups must be \(4,\), got \(1,\)"),
        (pack() | {"train_labels": np.array([0, 1, 2, 3])}, "#train", "labels run from 0 to 3"),
        (clips(), "#dev", "no split 'dev', only train, test"),
        (clips(labels=np.array([0, 1])), "", "2 labels do not fit the clips"),
        (clips(labels=np.array([0, 1, 3])), "", "labels run from 0 to 3"),
        (clips(offsets=np.array([0, 500, 400, 3000])), "", "ends before it begins"),
        (clips(offsets=np.array([0, 500, 400, 3001])), "", "do not fit the clips of 3000 samples"),
        (clips(audio=np.zeros(3000, np.float32)), "", "audio must be int16"),
        (clips(is_test=np.zeros(3, bool)), "#test", "holds no examples"),
        (clips(is_test=np.zeros(2, bool)), "#test", "is_test must be booleans of 3 clips"),
        (clips(is_test=np.array(["a", "b", "c"])), "#test", "is_test must be booleans of 3 clips"),
        (clips(sample_rate=np.array([8000, 8000])), "", "whole number of Hz, got int64"),
        (clips(sample_rate=np.array("fast")), "", "whole number of Hz, got <U4"),
        (clips(sample_rate=np.array(np.inf)), "", "whole number of Hz, got float64"),
        (clips(sample_rate=np.array(0)), "", "from 4000 to 768000 samples per second, not 0"),
        (clips(sample_rate=np.array(1)), "", "from 4000 to 768000 samples per second, not 1"),
        (clips(labels=np.array([[0, 1, 2]])), "", "labels must be integers"),
        (clips(labels=np.array(0)), "", "labels must be integers"),
        (clips(speaker=np.array([1, 0])), "", "speaker must be 3 integers, got int64"),
        (clips(speaker=np.array(["x", "y", "z"])), "", "speaker must be 3 integers, got <U1"),
        (clips(offsets=np.array([0.0, np.nan, 1, 2])), "", "offsets must be 4 integers"),
        (by_speaker(speaker_split=np.array([0])), "#train", "run from 0 to 1, .* is of 1"),
        (by_speaker(speaker=np.array([-1, 0, 1])), "#train", "run from -1 to 1, .* is of 2"),
        (by_speaker(speaker_split=np.array([[0], [1]])), "#train", "speaker_split must be 2"),
        (by_speaker(split_names=np.array([1, 2])), "#train", "split_names must be text"),
        ({"audio": np.zeros((1, 10), np.int16)}, "", "has no array 'labels', only audio"),
    ],
)
def test_packs_that_do_not_fit_are_refused(
    tmp_path: Path, arrays: dict[str, Any], split: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path, arrays, split)


def test_clips_are_read_by_split_and_speaker(tmp_path: Path) -> None:
    train = read(tmp_path, clips(), "#train")
    assert train.labels.tolist() == [2, 1]
    assert train.groups.tolist() == [1, 1]
    assert train.clip(1).tolist() == (np.arange(1500, 3000) / np.float32(2**15)).tolist()

    assert read(tmp_path, by_speaker(), "#val").labels.tolist() == [2, 1]
    assert read(tmp_path, by_speaker()).images(np.array([0])).shape == (1, 16, 16, 3)


@pytest.mark.parametrize("rate", [np.array([16_000]), np.array(16_000.0)])
def test_a_rate_may_be_one_of_an_array_or_a_float(tmp_path: Path, rate: Any) -> None:
    train = read(tmp_path, clips(sample_rate=rate), "#train")

    assert train.clip(1).shape == (1500,)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
@pytest.mark.parametrize("name", ["pipe.npz", "pipe.tar.gz#train"])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name.partition("#")[0])

    with pytest.raises(InputError, match="is no regular file"):
        read_dataset(tmp_path / name, image_size=8, class_names=NAMES)


def test_a_folder_of_images_has_no_splits(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    Image.fromarray(random_images(1)[0]).save(tmp_path / "b" / "one.png")

    assert read_dataset(tmp_path, image_size=8, class_names=NAMES).labels.tolist() == [1]
    with pytest.raises(InputError, match="has no splits; give the folder of 'train' itself"):
        read_dataset(Path(f"{tmp_path}#train"), image_size=8, class_names=NAMES)


def test_a_path_that_exists_is_not_taken_apart(tmp_path: Path) -> None:
    (tmp_path / "a#b").mkdir()

    assert split_of(tmp_path / "a#b") == (tmp_path / "a#b", None)
    assert split_of(tmp_path / "a#b#train") == (tmp_path / "a#b", "train")
    assert split_of(tmp_path / "#train") == (tmp_path, "train")


def test_a_subset_is_a_view_of_the_whole() -> None:
    groups = np.array(["x", "y", "y", "x"])
    whole = ArrayDataset(random_images(4), np.array([0, 1, 2, 1]), NAMES, 8, groups)

    part = Subset(whole, np.array([3, 1]))

    assert part.labels.tolist() == [1, 1]
    assert part.groups is not None
    assert part.groups.tolist() == ["x", "y"]
    assert np.array_equal(part.images(np.array([1])), whole.images(np.array([1])))
    assert np.array_equal(part.originals(np.array([0]))[0], random_images(4)[3])
    assert (part.class_names, part.image_size) == (NAMES, 8)
