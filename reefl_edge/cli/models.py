"""How does a command open MODEL, and how is MODEL said again in the next command?"""

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import TYPE_CHECKING

from reefl_edge.checkpoints.description import ModelDescription
from reefl_edge.cli.options import usage_errors

if TYPE_CHECKING:
    from reefl_edge.submodel import Regime, Submodel
    from reefl_edge.tasks.models import Model


def opened(text: str, description: ModelDescription | None = None, *, seed: int = 0) -> "Model":
    """Open what MODEL stands for; what is wrong with it is a usage error."""
    from reefl_edge.tasks.models import open_model

    with usage_errors("MODEL"):
        return open_model(text, description, seed=seed)


def cut(model: "Model", max_exit: int | None) -> "Model":
    """Cut a model where ``--max-exit`` wants it; None keeps it."""
    with usage_errors("--max-exit"):
        return model.cut(max_exit)


def check_max_exit(max_exit: int | None, model: "Model") -> None:
    """Refuse an exit that the model has not."""
    with usage_errors("--max-exit"):
        model.cut(max_exit)


def check_regime(regime: "Regime", model: "Model", *, option: str = "--regime") -> None:
    """Refuse a regime that the model cannot be trained under."""
    with usage_errors(option):
        model.checkpoint.submodel.with_regime(regime)


def said_again(text: str, description: ModelDescription, model: "Model") -> tuple[str, ...]:
    """Say MODEL again, word by word, with the options that say what it does not.

    Args:
        text: MODEL, as typed.
        description: What was said of it.
        model: What it stood for.
    """
    words = (text, *_options(replace(description, max_exit=None)))
    return (*words, "--seed", str(model.seed)) if model.seed else words


def restated(submodel: "Submodel") -> tuple[str, ...]:
    """Write the options that say of a sub-model what a file of the released code does not."""
    architecture = submodel.architecture
    description = ModelDescription(
        exit_blocks=submodel.schedule.blocks,
        regime=submodel.regime,
        num_heads=architecture.num_heads,
        mean=architecture.mean,
        std=architecture.std,
    )
    return tuple(_options(description))


def _options(description: ModelDescription) -> Iterator[str]:
    for name in (each.name for each in fields(description)):
        value = getattr(description, name)
        if value is not None:
            yield f"--{name.replace('_', '-')}"
            yield ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
