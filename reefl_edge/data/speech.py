"""How is spoken-word audio read: Speech Commands v2's folder, or a pack of clips in an .npz file?

Clips become images (see ``fbank.py``) batch by batch. In the folder, a sub-folder is a word, and a
file's name begins with its speaker: ``yes/0a7c2a8d_nohash_0.wav``. The splits are those of the
lists in the folder: what is in neither is for training.

Source: Speech Commands, Warden 2018.
"""

import wave
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reefl_edge.data.base import Groups, Images, Indices, Labels, check_groups, check_labels
from reefl_edge.data.fbank import Samples, resample, spectrogram_image
from reefl_edge.data.folder import classes_of
from reefl_edge.data.images import resize
from reefl_edge.errors import InputError

SPLITS = ("train", "validation", "test")
_LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}
_BYTES_PER_SAMPLE = 2


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SpeechDataset:
    """Labelled clips, turned into images batch by batch.

    Attributes:
        clip: Gives a clip by its index: mono, 16 kHz, between -1 and 1, (T,).
        labels: The word of every clip, (N,).
        groups: The speaker of every clip, (N,).
        class_names: One name per word.
        image_size: Edge in pixels of the images given out.
    """

    clip: Callable[[int], Samples]
    labels: Labels
    groups: Groups | None
    class_names: tuple[str, ...]
    image_size: int

    def __post_init__(self) -> None:
        check_labels(self.labels, num_classes=len(self.class_names))
        check_groups(self.groups, num_examples=len(self.labels))

    def images(self, indices: Indices) -> Images:
        """Return the images at ``indices``, (B, image_size, image_size, 3)."""
        return resize(np.stack(self.originals(indices)), self.image_size)

    def originals(self, indices: Indices) -> Sequence[Images]:
        """Return the images at ``indices``, each (128, 128, 3)."""
        return [spectrogram_image(self.clip(int(index))) for index in indices]


def is_speech(folder: Path) -> bool:
    """Say whether a folder has sub-folders of .wav files."""
    return any(folder.glob("*/*.wav"))


def read_speech(
    folder: Path, *, split: str | None, image_size: int, class_names: tuple[str, ...]
) -> SpeechDataset:
    """Find the clips below ``folder``; the sub-folder's name is the word.

    Args:
        folder: The folder with one sub-folder per word; one whose name begins with an underscore
            (``_background_noise_``) is no word.
        split: One of ``SPLITS``; None for all clips.
        image_size: Edge in pixels of the images given out.
        class_names: The model's class names; every sub-folder must be one of them.

    Raises:
        InputError: A sub-folder names no class, a list is missing, or no clip is left.
    """
    word_folders = [
        path
        for path in sorted(folder.iterdir())
        if path.is_dir() and not path.name.startswith(("_", "."))
    ]
    class_names = classes_of(word_folders, class_names)
    is_wanted = _membership(folder, split)
    paths = [
        path for word in word_folders for path in sorted(word.glob("*.wav")) if is_wanted(path)
    ]
    if not paths:
        raise InputError(f"{folder} has no clips{f' in its split {split!r}' if split else ''}")
    return SpeechDataset(
        clip=lambda index: read_wav(paths[index]),
        labels=np.array([class_names.index(path.parent.name) for path in paths], np.int64),
        groups=np.array([path.name.partition("_")[0] for path in paths]),
        class_names=class_names,
        image_size=image_size,
    )


def read_wav(path: Path) -> Samples:
    """Read a .wav file of one channel of 16-bit samples, as 16 kHz, between -1 and 1, (T,).

    Raises:
        InputError: The file is damaged or of another kind.
    """
    try:
        with wave.open(str(path), "rb") as file:
            if (file.getnchannels(), file.getsampwidth()) != (1, _BYTES_PER_SAMPLE):
                raise InputError(
                    f"{path}: clips have one channel of 16 bits, this one has "
                    f"{file.getnchannels()} of {8 * file.getsampwidth()}"
                )
            content, expected = file.readframes(file.getnframes()), file.getnframes()
            rate = file.getframerate()
    except (wave.Error, EOFError) as error:
        raise InputError(f"{path}: not a readable .wav file: {error}") from error
    if len(content) != expected * _BYTES_PER_SAMPLE:
        raise InputError(f"{path} is cut short: {len(content)} bytes of {expected} samples")
    return as_samples(np.frombuffer(content, "<i2"), rate)


def as_samples(audio: NDArray[np.int16], sample_rate_hz: int) -> Samples:
    """Bring 16-bit samples (T,) to 16 kHz, between -1 and 1."""
    return resample(audio.astype(np.float32) / np.float32(2**15), sample_rate_hz)


def _membership(folder: Path, split: str | None) -> Callable[[Path], bool]:
    """Return the rule that says whether a clip is in the split."""
    if split is None:
        return lambda _: True
    if split not in SPLITS:
        raise InputError(f"{folder} has no split {split!r}, only {', '.join(SPLITS)}")
    listed = {name: _listed(folder / file) for name, file in _LISTS.items()}
    if split == "train":
        elsewhere = listed["validation"] | listed["test"]
        return lambda path: f"{path.parent.name}/{path.name}" not in elsewhere
    return lambda path: f"{path.parent.name}/{path.name}" in listed[split]


def _listed(path: Path) -> frozenset[str]:
    if not path.is_file():
        raise InputError(f"{path} is missing: it says which clips are in which split")
    return frozenset(path.read_text(encoding="utf-8", errors="replace").split())
