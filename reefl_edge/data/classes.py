"""Which of the model's classes is each class of a dataset?

Names count, where both sides have them: a label is the index of a name, and means nothing in
another order. A model *without names* calls its classes by their numbers.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reefl_edge.data.dataset import Dataset, Groups, Images, Indices, Labels
from reefl_edge.names import numbered_names

_MOST_NAMED = 5


@dataclass(frozen=True, slots=True, eq=False)
class Relabelled:
    """A dataset under other labels; the images stay where they are.

    Attributes:
        whole: The dataset.
        labels: The class of every example, (N,).
        class_names: One name per class.
    """

    whole: Dataset
    labels: Labels
    class_names: tuple[str, ...]

    @property
    def groups(self) -> Groups | None:
        """Who made every example, (N,), if known."""
        return self.whole.groups

    @property
    def image_size(self) -> int:
        """Edge in pixels of the images given out."""
        return self.whole.image_size

    def images(self, indices: Indices) -> Images:
        """Return the images at ``indices``, (B, image_size, image_size, 3)."""
        return self.whole.images(indices)

    def originals(self, indices: Indices) -> Sequence[Images]:
        """Return the images at ``indices`` as they are stored, each (H, W, 3)."""
        return self.whole.originals(indices)


def in_model_order(dataset: Dataset, class_names: tuple[str, ...]) -> Dataset:
    """Return a dataset with the model's class names, and labels in their order.

    A model without names takes the data's, in the data's order, if there are as many.

    Args:
        dataset: A dataset with class names of its own, in an order of its own.
        class_names: The model's, in the order of its logits.

    Raises:
        ValueError: A name comes twice, or is none of the model's.
    """
    own = dataset.class_names
    if own == class_names:
        return dataset
    _refuse_repeated(own, "its")
    index_of = {name: index for index, name in enumerate(class_names)}
    unknown = [name for name in own if name not in index_of]
    if unknown and class_names == numbered_names(len(class_names)):
        if len(own) != len(class_names):
            raise ValueError(
                f"it has {len(own)} classes ({_listed(own)}), "
                f"the model {len(class_names)}, without names"
            )
        return dataset
    if unknown:
        raise ValueError(
            f"the model has no class called {_listed(unknown)}, only {_listed(class_names)}"
        )
    _refuse_repeated(class_names, "the model's")
    indices = np.array([index_of[name] for name in own], np.int64)
    return Relabelled(dataset, indices[dataset.labels], class_names)


def _refuse_repeated(names: Sequence[str], whose: str) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise ValueError(f"several of {whose} classes are called {_listed(repeated)}")


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_MOST_NAMED])
    more = len(names) - _MOST_NAMED
    return f"{shown} and {more} more" if more > 0 else shown
