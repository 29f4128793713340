"""How is spoken-word audio read: Speech Commands v2's folder, or a pack of clips in an .npz file?

Clips become images (see ``fbank.py``) batch by batch. In the folder, a sub-folder is a word, and a
file's name begins with its speaker: ``yes/0a7c2a8d_nohash_0.wav``. The splits are those of the
lists in the folder: what is in neither is for training.

Source: Speech Commands, Warden 2018.
"""

import struct
import wave
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reefl_edge.data.dataset import Groups, Images, Indices, Labels, check_groups, check_labels
from reefl_edge.data.fbank import Waveform, resample, spectrogram_image
from reefl_edge.data.formats.listing import list_files, visible_folders, warn_of_skipped
from reefl_edge.data.images import resize
from reefl_edge.errors import InputError
from reefl_edge.files import regular_file

_SUFFIXES = frozenset({".wav"})
SPLITS = ("train", "validation", "test")
_LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}
_BYTES_PER_SAMPLE = 2
# From telephones at half their rate to the fastest studio equipment.
_RATES_HZ = range(4_000, 768_001)
# What the standard library's reader lets through where a file's chunks lie.
_DAMAGED = (
    wave.Error, EOFError, LookupError, MemoryError, OverflowError, RuntimeError, ValueError,
    struct.error,
)  # fmt: skip


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

    clip: Callable[[int], Waveform]
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
    return any(list_files(each, _SUFFIXES)[0] for each in _word_folders(folder))


def read_speech(folder: Path, *, split: str | None, image_size: int) -> SpeechDataset:
    """Find the clips below ``folder``; the sub-folder's name is the word.

    Args:
        folder: The folder with one sub-folder per word; one whose name begins with an underscore
            (``_background_noise_``) is no word.
        split: One of ``SPLITS``; None for all clips.
        image_size: Edge in pixels of the images given out.

    Raises:
        InputError: A list is missing, or no clip is left.
    """
    is_wanted = _membership(folder, split)
    word_folders = _word_folders(folder)
    clips: list[Path] = []
    labels: list[int] = []
    skipped: list[Path] = []
    for label, word_folder in enumerate(word_folders):
        found, others = list_files(word_folder, _SUFFIXES)
        wanted = [path for path in found if is_wanted(path)]
        clips += wanted
        labels += [label] * len(wanted)
        skipped += others
    warn_of_skipped(folder, skipped, num_read=len(clips), kind=".wav files")
    if not clips:
        raise InputError(f"{folder} has no clips{f' in its split {split!r}' if split else ''}")
    return SpeechDataset(
        clip=lambda index: read_wav(clips[index]),
        labels=np.array(labels, np.int64),
        groups=np.array([path.name.partition("_")[0] for path in clips]),
        class_names=tuple(path.name for path in word_folders),
        image_size=image_size,
    )


def read_wav(path: Path) -> Waveform:
    """Read a .wav file of one channel of 16-bit samples, as 16 kHz, between -1 and 1, (T,).

    Raises:
        InputError: The file is missing, damaged or of another kind.
    """
    size_bytes = regular_file(path).stat().st_size
    try:
        with wave.open(str(path), "rb") as file:
            count, rate = file.getnframes(), file.getframerate()
            kind = file.getnchannels(), file.getsampwidth()
            # No more is taken into memory than the file can hold, whatever its chunks declare.
            content = file.readframes(min(count, size_bytes))
    except _DAMAGED as error:
        raise InputError(f"{path}: not a readable .wav file: {error}") from error
    if kind != (1, _BYTES_PER_SAMPLE):
        raise InputError(
            f"{path}: clips have one channel of 16 bits, this one has {kind[0]} of {8 * kind[1]}"
        )
    if len(content) != count * _BYTES_PER_SAMPLE:
        raise InputError(f"{path} is cut short: {len(content)} bytes of {count} samples")
    try:
        return as_waveform(np.frombuffer(content, "<i2"), check_rate(rate))
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def check_rate(sample_rate_hz: int) -> int:
    """Return a sample rate that sounds have.

    Raises:
        ValueError: It is none.
    """
    if sample_rate_hz not in _RATES_HZ:
        raise ValueError(
            f"sounds have from {_RATES_HZ[0]} to {_RATES_HZ[-1]} samples per second, "
            f"not {sample_rate_hz}"
        )
    return sample_rate_hz


def as_waveform(audio: NDArray[np.int16], sample_rate_hz: int) -> Waveform:
    """Bring 16-bit samples (T,) to 16 kHz, between -1 and 1."""
    return resample(audio.astype(np.float32) / np.float32(2**15), sample_rate_hz)


def _word_folders(folder: Path) -> list[Path]:
    return [path for path in visible_folders(folder) if not path.name.startswith("_")]


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
    if not path.exists():
        raise InputError(f"{path} is missing: it says which clips are in which split")
    text = regular_file(path).read_text(encoding="utf-8", errors="replace")
    return frozenset(text.split())
