"""ReeFL networks: build one, save it, load it."""

from reefl_edge.models.build import build, build_model
from reefl_edge.models.checkpoint import load_checkpoint, save_checkpoint
from reefl_edge.models.reefl import ReeFL

__all__ = ["ReeFL", "build", "build_model", "load_checkpoint", "save_checkpoint"]
