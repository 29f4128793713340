"""Tiny data sets in the formats they are published in, written with the standard library."""

import io
import json
import pickle
import tarfile
import wave
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CIFAR_10_NAMES = [b"plane", b"car", b"bird"]


def cifar_planes(count: int, *, seed: int = 0) -> NDArray[np.uint8]:
    """Return images as CIFAR's files hold them, (count, 3072)."""
    return np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)


def as_pickle(value: Any) -> bytes:
    """Write a pickle with the names that old numpy wrote."""
    return pickle.dumps(value, protocol=2).replace(b"numpy._core.", b"numpy.core.")


def cifar_10_files(*, labels: list[int] | None = None) -> dict[str, bytes]:
    """Return CIFAR-10's python version, two images per file: content by name."""
    labels = [0, 2] if labels is None else labels
    files = {"batches.meta": as_pickle({b"label_names": CIFAR_10_NAMES})}
    for number, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
        batch = {b"data": cifar_planes(len(labels), seed=number), b"labels": labels}
        files[name] = as_pickle(batch)
    return files


def cifar_100_files() -> dict[str, bytes]:
    """Return CIFAR-100's python version, three images per file."""
    batch = {b"data": cifar_planes(3), b"fine_labels": [1, 0, 1], b"coarse_labels": [0, 0, 0]}
    names = {b"fine_label_names": [b"apple", b"bee"], b"coarse_label_names": [b"thing"]}
    return {"meta": as_pickle(names), "train": as_pickle(batch), "test": as_pickle(batch)}


def binary_file(planes: NDArray[np.uint8], *label_columns: list[int]) -> bytes:
    """Return a file of the binary version: each record its labels, then its image."""
    columns = [np.array(column, np.uint8)[:, None] for column in label_columns]
    return np.concatenate([*columns, planes], axis=1).tobytes()


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    """Write files into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def write_archive(path: Path, files: dict[str, bytes]) -> Path:
    """Write files into an archive, by their names in it."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def leaf_document(writers: dict[str, list[int]]) -> dict[str, Any]:
    """Return a LEAF file in which a writer's images are all of one grey: their label / 61."""
    return {
        "users": list(writers),
        "num_samples": [len(labels) for labels in writers.values()],
        "user_data": {
            writer: {"x": [[label / 61] * 784 for label in labels], "y": labels}
            for writer, labels in writers.items()
        },
    }


def write_leaf(folder: Path, *documents: Any) -> Path:
    """Write LEAF's files into a split's folder."""
    return write_files(
        folder,
        {f"part_{n}.json": json.dumps(document).encode() for n, document in enumerate(documents)},
    )


def write_wav(
    path: Path, samples: NDArray[np.int16], *, rate: int = 16_000, channels: int = 1
) -> None:
    """Write a sound of 16 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
