"""ReeFL on real devices: profile, fine-tune, export and run networks with recurrent early exits.

Importing this package loads no torch; names are loaded when they are first used.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "AdaptiveSession": "reefl_edge.adaptive",
    "ConfidencePolicy": "reefl_edge.adaptive",
    "Bundle": "reefl_edge.manifest",
    "Submodel": "reefl_edge.submodel",
    "build_model": "reefl_edge.models",
    "load_checkpoint": "reefl_edge.models",
    "save_checkpoint": "reefl_edge.models",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    """Import a public name from where it lives."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
