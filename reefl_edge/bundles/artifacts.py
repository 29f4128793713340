"""What is an artifact: in which format and precision, of which files?

An *artifact* is what a model becomes for one runtime. It lies in a bundle, whose manifest
(``manifest.py``) lists its files with their hashes.
"""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import BinaryIO, Literal, Self, get_args

from reefl_edge.errors import InputError
from reefl_edge.files import confined, regular_file, sha256_of_file

Target = Literal["executorch", "onnx", "coreml"]
Precision = Literal["fp32", "fp16", "int8-dynamic", "int8-static", "int8-weights", "palette4"]

TARGETS: tuple[Target, ...] = get_args(Target)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

# In which precisions each format comes.
PRECISIONS_OF: dict[Target, tuple[Precision, ...]] = {
    "executorch": ("fp32", "int8-dynamic", "int8-static"),
    "onnx": ("fp32", "fp16", "int8-dynamic", "int8-static"),
    "coreml": ("fp32", "fp16", "int8-weights", "palette4"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleFile:
    """One file of a bundle, by its path inside the folder."""

    path: str
    size_bytes: int
    sha256: str

    def __post_init__(self) -> None:
        _check_path(self.path)
        if self.size_bytes < 0:
            raise ValueError(f"{self.path}: a size is at least 0 bytes, got {self.size_bytes}")
        check_sha256(self.sha256, of=self.path)

    @classmethod
    def of(cls, root: Path, path: Path) -> Self:
        """Describe a file that lies below ``root``."""
        return cls(
            path=path.relative_to(root).as_posix(),
            size_bytes=path.stat().st_size,
            sha256=sha256_of_file(path),
        )

    def verified(self, root: Path) -> Path:
        """Return where the file lies below ``root``, held to its size and its hash.

        Raises:
            InputError: It is missing or changed, no regular file, or a link leads out of ``root``.
        """
        with self.held_open(root):
            return root / self.path

    @contextmanager
    def held_open(self, root: Path) -> Iterator[BinaryIO]:
        """Open the file below ``root``, held to its size and its hash, while the block runs.

        What takes the file's place in the meantime is another file.

        Raises:
            InputError: As for ``verified``.
        """
        path = self.located(root)
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != self.sha256:
                raise _changed(path, "its hash differs")
            file.seek(0)
            yield file

    def read(self, root: Path) -> bytes:
        """Return what the file below ``root`` holds: the very bytes that have its hash.

        Raises:
            InputError: As for ``verified``.
        """
        path = self.located(root)
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise _changed(path, "its hash differs")
        return content

    def located(self, root: Path) -> Path:
        """Return where the file lies below ``root``, held to its size alone: that takes no time.

        Raises:
            InputError: As for ``verified``.
        """
        path = root / self.path
        if not os.path.lexists(path):
            raise InputError(f"{root} is incomplete: {self.path} is missing")
        regular_file(path)
        confined(root, self.path)
        size_bytes = path.stat().st_size
        if size_bytes != self.size_bytes:
            raise _changed(path, f"it has {size_bytes} bytes, not {self.size_bytes}")
        return path


def _changed(path: Path, how: str) -> InputError:
    return InputError(
        f"{path} is not the file that was exported ({how}); copy or export the bundle again"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """The files of one target in one precision, and how they were made.

    Attributes:
        target: The format.
        delegate: The accelerator library inside the target, such as ``xnnpack``; None for none.
        precision: Of weights and activations.
        batch_sizes: The batch sizes it takes; empty for any.
        toolchain: Version of each package that made it.
        files: Every file, with its hash.
    """

    target: Target
    delegate: str | None
    precision: Precision
    batch_sizes: tuple[int, ...]
    toolchain: dict[str, str]
    files: tuple[BundleFile, ...]

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS_OF[self.target]:
            raise ValueError(f"{self.target} does not come in {self.precision}")
        check_batch_sizes(self.target, self.batch_sizes)
        if not self.files:
            raise ValueError(f"{self.name} lists no files")
        check_unique([file.path for file in self.files])

    @property
    def name(self) -> str:
        """How reports call it."""
        return artifact_name(self.target, self.precision)

    @property
    def sha256(self) -> str:
        """Identity of all its files: where they lie in the bundle, and what they hold."""
        listed = "".join(sorted(f"{file.sha256} {file.path}\n" for file in self.files))
        return hashlib.sha256(listed.encode()).hexdigest()

    @property
    def size_bytes(self) -> int:
        """Size of all its files."""
        return sum(file.size_bytes for file in self.files)


def float32_onnx(artifacts: Iterable[Artifact]) -> Artifact | None:
    """Return the artifact whose weights lie apart, in a checkpoint; None if it is not there."""
    return next((each for each in artifacts if each.name == artifact_name("onnx", "fp32")), None)


def artifact_name(target: Target, precision: Precision) -> str:
    """Return how recipes and reports call an artifact: ``FORMAT-PRECISION``."""
    return f"{target}-{precision}"


def check_batch_sizes(target: Target, sizes: tuple[int, ...]) -> None:
    """Hold the batch sizes of a recipe or an artifact to what its format can do.

    Raises:
        ValueError: ONNX names any, which takes all; Core ML another than 1; ExecuTorch none, one
            below 1, the same twice, or all but 1.
    """
    if any(size < 1 for size in sizes):
        raise ValueError(f"batch sizes must be at least 1, got {sizes}")
    if sizes and 1 not in sizes:
        raise ValueError(f"batch_sizes must hold 1, got {sizes}")
    if len(set(sizes)) < len(sizes):
        raise ValueError(f"batch_sizes must hold each size once, got {sizes}")
    if target == "executorch" and not sizes:
        raise ValueError("executorch takes fixed batch_sizes, such as [1]; none are given")
    if target == "coreml" and sizes != (1,):
        raise ValueError("coreml takes one image: batch_sizes must be [1]")
    if target == "onnx" and sizes:
        raise ValueError("onnx takes any batch: leave batch_sizes out")


def _check_path(path: str) -> None:
    """Refuse what is no path of a file below a folder, whatever the system."""
    windows = PureWindowsPath(path)
    if "\0" in path or not windows.parts:
        raise ValueError(f"{path!r} is no path of a file")
    if windows.drive or windows.root or ".." in windows.parts:
        raise ValueError(f"{path!r} leads out of the bundle")


def check_sha256(text: str, *, of: str) -> None:
    """Refuse what is no hash.

    Raises:
        ValueError: ``text`` is no SHA-256 in hexadecimal.
    """
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise ValueError(f"{of}: {text[:80]!r} is no SHA-256 in hexadecimal")


def check_unique(names: Iterable[str]) -> None:
    """Refuse a list in which something stands twice.

    Raises:
        ValueError: Something does; it is named.
    """
    for name, count in Counter(names).items():
        if count > 1:
            raise ValueError(f"{name} is listed more than once")
