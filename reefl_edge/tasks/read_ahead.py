"""How do files become images faster than they are computed on, while memory does not grow?

Files are decoded and brought to size side by side, a few of them ahead of what is asked for.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from reefl_edge.data.formats.arrays import read_images
from reefl_edge.data.formats.folder import images_in
from reefl_edge.data.images import read_image, resize
from reefl_edge.errors import InputError
from reefl_edge.runtimes.base import default_threads

# Files that are read, or wait, for each thread that reads.
_AHEAD = 2

OnFile = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """An input that could not be read, and why."""

    input: str
    error: str


# Where an image comes from, and its pixels, (1, edge, edge, 3).
Image = tuple[str, NDArray[np.uint8]]


class ReadAhead:
    """The images of files and folders, which are read from now on until the block ends.

    Args:
        inputs: Image files, folders of them, .npy and .npz files.
        image_size: Edge in pixels of the images given out.
        readers: Threads that decode; None for one per core that this process may use.
    """

    def __init__(
        self, inputs: Iterable[str | Path], *, image_size: int, readers: int | None = None
    ) -> None:
        self._files = [found for given in inputs for found in _files(Path(given))]
        self._edge = image_size
        self._readers = readers or default_threads()
        self._pool = ThreadPoolExecutor(self._readers, thread_name_prefix="reading")
        self._waiting: deque[Future[Iterator[Image | Unreadable]]] = deque()
        self._next = iter(self._files)
        self._fill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    @property
    def num_files(self) -> int:
        """How many files there are; an array of many images is one."""
        return len(self._files)

    def images(self, on_file: OnFile = lambda *_: None) -> Iterator[Image | Unreadable]:
        """Give every image, and what could not be read, in order, once.

        Args:
            on_file: Called with the files that were read, and how many there are.
        """
        num_read = 0
        while self._waiting:
            yield from self._waiting.popleft().result()
            num_read += 1
            on_file(num_read, len(self._files))
            self._fill()

    def _fill(self) -> None:
        while len(self._waiting) < _AHEAD * self._readers:
            file = next(self._next, None)
            if file is None:
                return
            self._waiting.append(self._pool.submit(_read, file, self._edge))


def _files(given: Path) -> list[Path | Unreadable]:
    """Return the images of a folder, or the file itself."""
    if not given.is_dir():
        return [given]
    try:
        images = images_in(given)
    except OSError as error:
        return [_unreadable(given, error)]
    return [*images] or [Unreadable(input=str(given), error=f"no images in {given}")]


def _read(file: Path | Unreadable, edge: int) -> Iterator[Image | Unreadable]:
    """Read a file; the images of an array are brought to size when they are asked for."""
    if isinstance(file, Unreadable):
        return iter([file])
    try:
        if file.suffix.lower() in (".npy", ".npz"):
            array = read_images(file)
            return (
                (f"{file}[{index}]", resize(image[None], edge)) for index, image in enumerate(array)
            )
        return iter([(str(file), read_image(file, image_size=edge))])
    except (InputError, OSError) as error:
        return iter([_unreadable(file, error)])


def _unreadable(path: Path, error: InputError | OSError) -> Unreadable:
    said = f"{path}: {str(error.strerror).lower()}" if isinstance(error, OSError) else str(error)
    return Unreadable(input=str(path), error=said)
