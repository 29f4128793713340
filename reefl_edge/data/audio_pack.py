"""How is a dataset of sounds read from an .npz file?

``audio``, int16: clips of equal length, (N, T), or one after the other, with ``offsets`` (N + 1,)
saying where each begins. ``labels``, integers, (N,); ``sample_rate``, a number of Hz. Optional:
``speaker``, integers, (N,). Splits are told by ``is_test``, booleans, (N,), or by the speakers:
``speaker_split`` gives for each an index into ``split_names``.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reefl_edge.data.base import Indices
from reefl_edge.data.fbank import Samples
from reefl_edge.data.speech import SpeechDataset, as_samples

Arrays = Mapping[str, NDArray[Any]]


def audio_dataset(
    arrays: Arrays, *, split: str | None, image_size: int, class_names: tuple[str, ...]
) -> SpeechDataset:
    """Make a dataset of the arrays of a file.

    Args:
        arrays: The arrays by name.
        split: Which split; None for all clips.
        image_size: Edge in pixels of the images given out.
        class_names: One name per class.

    Raises:
        ValueError: An array is missing or does not fit the others, or there is no such split.
    """
    missing = [name for name in ("labels", "sample_rate") if name not in arrays]
    if missing:
        raise ValueError(f"it has no array {missing[0]!r}, only {', '.join(sorted(arrays))}")
    labels, audio, rate = arrays["labels"], arrays["audio"], int(arrays["sample_rate"])
    if audio.dtype != np.int16 or not np.issubdtype(labels.dtype, np.integer) or rate < 1:
        raise ValueError(
            f"audio must be int16, labels integers and the rate positive, "
            f"got {audio.dtype}, {labels.dtype} and {rate}"
        )
    starts, ends = _spans(arrays, num_clips=len(labels))
    chosen = _indices(arrays, split, num_clips=len(labels))
    flat = audio.reshape(-1)

    def clip(index: int) -> Samples:
        position = chosen[index]
        return as_samples(flat[starts[position] : ends[position]], rate)

    return SpeechDataset(
        clip=clip,
        labels=labels[chosen].astype(np.int64),
        groups=arrays["speaker"][chosen] if "speaker" in arrays else None,
        class_names=class_names,
        image_size=image_size,
    )


def _spans(arrays: Arrays, *, num_clips: int) -> tuple[Indices, Indices]:
    """Return where each clip begins and ends in the flat audio, each (N,)."""
    audio = arrays["audio"]
    if "offsets" in arrays:
        offsets = arrays["offsets"].astype(np.int64)
    elif audio.ndim == 2:
        offsets = np.arange(len(audio) + 1, dtype=np.int64) * audio.shape[1]
    else:
        raise ValueError(f"audio must be (N, T), or have 'offsets', got {audio.shape}")
    is_ordered = bool((np.diff(offsets) >= 0).all())
    if offsets.shape != (num_clips + 1,) or offsets[0] < 0 or offsets[-1] > audio.size:
        raise ValueError(f"{num_clips} labels do not fit the clips of {audio.size} samples")
    if not is_ordered:
        raise ValueError("a clip ends before it begins")
    return offsets[:-1], offsets[1:]


def _indices(arrays: Arrays, split: str | None, *, num_clips: int) -> Indices:
    """Return which clips a split has."""
    splits = _splits(arrays, num_clips=num_clips)
    if split is not None and split not in splits:
        raise ValueError(f"there is no split {split!r}, only {', '.join(splits) or 'the whole'}")
    is_chosen = np.ones(num_clips, bool) if split is None else splits[split]
    if not is_chosen.any():
        raise ValueError("it holds no examples")
    return np.flatnonzero(is_chosen).astype(np.int64)


def _splits(arrays: Arrays, *, num_clips: int) -> dict[str, NDArray[np.bool_]]:
    """Return by split which clips are in it, each (N,)."""
    if "is_test" in arrays:
        is_test = arrays["is_test"].astype(bool)
        splits = {"train": ~is_test, "test": is_test}
    elif {"speaker", "speaker_split", "split_names"} <= arrays.keys():
        try:
            split_of = arrays["speaker_split"][arrays["speaker"]]
        except IndexError as error:
            raise ValueError(f"a speaker is in no split: {error}") from error
        splits = {str(name): split_of == index for index, name in enumerate(arrays["split_names"])}
    else:
        splits = {}
    if any(members.shape != (num_clips,) for members in splits.values()):
        raise ValueError(f"the splits are not of {num_clips} clips")
    return splits
