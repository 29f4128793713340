"""What does a second of speech look like as an image?

The log energies of 128 mel bands (Kaldi's *fbank*) over time, one row of the image per frame of
25 ms, brought to 8 bits: everything that is deployed takes 8-bit images.

The paper's network reads ``(x + 4.2677393) / (2 * 4.5689974)`` of a log energy ``x``. Here that
value, from -1.5 to 1.5, becomes 0 to 255. No silence is below -1.28 (the log of the smallest
energy) and hardly a sound above 1.5, so that what is lost is the rounding, at most 0.006. An
architecture with mean 0.5 and standard deviation 1/3 gives its network the paper's values back.

Letters: T samples, F frames.
Source: torchaudio's compliance.kaldi.fbank with htk_compat, a Hann window, no energy, no dither;
royson/reefl 61b18c1 for its arguments and the normalisation, which is that of AST, Gong et al.
2021.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

Waveform = NDArray[np.float32]

SAMPLE_RATE_HZ = 16_000
NUM_BANDS = 128
NUM_FRAMES = 128

# Of log energies of audio between -1 and 1; see above.
_LOG_ENERGY_MEAN = -4.2677393
_LOG_ENERGY_SCALE = 2 * 4.5689974
_LIMIT = 1.5

_FRAME_SAMPLES = 400  # 25 ms
_SHIFT_SAMPLES = 160  # 10 ms
_FFT_SAMPLES = 512
_PREEMPHASIS = 0.97
_LOWEST_HZ = 20.0
_SMALLEST_ENERGY = float(np.finfo(np.float32).eps)


def spectrogram_image(samples: Waveform) -> NDArray[np.uint8]:
    """Return the image of a sound, 8-bit, grey in three channels, (128, 128, 3).

    A longer sound is cut; below a shorter one the image goes on as the released code has it, at a
    log energy of 0.

    Args:
        samples: Mono, 16 kHz, between -1 and 1, (T,).
    """
    energies = np.zeros((NUM_FRAMES, NUM_BANDS))
    frames = log_mel(samples)[:NUM_FRAMES]
    energies[: len(frames)] = frames
    normalised = (energies - _LOG_ENERGY_MEAN) / _LOG_ENERGY_SCALE
    levels = (normalised + _LIMIT) / (2 * _LIMIT) * 255
    grey = np.round(levels.clip(0, 255)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)


def log_mel(samples: Waveform) -> NDArray[np.float64]:
    """Return the log energy of every mel band in every whole frame, (F, 128).

    Args:
        samples: Mono, 16 kHz, between -1 and 1, (T,).
    """
    if len(samples) < _FRAME_SAMPLES:
        return np.zeros((0, NUM_BANDS))
    frames = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), _FRAME_SAMPLES)
    frames = frames[::_SHIFT_SAMPLES]
    frames = frames - frames.mean(1, keepdims=True)
    before = np.concatenate([frames[:, :1], frames[:, :-1]], 1)  # the first sample precedes itself
    windowed = (frames - _PREEMPHASIS * before) * np.hanning(_FRAME_SAMPLES)
    power = np.abs(np.fft.rfft(windowed, _FFT_SAMPLES)) ** 2  # (F, 257)
    energies: NDArray[np.float64] = np.log(np.maximum(power @ _mel_bands(), _SMALLEST_ENERGY))
    return energies


def resample(samples: Waveform, sample_rate_hz: int) -> Waveform:
    """Bring a sound (T,) to 16 kHz, keeping every frequency that both rates have."""
    if sample_rate_hz == SAMPLE_RATE_HZ or not len(samples):
        return samples
    count = round(len(samples) * SAMPLE_RATE_HZ / sample_rate_hz)
    spectrum = np.fft.rfft(samples)[: count // 2 + 1]
    resampled = np.fft.irfft(spectrum, count) * (count / len(samples)) if count else samples[:0]
    return resampled.astype(np.float32)


@cache
def _mel_bands() -> NDArray[np.float64]:
    """Return the share of every frequency in every band: triangles on the mel scale, (257, 128)."""
    edges = np.linspace(_mel(_LOWEST_HZ), _mel(SAMPLE_RATE_HZ / 2), NUM_BANDS + 2)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    frequencies = np.linspace(0, SAMPLE_RATE_HZ / 2, _FFT_SAMPLES // 2 + 1, dtype=np.float64)
    mel = _mel(frequencies)[:, None]
    bands = np.minimum((mel - left) / (centre - left), (right - mel) / (right - centre))
    bands[-1] = 0  # half the sample rate itself is not counted
    return np.maximum(bands, 0)


def _mel(frequency_hz: float | NDArray[np.float64]) -> NDArray[np.float64]:
    mel: NDArray[np.float64] = 1127 * np.log1p(np.asarray(frequency_hz) / 700)
    return mel
