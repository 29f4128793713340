"""How is a dataset of sounds read from an .npz file?

``audio``, int16: clips of equal length, (N, T), or one after the other, with ``offsets`` (N + 1,)
saying where each begins. ``labels``, integers, (N,); ``sample_rate``, a number of Hz. Optional:
``speaker``, integers, (N,). Splits are told by ``is_test``, booleans, (N,), or by the speakers:
``speaker_split`` gives for each an index into ``split_names``.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from reefl_edge.array_files.npz import Array, as_texts
from reefl_edge.data.dataset import Indices, as_labels
from reefl_edge.data.fbank import Waveform
from reefl_edge.data.formats.speech import SpeechDataset, as_waveform, check_rate

Arrays = Mapping[str, Array]


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
    labels, audio = as_labels(arrays["labels"]), arrays["audio"]
    if audio.dtype != np.int16:
        raise ValueError(f"audio must be int16, got {audio.dtype}")
    rate = _rate(arrays["sample_rate"])
    starts, ends = _spans(arrays, num_clips=len(labels))
    chosen = _indices(arrays, split, num_clips=len(labels))
    flat = audio.reshape(-1)

    def clip(index: int) -> Waveform:
        position = chosen[index]
        return as_waveform(flat[starts[position] : ends[position]], rate)

    speakers = _speakers(arrays, num_clips=len(labels)) if "speaker" in arrays else None
    return SpeechDataset(
        clip=clip,
        labels=labels[chosen],
        groups=None if speakers is None else speakers[chosen],
        class_names=class_names,
        image_size=image_size,
    )


def _rate(array: Array) -> int:
    """Return the sample rate in Hz, which other tools also write as one of an array, or a float."""
    if array.size != 1 or array.dtype.kind not in "iuf" or not float(array.item()).is_integer():
        raise ValueError(
            f"sample_rate must be a whole number of Hz, got {array.dtype} {array.shape}"
        )
    return check_rate(int(array.item()))


def _spans(arrays: Arrays, *, num_clips: int) -> tuple[Indices, Indices]:
    """Return where each clip begins and ends in the flat audio, each (N,)."""
    audio = arrays["audio"]
    if "offsets" in arrays:
        offsets = _integers(arrays, "offsets")
    elif audio.ndim == 2:
        offsets = np.arange(len(audio) + 1, dtype=np.int64) * audio.shape[1]
    else:
        raise ValueError(f"audio must be (N, T), or have 'offsets', got {audio.shape}")
    if offsets.shape != (num_clips + 1,) or offsets[0] < 0 or offsets[-1] > audio.size:
        raise ValueError(f"{num_clips} labels do not fit the clips of {audio.size} samples")
    if not bool((np.diff(offsets) >= 0).all()):
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
        is_test = arrays["is_test"]
        if is_test.dtype != bool or is_test.shape != (num_clips,):
            raise ValueError(
                f"is_test must be booleans of {num_clips} clips, "
                f"got {is_test.dtype} {is_test.shape}"
            )
        return {"train": ~is_test, "test": is_test}
    if not {"speaker", "speaker_split", "split_names"} <= arrays.keys():
        return {}
    speakers = _speakers(arrays, num_clips=num_clips)
    split_of_speaker = _integers(arrays, "speaker_split")
    if not 0 <= speakers.min() <= speakers.max() < len(split_of_speaker):
        raise ValueError(
            f"a speaker is in no split: they run from {speakers.min()} to {speakers.max()}, "
            f"speaker_split is of {len(split_of_speaker)}"
        )
    names = as_texts(arrays["split_names"], "split_names")
    return {name: split_of_speaker[speakers] == index for index, name in enumerate(names)}


def _speakers(arrays: Arrays, *, num_clips: int) -> Indices:
    return _integers(arrays, "speaker", count=num_clips)


def _integers(arrays: Arrays, name: str, *, count: int | None = None) -> Indices:
    """Return an array of so many integers as int64.

    Raises:
        ValueError: It is of another shape or type.
    """
    array = arrays[name]
    expected = array.size if count is None else count
    if array.shape != (expected,) or array.dtype.kind not in "iu":
        raise ValueError(f"{name} must be {expected} integers, got {array.dtype} {array.shape}")
    return array.astype(np.int64)
