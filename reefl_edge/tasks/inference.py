"""What does a bundle say of many images, and which of them could not be read?

Files are decoded and brought to size side by side, a few of them ahead of what is computed, so that
neither waits for the other and memory does not grow with their number.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reefl_edge.adaptive import AdaptiveSession
from reefl_edge.data.formats.arrays import read_images
from reefl_edge.data.formats.folder import images_in
from reefl_edge.data.images import read_image, resize
from reefl_edge.errors import InputError
from reefl_edge.runtimes.base import default_threads

# Files that are read, or wait, for each thread that reads.
_AHEAD = 2

OnFile = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a bundle says of one image.

    Attributes:
        input: The file; of an array in a file, with its index.
        label: The name of the class.
        confidence: Its probability.
        exit_index: Where it stopped, 0-based.
        latency_ms: How long its batch took, for each image of it.
    """

    input: str
    label: str
    confidence: float
    exit_index: int
    latency_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """An input that could not be read, and why."""

    input: str
    error: str


Image = tuple[str, NDArray[np.uint8]]


def classify(
    session: AdaptiveSession,
    class_names: Sequence[str],
    inputs: Iterable[str | Path],
    *,
    batch_size: int = 1,
    readers: int | None = None,
    on_file: OnFile = lambda *_: None,
) -> Iterator[Answer | Unreadable]:
    """Classify the images of files and folders, in order; what cannot be read is told, in between.

    Args:
        session: What classifies them.
        class_names: One name per class.
        inputs: Image files, folders of them, .npy and .npz files.
        batch_size: Images at once.
        readers: Threads that decode; None for one per core that this process may use.
        on_file: Called with the files that were read, and how many there are.

    Raises:
        InputError: The runtime fails.
        ValueError: ``batch_size`` is not positive.
    """
    if batch_size < 1:
        raise ValueError(f"a batch has at least one image, got {batch_size}")
    batch: list[Image] = []
    for read in _read_ahead(inputs, session, readers or default_threads(), on_file):
        if isinstance(read, Unreadable):
            yield read
            continue
        batch.append(read)
        if len(batch) == batch_size:
            yield from _answers(session, class_names, batch)
            batch = []
    if batch:
        yield from _answers(session, class_names, batch)


def _answers(
    session: AdaptiveSession, class_names: Sequence[str], batch: Sequence[Image]
) -> Iterator[Answer]:
    images = np.concatenate([image for _, image in batch])
    start = time.perf_counter()
    prediction = session.predict(images)
    latency_ms = (time.perf_counter() - start) * 1e3 / len(batch)
    found = zip(prediction.labels, prediction.confidences, prediction.exit_indices, strict=True)
    for (name, _), (label, confidence, exit_index) in zip(batch, found, strict=True):
        yield Answer(
            input=name,
            label=class_names[label],
            confidence=float(confidence),
            exit_index=int(exit_index),
            latency_ms=latency_ms,
        )


def _read_ahead(
    inputs: Iterable[str | Path], session: AdaptiveSession, readers: int, on_file: OnFile
) -> Iterator[Image | Unreadable]:
    """Give every image, (1, edge, edge, 3), and what could not be read, in order."""
    edge = session.submodel.architecture.image_size
    files = [found for given in inputs for found in _files(Path(given))]
    waiting: deque[Future[Iterator[Image | Unreadable]]] = deque()
    pool = ThreadPoolExecutor(readers, thread_name_prefix="reading")
    try:
        for index in range(len(files)):
            while len(waiting) < _AHEAD * readers and index + len(waiting) < len(files):
                waiting.append(pool.submit(_read, files[index + len(waiting)], edge))
            yield from waiting.popleft().result()
            on_file(index + 1, len(files))
    finally:
        pool.shutdown(cancel_futures=True)


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
