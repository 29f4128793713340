"""Is LEAF's FEMNIST read, writer by writer?"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from reefl_edge.data.reading import read_dataset
from reefl_edge.errors import InputError
from tests.data.published import leaf_document, write_leaf, write_wav


def test_examples_and_writers_of_all_files_are_read(tmp_path: Path) -> None:
    write_leaf(
        tmp_path / "train",
        leaf_document({"f1_02": [61, 0], "f1_01": [30]}),
        leaf_document({"f2_01": [10]}),
    )
    write_leaf(tmp_path / "test", leaf_document({"f2_01": [11]}))

    dataset = read_dataset(Path(f"{tmp_path}#train"), image_size=28, class_names=())

    assert dataset.labels.tolist() == [61, 0, 30, 10]
    assert dataset.groups is not None
    assert dataset.groups.tolist() == ["f1_02", "f1_02", "f1_01", "f2_01"]
    assert dataset.images(np.arange(4))[:, 3, 5, 1].tolist() == [255, 0, 125, 42]
    assert dataset.class_names[10] == "A"
    split = read_dataset(tmp_path / "test", image_size=28, class_names=())
    assert split.labels.tolist() == [11]


def test_without_a_split_the_splits_are_named(tmp_path: Path) -> None:
    write_leaf(tmp_path / "train", leaf_document({"f1": [1]}))

    with pytest.raises(InputError, match=r"has the splits train; write .*#train"):
        read_dataset(tmp_path, image_size=28, class_names=())


@pytest.mark.parametrize("notes", ["cat/a.png.json", "labels.json", ".vscode/settings.json"])
def test_json_files_among_images_do_not_hide_their_classes(tmp_path: Path, notes: str) -> None:
    for name in ("cat", "dog", ".vscode"):
        (tmp_path / name).mkdir()
    for name in ("cat", "dog"):
        Image.new("L", (8, 8)).save(tmp_path / name / "a.png")
    (tmp_path / notes).write_text("{}")

    assert read_dataset(tmp_path, image_size=8).class_names == ("cat", "dog")


def test_json_files_among_clips_do_not_hide_their_words(tmp_path: Path) -> None:
    write_wav(tmp_path / "yes" / "a_nohash_0.wav", np.zeros(1600, np.int16))
    (tmp_path / "yes" / "a.json").write_text("{}")

    assert read_dataset(tmp_path, image_size=8).class_names == ("yes",)


def test_a_hidden_folder_is_no_split(tmp_path: Path) -> None:
    write_leaf(tmp_path / "train", leaf_document({"f1": [1]}))
    write_leaf(tmp_path / ".cache", leaf_document({"f1": [2]}))

    with pytest.raises(InputError, match=r"has the splits train; write"):
        read_dataset(tmp_path, image_size=28)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "lacks 'user_data'"),
        ([], "not a LEAF file"),
        ({"user_data": {"f1": {"x": [[0.0] * 784]}}}, "lacks 'y'"),
        ({"user_data": {"f1": {"x": [[0.0] * 783], "y": [1]}}}, "not a LEAF file of FEMNIST"),
        ({"user_data": {"f1": {"x": ["roses are red"], "y": [1]}}}, "not a LEAF file of FEMNIST"),
        ({"user_data": {"f1": {"x": [[255.0] * 784], "y": [1]}}}, "run from 255.0 to 255.0"),
        ({"user_data": {"f1": {"x": [[float("nan")] * 784], "y": [1]}}}, "run from nan to nan"),
        ({"user_data": {"f1": {"x": [[0.0] * 784], "y": [1, 2]}}}, "labels must be 1 integers"),
        ({"user_data": {"f1": {"x": [[0.0] * 784], "y": [62]}}}, "labels run from 62 to 62"),
        ({"user_data": {"f1": {"x": [], "y": []}}}, "holds no examples"),
    ],
)
def test_a_file_that_is_not_femnist_is_refused(tmp_path: Path, document: Any, message: str) -> None:
    write_leaf(tmp_path / "train", document)

    with pytest.raises(InputError, match=message):
        read_dataset(tmp_path / "train", image_size=28, class_names=())


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "part.json").write_text('{"user_data": {"f1": {"x": [[0.1, ')

    with pytest.raises(InputError, match="not a LEAF file"):
        read_dataset(tmp_path, image_size=28, class_names=())


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b'{"user_data": {"f1": {"x": ' + b"[" * 900 + b"]" * 900 + b', "y": [1]}}}',
        b'{"user_data": {"f1": {"x": [[' + b"9" * 5000 + b']], "y": [1]}}}',
        b'{"user_data": {"f1": {"x": [[1' + b"0" * 400 + b']], "y": [1]}}}',
        b'{"user_data": {"f\xff": {}}}',
        b'{"user_data": NaN}',
        b'{"user_data": {"f1": [1, 2]}}',
        b'{"user_data": {"f1": {"x": 3, "y": [1]}}}',
        b"",
    ],
)
def test_malformed_text_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "part.json").write_bytes(content)

    with pytest.raises(InputError, match=r"part\.json is not a LEAF file") as caught:
        read_dataset(tmp_path, image_size=28)
    assert "\n" not in str(caught.value)


def test_writers_whose_images_and_labels_differ_in_number_are_refused(tmp_path: Path) -> None:
    grey = [0.5] * 784
    document = {
        "user_data": {"f1": {"x": grey, "y": [1] * 784}, "f2": {"x": [grey] * 784, "y": [1]}}
    }
    write_leaf(tmp_path, document)

    with pytest.raises(InputError, match=r"images must be rows of 784 grey levels, got \(784,\)"):
        read_dataset(tmp_path, image_size=28)
