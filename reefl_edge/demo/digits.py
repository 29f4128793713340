"""Where does the demo's real handwriting come from?

scikit-learn ships 1,797 scanned digits of 43 writers, 8 x 8 pixels with 17 grey levels.
Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reefl_edge.data.dataset import ArrayDataset
from reefl_edge.data.images import as_rgb
from reefl_edge.extras import needs_extra
from reefl_edge.files import replacing_file


@dataclass(frozen=True, slots=True, kw_only=True)
class DigitsSplit:
    """The four parts of the digits; no example is in two of them.

    Attributes:
        public: For pretraining, before any client exists.
        private: To be split among clients.
        validation: For choosing thresholds.
        test: For the figures at the end, and nothing else.
    """

    public: ArrayDataset
    private: ArrayDataset
    validation: ArrayDataset
    test: ArrayDataset


def load_digits(*, image_size: int) -> ArrayDataset:
    """Load all digits as 8-bit RGB.

    Raises:
        MissingToolchainError: scikit-learn is not installed.
    """
    with needs_extra("the demo", "scikit-learn", "demo"):
        from sklearn.datasets import load_digits as load
    digits = load()
    grey = np.round(digits.images * (255 / 16)).astype(np.uint8)
    names = tuple(str(name) for name in digits.target_names)
    return ArrayDataset(as_rgb(grey), digits.target.astype(np.int64), names, image_size)


def split_digits(digits: ArrayDataset, *, seed: int) -> DigitsSplit:
    """Shuffle and split: half public, a quarter test, the rest private and validation."""
    order = np.random.default_rng(seed).permutation(len(digits.labels))
    public, private, validation, test = np.split(order, np.cumsum([900, 300, 197]))
    return DigitsSplit(
        public=digits.subset(public),
        private=digits.subset(private),
        validation=digits.subset(validation),
        test=digits.subset(test),
    )


def save_digits(digits: ArrayDataset, path: Path) -> None:
    """Save digits as the commands read them, an .npz file, whole or not at all."""
    with replacing_file(path) as partial, partial.open("wb") as file:
        np.savez_compressed(
            file, images=digits.pixels, labels=digits.labels, class_names=digits.class_names
        )
