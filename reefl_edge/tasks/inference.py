"""What does a bundle say of many images, and which of them could not be read?

Workers read batches ahead of what is asked for, a few only, so that memory does not grow with the
number of images. Of many batches each worker also computes its own, on one thread: so every core is
busy all the time, which it is not while several share one batch.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from reefl_edge.adaptive import AdaptiveSession
from reefl_edge.answers import ImageAnswer, answers_to
from reefl_edge.runtimes.base import RuntimeName, default_threads
from reefl_edge.tasks.inputs import Image, Reading, Unreadable, files_in, is_array, readings_of

# How many batches each thread is to have before they are computed side by side: fewer are answered
# sooner, each by all threads, and while the last ones are computed threads have nothing to do.
_BATCHES_PER_THREAD = 16
# As many images as it takes until loading for many has paid.
_MANY = 32
# Batches that are worked on, or wait, for each worker.
_AHEAD = 2

OnFile = Callable[[int, int], None]
# Says what each image of a batch shows, uint8 (B, H, W, 3).
ClassifyImages = Callable[[NDArray[np.uint8]], Sequence[ImageAnswer]]
_Each = TypeVar("_Each")
_Given = TypeVar("_Given")
_Done = TypeVar("_Done")


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


@dataclass(frozen=True, slots=True)
class _Batch(Generic[_Each]):
    """Images, read and answered or to be, and how many files they and all before come from."""

    images: Sequence[_Each]
    num_files: int


def classify(
    session: AdaptiveSession,
    class_names: Sequence[str],
    inputs: Iterable[str | Path],
    *,
    batch_size: int = 1,
    workers: int | None = None,
    side_by_side: bool = False,
    on_file: OnFile = lambda *_: None,
) -> Iterator[Answer | Unreadable]:
    """Classify the images of files and folders, in order; what cannot be read is told, in between.

    Args:
        session: What classifies them.
        class_names: One name per class.
        inputs: Image files, folders of them, .npy and .npz files.
        batch_size: Images at once.
        workers: Threads that read; None for one per core that this process may use.
        side_by_side: Whether each worker also computes what it has read: only where the session's
            runtime is onnxruntime, and best where that has one thread.
        on_file: Called with the files that the answers have come to, and how many there are.

    Raises:
        InputError: The runtime fails.
        ValueError: ``batch_size`` is not positive.
    """
    yield from classify_files(
        session,
        class_names,
        files_in(inputs),
        batch_size=batch_size,
        workers=workers,
        side_by_side=side_by_side,
        on_file=on_file,
    )


def classify_files(
    session: AdaptiveSession,
    class_names: Sequence[str],
    files: Sequence[Path | Unreadable],
    *,
    batch_size: int = 1,
    workers: int | None = None,
    side_by_side: bool = False,
    on_file: OnFile = lambda *_: None,
) -> Iterator[Answer | Unreadable]:
    """Classify the images of files that ``files_in`` has found; see ``classify``."""
    yield from classify_files_by(
        partial(answers_to, session),
        class_names,
        files,
        image_size=session.submodel.architecture.image_size,
        batch_size=batch_size,
        workers=workers,
        side_by_side=side_by_side,
        on_file=on_file,
    )


def classify_files_by(
    classify_images: ClassifyImages,
    class_names: Sequence[str],
    files: Sequence[Path | Unreadable],
    *,
    image_size: int,
    batch_size: int,
    workers: int | None = None,
    side_by_side: bool = False,
    on_file: OnFile = lambda *_: None,
) -> Iterator[Answer | Unreadable]:
    """Classify the images of files by whatever answers a batch of them; see ``classify``."""
    if batch_size < 1:
        raise ValueError(f"a batch has at least one image, got {batch_size}")
    workers = workers or default_threads()

    def read(batch: _Batch[Reading]) -> _Batch[Image | Unreadable]:
        return _Batch([reading() for reading in batch.images], batch.num_files)

    def answer(batch: _Batch[Image | Unreadable]) -> _Batch[Answer | Unreadable]:
        return _Batch(_answers(classify_images, class_names, batch.images), batch.num_files)

    batches = _batches(files, image_size, batch_size)
    with _pool(workers) as pool:
        answered: Iterator[_Batch[Answer | Unreadable]]
        if side_by_side:
            answered = _in_turn(pool, lambda each: answer(read(each)), batches, _AHEAD * workers)
        else:
            answered = map(answer, _in_turn(pool, read, batches, _AHEAD * workers))
        for batch in answered:
            yield from batch.images
            on_file(batch.num_files, len(files))


def are_many(files: Sequence[Path | Unreadable]) -> bool:
    """Tell whether so many images may come that a slower load for quicker runs pays."""
    return len(files) >= _MANY or any(map(is_array, files))


def pays_side_by_side(
    runtime: RuntimeName, num_files: int, *, batch_size: int, threads: int
) -> bool:
    """Tell whether batches are best computed side by side, each on one thread.

    Args:
        runtime: What computes; only onnxruntime can be asked by several threads at a time.
        num_files: Files to classify.
        batch_size: Images at once.
        threads: Threads to compute with.
    """
    num_batches = -(-num_files // batch_size)
    return runtime == "onnx" and threads > 1 and num_batches >= _BATCHES_PER_THREAD * threads


def _batches(
    files: Sequence[Path | Unreadable], edge: int, batch_size: int
) -> Iterator[_Batch[Reading]]:
    batch: list[Reading] = []
    for num_files, file in enumerate(files, 1):
        for reading in readings_of(file, edge):
            batch.append(reading)
            if len(batch) == batch_size:
                yield _Batch(batch, num_files)
                batch = []
    if batch:
        yield _Batch(batch, len(files))


@contextmanager
def _pool(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Give workers, which after the block do no more than end what they are at."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="infer")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _in_turn(
    pool: ThreadPoolExecutor, work: Callable[[_Given], _Done], given: Iterable[_Given], ahead: int
) -> Iterator[_Done]:
    """Give what work makes of each thing given, in order, started on ``ahead`` of them."""
    waiting: deque[Future[_Done]] = deque()
    rest = iter(given)
    while True:
        waiting.extend(pool.submit(work, each) for each in islice(rest, ahead - len(waiting)))
        if not waiting:
            return
        yield waiting.popleft().result()


def _answers(
    classify_images: ClassifyImages, class_names: Sequence[str], batch: Sequence[Image | Unreadable]
) -> list[Answer | Unreadable]:
    """Answer what could be read of a batch; what could not stays where it stands."""
    images = [each for each in batch if not isinstance(each, Unreadable)]
    answers = iter(_predicted(classify_images, class_names, images) if images else ())
    return [each if isinstance(each, Unreadable) else next(answers) for each in batch]


def _predicted(
    classify_images: ClassifyImages, class_names: Sequence[str], batch: Sequence[Image]
) -> Iterator[Answer]:
    found = classify_images(np.concatenate([image for _, image in batch]))
    for (name, _), answer in zip(batch, found, strict=True):
        yield Answer(
            input=name,
            label=class_names[answer.class_index],
            confidence=answer.confidence,
            exit_index=answer.exit_index,
            latency_ms=answer.latency_ms,
        )
