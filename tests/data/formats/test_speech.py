"""Is speech read by word and speaker, and is its image that of Kaldi's features?"""

import math
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from reefl_edge.data.fbank import log_mel, resample, spectrogram_image
from reefl_edge.data.formats.speech import read_wav
from reefl_edge.data.reading import read_dataset
from reefl_edge.errors import InputError
from tests.data.published import write_wav


def noise(count: int, *, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(-0.3, 0.3, count).astype(np.float32)


def reference_frame(samples: NDArray[np.float32], band: int) -> float:
    """One band of one frame, number by number, as torchaudio's compliance.kaldi.fbank has it."""
    centred = [float(sample) for sample in samples]
    mean = sum(centred) / 400
    centred = [sample - mean for sample in centred]
    emphasised = [
        now - 0.97 * before for now, before in zip(centred, [centred[0], *centred], strict=False)
    ]
    windowed = [
        sample * (0.5 - 0.5 * math.cos(2 * math.pi * index / 399))
        for index, sample in enumerate(emphasised)
    ]

    def mel(frequency_hz: float) -> float:
        return 1127 * math.log(1 + frequency_hz / 700)

    width = (mel(8000) - mel(20)) / 129
    left = mel(20) + band * width
    energy = 0.0
    for bin_index in range(256):
        position = (mel(bin_index * 16000 / 512) - left) / width
        share = max(0.0, min(position, 2 - position))
        if share:
            turns = [2 * math.pi * bin_index * index / 512 for index in range(400)]
            real = sum(s * math.cos(t) for s, t in zip(windowed, turns, strict=True))
            imaginary = sum(s * math.sin(t) for s, t in zip(windowed, turns, strict=True))
            energy += share * (real**2 + imaginary**2)
    return math.log(max(energy, 2**-23))


@pytest.mark.parametrize(("frame", "band"), [(0, 40), (1, 90), (2, 127)])
def test_features_are_those_of_kaldi(frame: int, band: int) -> None:
    samples = noise(400 + 2 * 160)

    features = log_mel(samples)

    assert features.shape == (3, 128)
    expected = reference_frame(samples[160 * frame :][:400], band)
    assert features[frame, band] == pytest.approx(expected, abs=1e-4)


def test_image_gives_the_network_the_normalised_features_back() -> None:
    samples = noise(16_000)

    image = spectrogram_image(samples)

    assert image.shape == (128, 128, 3)
    read_by_network = (image[..., 0] / 255 - 0.5) * 3
    normalised = (log_mel(samples) + 4.2677393) / (2 * 4.5689974)
    assert np.abs(read_by_network[:98] - normalised).max() < 0.006
    assert np.abs(read_by_network[98:] - 4.2677393 / (2 * 4.5689974)).max() < 0.006
    assert np.array_equal(image[..., 0], image[..., 2])


def test_long_and_tiny_sounds_have_images_of_the_same_size() -> None:
    assert np.array_equal(
        spectrogram_image(noise(40_000))[0], spectrogram_image(noise(40_000)[:400])[0]
    )
    assert len(np.unique(spectrogram_image(noise(10)))) == 1


def test_resampling_keeps_a_tone() -> None:
    def tone(rate: int) -> NDArray[np.float32]:
        return np.sin(2 * np.pi * 440 * np.arange(rate) / rate).astype(np.float32)

    assert np.abs(resample(tone(8000), 8000) - tone(16_000)).max() < 1e-5
    assert np.abs(resample(tone(44_100), 44_100) - tone(16_000)).max() < 1e-5


@pytest.fixture
def commands(tmp_path: Path) -> Path:
    """Speech Commands in miniature: two words, three speakers."""
    for name in (
        "no/aa_nohash_0",
        "no/bb_nohash_0",
        "yes/aa_nohash_0",
        "yes/aa_nohash_1",
        "yes/cc_nohash_0",
    ):
        write_wav(tmp_path / f"{name}.wav", (noise(1600) * 2**15).astype(np.int16))
    write_wav(tmp_path / "_background_noise_" / "pink.wav", np.zeros(10, np.int16))
    (tmp_path / "validation_list.txt").write_text("yes/cc_nohash_0.wav\n")
    (tmp_path / "testing_list.txt").write_text("no/bb_nohash_0.wav\n")
    return tmp_path


def test_words_speakers_and_splits_are_read(commands: Path) -> None:
    names = ("yes", "no")
    whole = read_dataset(commands, image_size=32, class_names=names)
    train = read_dataset(Path(f"{commands}#train"), image_size=32, class_names=names)
    test = read_dataset(Path(f"{commands}#test"), image_size=32, class_names=names)

    assert whole.labels.tolist() == [1, 1, 0, 0, 0]
    assert train.groups is not None
    assert train.groups.tolist() == ["aa", "aa", "aa"]
    assert test.labels.tolist() == [1]
    assert train.images(np.array([0, 2])).shape == (2, 32, 32, 3)


def test_a_model_without_names_takes_the_words_in_their_order(commands: Path) -> None:
    assert read_dataset(commands, image_size=32, class_names=("0", "1")).class_names == (
        "no",
        "yes",
    )
    with pytest.raises(InputError, match=r"2 classes \('no', 'yes'\), the model 3, without names"):
        read_dataset(commands, image_size=32, class_names=("0", "1", "2"))


def test_other_files_beside_the_clips_are_counted(
    commands: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (commands / "yes" / "aa_nohash_0.wav").rename(commands / "yes" / "aa_nohash_0.WAV")
    (commands / "yes" / "notes.txt").write_text("")

    assert len(read_dataset(commands, image_size=32).labels) == 5
    assert [record.getMessage() for record in caplog.records] == [
        f"1 of 6 files in {commands} are no .wav files and were skipped: yes/notes.txt"
    ]


def test_a_list_that_is_no_text_is_read_as_far_as_it_goes(commands: Path) -> None:
    (commands / "testing_list.txt").write_bytes(b"\xff\xfe\n" + b"no/bb_nohash_0.wav\n")

    assert len(read_dataset(Path(f"{commands}#test"), image_size=32).labels) == 1


def test_unknown_splits_and_missing_lists_are_refused(commands: Path) -> None:
    with pytest.raises(InputError, match="no split 'dev', only train, validation, test"):
        read_dataset(Path(f"{commands}#dev"), image_size=32, class_names=("no", "yes"))
    (commands / "testing_list.txt").unlink()
    with pytest.raises(InputError, match=r"testing_list.txt is missing"):
        read_dataset(Path(f"{commands}#train"), image_size=32, class_names=("no", "yes"))


def test_damaged_and_foreign_sounds_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    write_wav(path, np.zeros(1000, np.int16))
    content = path.read_bytes()
    for damaged in (content[:-100], content[:20], b"no sound"):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"not a readable .wav file|cut short"):
            read_wav(path)
    write_wav(path, np.zeros(1000, np.int16), channels=2)
    with pytest.raises(InputError, match="this one has 2 of 16"):
        read_wav(path)


def edited(content: bytes, offset: int, form: str, value: int) -> bytes:
    """Return a .wav file with another number at a place."""
    changed = bytearray(content)
    struct.pack_into(form, changed, offset, value)
    return bytes(changed)


@pytest.mark.parametrize(
    ("offset", "form", "value", "message"),
    [
        (40, "<I", 2**32 - 2, "is cut short: 200 bytes of 2147483647 samples"),
        (4, "<I", 2**32 - 1, ""),  # the whole: nothing depends on it
        (4, "<I", 3, "not a readable .wav file"),
        (16, "<I", 2**32 - 1, "not a readable .wav file"),
        (16, "<I", 0, "not a readable .wav file"),
        (20, "<H", 3, "not a readable .wav file: unknown format: 3"),
        (22, "<H", 0, "not a readable .wav file: bad # of channels"),
        (24, "<I", 0, "from 4000 to 768000 samples per second, not 0"),
        (24, "<I", 2**32 - 1, "samples per second, not 4294967295"),
        (34, "<H", 0, "not a readable .wav file: bad sample width"),
        (34, "<H", 8, "this one has 1 of 8"),
        (34, "<H", 65535, "this one has 1 of 65536"),
    ],
)
def test_chunks_that_lie_are_refused(
    tmp_path: Path, offset: int, form: str, value: int, message: str
) -> None:
    path = tmp_path / "a.wav"
    write_wav(path, np.zeros(100, np.int16))
    path.write_bytes(edited(path.read_bytes(), offset, form, value))

    if message:
        with pytest.raises(InputError, match=message):
            read_wav(path)
    else:
        assert len(read_wav(path)) == 100


def test_a_sound_with_any_changed_byte_is_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    write_wav(path, np.zeros(30, np.int16))
    content = path.read_bytes()
    num_refused = 0
    for position in range(44):
        for value in (0, 1, 0x7F, 0xFF):
            path.write_bytes(edited(content, position, "<B", value))
            try:
                read_wav(path)
            except InputError:
                num_refused += 1
    assert num_refused > 44
