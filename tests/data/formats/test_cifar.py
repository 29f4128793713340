"""Is CIFAR read from every published form, and does a hostile file do no harm?"""

import gzip
import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reefl_edge.array_files.restricted_pickle import load_plain
from reefl_edge.data.dataset import Dataset
from reefl_edge.data.formats.cifar import read_cifar
from reefl_edge.data.reading import read_dataset
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


def test_an_array_that_a_pickle_never_fills_is_refused() -> None:
    array = load_plain(b"cnumpy\nndarray\n)\x81.", name="batch")

    with pytest.raises(ValueError, match="not of 8-bit numbers"):
        array.pixels()


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


def test_a_flipped_bit_anywhere_in_an_archive_is_refused(tmp_path: Path) -> None:
    path = write_archive(
        tmp_path / "cifar.tar.gz", in_folder("cifar-100-python", cifar_100_files())
    )
    content = path.read_bytes()
    start = 10 + len("cifar.tar") + 1  # before, the header of gzip says only its name and date
    for position in range(start, len(content), 97):
        path.write_bytes(
            content[:position] + bytes([content[position] ^ 4]) + content[position + 1 :]
        )
        with pytest.raises(InputError, match=r"cifar\.tar\.gz: not a readable tar archive"):
            read(tmp_path / "cifar.tar.gz#train")


def test_an_archive_that_is_not_packed_is_read(tmp_path: Path) -> None:
    packed = write_archive(tmp_path / "c.tar.gz", in_folder("cifar-100-python", cifar_100_files()))
    (tmp_path / "c.tar").write_bytes(gzip.decompress(packed.read_bytes()))

    assert read(tmp_path / "c.tar#test").labels.tolist() == [1, 0, 1]


def test_an_archive_that_expands_without_end_is_refused(tmp_path: Path) -> None:
    whole = write_archive(tmp_path / "c.tar.gz", in_folder("cifar-100-python", cifar_100_files()))
    zeros = gzip.compress(bytes(2**24), compresslevel=9)
    with whole.open("ab") as file:  # gzip streams that follow each other are one
        for _ in range(40):
            file.write(zeros)

    with pytest.raises(InputError, match="it expands to more than 536870912 bytes"):
        read(tmp_path / "c.tar.gz#test")


def declaring(kind: bytes, size: int) -> bytes:
    """Return the header of a tar member that declares a size."""
    member = tarfile.TarInfo("cifar-100-python/meta")
    member.size, member.type = size, kind
    return member.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
@pytest.mark.parametrize("size", [2**40, 2**62])
def test_members_that_declare_what_is_not_there_are_refused(
    tmp_path: Path, kind: bytes, size: int
) -> None:
    (tmp_path / "c.tar").write_bytes(declaring(kind, size) + bytes(2048))

    with pytest.raises(InputError, match=r"c\.tar: not a readable tar archive"):
        read(tmp_path / "c.tar#test")


def test_a_file_larger_than_any_of_cifar_is_refused_unread(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "cifar-100-python", cifar_100_files())
    with (folder / "test").open("r+b") as file:
        file.truncate(2**40)  # takes no room on the disk

    with pytest.raises(InputError, match="test is larger than any file of CIFAR"):
        read(tmp_path / "cifar-100-python#test")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_a_pipe_among_the_files_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "cifar-10-batches-py", cifar_10_files())
    (folder / "data_batch_3").unlink()
    os.mkfifo(folder / "data_batch_3")

    with pytest.raises(InputError, match="data_batch_3 is no regular file"):
        read(tmp_path / "cifar-10-batches-py#train")


def test_an_archive_whose_member_declares_terabytes_is_refused_at_once(tmp_path: Path) -> None:
    liar = tarfile.TarInfo("cifar-10-batches-py/readme.html")
    liar.size = 5 * 2**40
    path = tmp_path / "cifar-10-python.tar"
    path.write_bytes(liar.tobuf() + bytes(1024))

    with pytest.raises(InputError, match=r"readme\.html declares more than any archive of CIFAR"):
        read(Path(f"{path}#train"))


def test_class_names_that_are_no_text_are_refused(tmp_path: Path) -> None:
    binary = {"fine_label_names.txt": b"apple\n\xff\xfe\n", "test.bin": bytes(3074)}
    write_files(tmp_path / "cifar-100-binary", binary)
    nested: Any = b"deep"
    for _ in range(200):
        nested = [nested]

    with pytest.raises(InputError, match=r"the name of a class, b'.*xfe', is no UTF-8"):
        read(tmp_path / "cifar-100-binary#test")
    for names, message in (([b"\xff"], "is no UTF-8"), ([nested], "is called by a list")):
        files = cifar_100_files() | {"meta": as_pickle({b"fine_label_names": names})}
        write_files(tmp_path / "cifar-100-python", files)
        with pytest.raises(InputError, match=message):
            read(tmp_path / "cifar-100-python#test")


def array_of_shape(shape: bytes) -> bytes:
    """Return a pickled array of one byte whose shape is written by these opcodes."""
    return (
        b"\x80\x02cnumpy\nndarray\n)R(K\x01" + shape + b"cnumpy\ndtype\nU\x02u1\x85R\x89U\x01at b."
    ).replace(b"at b.", b"atb.")


@pytest.mark.parametrize(
    "shape",
    [
        b"\x8a\x06\0\0\0\0\0\x01\x85",  # 2^40
        b"\x8a\x09" + b"\xff" * 8 + b"\0\x85",  # 2^64 - 1
        b"I-1\n\x85",
        b"U\x01x\x85",
        b"G\x7f\xf0\0\0\0\0\0\0\x85",  # infinity
        b"N",
    ],
)
def test_an_array_whose_shape_lies_is_refused(shape: bytes) -> None:
    array = load_plain(array_of_shape(shape), name="batch")

    with pytest.raises(
        ValueError, match=r"the pickled array (has no shape|is of shape|is not of 8-bit)"
    ):
        array.pixels()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"K\x01r\xff\xff\xff\x7f.", "numbers a note 2147483647"),
        (b"K\x01p99999999\n.", "numbers a note 99999999"),
        (b"}K\x01" + b"\x85" * 200_000 + b"K\x02s.", "holds 200000 tuples, more than 60000"),
        (b"\x8e" + b"\xff" * 7 + b"\x7f.", "not a readable pickle"),  # bytes
        (b"\x96" + b"\xff" * 7 + b"\x7f.", "not a readable pickle"),  # a bytearray
        (b"I" + b"9" * 5000 + b"\n.", "not a readable pickle"),
    ],
)
def test_what_would_break_the_unpickler_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_plain(b"\x80\x04" + data, name="batch")


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
