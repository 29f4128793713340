"""Which network do the benchmarks of exports measure, and on which runtimes?"""

import argparse
from dataclasses import replace
from typing import Literal, get_args

from reefl_edge.architectures import named_submodel
from reefl_edge.submodel import ExitSchedule, Submodel

# The formats that this machine can run.
Runnable = Literal["onnx", "executorch"]
RUNNABLE: tuple[Runnable, ...] = get_args(Runnable)


def add_runtimes(options: argparse.ArgumentParser) -> None:
    """Let a part of the runtimes be measured."""
    options.add_argument("--runtimes", nargs="+", choices=RUNNABLE, default=RUNNABLE)


def measured_submodel(*, is_quick: bool) -> Submodel:
    """Return DeiT-S with four exits; or two small blocks with an exit each, to see that it runs."""
    if not is_quick:
        return named_submodel("deit_small")
    digits = named_submodel("digits")
    return replace(
        digits,
        architecture=replace(digits.architecture, num_blocks=2),
        schedule=ExitSchedule((0, 1)),
        max_exit=1,
    )


def settings_of(submodel: Submodel) -> dict[str, int]:
    """Return what tells one measured network from another."""
    architecture = submodel.architecture
    return {
        "width": architecture.width,
        "blocks": submodel.depth,
        "exits": submodel.num_exits,
        "image_size": architecture.image_size,
    }
