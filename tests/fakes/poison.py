"""Updates that were honest until something was done to them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.checkpoints.update import Update
from tests.fakes.updates import filled_arrays

Array = NDArray[Any]
Poison = Callable[[Update, np.random.Generator], Update]


def _with(
    update: Update, generator: np.random.Generator, change: Callable[[Array], Array]
) -> Update:
    """Return the update with one of its arrays, drawn at random, changed."""
    name = str(generator.choice(list(update.arrays)))
    return replace(update, arrays=update.arrays | {name: change(update.arrays[name])})


def _with_element(value: float) -> Poison:
    def poison(update: Update, generator: np.random.Generator) -> Update:
        def change(array: Array) -> Array:
            changed = array.copy()
            changed.flat[generator.integers(array.size)] = value
            return changed

        return _with(update, generator, change)

    return poison


def _without_array(update: Update, generator: np.random.Generator) -> Update:
    gone = str(generator.choice(list(update.arrays)))
    return replace(update, arrays={n: a for n, a in update.arrays.items() if n != gone})


def _with_unknown_array(update: Update, generator: np.random.Generator) -> Update:
    name = f"blocks.{generator.integers(100, 999)}.attn.lora_q.a"
    return replace(update, arrays=update.arrays | {name: np.zeros(3, np.float32)})


def _renamed(update: Update, generator: np.random.Generator) -> Update:
    gone = str(generator.choice(list(update.arrays)))
    arrays: Arrays = {(f"{n}_" if n == gone else n): a for n, a in update.arrays.items()}
    return replace(update, arrays=arrays)


def _cut_short(update: Update, generator: np.random.Generator) -> Update:
    return _with(update, generator, lambda array: array[:-1])


def _with_axis(update: Update, generator: np.random.Generator) -> Update:
    return _with(update, generator, lambda array: array[None])


def _flattened(update: Update, generator: np.random.Generator) -> Update:
    wide = {name: array for name, array in update.arrays.items() if array.ndim > 1}
    name = str(generator.choice(list(wide)))
    return replace(update, arrays=update.arrays | {name: wide[name].ravel()})


def _as_float64(update: Update, generator: np.random.Generator) -> Update:
    return _with(update, generator, lambda array: array.astype(np.float64))


def _with_base(update: Update, generator: np.random.Generator) -> Update:
    base = generator.bytes(32).hex()
    return replace(update, provenance=replace(update.provenance, base_sha256=base))


def _with_round(update: Update, generator: np.random.Generator) -> Update:
    other = update.provenance.server_round + int(generator.choice([-2, -1, 1, 2, 100]))
    return replace(update, provenance=replace(update.provenance, server_round=other))


def _with_too_many_examples(update: Update, generator: np.random.Generator) -> Update:
    count = int(10 ** generator.uniform(5, 12))
    return replace(update, provenance=replace(update.provenance, num_examples=count))


def _with_too_few_examples(update: Update, generator: np.random.Generator) -> Update:
    count = -int(generator.integers(0, 50))
    return replace(update, provenance=replace(update.provenance, num_examples=count))


def _of_another_regime(update: Update, _: np.random.Generator) -> Update:
    submodel = update.submodel.with_regime("frozen")
    arrays = {spec.name: update.arrays[spec.name] for spec in submodel.trained_arrays()}
    return replace(update, submodel=submodel, arrays=arrays)


def _of_another_depth(update: Update, generator: np.random.Generator) -> Update:
    depths = set(range(update.submodel.schedule.num_exits)) - {update.submodel.max_exit}
    submodel = replace(update.submodel, max_exit=int(generator.choice(sorted(depths))))
    return replace(update, submodel=submodel, arrays=filled_arrays(submodel, 0.0))


def _of_another_model(update: Update, _: np.random.Generator) -> Update:
    architecture = replace(update.submodel.architecture, num_heads=4)  # of the same shapes
    return replace(update, submodel=replace(update.submodel, architecture=architecture))


def _enlarged(update: Update, generator: np.random.Generator) -> Update:
    factor = np.float32(10 ** generator.uniform(2, 30) * generator.choice([-1, 1]))
    return replace(update, arrays={name: factor * array for name, array in update.arrays.items()})


POISONS: tuple[Poison, ...] = (
    *(_with_element(value) for value in (np.nan, np.inf, -np.inf, 3e38, 1e6)),
    _without_array, _with_unknown_array, _renamed, _cut_short, _with_axis, _flattened, _as_float64,
    _with_base, _with_round, _with_too_many_examples, _with_too_few_examples,
    _of_another_regime, _of_another_depth, _of_another_model, _enlarged,
)  # fmt: skip
