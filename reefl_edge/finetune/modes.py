"""Which ways of distillation are there? Free of torch, for the command line."""

from typing import Literal, get_args

# none: no exit teaches; forward: the deepest all others; all: every exit every other; dynamic: the
# exit with the lowest loss on a held-out batch all others; dynamic-ma: the one with the lowest
# running loss.
DistillMode = Literal["none", "forward", "all", "dynamic", "dynamic-ma"]
DISTILL_MODES: tuple[DistillMode, ...] = get_args(DistillMode)
