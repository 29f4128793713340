"""Which labelled examples is a model trained, or measured, on?"""

from pathlib import Path

from reefl_edge.data.dataset import Dataset
from reefl_edge.data.reading import read_dataset
from reefl_edge.errors import InputError
from reefl_edge.finetune.batches import check_dataset
from reefl_edge.tasks.models import Model


def read_examples(path: str | Path, model: Model, *, like: Dataset | None = None) -> Dataset:
    """Read labelled examples for a model: of its size, labels in the order of its classes.

    Args:
        path: As ``read_dataset`` takes it; a split may follow its name after ``#``.
        model: The model.
        like: What the model is trained on: a model without class names takes those, and is to be
            measured by them.

    Raises:
        InputError: The path is missing or damaged, or its classes are not the model's.
    """
    dataset = read_dataset(
        Path(path),
        image_size=model.image_size,
        class_names=model.class_names if like is None else like.class_names,
    )
    try:
        check_dataset(dataset, model.checkpoint.submodel.architecture)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error
    return dataset
