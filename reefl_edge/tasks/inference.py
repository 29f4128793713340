"""What does a bundle say of many images, and which of them could not be read?

Files are read ahead of what is computed (``read_ahead.py``), so that neither waits for the other
and memory does not grow with their number. Many batches are computed side by side, each on one
thread: so every core is busy all the time, which it is not while several share one batch.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from reefl_edge.adaptive import AdaptiveSession
from reefl_edge.runtimes.base import RuntimeName
from reefl_edge.tasks.read_ahead import Image, OnFile, ReadAhead, Unreadable

# How many batches each thread is to have before they are computed side by side: fewer are answered
# sooner, each by all threads, and while the last ones are computed threads have nothing to do.
_BATCHES_PER_THREAD = 16


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


def classify(
    session: AdaptiveSession,
    class_names: Sequence[str],
    inputs: Iterable[str | Path],
    *,
    batch_size: int = 1,
    readers: int | None = None,
    side_by_side: int = 1,
    on_file: OnFile = lambda *_: None,
) -> Iterator[Answer | Unreadable]:
    """Classify the images of files and folders, in order; what cannot be read is told, in between.

    Args:
        session: What classifies them.
        class_names: One name per class.
        inputs: Image files, folders of them, .npy and .npz files.
        batch_size: Images at once.
        readers: Threads that decode; None for one per core that this process may use.
        side_by_side: Batches that are computed at a time; more than one only where the session's
            runtime is onnxruntime, best opened with one thread.
        on_file: Called with the files that were read, and how many there are.

    Raises:
        InputError: The runtime fails.
        ValueError: ``batch_size`` is not positive.
    """
    edge = session.submodel.architecture.image_size
    with ReadAhead(inputs, image_size=edge, readers=readers) as reading:
        yield from classify_read(
            session,
            class_names,
            reading.images(on_file),
            batch_size=batch_size,
            side_by_side=side_by_side,
        )


def classify_read(
    session: AdaptiveSession,
    class_names: Sequence[str],
    images: Iterable[Image | Unreadable],
    *,
    batch_size: int = 1,
    side_by_side: int = 1,
) -> Iterator[Answer | Unreadable]:
    """Classify images that ``ReadAhead`` gives; see ``classify``."""
    if batch_size < 1:
        raise ValueError(f"a batch has at least one image, got {batch_size}")
    answers = partial(_answers, session, class_names)
    if side_by_side == 1:
        for batch in _batches(images, batch_size):
            yield from [batch] if isinstance(batch, Unreadable) else answers(batch)
        return
    pool = ThreadPoolExecutor(side_by_side, thread_name_prefix="computing")
    waiting: deque[Callable[[], Sequence[Answer | Unreadable]]] = deque()
    try:
        for batch in _batches(images, batch_size):
            if isinstance(batch, Unreadable):
                waiting.append(partial(list, [batch]))
            else:
                waiting.append(pool.submit(answers, batch).result)
            if len(waiting) == 2 * side_by_side:
                yield from waiting.popleft()()
        while waiting:
            yield from waiting.popleft()()
    finally:
        pool.shutdown(cancel_futures=True)


def batches_at_once(runtime: RuntimeName, num_files: int, *, batch_size: int, threads: int) -> int:
    """Return how many batches are best computed side by side, sharing the threads among them.

    Args:
        runtime: What computes; only onnxruntime can be asked by several threads at a time.
        num_files: Files to classify.
        batch_size: Images at once.
        threads: Threads to compute with.
    """
    num_batches = -(-num_files // batch_size)
    is_worth_it = runtime == "onnx" and num_batches >= _BATCHES_PER_THREAD * threads
    return threads if is_worth_it else 1


def _batches(
    images: Iterable[Image | Unreadable], batch_size: int
) -> Iterator[list[Image] | Unreadable]:
    """Give images in batches, and what could not be read as soon as it is met."""
    batch: list[Image] = []
    for read in images:
        if isinstance(read, Unreadable):
            yield read
            continue
        batch.append(read)
        if len(batch) == batch_size:
            yield batch
            batch = []
    if batch:
        yield batch


def _answers(
    session: AdaptiveSession, class_names: Sequence[str], batch: Sequence[Image]
) -> list[Answer]:
    images = np.concatenate([image for _, image in batch])
    start = time.perf_counter()
    prediction = session.predict(images)
    latency_ms = (time.perf_counter() - start) * 1e3 / len(batch)
    found = zip(prediction.labels, prediction.confidences, prediction.exit_indices, strict=True)
    return [
        Answer(
            input=name,
            label=class_names[label],
            confidence=float(confidence),
            exit_index=int(exit_index),
            latency_ms=latency_ms,
        )
        for (name, _), (label, confidence, exit_index) in zip(batch, found, strict=True)
    ]
