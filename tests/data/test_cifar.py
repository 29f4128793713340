"""Is CIFAR read from every published form, and does a hostile file do no harm?"""

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reefl_edge.data.base import Dataset
from reefl_edge.data.cifar import read_cifar
from reefl_edge.data.restricted_pickle import load_plain
from reefl_edge.data.sources import read_dataset
from reefl_edge.errors import InputError
from tests.data.published import (
    as_pickle,
    binary_file,
    cifar_10_files,
    cifar_100_files,
    cifar_planes,
    write_archive,
    write_files,
)


def in_folder(folder: str, files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{folder}/{name}": content for name, content in files.items()}


def read(path: Path) -> Dataset:
    return read_dataset(path, image_size=32, class_names=())


def test_python_version_of_cifar_10_is_read_from_the_archive(tmp_path: Path) -> None:
    files = in_folder("cifar-10-batches-py", cifar_10_files())
    write_archive(tmp_path / "cifar-10-python.tar.gz", files)

    train = read(tmp_path / "cifar-10-python.tar.gz#train")
    test = read(tmp_path / "cifar-10-python.tar.gz#test")

    assert train.labels.tolist() == [0, 2] * 5
    assert train.class_names == ("plane", "car", "bird")
    red, green, blue = cifar_planes(2, seed=5)[1].reshape(3, 32, 32)
    assert np.array_equal(test.images(np.array([1]))[0], np.stack([red, green, blue], -1))
    assert [path.name for path in tmp_path.iterdir()] == ["cifar-10-python.tar.gz"]


def test_python_version_of_cifar_100_is_read_with_its_fine_labels(tmp_path: Path) -> None:
    write_files(tmp_path / "cifar-100-python", cifar_100_files())

    for path in (tmp_path / "cifar-100-python#test", tmp_path / "#test"):
        dataset = read(path)

        assert dataset.labels.tolist() == [1, 0, 1]
        assert dataset.class_names == ("apple", "bee")


@pytest.mark.parametrize(
    ("folder", "names", "suffix", "columns"),
    [
        ("cifar-10-batches-bin", "batches.meta.txt", "_batch", ([1, 0],)),
        ("cifar-100-binary", "fine_label_names.txt", "", ([7, 7], [1, 0])),
    ],
)
def test_binary_version_is_read(
    tmp_path: Path, folder: str, names: str, suffix: str, columns: tuple[list[int], ...]
) -> None:
    content = binary_file(cifar_planes(2), *columns)
    write_files(tmp_path / folder, {names: b"apple\nbee\n\n", f"test{suffix}.bin": content})

    dataset = read(tmp_path / f"{folder}#test")

    assert dataset.labels.tolist() == [1, 0]
    assert dataset.class_names == ("apple", "bee")
    assert dataset.images(np.array([0]))[0, 0, 1].tolist() == [
        cifar_planes(2)[0, plane * 1024 + 1] for plane in range(3)
    ]


class Hostile:
    """Makes a folder when it is unpickled the careless way."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_hostile_pickle_is_refused_and_not_executed(tmp_path: Path) -> None:
    trap, files = tmp_path / "trap", cifar_10_files()
    files["test_batch"] = pickle.dumps({b"data": Hostile(trap), b"labels": [0]}, protocol=2)
    write_files(tmp_path / "cifar-10-batches-py", files)

    with pytest.raises(InputError, match=r"refused to load posix\.mkdir"):
        read(tmp_path / "cifar-10-batches-py#test")

    assert not trap.exists()
    pickle.loads(files["test_batch"])  # the trap is real
    assert trap.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cnumpy.testing._private.utils\nrunstring\n(S'1'\nS'2'\ntR.",
        b"(S'x'\ni__main__\nThing\n.",
        b"\x80\x02\x82\x01.",  # a class by its number in the extension registry
        b"Pid\n.",
        b"\x80\x02]q\x00(K\x01",
        b"",
        b"not a pickle",
    ],
)
def test_what_is_no_plain_data_is_refused(data: bytes) -> None:
    with pytest.raises(InputError, match="not a readable pickle of plain data"):
        load_plain(data, name="batch")


def test_array_of_objects_is_refused(tmp_path: Path) -> None:
    files = cifar_10_files()
    array = np.empty((1, 3072), object)
    files["test_batch"] = as_pickle({b"data": array, b"labels": [0]})
    write_files(tmp_path / "cifar-10-batches-py", files)

    with pytest.raises(InputError, match="not of 8-bit numbers"):
        read(tmp_path / "cifar-10-batches-py#test")


def test_members_outside_the_folder_are_not_read(tmp_path: Path) -> None:
    files = cifar_10_files()
    outside = {f"../cifar-10-batches-py/{name}": b"x" for name in files}
    absolute = {f"/cifar-10-batches-py/{name}": b"x" for name in files}
    inside = in_folder("cifar-10-batches-py", files)
    path = write_archive(tmp_path / "cifar.tgz", {**outside, **absolute, **inside})

    assert read_cifar(path, split="test", image_size=32).labels.tolist() == [0, 2]

    path = write_archive(tmp_path / "outside.tgz", {**outside, **absolute})
    with pytest.raises(InputError, match="not a complete archive"):
        read_cifar(path, split="test", image_size=32)
    assert {path.name for path in tmp_path.iterdir()} == {"cifar.tgz", "outside.tgz"}


def test_truncated_files_are_refused(tmp_path: Path) -> None:
    path = write_archive(
        tmp_path / "cifar.tar.gz", in_folder("cifar-10-batches-py", cifar_10_files())
    )
    path.write_bytes(path.read_bytes()[:2000])
    binary = {"fine_label_names.txt": b"apple\n", "test.bin": bytes(3073)}
    write_files(tmp_path / "cifar-100-binary", binary)

    with pytest.raises(InputError, match="not a readable tar archive"):
        read(tmp_path / "cifar.tar.gz#train")
    with pytest.raises(InputError, match="3073 bytes, not a multiple of 3074"):
        read(tmp_path / "cifar-100-binary#test")


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({b"data": cifar_planes(2), b"labels": [0, 3]}, "labels run from 0 to 3"),
        ({b"data": cifar_planes(2), b"labels": [0, -1]}, "labels run from -1 to 0"),
        ({b"data": cifar_planes(2), b"labels": [0, 2**70]}, "a label is no class"),
        ({b"data": cifar_planes(2), b"labels": [0, "1"]}, "not a list of integers"),
        ({b"data": cifar_planes(2), b"labels": [0]}, r"1 labels, but images of \(2, 3072\)"),
        ({b"data": cifar_planes(0), b"labels": []}, "holds no examples"),
        ({b"labels": [0]}, "lacks 'data' or 'labels'"),
        ([1], "lacks 'data' or 'labels'"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused(tmp_path: Path, batch: Any, message: str) -> None:
    files = cifar_10_files()
    files["test_batch"] = as_pickle(batch)
    write_files(tmp_path / "cifar-10-batches-py", files)

    with pytest.raises(InputError, match=message):
        read(tmp_path / "cifar-10-batches-py#test")


def test_the_splits_are_named_when_none_or_another_is_asked_for(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "cifar-100-python", cifar_100_files())

    with pytest.raises(InputError, match=r"has the splits test, train; write .*#train"):
        read(folder)
    with pytest.raises(InputError, match="no split 'dev', only the splits test, train"):
        read(tmp_path / "cifar-100-python#dev")
